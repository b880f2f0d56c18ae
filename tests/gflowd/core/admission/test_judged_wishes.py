"""Which wishes may follow each other: what gflowctl could ask for, in every phase, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from asking import ADA, ADAS, ENDED, NOW, OPERATOR, RUN, RUNNING, STARTED, Records, ask

from gflowd.core.admission import wish_rules
from gflowd.core.errors import Refused
from gflowd.core.job import codec
from gflowd.core.job.model import Ended, Queued, Running, Starting, Stopping, Suspended, Wish

STARTING = codec.encode_phase(Starting(run=RUN))
SUSPENDED = codec.encode_phase(Suspended(run=RUN, started=STARTED, since_at=1.0, since_mono=1.0, since_boot="b"))
THERE = codec.encode_phase(Running(run=RUN.replace(cluster="hpc"), started=STARTED))
STOPPING = codec.encode_phase(
    Stopping(run=RUN, started=STARTED, why="TimeLimit", since_at=1.0, since_mono=1.0, since_boot="b")
)
AGAIN = codec.encode_phase(Queued(attempt=2))
CANCELLED = {"cancelled_by": "bob", "cancelled_at": 5.0}
BY_ADA = {"cancelled_by": "ada", "cancelled_at": NOW}
FINISHED = codec.encode_phase(Ended(state="finished", ended_at=2.0, run=RUN, exit_code=0))
SERIES = {"repeat": {"rule": "every 60s", "due": 5.0}}
LATE = {"deadline": 10.0}
GRANTED: list[tuple[Any, dict[str, Any], dict[str, Any], dict[str, Any] | None]] = [
    # phase, wish before, wish that is asked for, wish that is written
    (None, {}, {"held": True}, {"held": True}),
    (None, {"held": True}, {"held": False, "released_at": 7.0}, {"released_at": NOW}),
    (None, {"held": True}, {"held": False, "begin_at": 9.0}, {"released_at": NOW, "begin_at": 9.0}),
    (None, {"begin_at": 9.0}, {"begin_at": None}, None),
    (None, {}, {"cancelled_at": 1.0}, BY_ADA),
    (None, {"held": True}, {"held": True, "cancelled_at": 1.0}, {"held": True, **BY_ADA}),
    (None, CANCELLED, {}, None),
    (None, CANCELLED, {**CANCELLED, "cancelled_by": "ada"}, CANCELLED),
    (None, CANCELLED, {"held": True}, {"held": True}),
    (AGAIN, {"requeued": 1}, {"requeued": 1, "held": True}, {"requeued": 1, "held": True}),
    (AGAIN, {"requeued": 1}, {"cancelled_at": 1.0}, BY_ADA),
    (STARTING, {}, {"suspended": 1, "releases_cpus": True}, {"suspended": 1, "releases_cpus": True}),
    (RUNNING, {}, {"suspended": 1}, {"suspended": 1}),
    (RUNNING, {}, {"requeued": 1}, {"requeued": 1}),
    (RUNNING, {}, {"cancelled_at": 1.0}, BY_ADA),
    (RUNNING, CANCELLED, {"requeued": 1}, {"requeued": 1}),
    (SUSPENDED, {"suspended": 1}, {}, None),
    (SUSPENDED, {"suspended": 1}, {"suspended": 1, "releases_cpus": True}, {"suspended": 1, "releases_cpus": True}),
    (ENDED, {}, {"requeued": 1}, {"requeued": 1}),
    (ENDED, {"requeued": 1}, {"requeued": 1, "held": True}, {"requeued": 1, "held": True}),
    (ENDED, {"requeued": 1}, {"cancelled_at": 1.0}, BY_ADA),
    (ENDED, {}, {"requeued": 1, "held": True}, {"requeued": 1, "held": True}),
    (RUNNING, {}, {"requeued": 1, "held": True}, {"requeued": 1, "held": True}),
]
REFUSED: list[tuple[Any, dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    # phase, more of the spec, wish before, wish that is asked for, why not
    (RUNNING, {}, {}, {"held": True}, "job 7 is running; only queued jobs can be held"),
    (RUNNING, {}, {"held": True}, {}, "job 7 is not held (running)"),
    (RUNNING, {}, {}, {"begin_at": 5.0}, "job 7 is running; only a queued job has a begin time"),
    (ENDED, {}, {}, {"cancelled_at": 1.0}, "job 7 has already ended (failed)"),
    (ENDED, {}, {}, {"suspended": 1}, "job 7 is failed; only running jobs can be suspended"),
    (THERE, {}, {}, {"suspended": 1}, "job 7 runs on cluster hpc, where gflow cannot suspend it"),
    (ENDED, {}, {}, {"requeued": 5}, "job 7 cannot have requeued set to 5 now"),
    (ENDED, LATE, {}, {"requeued": 1}, "job 7 cannot be requeued: the deadline has passed"),
    (ENDED, {}, {"requeued": 1}, {}, "job 7 is already queued"),
    (RUNNING, {}, {"requeued": 1}, {}, "job 7 is already waiting to be requeued (running)"),
    (RUNNING, {}, CANCELLED, {"held": True}, "job 7 cannot have requeued set to 0 now"),
    (RUNNING, {}, CANCELLED, {**CANCELLED, "suspended": 1}, "job 7 is being cancelled; only running jobs"),
    (RUNNING, {}, {}, {"suspended": 2}, "job 7 cannot have suspended set to 2 now"),
    (RUNNING, {}, {}, {"releases_cpus": True}, "job 7 is not suspended (running)"),
    (RUNNING, {}, {"suspended": 1, "releases_cpus": True}, {"suspended": 1}, "job 7 is already suspended"),
    (SUSPENDED, {}, {}, {"releases_cpus": True}, "job 7 is already to go on"),
    (STOPPING, {}, {}, {"cancelled_at": 1.0}, "job 7 is already being stopped (TimeLimit)"),
    (None, {}, {}, {"cancelled_at": 1.0, "only_run": True}, "job 7 is no run of a series"),
    (None, {}, {}, {"cancelled_at": 1.0, "requeued": 1}, "job 7 cannot have requeued set to 1 now"),
    (None, {}, {}, {"only_run": True}, "job 7 cannot have only_run set to True now"),
    (None, {}, {}, {"requeued": 1}, "job 7 is already queued"),
    (AGAIN, {}, {"requeued": 1}, {"requeued": 2}, "job 7 is already queued"),
]


@pytest.mark.parametrize(("phase", "before", "wanted", "written"), GRANTED)
def test_what_may_be_wished(phase: Any, before: Any, wanted: Any, written: Any) -> None:
    records = _records(phase, before)
    assert ask(["wish", 7, wanted], of=records) == [("wish", 7, written)]
    assert ask(["wish", 7, wanted], of=records, requester=OPERATOR)


@pytest.mark.parametrize(("phase", "more", "before", "wanted", "why"), REFUSED)
def test_what_may_not(phase: Any, more: Any, before: Any, wanted: Any, why: str) -> None:
    for requester in (ADA, OPERATOR):
        with pytest.raises(Refused) as caught:
            ask(["wish", 7, wanted], of=_records(phase, before, more), requester=requester)
        assert str(caught.value).startswith(why)


def test_a_run_of_a_series_can_be_cancelled_alone_and_then_with_its_series() -> None:
    alone = {"cancelled_at": 1.0, "only_run": True}
    written = {**BY_ADA, "only_run": True}
    assert ask(["wish", 7, alone], of=_records(None, {}, SERIES)) == [("wish", 7, written)]
    assert ask(["wish", 7, {**written, "only_run": False}], of=_records(None, written, SERIES)) == [("wish", 7, BY_ADA)]
    with pytest.raises(Refused, match="cannot have only_run set to False"):
        ask(["wish", 7, {**written, "only_run": False}], of=_records(RUNNING, written, SERIES))


def test_a_job_that_is_retried_can_be_cancelled_while_it_is_stopped() -> None:
    retried = {"retry": {"max_retries": 1}}
    assert ask(["wish", 7, {"cancelled_at": 1.0}], of=_records(STOPPING, {}, retried)) == [("wish", 7, BY_ADA)]


def test_operators_move_jobs_to_the_front_at_the_time_that_it_is() -> None:
    assert ask(["wish", 7, {"top_at": 1e9}], of=_records(None, {}), requester=OPERATOR) == [
        ("wish", 7, {"top_at": NOW})
    ]
    assert ask(["wish", 7, {"held": True, "top_at": 3.0}], of=_records(None, {"top_at": 3.0})) == [
        ("wish", 7, {"held": True, "top_at": 3.0})
    ]
    with pytest.raises(Refused, match="job 7 is finished; only queued jobs can be moved to the front"):
        ask(["wish", 7, {"top_at": 1.0}], of=_records(FINISHED, {}), requester=OPERATOR)


def test_an_element_of_an_array_is_wished_for_by_itself() -> None:
    array = Records(spec={7: {**ADAS, "family": {"ranges": [[1, 3, 1]]}}}, phase={8: RUNNING})
    assert ask(["wish", 9, {"held": True}], of=array) == [("wish", 9, {"held": True})]
    with pytest.raises(Refused, match="job 7_2 is running; only queued jobs can be held"):
        ask(["wish", 8, {"held": True}], of=array)
    with pytest.raises(Refused, match="no job 10"):
        ask(["wish", 10, {"held": True}], of=array)
    with pytest.raises(Refused, match="a new job can only be held"):
        ask(["spec", 1 << 40, ADAS], ["wish", 1 << 40, {"begin_at": 5.0}], of=array)


def test_what_gflowctl_says_where_there_is_nothing_to_do() -> None:
    running = codec.job(7, ADAS, {"cancelled_at": 5.0}, RUNNING)
    assert wish_rules.cancelled(running, "ada", NOW, is_alone=False) == "is already being cancelled"
    assert wish_rules.released(codec.job(7, ADAS, None, None), None, NOW) == "is not held"
    assert wish_rules.released(codec.job(7, ADAS, None, None), 9.0, NOW) == Wish(begin_at=9.0)
    assert wish_rules.held(codec.job(7, ADAS, {"held": True}, None)) == "is already held"
    with pytest.raises(Refused, match="only a queued job has a begin time"):
        wish_rules.released(running, 5.0, NOW)


def _records(phase: Any, wish: Any, more: Any = None) -> Records:
    found = Records(spec={7: {**ADAS, **(more or {})}}, wish={7: wish} if wish else {})
    if phase is not None:
        found.of("phase")[7] = phase
    return found
