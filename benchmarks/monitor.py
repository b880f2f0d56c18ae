"""What the screen of `gflowctl monitor` costs with a long queue: until its first picture, per key, and while it waits.

python benchmarks/monitor.py [JOBS]      10000 if nothing is said; a minute
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import statistics
import struct
import sys
import tempfile
import termios
import time

from history import spec

from gflowd.core.job import codec
from gflowd.core.job.model import PROCESS, Ended, Identity, Run, Running, Started
from gflowd.paths import State
from gflowd.storage.store import Store

JOBS = 10_000
ROWS, COLUMNS = 24, 80
KEYS = 60
IDLE = 20.0  # seconds
LIVE = 8  # jobs that run
TICK = os.sysconf("SC_CLK_TCK")


class Screen:
    """`gflowctl monitor` on a terminal of its own."""

    def __init__(self, state: State) -> None:
        self.began = time.monotonic()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ.update({"GFLOW_STATE_DIR": state.root, "TERM": "xterm-256color"})
            os.execv(sys.executable, [sys.executable, "-m", "gflowctl", "monitor"])  # noqa: S606 -- no shell is wanted
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def until(self, text: bytes) -> float:
        """Seconds since its start until it has written `text`."""
        seen = b""
        while text not in seen:
            seen = seen[-1000:] + self._read(10.0)
        return time.monotonic() - self.began

    def key(self, key: bytes) -> float:
        """Seconds from a key to the first byte of another picture."""
        self.drain()
        began = time.monotonic()
        os.write(self._fd, key)
        self._read(10.0)
        return time.monotonic() - began

    def drain(self, seconds: float = 0.0) -> int:
        """Reads what it writes for so long, then until it is quiet; returns the number of bytes."""
        end, size = time.monotonic() + seconds, 0
        while data := self._read(max(0.05, end - time.monotonic())):
            size += len(data)
        return size

    def _read(self, seconds: float) -> bytes:
        ready, _, _ = select.select([self._fd], [], [], seconds)
        return os.read(self._fd, 1 << 16) if ready else b""

    def cpu(self) -> float:
        """CPU seconds that it has used."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory_mb(self) -> int:
        """Its resident memory."""
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") >> 20

    def close(self) -> None:
        """Quits."""
        os.write(self._fd, b"q")
        while True:
            try:
                if not os.read(self._fd, 1 << 16):
                    break
            except OSError:
                break
        os.waitpid(self.pid, 0)
        os.close(self._fd)


def _running(at: float) -> Running:
    started = Started(at=at, mono=1.0, identity=Identity("another boot", 1, 1))
    return Running(run=Run(executor=PROCESS, launched_at=at), started=started)


def _fill(store: Store, jobs: int, live: int) -> None:
    with store.commit() as commit:
        for number in range(jobs):
            job_id = commit.allocate()
            commit.put("spec", job_id, spec(number))
            if number < live:
                commit.put("phase", job_id, codec.encode_phase(_running(time.time())))


def _go_on(store: Store, job_id: int) -> None:
    """A job ends and the next one begins, as once a second on a busy machine."""
    now = time.time()
    run = Run(executor=PROCESS, launched_at=now)
    ended = Ended(state="finished", ended_at=now, started_at=now - 1, run=run, exit_code=0)
    with store.commit() as commit:
        commit.put("phase", job_id, codec.encode_phase(ended))
        commit.put("phase", job_id + LIVE, codec.encode_phase(_running(now)))


def _idle(screen: Screen, store: Store | None) -> float:
    """The part of a processor that it takes; with a store, while a job ends each second."""
    screen.drain(3.0)
    began, used, job_id = time.monotonic(), screen.cpu(), 0
    while time.monotonic() < began + IDLE:
        if store is not None:
            job_id += 1
            _go_on(store, job_id)
        screen.drain(1.0)
    return (screen.cpu() - used) / (time.monotonic() - began)


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else JOBS
    place = tempfile.mkdtemp(prefix="gflow-monitor-")
    try:
        for name, number, live in (("100 jobs", 100, 0), (f"{jobs} jobs", jobs, LIVE)):
            state = State(os.path.join(place, name.replace(" ", "-")))
            state.prepare()
            store = Store(state)
            _fill(store, number, live)
            screen = Screen(state)
            print(f"{name}: first picture after {1000 * screen.until(b'JOBID'):.0f} ms", flush=True)
            screen.drain(3.0)
            took = sorted(screen.key(key) for key in [b"\x1b[B", b"\x1b[6~", b"\x1b[A", b"g"] * (KEYS // 4))
            print(f"{name}: a key to its picture {1000 * statistics.median(took):.1f} ms, p95 "
                  f"{1000 * took[len(took) * 95 // 100]:.1f} ms", flush=True)  # fmt: skip
            screen.key(b"/")
            typed = sorted(screen.key(letter.encode()) for letter in "sleep123")
            screen.key(b"\x1b")
            print(f"{name}: a letter of the filter {1000 * statistics.median(typed):.1f} ms", flush=True)
            print(f"{name}: {100 * _idle(screen, None):.2f} % of a core with {live} jobs running", flush=True)
            if live:
                print(f"{name}: {100 * _idle(screen, store):.2f} % while a job ends each second", flush=True)
            print(f"{name}: {screen.memory_mb()} MiB", flush=True)
            screen.close()
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
