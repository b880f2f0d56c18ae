"""Whether the daemon runs. Reads its lock and its pid file, without creating, waiting for or changing anything.

gflowctl calls it at its start, so it imports next to nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os

from gflowd.core.errors import Refused
from gflowd.core.syntax import fast_json
from gflowd.effects import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Places(Protocol):
        """`paths.State` is one."""

        @property
        def daemon_lock(self) -> str: ...
        @property
        def daemon_pid(self) -> str: ...
        @property
        def shared(self) -> object: ...


_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Daemon:
    """A running daemon. `pid` is 0 while it starts and for one in a process namespace that we cannot see."""

    __slots__ = ("boot", "host", "hosting", "of_many", "pid", "pulse_fd", "since", "start", "version")

    def __init__(self, record: dict[str, Any], *, of_many: bool = False) -> None:
        self.of_many = of_many  # it runs the jobs of many users
        self.pid: int = record.get("pid", 0)
        self.start: int = record.get("start", 0)  # clock ticks after boot, proc(5)
        self.boot: str = record.get("boot", "")
        self.host: str = record.get("host", "")
        self.since: float | None = record.get("since")  # seconds since the epoch
        self.hosting: str | None = record.get("hosting")  # systemd, foreground, detached
        self.version: str | None = record.get("version")
        self.pulse_fd: int | None = record.get("pulse_fd")  # None until all workers are up

    @property
    def elsewhere(self) -> bool:
        """Whether it runs on another machine that shares the state directory."""
        return bool(self.host) and self.host != os.uname().nodename

    @property
    def restart(self) -> str:
        """The command that restarts it."""
        if self.hosting == "systemd":
            return restart_of_unit(self._cgroup())
        return "gflowd stop --system; gflowd run --system" if self.of_many else "gflowd restart"

    @property
    def unit(self) -> str | None:
        """The user's unit that runs it, without `.service`, or the machine's with a `/` before it; None for neither."""
        return None if self.hosting != "systemd" else unit_of(self._cgroup())

    def _cgroup(self) -> str:
        try:
            with open(f"/proc/{self.pid}/cgroup", encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def __str__(self) -> str:
        if not self.pid:
            return "pid not known yet"
        return f"pid {self.pid} on {self.host}"


def restart_of_unit(cgroup: str) -> str:
    """The command that restarts the unit of a process whose control groups, by cgroups(7), are these."""
    unit = unit_of(cgroup)
    return f"sudo systemctl restart {unit[1:]}" if unit.startswith("/") else f"systemctl --user restart {unit}"


def unit_of(cgroup: str) -> str:
    """As `Daemon.unit`, by those control groups."""
    lines = [line.split(":", 2) for line in cgroup.splitlines()]
    path = next((path for _, kind, path in lines if kind in {"", "name=systemd"} and ".service" in path), "")
    units = [part.removesuffix(".service") for part in path.split("/") if part.endswith(".service")]
    if len(units) == 1 and not units[0].startswith("user@"):
        return f"/{units[0]}"
    return units[-1] if len(units) > 1 else "gflowd"


def running(state: Places) -> Daemon | None:
    """The daemon that holds the lock of this state directory; None if there is none. Raises `Refused` if that is
    not to be seen. To others than root the one for many users is what its pid file names.
    """
    if os.geteuid() and state.shared is not None:
        return _signed(Daemon(_record(state.daemon_pid), of_many=True))
    if not _is_locked(state.daemon_lock):
        return None
    record = _record(state.daemon_pid)
    found = Daemon(record, of_many=state.shared is not None)
    if found.elsewhere or (found.boot == boot_id() and found.start == proc.start_ticks(found.pid) != 0):
        return found
    return Daemon({})  # an old file; the daemon that holds the lock has not written its own yet


def _signed(found: Daemon) -> Daemon | None:
    """It, if it lives. Where processes of others are hidden (hidepid of proc(5)), its pid must do."""
    if found.elsewhere:
        return found
    if not found.pid or found.boot != boot_id():
        return None
    if start := proc.start_ticks(found.pid):
        return found if start == found.start else None
    try:
        os.kill(found.pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return found


def _is_locked(path: str) -> bool:
    try:
        fd = os.open(path, _READ)
    except PermissionError:
        raise Refused(f"{path}: Permission denied; it belongs to another user's gflowd") from None
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in {errno.EWOULDBLOCK, errno.EACCES}
    finally:
        os.close(fd)
    return False


def _record(path: str) -> dict[str, Any]:
    try:
        fd = os.open(path, _READ)
        try:
            record = fast_json.loads(os.read(fd, 65536))
        finally:
            os.close(fd)
    except (OSError, ValueError):
        return {}
    good = isinstance(record, dict) and all(isinstance(record.get(key), int) for key in ("pid", "start"))
    return record if good else {}


def boot_id() -> str:
    """As `proc.boot_id`; empty if a sandbox hides it, since looking for the daemon must not fail."""
    try:
        return proc.boot_id()
    except OSError:
        return ""
