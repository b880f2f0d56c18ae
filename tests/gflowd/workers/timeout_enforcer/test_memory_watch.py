from __future__ import annotations

import sys

import pytest
from stage import Jobs, live, now
from support.waiting import eventually

from gflowd.core.execution.observations import LiveJob
from gflowd.core.execution.procstat import Process
from gflowd.core.job import reasons
from gflowd.core.job.model import Identity
from gflowd.effects.kernel import processes
from gflowd.workers.attempt_processes import Attempts
from gflowd.workers.timeout_enforcer.memory_watch import EVERY, MemoryWatch

TAKE = "import sys, time; kept = bytearray(b'x') * ({} << 20); open(sys.argv[1], 'w').close(); time.sleep(60)"
SHARE = """
import mmap, os, sys, time
kept = mmap.mmap(-1, {} << 20)
kept.write(b"x" * len(kept))
for number in range(3):
    if os.fork() == 0:
        sum(kept[::4096])
        open(sys.argv[1] + str(number), "w").close()
        time.sleep(60)
open(sys.argv[1], "w").close()
time.sleep(60)
"""


@pytest.fixture
def watch(jobs: Jobs) -> MemoryWatch:
    return MemoryWatch(Attempts(jobs.state, None, 0))


def taking(jobs: Jobs, text: str, size: int, *ready: str) -> LiveJob:
    """A job of three processes that each run `text` with `size` MiB; its limit is 100 MiB."""
    names = ready or ("0", "1", "2")
    place = jobs.make(1)
    (place / "take.py").write_text(text.format(size))
    starts = " & ".join(f"{sys.executable} take.py {name}" for name in (ready[:1] or names))
    identity = jobs.start(1, f"{starts} & wait")
    eventually(lambda: all((place / name).exists() for name in names))
    return live(1, identity, memory_mb=100)


def over(watch: MemoryWatch, job: LiveJob, mono: float = 100.0) -> tuple[tuple[int, int], ...]:
    return watch.tick([job], now(mono=mono))[0]


def test_the_processes_of_a_job_count_together(watch: MemoryWatch, jobs: Jobs) -> None:
    job = taking(jobs, TAKE, 40)
    assert over(watch, job) == ((1, 1),)


def test_a_job_below_its_limit_is_left_alone(watch: MemoryWatch, jobs: Jobs) -> None:
    job = taking(jobs, TAKE, 10)
    assert over(watch, job) == ()


def test_memory_that_processes_share_counts_once(watch: MemoryWatch, jobs: Jobs) -> None:
    job = taking(jobs, SHARE, 50, "x", "x0", "x1", "x2")
    assert over(watch, job) == (), "four processes with the same 50 MiB"
    assert over(watch, job.replace(memory_mb=50), mono=1000.0) == ((1, 1),)


def test_a_file_that_is_mapped_does_not_count(watch: MemoryWatch, jobs: Jobs) -> None:
    with (jobs.make(1) / "data").open("wb") as file:
        for _ in range(150):
            file.write(b"x" * (1 << 20))
    text = """
import mmap, sys, time
with open("data", "rb") as file:
    kept = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
sum(kept[::4096])
open(sys.argv[1], "w").close()
time.sleep({} + 60)
"""
    job = taking(jobs, text, 0, "x")
    assert over(watch, job) == ()
    assert over(watch, job.replace(memory_mb=1), mono=1000.0) == ((1, 1),)


def test_without_a_limit_nobody_looks(watch: MemoryWatch) -> None:
    nobody = live(1, Identity(now().boot, 1 << 30, 1))
    assert watch.tick([nobody], now()) == ((), None)
    stopping = nobody.replace(memory_mb=1, why=reasons.TIME_LIMIT)
    assert watch.tick([stopping], now()) == ((), None)
    of_old = live(2, Identity("an old boot", 1 << 30, 1), memory_mb=1)
    assert watch.tick([of_old], now()) == ((), None)
    assert watch.tick([live(3, None, memory_mb=1)], now()) == ((), None)


def test_looks_are_a_second_apart_at_least_and_more_when_they_are_dear(watch: MemoryWatch) -> None:
    nobody = live(1, Identity(now().boot, 1 << 30, 1), memory_mb=1)
    _, first = watch.tick([nobody], now(mono=100.0))
    assert first is not None
    assert first >= 100.0 + EVERY
    assert watch.tick([nobody], now(mono=100.5)) == ((), first), "a bell is no reason to look"
    assert watch.tick([], now(mono=100.6)) == ((), None)
    _, second = watch.tick([nobody], now(mono=first))
    assert second is not None
    assert second >= first + EVERY


def test_who_is_gone_takes_nothing() -> None:
    gone = Process(1 << 22, 1, 1, 1, zombie=False, rss=100)
    assert processes.memory(gone) == 0
    assert processes.heeding([gone], 7, 10, slurm=False) == [gone], "it is sent to nobody"
