"""A build of our programs for tests, in which any effect on the world can be the last that happens, or can fail.

`arm` wraps the calls by which they write, sync, rename, fork and signal; it must come before they are imported. Every
effect gets a name, `role|call|target` (`scheduler|fdatasync|snapshot.jsonl`), and a line in the journal. The one that
the environment names, by its name and which time it comes, is the last of its process or of the whole daemon, or fails
with an errno, once or until the disk is well again.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import time
from typing import Any

WHERE = "GFLOW_FAULT_DIR"
WHICH = "GFLOW_FAULT"  # role|call|target|n|how|who
ORPHANS = "GFLOW_FAULT_ORPHANS"  # workers are not killed by the kernel when their supervisor dies
FORMAT = "GFLOW_FAULT_FORMAT"  # the build is of a gflow of this format of the snapshot
SILENCE = "GFLOW_FAULT_SILENCE"  # seconds without a beat after which a worker is taken for hung
# After the effect; within a write, of which so many percent are done (`torn50`). Else an errno, with a * for more than
# once.
KILL, TORN = "kill", "torn"
PROCESS, DAEMON = "process", "daemon"
NAMES = (
    "cluster_bridge", "gpu_poller", "manager", "reservation_timer", "scheduler", "timeout_enforcer", "zombie_detector",
)  # fmt: skip
ON_DISK = ("create", "fdatasync", "fsync", "ftruncate", "mkdir", "pwrite", "rename", "write")

_open, _write, _read, _close, _lseek = os.open, os.write, os.read, os.close, os.lseek
_kill, _fork = os.kill, os.fork


class _Build:
    """What this process knows. `base` is the role of a process that has no name of ours in `ps`."""

    def __init__(self, where: str, which: str | None, base: str) -> None:
        self.where = where
        self.state = os.environ.get("GFLOW_STATE_DIR", "")
        self.base = base
        self.parent_comm = ""
        self.key, self.place, self.how, self.who = "", 0, "", ""
        if which:
            key, place, self.how, self.who = which.rsplit("|", 3)
            self.key, self.place = key, int(place)

    def role(self) -> str:
        comm = _content("/proc/self/comm").strip()
        if not comm.startswith("gflowd:"):
            return self.base
        name = next((full for full in NAMES if f"gflowd:{full}".startswith(comm)), comm)  # 15 bytes are shown
        return f"{name}'s child" if comm == self.parent_comm else name

    def short(self, path: Any) -> str:
        """A path without what differs from run to run."""
        text = os.fsdecode(path).removeprefix(self.state + "/").removeprefix(os.path.dirname(self.state) + "/")
        text = re.sub(r"^/tmp/[a-z0-9_]{8}$", "TEMPORARY", text)
        return re.sub(r"[0-9]+", "N", re.sub(r"\b[0-9a-f]{12,}\b", "HASH", text))

    def of_fd(self, fd: int) -> str:
        try:
            path = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            return "closed"
        return path.partition(":")[0] if path.startswith(("socket:", "pipe:", "anon_inode:")) else self.short(path)

    def spawned(self, words: Any) -> str:
        """A script by its place; another program by its verb, however Python starts it (by this call since 3.13)."""
        script = os.fsdecode(words[-1])
        return self.short(script) if script.endswith("/job.sh") else _program(words)

    def comes_now(self, key: str) -> bool:
        """Whether this is the effect that the environment names; counted over all processes."""
        return key == self.key and self._count("matches", b".") == self.place

    def disk_is_bad(self, call: str, target: str) -> bool:
        return (
            self.how.endswith("*")
            and call in ON_DISK
            and not target.startswith(("/", "socket", "pipe"))
            and os.path.exists(f"{self.where}/failing")
        )

    def note(self, key: str) -> None:
        self._count("journal", f"{time.monotonic():.6f} {os.getpid()} {key}\n".encode())

    def _count(self, name: str, line: bytes) -> int:
        """Appends a line to a file of the harness; the size of the file before another's."""
        fd = _open(f"{self.where}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write(fd, line)
            return _lseek(fd, 0, os.SEEK_CUR)
        finally:
            _close(fd)

    def happened(self, key: str) -> None:
        self._count("crashed", f"{key}\n".encode())

    def fail(self, key: str) -> None:
        self.happened(key)
        if self.how.endswith("*"):
            self._count("failing", b"x")
        raise self.error()

    def error(self) -> OSError:
        number = getattr(errno, self.how.rstrip("*"))
        return OSError(number, os.strerror(number))

    def die(self, key: str) -> None:
        self.happened(key)
        if self.who == DAEMON and self.role() != "starter":
            for _ in range(2):  # whoever was being forked at the first look
                for pid in _session(os.getsid(0)):
                    if pid != os.getpid():
                        _signal(pid)
        _signal(os.getpid())


def arm(base: str) -> None:
    """Wraps the effects of this process and its children, where the environment asks for it."""
    if os.environ.get(FORMAT):
        from gflowd.storage import record_log

        record_log.FORMAT = int(os.environ[FORMAT])
    if os.environ.get(SILENCE):
        _hurry(float(os.environ[SILENCE]))
    where = os.environ.get(WHERE)
    if not where:
        return
    build = _Build(where, os.environ.get(WHICH), base)
    for name in ("write", "pwrite", "fsync", "fdatasync", "ftruncate"):
        setattr(os, name, _around(build, name, getattr(os, name), lambda args: build.of_fd(args[0])))
    for name in ("rename", "replace", "unlink", "mkdir", "mkfifo", "rmdir"):
        setattr(os, name, _around(build, name, getattr(os, name), lambda args: build.short(args[0])))
    for name in ("kill", "killpg"):
        setattr(os, name, _around(build, "kill", getattr(os, name), lambda args: str(int(args[1]))))
    signal.pidfd_send_signal = _around(build, "kill", signal.pidfd_send_signal, lambda args: str(int(args[1])))
    creating = _around(build, "create", _open, lambda args: build.short(args[0]))
    os.open = lambda path, flags, *more, **named: (  # type: ignore[assignment]
        creating if flags & os.O_CREAT and not os.path.lexists(path) else _open
    )(path, flags, *more, **named)
    os.fork = _around(build, "fork", _fork, lambda args: "")
    os.posix_spawn = _around(build, "spawn", os.posix_spawn, lambda args: build.spawned(args[1]))
    subprocess._fork_exec = _around(build, "spawn", subprocess._fork_exec, lambda args: _program(args[0]))  # type: ignore[attr-defined]
    setsid = os.setsid

    def leave_terminal() -> None:
        build.base = "supervisor"
        setsid()

    os.setsid = leave_terminal

    def be_a_child() -> None:
        build.parent_comm = _content("/proc/self/comm").strip()

    os.register_at_fork(after_in_child=be_a_child)
    if os.environ.get(ORPHANS):
        from gflowd.workers import base

        become = base.become

        def become_an_orphan_to_be(name: str) -> None:
            base.PR_SET_PDEATHSIG = 1 if name == "manager" else 0  # 0 is no option: nothing is set
            become(name)

        base.become = become_an_orphan_to_be


def _hurry(silence: float) -> None:
    """All that the supervisor waits for comes so much sooner."""
    from gflowd.daemon import children
    from gflowd.workers import base

    children.SILENCE = silence
    base.LONGEST_SLEEP = children.PROBE_EVERY = silence / 4
    children.PROBE_SILENCE = children.LONGEST_DELAY = silence / 2


def _around(build: _Build, name: str, call: Any, target_of: Any) -> Any:
    def effect(*args: Any, **named: Any) -> Any:
        target = target_of(args)
        key = f"{build.role()}|{name}|{target}"
        if build.disk_is_bad(name, target):
            raise build.error()
        now = build.comes_now(key)
        if now and build.how.startswith(TORN):
            call(args[0], bytes(args[1])[: len(args[1]) * int(build.how.removeprefix(TORN) or 66) // 100])
            build.die(key)
        if now and build.how != KILL:
            if name == "write":
                call(args[0], bytes(args[1])[: len(args[1]) * 2 // 3])
            build.fail(key)
        result = call(*args, **named)
        if name != "fork" or result:
            build.note(key)
            if now:
                build.die(key)
        return result

    return effect


def _program(words: Any) -> str:
    """A program and its verb, without paths."""
    plain = [os.fsdecode(word) for word in words]
    name = os.path.basename(plain[0])
    return " ".join([name, *[word for word in plain[1:] if not word.startswith(("-", "/"))][:1]])


def _session(number: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                if os.getsid(int(name)) == number:
                    found.append(int(name))
            except OSError:
                continue
    return found


def _signal(pid: int) -> None:
    try:
        _kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _content(path: str) -> str:
    fd = _open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _read(fd, 4096).decode(errors="replace")
    finally:
        _close(fd)
