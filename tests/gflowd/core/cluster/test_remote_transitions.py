"""From phase to phase by what was seen on the cluster."""

from __future__ import annotations

import pytest
from support.specs import SPEC

from gflowd.core.cluster import remote_transitions
from gflowd.core.cluster.remote_observations import ENDING, OVER, RUNNING, SUSPENDED, WAITING, End, Sight
from gflowd.core.execution.observations import live_job
from gflowd.core.job import reasons
from gflowd.core.job.model import (
    CANCELLED,
    FAILED,
    FINISHED,
    SLURM,
    TIMEOUT,
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
from gflowd.core.moment import Moment

NOW = Moment(wall=200.0, mono=120.0, boot="boot")
NEW = Run(executor=SLURM, launched_at=90.0, cluster="hpc")
RUN = NEW.replace(cluster_id="12", node="n1")
STARTED = Started(at=91.0, mono=0.0, identity=Identity("there", 5, 6))
FREE, CANCEL, AGAIN = Wish(), Wish(cancelled_by="u", cancelled_at=150.0), Wish(requeued=1)
STARTING, RUNS = Starting(run=NEW), Running(run=RUN, started=STARTED)
STILL = Suspended(run=RUN, started=STARTED, since_at=190.0, since_mono=110.0, since_boot="boot")
ONCE = Pauses(count=1, seconds=10.0, last_mono=120.0)


def stopping(why: str, started: Started | None = STARTED) -> Stopping:
    return Stopping(run=RUN, started=started, why=why, since_at=150.0, since_mono=70.0, since_boot="boot")


def stops_now(why: str, run: Run = RUN, started: Started | None = STARTED, pauses: Pauses | None = None) -> Stopping:
    made = Stopping(run=run, started=started, why=why, since_at=200.0, since_mono=120.0, since_boot="boot")
    return made if pauses is None else made.replace(pauses=pauses)


def there(stage: str, end: End | None = None) -> Sight:
    started = None if stage == WAITING else STARTED
    return Sight(stage, None, "12", None if stage == WAITING else "n1", started, end)


def settle(phase: Phase, sight: Sight | None, wish: Wish = FREE) -> Phase | None:
    return remote_transitions.settle(Job(7, SPEC, wish, phase), sight, NOW)


@pytest.mark.parametrize(
    ("before", "seen", "wish", "after"),
    [
        (STARTING, None, FREE, None),
        (STARTING, there(WAITING), FREE, Starting(run=NEW.replace(cluster_id="12"))),
        (Starting(run=NEW.replace(cluster_id="12")), there(WAITING), FREE, None),
        (STARTING, there(RUNNING), FREE, RUNS),
        (STARTING, Sight(RUNNING, None, "12"), FREE, Starting(run=NEW.replace(cluster_id="12"))),
        (STARTING, there(SUSPENDED), FREE, STILL.replace(since_at=200.0, since_mono=120.0)),
        (RUNS, None, FREE, None),
        (RUNS, there(RUNNING), FREE, None),
        (RUNS, there(WAITING), FREE, None),
        (RUNS, there(SUSPENDED), FREE, STILL.replace(since_at=200.0, since_mono=120.0)),
        (STILL, there(SUSPENDED), FREE, None),
        (STILL, there(RUNNING), FREE, RUNS.replace(pauses=ONCE)),
        (RUNS, there(ENDING), FREE, stops_now(reasons.COMPLETING)),
        (STILL, there(ENDING), FREE, stops_now(reasons.COMPLETING, pauses=ONCE)),
        (STARTING, None, CANCEL, stops_now(reasons.CANCELLED_BY_USER, NEW, None)),
        (RUNS, there(RUNNING), CANCEL, stops_now(reasons.CANCELLED_BY_USER)),
        (RUNS, there(ENDING), AGAIN, stops_now(reasons.REQUEUED)),
        (stopping(reasons.CANCELLED_BY_USER), there(RUNNING), CANCEL, None),
        (stopping(reasons.COMPLETING), there(ENDING), CANCEL, None),
    ],
)
def test_a_phase_follows_what_is_seen(before: Phase, seen: Sight | None, wish: Wish, after: Phase | None) -> None:
    assert settle(before, seen, wish) == after


DONE = End(FINISHED, None, 140.0, 0, is_own=True)
LATER = End(FAILED, "Signaled:SIGTERM", 160.0, None, 15, is_own=True)
ELSEWHERE = End(CANCELLED, reasons.CANCELLED_ELSEWHERE, 140.0, None, 15)


@pytest.mark.parametrize(
    ("before", "end", "wish", "state", "reason"),
    [
        (RUNS, DONE, FREE, FINISHED, None),
        (STARTING, DONE, FREE, FINISHED, None),
        (RUNS, ELSEWHERE, FREE, CANCELLED, reasons.CANCELLED_ELSEWHERE),
        (RUNS, ELSEWHERE, CANCEL, CANCELLED, reasons.CANCELLED_BY_USER),
        (RUNS, End(TIMEOUT, reasons.TIME_LIMIT, 140.0), CANCEL, TIMEOUT, reasons.TIME_LIMIT),
        (RUNS, End(FAILED, reasons.NODE_FAIL, 140.0), FREE, FAILED, reasons.NODE_FAIL),
        (stopping(reasons.COMPLETING), LATER, FREE, FAILED, "Signaled:SIGTERM"),
        (stopping(reasons.CANCELLED_BY_USER), DONE, CANCEL, FINISHED, None),
        (stopping(reasons.CANCELLED_BY_USER), LATER, CANCEL, CANCELLED, reasons.CANCELLED_BY_USER),
        (stopping(reasons.CANCELLED_BY_USER), ELSEWHERE, CANCEL, CANCELLED, reasons.CANCELLED_BY_USER),
        (stopping(reasons.REQUEUED), ELSEWHERE, AGAIN, CANCELLED, reasons.REQUEUED),
    ],
)
def test_an_end_is_the_clusters_unless_we_had_it_stopped(
    before: Phase, end: End, wish: Wish, state: str, reason: str | None
) -> None:
    after = settle(before, there(OVER, end), wish)
    assert isinstance(after, Ended)
    assert (after.state, after.reason, after.exit_code, after.signal) == (state, reason, end.exit_code, end.signal)
    assert (after.run, after.started_at, after.ended_at) == (RUN, 91.0, end.at)


def test_what_never_ran_ends_without_a_start() -> None:
    after = settle(STARTING, Sight(OVER, end=End(FAILED, reasons.rejected("no"))))
    assert after == Ended(state=FAILED, reason="Rejected:no", ended_at=200.0, run=NEW)
    assert isinstance(settle(STILL, there(OVER, DONE)), Ended)


def test_a_job_is_handed_over_as_the_attempt_that_it_is() -> None:
    assert remote_transitions.hand_over(Job(7, SPEC.replace(gpus=2), FREE, Queued(attempt=3)), "hpc", NOW) == Starting(
        run=Run(executor=SLURM, launched_at=200.0, attempt=3, cluster="hpc", remote_gpus=2)
    )
    with pytest.raises(ValueError, match="no way"):
        remote_transitions.hand_over(Job(7, SPEC, FREE, RUNS), "hpc", NOW)


def test_the_bridge_is_told_all_of_a_job_until_the_cluster_has_it() -> None:
    new, known = Job(7, SPEC, FREE, STARTING), Job(7, SPEC, FREE, RUNS)
    assert (live_job(new, None).job, live_job(new, None).cluster) == (new, "hpc")
    assert (live_job(known, None).job, live_job(known, None).cluster_id) == (None, "12")
    assert live_job(Job(7, SPEC, FREE, stopping(reasons.COMPLETING)), None).why is None, "nothing is to be stopped"
    assert live_job(Job(7, SPEC, FREE, stopping(reasons.REQUEUED)), None).why == reasons.REQUEUED
