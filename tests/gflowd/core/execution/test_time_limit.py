import pytest

from gflowd.core.execution import time_limit
from gflowd.core.execution.observations import LiveJob
from gflowd.core.job import reasons
from gflowd.core.job.model import EarlySignal, Identity, Pauses, Started

STARTED = Started(at=1e9, mono=100.0, identity=Identity("boot", 5, 6))


def job(**fields: object) -> LiveJob:
    base = LiveJob(id=1, attempt=1, executor="tmux", grace=10.0, started=STARTED, time_limit=60.0)
    return base.replace(**fields)


def test_the_deadline_counts_from_the_start_on_the_monotonic_clock() -> None:
    assert time_limit.deadline(job(), "boot") == 160.0
    assert time_limit.deadline(job(time_limit=0.0), "boot") == 100.0


@pytest.mark.parametrize("other", [{"time_limit": None}, {"started": None}, {"why": reasons.CANCELLED_BY_USER}])
def test_a_job_without_limit_or_not_running_has_no_deadline(other: dict[str, object]) -> None:
    assert time_limit.deadline(job(**other), "boot") is None


def test_the_clock_of_another_boot_says_nothing() -> None:
    assert time_limit.deadline(job(), "next boot") is None


def test_a_warning_comes_ahead_of_the_deadline() -> None:
    warned = job(early_signal=EarlySignal(number=10, before=5.0))
    assert time_limit.warning(warned, "boot") == 155.0
    assert time_limit.warning(warned.replace(time_limit=90.0), "boot") == 185.0
    assert time_limit.warning(warned.replace(time_limit=None), "boot") is None
    assert time_limit.warning(job(), "boot") is None


def test_the_deadline_moves_with_the_pauses_and_stands_still_in_one() -> None:
    paused = job(pauses=Pauses(count=2, seconds=45.0, last_mono=150.0), early_signal=EarlySignal(number=10, before=5.0))
    assert time_limit.deadline(paused, "boot") == 205.0
    assert time_limit.warning(paused, "boot") == 200.0
    assert time_limit.deadline(paused.replace(suspended=True), "boot") is None
    assert time_limit.warning(paused.replace(suspended=True), "boot") is None
