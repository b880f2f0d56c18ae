"""Runs a command while every program that it starts is held up: `hold_up.py [--seed SEED] MODE COMMAND...`.

    random  now and then: between fork and exec, and before a wait, a kill, a rename or a sync
    io      now and then: before processes read or write what connects them, and before an unlink or a rename
    exec    always: each program but Python for 250 ms before it begins
    fork    always: each forked child for 120 ms, each rename and sync for 40 ms

The same seed holds the same test up at the same calls, for as long, whatever else runs: as far as its programs make the
same calls in the same order. They do not where threads race for a call, or where something looks again and again until
it sees a change. What several tests share belongs to the one that set it up. How long a program takes for its own work
is left to the machine, and a program that is linked statically is not held up at all.

The library is named by /etc/ld.so.preload, since gflow and its tests clear environments. The machine's own /etc stays
as it is: the command sees an overlay of it, in a mount namespace of its own. Where that takes a user namespace, because
we are not root, the command is still its user, without any rights.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile

MODES = ("random", "io", "exec", "fork")
VARIABLE = "GFLOW_TEST_HELD_UP"  # the mode, for the tests
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hold_up.c")
LIBRARY = "gflow-hold-up.so"
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 0x1000, 0x4000, 0x40000, 2
LIBC = ctypes.CDLL(None, use_errno=True)


def build(library: str, mode: str, seed: int) -> None:
    """Compiles the library, with the mode and the seed in it."""
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", f"-DMODE=mode_{mode}", f"-DSEED={seed}ull"]
    subprocess.run(["cc", *flags, "-o", library, SOURCE, "-ldl"], check=True, timeout=60)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="hold_up.py", description="Runs a command while every program is held up.")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)), help="default: a new one")
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args(words)
    if not args.command:
        parser.error("no command")
    try:
        with tempfile.TemporaryDirectory(prefix="gf-") as place:
            hold_up_all(place, args.mode, args.seed)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"hold_up: nothing can be held up here: {reason(error)}", file=sys.stderr)
        return 1
    said = f"hold_up: mode {args.mode}, SEED={args.seed}"
    print(said, file=sys.stderr, flush=True)
    status = run(args.command, {**os.environ, VARIABLE: args.mode})
    if status:
        print(f"{said}: exit status {status}", file=sys.stderr)
    return status


def reason(error: OSError | subprocess.CalledProcessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return "cc fails"
    if error.filename == "cc":
        return "cc is not installed"
    return f"{error.filename}: {error.strerror}"


def run(command: list[str], environment: dict[str, str]) -> int:
    """The exit status of the command, as a shell has it. A terminal interrupts the command itself."""
    try:
        process = subprocess.Popen(command, env=environment)
    except OSError as error:
        print(f"hold_up: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
    code = process.wait()
    return code if code >= 0 else 128 - code


def hold_up_all(place: str, mode: str, seed: int) -> None:
    """Lets all programs that this process starts load the library. `place` is an empty directory, and stays so.

    `CalledProcessError`: the compiler fails; `OSError`: there is none, or no namespace.
    """
    user, group = os.geteuid(), os.getegid()
    is_root = enter_mount_namespace()
    mount("tmpfs", place, "tmpfs", data="mode=755")
    try:
        upper, work = os.path.join(place, "upper"), os.path.join(place, "work")
        os.mkdir(upper, 0o755)
        os.mkdir(work, 0o755)
        build(os.path.join(upper, LIBRARY), mode, seed)
        with open(os.path.join(upper, "ld.so.preload"), "w") as names:
            names.write(f"/etc/{LIBRARY}\n{preloaded()}")
        lay_over_etc(f"lowerdir=/etc,upperdir={upper},workdir={work}")
    finally:
        check(LIBC.umount2(place.encode(), MNT_DETACH), f"unmounting {place}")  # the overlay keeps what it uses
    if not is_root:
        enter(CLONE_NEWUSER)
        map_user(user, group, outside=(0, 0))


def lay_over_etc(layers: str) -> None:
    """Mounts the overlay, and on it what is mounted in /etc: containers have their /etc/hosts so."""
    covered = {path: os.open(path, os.O_PATH) for path in mounts_below("/etc")}
    mount("overlay", "/etc", "overlay", data=layers)
    for path, fd in covered.items():
        mount(f"/proc/self/fd/{fd}", path, flags=MS_BIND | MS_REC)
        os.close(fd)


def enter_mount_namespace() -> bool:
    """Whether we could as we are; else we are root in a user namespace of our own."""
    user, group = os.geteuid(), os.getegid()
    try:
        enter(CLONE_NEWNS)
        is_root = True
    except PermissionError:
        enter(CLONE_NEWNS | CLONE_NEWUSER)
        map_user(0, 0, outside=(user, group))
        is_root = False
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    return is_root


def enter(kinds: int) -> None:
    check(LIBC.unshare(kinds), "a mount namespace")


def check(status: int, what: str) -> None:
    """Raises what a function of the C library failed for."""
    if status:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)


def map_user(user: int, group: int, outside: tuple[int, int]) -> None:
    """Says who we are in the user namespace that we just entered; no other user is there."""
    lines = {"setgroups": "deny", "uid_map": f"{user} {outside[0]} 1", "gid_map": f"{group} {outside[1]} 1"}
    for name, line in lines.items():
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)


def mount(source: str, target: str, kind: str = "", *, flags: int = 0, data: str = "") -> None:
    arguments = (source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), data.encode() or None)
    check(LIBC.mount(*arguments), f"mounting {kind or source} on {target}")


def mounts_below(directory: str) -> list[str]:
    with open("/proc/self/mountinfo") as file:
        points = [re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), line.split(" ")[4]) for line in file]
    return [point for point in points if point.startswith(f"{directory}/") and point != "/etc/ld.so.preload"]


def preloaded() -> str:
    """What this machine preloads anyway."""
    try:
        with open("/etc/ld.so.preload") as file:
            return file.read()
    except FileNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
