"""Roots of Debian in directories of their own, in which packages are built and tried. Knows nothing of gflow.

Each program in a root runs in namespaces of its own: what it mounts and starts is gone when it ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUITE = "trixie"
USUAL_MIRROR = "http://deb.debian.org/debian"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PLACES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources")
# The first process of a root's namespaces, with the root as $0: it stays outside, and takes in orphans.
FIRST = """
set -e
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
mount -t tmpfs -o mode=1777 tmpfs "$0/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$0/run"
mount -t tmpfs -o mode=1777 tmpfs "$0/tmp"
echo ready
while :; do sleep 1 & wait $!; done
"""


class Failed(Exception):
    """A root cannot be made, or something in it went wrong."""


def obstacle() -> str | None:
    """Why there can be no root on this machine; None if there can be one."""
    if os.geteuid() != 0:
        return "only root may make a root of Debian"
    if maker() is None:
        return "neither mmdebstrap nor debootstrap is installed"
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False).returncode:
        return "this machine allows no new namespaces (unshare)"
    return None


def maker() -> str | None:
    """The program that makes roots."""
    return shutil.which("mmdebstrap") or shutil.which("debootstrap")


def mirror() -> str:
    """Debian's archive that apt is configured for here, else the usual one."""
    for place in PLACES:
        with contextlib.suppress(OSError), open(place, encoding="utf-8") as file:
            for line in file:
                if found := re.match(r"(?:URIs:|deb(?: \[.*?\])?)\s+(https?://\S+/debian/?)(?:\s|$)", line):
                    return found[1]
    return USUAL_MIRROR


def archive(path: str, packages: Sequence[str]) -> str:
    """The tar file `path` of a root with `packages`, which is made where it is missing."""
    if os.path.exists(path):
        return path
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fresh = f"{path}.new"
    tool = maker() or ""
    wanted = [f"--include={','.join(packages)}"] if packages else []
    print(f"making a root of {SUITE} ({len(packages)} packages more); this takes some minutes", flush=True)
    if os.path.basename(tool) == "mmdebstrap":
        told = [tool, "--quiet", "--variant=minbase", "--format=tar", *wanted]
        run([*told, SUITE, fresh, mirror()])
    else:
        with tempfile.TemporaryDirectory(dir=os.path.dirname(path)) as place:
            run([tool, "--variant=minbase", *wanted, SUITE, place, mirror()])
            run(["tar", "-C", place, "-cf", fresh, "."])
    os.rename(fresh, path)
    return path


def run(words: Sequence[str]) -> None:
    """Runs a program to its end; what it said is shown if it failed."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout[-4000:] + done.stderr[-4000:])
        raise Failed(f"{words[0]} ended with status {done.returncode}")


class Root:
    """A root at `path`, with processes of its own. Without `network`, it has none, not even a loopback device."""

    def __init__(self, path: str, *, network: bool) -> None:
        self.path = path
        spaces = ["--mount", "--pid", "--fork", "--kill-child", "--ipc", *([] if network else ["--net"])]
        self._outer = subprocess.Popen(
            ["unshare", *spaces, "sh", "-c", FIRST, path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        if self._outer.stdout is None or self._outer.stdout.readline() != "ready\n":
            self.close()
            raise Failed(f"nothing can be mounted in {path}")
        with open(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children", encoding="ascii") as file:
            self._first = file.read().split()[0]

    def close(self) -> None:
        """Ends every process in the root."""
        self._outer.kill()
        self._outer.communicate()

    def at(self, name: str) -> str:
        """The path outside of a file in the root."""
        return os.path.join(self.path, name.lstrip("/"))

    def add_user(self, name: str, number: int) -> str:
        """Adds a user with a group and a home of their own; returns the path of the home from inside."""
        home = f"/home/{name}"
        for file, line in (
            ("passwd", f"{name}:x:{number}:{number}::{home}:/bin/bash"),
            ("group", f"{name}:x:{number}:"),
            ("shadow", f"{name}:*:20000:0:99999:7:::"),
        ):
            with open(self.at(f"/etc/{file}"), "a", encoding="ascii") as out:
                out.write(f"{line}\n")
        os.makedirs(self.at(home), 0o755)
        os.chown(self.at(home), number, number)
        return home

    def done(
        self, words: Sequence[str] | str, *, user: int = 0, home: str = "/root"
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program, or a line for the shell, to its end; both its outputs are one text."""
        command = ["sh", "-c", words] if isinstance(words, str) else list(words)
        inside = ["env", "-i", f"PATH={PATH}", f"HOME={home}", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]
        who = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        return subprocess.run(
            ["nsenter", f"--target={self._first}", "--all", "chroot", self.path, *who, *inside, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )

    def run(self, words: Sequence[str] | str, *, user: int = 0, home: str = "/root") -> str:
        """As `done`; returns what was printed. Raises `Failed` with its last lines if the status is not 0."""
        done = self.done(words, user=user, home=home)
        if done.returncode:
            told = words if isinstance(words, str) else shlex.join(words)
            raise Failed(f"{told}: status {done.returncode}\n{done.stdout[-3000:]}")
        return done.stdout


@contextlib.contextmanager
def unpacked(tar: str, under: str, *, network: bool = False) -> Iterator[Root]:
    """A fresh root out of the tar file, in a directory below `under` that is removed at the end."""
    os.makedirs(under, exist_ok=True)
    place = tempfile.mkdtemp(prefix="root-", dir=under)
    os.chmod(place, 0o755)  # noqa: S103 -- users of the root are to enter it
    try:
        run(["tar", "-C", place, "--numeric-owner", "--exclude=./dev/*", "-xf", tar])
        shutil.copy("/etc/resolv.conf", os.path.join(place, "etc/resolv.conf"))
        root = Root(place, network=network)
        try:
            yield root
        finally:
            root.close()
    finally:
        removed(place)


def clean_up_when_ended() -> None:
    """Lets a SIGTERM end this process as an exception does, so that its roots are removed."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))


def removed(place: str) -> None:
    """Removes a root, unless something is mounted in it, which would go with it."""
    deadline = time.monotonic() + 10
    while any(f" {place}/" in line for line in open("/proc/self/mountinfo", encoding="utf-8")):  # noqa: SIM115
        if time.monotonic() > deadline:
            raise Failed(f"{place} is not removed: something is still mounted there")
        time.sleep(0.1)
    run(["rm", "-rf", "--one-file-system", "--", place])
