import pytest
from support import specs

from gflowd.core.execution.observations import Enforced, LiveJob, Observation, Observations, live_job
from gflowd.core.job import reasons
from gflowd.core.job.model import (
    EarlySignal,
    Ended,
    Identity,
    Job,
    Pauses,
    Phase,
    Queued,
    Run,
    Running,
    Started,
    Starting,
    Stopping,
    Suspended,
    Wish,
)

RUN = Run(executor="process", launched_at=50.0, attempt=3, gpu_ids=(1,))
STARTED = Started(at=51.0, mono=7.0, identity=Identity("boot", 5, 6))
SPEC = specs.SPEC.replace(time_limit=9.0)


def job(phase: Phase, **fields: object) -> Job:
    return Job(4, SPEC.replace(**fields), Wish(), phase)


def test_a_starting_job_is_not_yet_started() -> None:
    expected = LiveJob(id=4, attempt=3, executor="process", grace=10.0, started=None, time_limit=9.0)
    assert live_job(job(Starting(run=RUN)), 10.0) == expected
    assert expected.key == (4, 3)


def test_a_running_job_shows_when_it_started() -> None:
    seen = live_job(job(Running(run=RUN, started=STARTED)), 10.0)
    assert (seen.started, seen.why) == (STARTED, None)


def test_a_suspended_job_shows_that_it_stands_still_and_how_long_it_did_before() -> None:
    pauses = Pauses(count=1, seconds=5.0, last_mono=9.0)
    phase = Suspended(run=RUN, started=STARTED, since_at=60.0, since_mono=16.0, since_boot="boot", pauses=pauses)
    seen = live_job(job(phase), 10.0)
    assert (seen.started, seen.why, seen.suspended, seen.pauses) == (STARTED, None, True, pauses)
    goes_on = live_job(job(Running(run=RUN, started=STARTED, pauses=pauses)), 10.0)
    assert (goes_on.suspended, goes_on.pauses) == (False, pauses)


@pytest.mark.parametrize("started", [STARTED, None])
def test_a_stopping_job_shows_why_and_since_when(started: Started | None) -> None:
    phase = Stopping(
        run=RUN, started=started, why=reasons.TIME_LIMIT, since_at=60.0, since_mono=16.0, since_boot="boot"
    )
    seen = live_job(job(phase), 10.0)
    assert (seen.started, seen.why, seen.since_mono, seen.since_boot) == (started, "TimeLimit", 16.0, "boot")


def test_its_limits_come_with_it() -> None:
    early = EarlySignal(number=10, before=5.0)
    seen = live_job(job(Running(run=RUN, started=STARTED), early_signal=early, memory_mb=7), 10.0)
    assert (seen.early_signal, seen.memory_mb) == (early, 7)


def test_one_that_must_write_comes_with_its_files() -> None:
    phase = Running(run=RUN, started=STARTED)
    seen = live_job(job(phase, quiet_limit=60.0, output="o.%j", error="/e"), 10.0)
    assert (seen.quiet_limit, seen.outputs) == (60.0, ("/o.4", "/e"))
    assert live_job(job(phase, quiet_limit=60.0, output="o", error="o"), 10.0).outputs == ("/o",)
    assert live_job(job(phase, output="o.%j"), 10.0).outputs == (), "nobody asks"


def test_of_two_limits_exceeded_memory_is_the_more_urgent() -> None:
    found = Enforced(overdue=((1, 1), (2, 1)), over_memory=((1, 1), (3, 2)), silent=((2, 1), (5, 1)))
    assert found.exceeded((5, 1)) == "NoOutput"
    assert [found.exceeded(key) for key in ((1, 1), (2, 1), (3, 2), (3, 1), None)] == [
        "OutOfMemory", "TimeLimit", "OutOfMemory", None, None,
    ]  # fmt: skip


def test_its_own_grace_wins_even_when_it_is_none_at_all() -> None:
    assert live_job(job(Starting(run=RUN), grace=0.0), 10.0).grace == 0.0
    assert live_job(job(Starting(run=RUN), grace=3.0), 10.0).grace == 3.0


def test_what_lingers_after_its_end_is_looked_after_like_the_live() -> None:
    over = Ended(state="finished", ended_at=60.0, run=RUN, started_at=51.0, lingers=True)
    assert live_job(job(over), 10.0) == live_job(job(Starting(run=RUN)), 10.0)


@pytest.mark.parametrize("phase", [Queued(), Ended(state="finished", ended_at=1.0)])
def test_only_what_has_a_run_is_live(phase: Phase) -> None:
    with pytest.raises(TypeError, match="not live"):
        live_job(job(phase), 10.0)


def test_sights_are_compared_by_what_they_say() -> None:
    assert Observation() == Observation(lives=False)
    assert Observation() != Observation(barred=True)


def test_a_sight_is_found_by_the_attempt_that_it_is_of() -> None:
    seen = Observations({(1, 2): Observation(lives=True)})
    assert seen.of((1, 2)) == Observation(lives=True)
    assert [seen.of(key) for key in ((1, 1), (2, 2), None)] == [None, None, None]


def test_what_connects_a_job_with_its_user_comes_with_it() -> None:
    assert live_job(job(Starting(run=RUN), relay="abc"), 10.0).relay == "abc"
