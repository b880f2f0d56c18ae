"""What real processes use is sampled, at times of the test's own."""

from __future__ import annotations

import sys

import pytest
from stage import BOOT, Jobs, live, now
from support.waiting import eventually

from gflowd.core.execution.usage import EVERY, SOONEST, Sample, Samples
from gflowd.core.job.model import Identity
from gflowd.workers.attempt_processes import Attempts
from gflowd.workers.timeout_enforcer.usage_watch import UsageWatch

SHARED = """
import mmap, os, time
kept = mmap.mmap(-1, 60 << 20)
kept.write(b"x" * len(kept))
for number in range(3):
    if os.fork() == 0:
        sum(kept[::4096])
        open(str(number), "w").close()
        time.sleep(60)
time.sleep(60)
"""


@pytest.fixture
def watch(jobs: Jobs) -> UsageWatch:
    return UsageWatch(Attempts(jobs.state, None, 0))


def test_memory_that_processes_share_counts_once(watch: UsageWatch, jobs: Jobs) -> None:
    place = jobs.make(1)
    (place / "shared.py").write_text(SHARED)
    job = live(1, jobs.start(1, f"exec {sys.executable} shared.py"))
    eventually(lambda: all((place / name).exists() for name in "012"))
    assert job.started is not None
    samples, due = watch.tick([job], now(mono=job.started.mono + 100.0), Samples())
    assert 60 << 20 <= samples.of_attempts[job.key].memory < 140 << 20
    assert samples.of_attempts[job.key].cpu > 0
    assert due is not None
    assert due >= job.started.mono + 100.0 + EVERY
    again, _ = watch.tick([job], now(mono=due - 0.1), Samples())
    assert again is samples, "nothing new is posted before the next look"


def test_what_the_predecessor_saw_is_kept_and_what_is_gone_is_forgotten(watch: UsageWatch) -> None:
    job = live(1, Identity(BOOT, 1 << 30, 9))
    before = Samples({(1, 1): Sample(77, 8.0), (2, 1): Sample(5, 1.0)})
    samples, due = watch.tick([job], now(), before)
    assert samples.of_attempts == {(1, 1): Sample(77, 8.0)}
    assert job.started is not None
    assert due == job.started.mono + SOONEST
    assert watch.tick([], now(), before) == (Samples(), None)


def test_who_has_not_begun_or_is_suspended_is_not_looked_at(watch: UsageWatch) -> None:
    waiting, still = live(1), live(2, Identity(BOOT, 1 << 30, 9), suspended=True)
    assert watch.tick([waiting, still], now(mono=1e9), Samples()) == (Samples(), None)
