"""A process that outlives an srun which is killed, and then kills its tasks: they are not to go on unseen.

It keeps what the step has until they are gone.
"""

from __future__ import annotations

import os
import signal
import time

from gflowd.effects import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DONE = b"done\n"
SESSION = 3  # place in `proc.after_name`
PATIENCE = 600.0  # seconds: what the kernel does not let die by then is left to it
IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP)


class Guard:
    """As its srun sees it. Mutable: ended by `dismiss`."""

    def __init__(self) -> None:
        told, self._tell = os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _watch(told, self._tell)
            finally:
                os._exit(0)
        os.close(told)

    def guards_us(self) -> None:
        """In a task, which leads a session: tells of itself before it does anything, since its srun may be killed at
        any time, and does not keep the guard waiting.
        """
        os.write(self._tell, b"%d\n" % os.getpid())
        os.close(self._tell)

    def dismiss(self, *, done: bool) -> None:
        """The step is over; what is left of tasks is killed unless all is `done`."""
        if done:
            os.write(self._tell, DONE)
        os.close(self._tell)
        os.waitpid(self.pid, 0)


def _watch(told: int, tell: int) -> None:
    os.close(tell)
    signal.set_wakeup_fd(-1)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(nothing, fd)
    for fd in list(map(int, os.listdir("/proc/self/fd"))):
        if fd > 2 and fd != told:
            try:
                os.close(fd)
            except OSError:  # the one that listed them
                pass
    said = b""
    while part := os.read(told, 4096):
        said += part
    if not said.endswith(DONE):
        kill(set(map(int, said.split())))


def kill(sessions: set[int], patience: float = PATIENCE) -> None:
    """Kills whatever is of these sessions, until nothing of it is left."""
    deadline, pause = time.monotonic() + patience, 0.01
    while left := list(_members(sessions)):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if time.monotonic() > deadline:
            return
        time.sleep(pause)
        pause = min(1.0, pause * 2)


def _members(sessions: set[int]) -> Iterable[int]:
    for pid, _ in proc.pids():
        fields = proc.after_name(proc.stat(pid))
        if len(fields) > SESSION and fields[proc.STATE] not in b"ZX" and int(fields[SESSION]) in sessions:
            yield pid
