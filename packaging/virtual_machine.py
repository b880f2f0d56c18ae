"""A root of Debian as a virtual machine of qemu, which boots, runs one program and powers off. Knows nothing of gflow.

Its processor is emulated, so that it can be tried within another virtual machine too; booting takes minutes. It has no
network, and nothing of it remains.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

import roots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

QEMU = "qemu-system-x86_64"
KERNEL = ("initramfs-tools", "linux-image-cloud-amd64", "zstd")  # packages that the root needs
MEMORY = 1024  # MiB
SPARE = 512  # MiB of the disk for what is written
PROCESSOR = ("-accel", "tcg,thread=multi", "-cpu", "Nehalem", "-smp", "2")
LAST_WORDS = 3000  # bytes of the console
UNIT = """\
[Unit]
Description=%(program)s
After=multi-user.target systemd-logind.service
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 %(program)s
StandardOutput=file:/dev/ttyS1
StandardError=journal+console
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
"""


def obstacle() -> str | None:
    """Why there can be none on this machine; None if there can."""
    if os.uname().machine != "x86_64":
        return "the virtual machine is an x86_64"
    for program, package in ((QEMU, "qemu-system-x86"), ("mke2fs", "e2fsprogs"), ("setpriv", "util-linux")):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt-get install --no-install-recommends {package})"
    return None


def lines(root: roots.Root, program: str, under: str, *, patience: float) -> Iterator[str]:
    """Boots a copy of the root, and yields what `program`, which is in it, prints as root; ends when it powers off.
    Raises `roots.Failed` with the last words of its console if it takes longer than `patience` seconds, or ends before
    the program has.
    """
    with open(root.at("/etc/systemd/system/trial.service"), "w", encoding="ascii") as file:
        file.write(UNIT % {"program": program})
    root.run("systemctl enable --quiet trial.service")
    with tempfile.TemporaryDirectory(prefix="machine-", dir=under) as place:
        disk, console, said = (os.path.join(place, name) for name in ("disk", "console", "said"))
        _make_disk(root, disk)
        open(said, "wb").close()  # qemu may not have made it yet when it is read
        kernel, initial = (_only(root.at(f"/boot/{name}-*")) for name in ("vmlinuz", "initrd.img"))
        words = [
            "setpriv", "--pdeathsig", "KILL", QEMU, *PROCESSOR, "-m", str(MEMORY),
            "-nodefaults", "-nographic", "-no-reboot", "-nic", "none",
            "-kernel", kernel, "-initrd", initial,
            "-append", "root=/dev/vda rw console=ttyS0 panic=-1 quiet systemd.show_status=no",
            "-drive", f"file={disk},format=raw,if=virtio,cache=unsafe",
            "-chardev", f"file,id=console,path={console}", "-serial", "chardev:console",
            "-chardev", f"file,id=said,path={said}", "-serial", "chardev:said",
        ]  # fmt: skip
        machine = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            yield from _followed(said, lambda: machine.poll() is None, patience)
            if machine.poll() is None:
                raise roots.Failed(f"the virtual machine took longer than {patience:.0f} s\n{_last_words(console)}")
            complaint = "" if machine.stderr is None else machine.stderr.read().decode(errors="replace")
            if machine.returncode:
                raise roots.Failed(f"{QEMU} ended with status {machine.returncode}: {complaint}{_last_words(console)}")
        finally:
            machine.kill()
            machine.communicate()


def _make_disk(root: roots.Root, path: str) -> None:
    used = subprocess.run(["du", "-sxm", root.path], capture_output=True, text=True, check=True).stdout.split()[0]
    with open(path, "wb") as file:
        file.truncate((int(used) * 5 // 4 + SPARE) << 20)
    roots.run(["mke2fs", "-q", "-t", "ext4", "-d", root.path, "-m", "0", path])


def _followed(path: str, runs: Callable[[], bool], patience: float) -> Iterator[str]:
    """The lines of a file while it is written, as long as `runs`."""
    deadline, rest = time.monotonic() + patience, b""
    with open(path, "rb") as file:
        while True:
            alive = runs()
            *whole, rest = (rest + file.read()).split(b"\n")
            yield from (line.decode(errors="replace").strip("\r") for line in whole)
            if not alive or time.monotonic() > deadline:
                return
            time.sleep(0.5)


def _last_words(console: str) -> str:
    try:
        with open(console, "rb") as file:
            return file.read()[-LAST_WORDS:].decode(errors="replace")
    except FileNotFoundError:
        return ""


def _only(pattern: str) -> str:
    found: Sequence[str] = glob.glob(pattern)
    if len(found) != 1:
        raise roots.Failed(f"there are {len(found)} files {pattern}")
    return found[0]
