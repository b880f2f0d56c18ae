"""Times commands, and the moments at which jobs run. Knows nothing of peers."""

from __future__ import annotations

import os
import select
import shutil
import signal
import time

from peers.peer import Failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATIENCE = 60.0  # seconds that a command may take


class Stopwatch:
    """Runs one command after the other; what they say goes through files in `root`."""

    def __init__(self, root: str) -> None:
        self.said, self.complaints = os.path.join(root, "said"), os.path.join(root, "complaints")

    def took(self, words: Sequence[str], environ: Mapping[str, str], within: float = PATIENCE) -> float:
        """Seconds until the command has ended. Raises Failed when it fails, or takes longer than `within`."""
        path = shutil.which(words[0], path=environ["PATH"])
        if path is None:
            raise Failed(f"there is no {words[0]}")
        anew = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        files = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, self.said, anew, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, self.complaints, anew, 0o600),
        ]
        begun = time.perf_counter()
        pid = os.posix_spawn(path, [path, *words[1:]], environ, file_actions=files)
        code = _reap(pid, within)
        spent = time.perf_counter() - begun
        if code is None:
            raise Failed(f"`{words[0]}` took more than {within:g} s")
        if code:
            with open(self.complaints, encoding="utf-8", errors="replace") as file:
                raise Failed(f"`{words[0]}` failed: {' '.join(file.read().split())[:200]}")
        return spent


def _reap(pid: int, within: float) -> int | None:
    """The exit status; None when the process had to be killed since it took too long."""
    handle = os.pidfd_open(pid)
    try:
        if not select.select([handle], [], [], within)[0]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(handle)


class Marks:
    """A pipe with a name into which each job of ours writes a line, which tells us when it ran, whoever ran it."""

    def __init__(self, root: str) -> None:
        path, gate = os.path.join(root, "marks"), os.path.join(root, "gate")
        os.mkfifo(path)
        os.mkfifo(gate)
        self.pipe, self.gate = (os.open(name, os.O_RDWR | os.O_NONBLOCK) for name in (path, gate))
        self.job = _script(root, "mark", f"echo >{path}\n")
        self.gated_job = _script(root, "gated", f"read -r line <{gate}\necho >{path}\n")
        self.moments: list[float] = []

    def close(self) -> None:
        os.close(self.pipe)
        os.close(self.gate)

    def forget(self) -> None:
        """Drops the marks that nobody waited for."""
        self._look(0)
        self.moments = []

    def open_gate(self) -> float:
        """Lets the one job at the gate go on; answers when."""
        os.write(self.gate, b"\n")
        return time.perf_counter()

    def seen(self) -> int:
        """How many marks there are to be waited for."""
        self._look(0)
        return len(self.moments)

    def wait(self, count: int, within: float) -> list[float]:
        """The moments of the next marks, on the clock of `time.perf_counter`. Raises Failed without so many."""
        deadline = time.perf_counter() + within
        while len(self.moments) < count:
            if (left := deadline - time.perf_counter()) <= 0:
                raise Failed(f"{len(self.moments)} of {count} jobs ran within {within:g} s")
            self._look(left)
        found, self.moments = self.moments[:count], self.moments[count:]
        return found

    def _look(self, within: float) -> None:
        if select.select([self.pipe], [], [], within)[0]:
            lines = len(os.read(self.pipe, 65536))
            self.moments += [time.perf_counter()] * lines


def _script(root: str, name: str, text: str) -> tuple[str, str]:
    """The words of a command that runs `text`."""
    path = os.path.join(root, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return "sh", path
