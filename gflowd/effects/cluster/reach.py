"""Reaches into a directory that may hang, such as one on NFS: a process does there what it is asked, one thing after
another. Whoever asks waits for seconds at most; while the process hangs, everything else that is asked fails at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from multiprocessing.connection import Pipe
from typing import TYPE_CHECKING, Any

from gflowd.core.errors import GflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

PATIENCE = 5.0  # seconds that are waited in one turn; a worker is taken for hung after 30
GIVEN_UP = 60.0  # seconds after which another process is tried, if the one that hangs can be killed
LOOK_AGAIN = 1.0  # seconds between looks at one that hangs
ENDING = 1.0  # seconds for a killed one to be gone
TITLE = "gflowd:cluster"  # in `ps`
PR_SET_PDEATHSIG = 1


class Reach:
    """`actions`: what can be asked for, by name; they are called in the process, which is forked when first needed, and
    again when it has died. Mutable.
    """

    def __init__(self, directory: str, actions: object, patience: float = PATIENCE) -> None:
        self._directory = directory
        self._actions = actions
        self._patience = self._left = patience
        self._pid: int | None = None
        self._pipe: Connection[Any, Any] | None = None
        self._late_since: float | None = None  # monotonic: what was asked then has not been answered

    def turn(self) -> None:
        """From now on what is asked is waited for anew, if nothing hangs."""
        self._left = self._patience
        if self._late_since is not None:
            self._look()

    @property
    def trouble(self) -> str | None:
        """Why nothing can be asked now."""
        return None if self._late_since is None else f"{self._directory}: no answer within {self._patience:g} s"

    def ask(self, name: str, *values: object) -> Any:
        """What the action of that name returns. Raises what it raises, `TimeoutError` where it hangs, and OSError."""
        if self._late_since is not None:
            raise self._late()
        pipe = self._opened()
        began = time.monotonic()
        try:
            pipe.send((name, values))
            answered = pipe.poll(max(0.0, self._left))
            found, error = pipe.recv() if answered else (None, None)
        except (EOFError, OSError):
            self.close()
            raise OSError(5, "the process that looks after it has died", self._directory) from None
        self._left -= time.monotonic() - began
        if not answered:
            self._late_since = began
            raise self._late()
        if error is not None:
            raise error
        return found

    def _late(self) -> TimeoutError:
        return TimeoutError(110, f"no answer within {self._patience:g} s", self._directory)

    def _opened(self) -> Connection[Any, Any]:
        if self._pipe is None:
            self._pipe, theirs = Pipe()
            self._pid = os.fork()
            if not self._pid:
                self._pipe.close()
                _serve(self._actions, theirs)
            theirs.close()
        return self._pipe

    def _look(self) -> None:
        """Whether what hung has been done by now; its answer is for nobody."""
        assert self._pipe is not None
        assert self._late_since is not None
        try:
            if self._pipe.poll(0):
                self._pipe.recv()
                self._late_since = None
            elif time.monotonic() - self._late_since > GIVEN_UP:
                self._try_another()
        except (EOFError, OSError):
            self.close()

    def _try_another(self) -> None:
        """A process in a system call that cannot be killed is not left behind for another."""
        assert self._pid is not None
        os.kill(self._pid, signal.SIGKILL)
        if _is_gone(self._pid):
            self._pid = None
            self.close()

    def descriptors(self) -> Iterator[int]:
        """Readable when what hung has been done."""
        if self._late_since is not None and self._pipe is not None:
            yield self._pipe.fileno()

    def wakes(self, mono: float) -> Iterator[float]:
        """When to look again."""
        if self._late_since is not None:
            yield mono + LOOK_AGAIN

    def close(self) -> None:
        """Ends the process; one that cannot be killed now dies when it goes on."""
        if self._pipe is not None:
            self._pipe.close()
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            limit = time.monotonic() + ENDING
            while not _is_gone(self._pid) and time.monotonic() < limit:
                time.sleep(0.001)
        self._pid, self._pipe, self._late_since = None, None, None


def _is_gone(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _serve(actions: object, pipe: Connection[Any, Any]) -> None:
    """The life of the process."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as comm:
            comm.write(TITLE)
        while True:
            name, values = pipe.recv()
            pipe.send(_done(getattr(actions, name), values))
    finally:
        os._exit(0)


def _done(action: Callable[..., object], values: tuple[object, ...]) -> tuple[object, Exception | None]:
    try:
        return action(*values), None
    except (GflowError, OSError) as error:
        return None, error
    except Exception as error:  # the bottom of this process; who asked is to know
        return None, RuntimeError(f"{type(error).__name__}: {error}")
