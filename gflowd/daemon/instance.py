"""How the daemon is hosted: one per state directory; its pid file, its owner, stopping it.

Knows nothing of workers or jobs.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gflowd import __version__
from gflowd.core.errors import Refused, SystemFailed, TryAgain
from gflowd.core.job import model
from gflowd.effects import daemon, proc
from gflowd.paths import open_lock
from gflowd.storage.lock import close_in_children, whole_lock

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from filelock import FileLock

    from gflowd.paths import State

STOP_PATIENCE = 15.0  # seconds: workers get 5 to end, and a slow disk its time
CLAIM_PATIENCE = 2.0  # seconds: checking the lock holds it for an instant, and the winner writes its pid a little later

_PATHS = ("GFLOW_CONFIG", "GFLOW_STATE_DIR", "GFLOW_RUNTIME_DIR")
_OF_SLURM = ("SLURM_CONF",)  # is needed to call its programs
_OF_A_SERVICE = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID")


class Instance:
    """The process as the one daemon of a state directory, while it holds the lock."""

    def __init__(self, state: State, hosting: str) -> None:
        self.state = state
        self.record = {
            "pid": os.getpid(),
            "start": proc.start_ticks(os.getpid()),
            "boot": daemon.boot_id(),
            "host": os.uname().nodename,
            "since": time.time(),
            "hosting": hosting,
            "version": __version__,
            "pulse_fd": None,
        }

    def sign(self, pulse_fd: int | None = None) -> None:
        """Writes the pid file; `pulse_fd` when the daemon is ready. Raises `SystemFailed`."""
        self.record["pulse_fd"] = pulse_fd
        try:
            data = json.dumps(self.record).encode() + b"\n"
            self.state.replace_told(self.state.daemon_pid, data, durable=False, names_no_work=True)
        except OSError as error:
            raise SystemFailed(f"{self.state.daemon_pid}: {error.strerror}") from error


@contextmanager
def single_instance(state: State, hosting: str) -> Iterator[Instance]:
    """Holds the daemon's lock. Raises `Refused` naming the daemon that holds it already.

    A process forked meanwhile neither holds it nor frees it by ending: ours end by os._exit.
    """
    lock = _claim(state)
    close_in_children(state.daemon_lock)
    try:
        instance = Instance(state, hosting)
        instance.sign()
        yield instance
    finally:
        try:
            os.unlink(state.daemon_pid)
        except OSError:  # an old one is harmless: it names a process that no longer exists
            pass
        lock.release()


def _claim(state: State) -> FileLock:
    from filelock import Timeout

    lock = whole_lock(state.daemon_lock, 0)
    deadline = time.monotonic() + CLAIM_PATIENCE
    while True:
        try:
            os.close(open_lock(state.daemon_lock))
            lock.acquire()
        except Timeout:
            holder = daemon.running(state)
            if holder is not None and (holder.pid or time.monotonic() > deadline):
                raise already_running(holder) from None
            if time.monotonic() > deadline:  # a process was stopped while it only checked the lock
                raise TryAgain(f"{state.daemon_lock} stays busy; try again") from None
            time.sleep(0.01)
        except OSError as error:
            raise SystemFailed(f"{state.daemon_lock}: {error.strerror}") from error
        else:
            return lock


def already_running(holder: daemon.Daemon) -> Refused:
    """The refusal of a second daemon."""
    return Refused(f"already running ({holder})")


def cleanse(environ: MutableMapping[str, str], *, detached: bool) -> None:
    """Drops the variables of the job or terminal that we were started from, so that our jobs do not inherit them.

    A daemon that detaches is no longer the service that it was started from. Paths become absolute, since the daemon
    leaves the directory.
    """
    for name in _PATHS:
        if environ.get(name):
            environ[name] = os.path.abspath(environ[name])
    if model.is_lent(environ.get("TMPDIR", ""), environ.get("GFLOW_JOB_TMPDIR", "")):
        del environ["TMPDIR"]
    for name in list(environ):
        if (model.is_own(name) and name not in _OF_SLURM) or (detached and name in _OF_A_SERVICE):
            del environ[name]


def foreground_hosting() -> str:
    """What hosts `gflowd run`: `systemd` or `foreground`."""
    by_systemd = "NOTIFY_SOCKET" in os.environ or os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())
    return "systemd" if by_systemd else "foreground"


def stop(state: State, holder: daemon.Daemon, patience: float = STOP_PATIENCE) -> None:
    """Ends the daemon and waits until its lock is free. Raises `SystemFailed` if that takes too long."""
    fd = signal_daemon(state, holder, signal.SIGTERM)
    if fd is None:
        return
    deadline = time.monotonic() + patience
    try:
        select.select([fd], [], [], patience)  # a pidfd reads as ready when its process has ended
    finally:
        os.close(fd)
    while daemon.running(state) is not None:
        if time.monotonic() > deadline:
            raise SystemFailed(f"the daemon ({holder}) has not ended after {patience:g} s; see {state.log}")
        time.sleep(0.01)


def signal_daemon(state: State, holder: daemon.Daemon, number: signal.Signals) -> int | None:
    """Signals the daemon that `daemon.running` found; returns its pidfd, or None if it has ended. Raises `Refused`."""
    if holder.elsewhere:
        raise Refused(f"the daemon runs on {holder.host}, not here ({os.uname().nodename}); run this command there")
    if not holder.pid:
        raise SystemFailed(f"a daemon holds {state.daemon_lock}, but its pid is not known")
    try:
        fd = os.pidfd_open(holder.pid)
    except ProcessLookupError:
        return None
    if proc.start_ticks(holder.pid) != holder.start:  # the pid was reused while we checked
        os.close(fd)
        return None
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        os.close(fd)
        raise Refused(f"the daemon ({holder}) is not yours; root may do that") from None
    return fd


def when_known(state: State, patience: float = CLAIM_PATIENCE) -> daemon.Daemon | None:
    """The running daemon; waits for the pid of one that is just starting."""
    deadline = time.monotonic() + patience
    while (holder := daemon.running(state)) is not None and not holder.pid and time.monotonic() < deadline:
        time.sleep(0.01)
    return holder
