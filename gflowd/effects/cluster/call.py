"""A call of one of a cluster's programs: a process that is polled, never waited for. One that takes too long is killed
with all that it started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT = 30.0  # seconds: sbatch itself sleeps and tries again where the controller takes no more jobs
LARGEST = 64 << 20  # bytes of what it says
KEPT = 4096  # bytes of its complaints
# All that a program of ours gives them of its environment: sbatch would pass it on to the job.
ENVIRONMENT = (
    "HOME", "KRB5CCNAME", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SHELL", "SLURM_CONF", "SSH_AUTH_SOCK", "TZ", "USER",
)  # fmt: skip


class Answer(NamedTuple):
    """How it ended: `status` as subprocess has it; None: it was killed for its time, or could not be started."""

    status: int | None
    said: str
    complaint: str

    @property
    def is_good(self) -> bool:
        """Whether it did what it was asked."""
        return self.status == 0


class Call:
    """A program at work. What it says goes to files, so that it never waits for us: in memory, so that nothing of them
    is left when we are killed. `fd` is readable when it ends.
    """

    def __init__(self, words: Sequence[str], mono: float, timeout: float = TIMEOUT) -> None:
        self.words = tuple(words)
        self._timeout = timeout
        self._deadline = mono + timeout
        self._answer: Answer | None = None
        self._out, self._err = _file(), _file()
        self.fd: int | None = None
        try:
            self._process = subprocess.Popen(
                self.words, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err, process_group=0,
                env=_environment(),
            )  # fmt: skip
        except OSError as error:
            self._close(Answer(None, "", f"{self.words[0]}: {error.strerror}"))
            return
        self.fd = os.pidfd_open(self._process.pid)

    def answer(self, mono: float) -> Answer | None:
        """How it ended; None while it runs."""
        if self._answer is not None:
            return self._answer
        status = self._process.poll()
        if status is not None:
            return self._close(Answer(status, _text(self._out, LARGEST), _text(self._err, KEPT).strip()))
        if mono < self._deadline:
            return None
        self._kill()
        return self._close(Answer(None, "", f"{self.words[0]}: no answer within {self._timeout:g} s"))

    @property
    def deadline(self) -> float:
        """When it is killed, on the monotonic clock."""
        return self._deadline

    def end(self) -> None:
        """Kills it if it runs, and forgets what it said."""
        if self._answer is None:
            self._kill()
            self._close(Answer(None, "", ""))

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _close(self, answer: Answer) -> Answer:
        self._answer = answer
        self._out.close()
        self._err.close()
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
        return answer


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}


def _file() -> IO[bytes]:
    return os.fdopen(os.memfd_create("gflow-call", os.MFD_CLOEXEC), "w+b")


def _text(file: IO[bytes], limit: int) -> str:
    file.seek(0)
    return file.read(limit).decode(errors="replace")
