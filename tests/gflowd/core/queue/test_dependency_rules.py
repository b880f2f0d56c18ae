from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.errors import Refused
from gflowd.core.job.dependencies import ALL, ANY, Dependency, Needs
from gflowd.core.job.model import (
    CANCELLED,
    ENDED_STATES,
    FAILED,
    FINISHED,
    TIMEOUT,
    Ended,
    Identity,
    Phase,
    Queued,
    Run,
    Running,
    Started,
    Starting,
    Stopping,
    Suspended,
)
from gflowd.core.queue import dependency_rules
from gflowd.core.queue.dependency_rules import Never, Outcome, Satisfied, Verdict, Waiting

RUN = Run(executor="tmux", launched_at=1.0)
STARTED = Started(at=100.0, mono=1.0, identity=Identity("boot", 1, 2))
RUNNING = Running(run=RUN, started=STARTED)
STOPPING = Stopping(run=RUN, started=STARTED, why="Strays", since_at=1.0, since_mono=1.0, since_boot="boot")
SUSPENDED = Suspended(run=RUN, started=STARTED, since_at=1.0, since_mono=1.0, since_boot="boot")
UNBEGUN = STOPPING.replace(started=None)
NOW = 1000.0


def ended(state: str, started_at: float | None = 100.0) -> Ended:
    return Ended(state=state, ended_at=200.0, started_at=started_at)


def judged(kind: str, *phases: Phase, delay: float = 0.0, now: float = NOW) -> Verdict:
    """The verdict on a dependency on one job, or on an array with an element per phase."""
    whole = Outcome(jobs=len(phases))
    for phase in phases:
        whole = dependency_rules.moved(whole, dependency_rules.of(Queued()), dependency_rules.of(phase))
    return dependency_rules.judge_one(Dependency(kind=kind, id=7, delay=delay), whole, now)


SATISFIED, WAITING, NEVER = Satisfied(), Waiting(), Never(7)
QUEUED = Queued()


@pytest.mark.parametrize(
    ("kind", "phase", "verdict"),
    [
        *((kind, phase, WAITING) for kind in ("afterok", "aftercorr", "afterany", "afternotok")
          for phase in (QUEUED, Starting(run=RUN), RUNNING, STOPPING, UNBEGUN)),
        ("afterok", ended(FINISHED), SATISFIED),
        *(("afterok", ended(state), NEVER) for state in (FAILED, CANCELLED, TIMEOUT)),
        ("aftercorr", ended(FINISHED), SATISFIED),
        ("aftercorr", ended(FAILED), NEVER),
        *(("afterany", ended(state), SATISFIED) for state in ENDED_STATES),
        ("afternotok", ended(FINISHED), NEVER),
        *(("afternotok", ended(state), SATISFIED) for state in (FAILED, CANCELLED, TIMEOUT)),
        *(("after", phase, WAITING) for phase in (QUEUED, Starting(run=RUN), UNBEGUN)),
        *(("after", phase, SATISFIED)
          for phase in (RUNNING, SUSPENDED, STOPPING, ended(FAILED), ended(CANCELLED, None))),
        ("after", Queued(attempt=2), WAITING),
        ("afterok", Queued(attempt=2), WAITING),
    ],
)  # fmt: skip
def test_a_single_job(kind: str, phase: Phase, verdict: Verdict) -> None:
    assert judged(kind, phase) == verdict


@pytest.mark.parametrize(
    ("kind", "phases", "verdict"),
    [
        ("afterok", [ended(FINISHED), ended(FINISHED)], SATISFIED),
        ("afterok", [ended(FINISHED), RUNNING], WAITING),
        ("afterok", [ended(FAILED), RUNNING], NEVER),
        ("afterany", [ended(FAILED), RUNNING], WAITING),
        ("afterany", [ended(FAILED), ended(FINISHED)], SATISFIED),
        ("afternotok", [ended(FAILED), RUNNING], WAITING),
        ("afternotok", [ended(FAILED), ended(FINISHED)], SATISFIED),
        ("afternotok", [ended(FINISHED), ended(FINISHED)], NEVER),
        ("after", [RUNNING, QUEUED], WAITING),
        ("after", [RUNNING, ended(FAILED)], SATISFIED),
    ],
)
def test_a_whole_array(kind: str, phases: list[Phase], verdict: Verdict) -> None:
    assert judged(kind, *phases) == verdict


def test_the_delay_counts_from_the_start() -> None:
    assert judged("after", RUNNING, delay=60.0, now=159.9) == Waiting(160.0)
    assert judged("after", RUNNING, delay=60.0, now=160.0) == SATISFIED
    assert judged("after", ended(FAILED), delay=60.0, now=159.9) == Waiting(160.0)


def test_the_delay_counts_from_the_cancellation_of_a_job_that_never_started() -> None:
    assert judged("after", ended(CANCELLED, None), delay=60.0, now=259.9) == Waiting(260.0)


def test_the_delay_on_an_array_counts_from_its_last_start() -> None:
    later = RUNNING.replace(started=STARTED.replace(at=130.0))
    for phases in ((RUNNING, later), (later, RUNNING)):
        assert judged("after", *phases, delay=60.0, now=150.0) == Waiting(190.0)


@pytest.mark.parametrize("kind", ["afterok", "aftercorr", "afterany", "afternotok", "after"])
def test_what_nothing_is_known_of_never_comes(kind: str) -> None:
    assert dependency_rules.judge_one(Dependency(kind=kind, id=7), dependency_rules.UNKNOWN, NOW) == NEVER


def test_begun_without_a_time_is_not_begun() -> None:
    assert dependency_rules.judge_one(Dependency(kind="after", id=7), Outcome(begun=1), NOW) == WAITING


def test_a_singleton_waits_for_its_namesakes_but_is_never_lost() -> None:
    alone = Dependency(kind="singleton")
    assert dependency_rules.judge_one(alone, Outcome(jobs=0), NOW) == SATISFIED
    assert dependency_rules.judge_one(alone, Outcome(jobs=3), NOW) == WAITING


OK, BAD, OPEN = dependency_rules.of(ended(FINISHED)), dependency_rules.of(ended(FAILED)), Outcome()
LATE = Outcome(begun=1, begun_at=990.0)


@pytest.mark.parametrize(
    ("mode", "known", "verdict"),
    [
        (ALL, [], SATISFIED),
        (ANY, [], SATISFIED),
        (ALL, [OK, OK], SATISFIED),
        (ALL, [OK, OPEN], WAITING),
        (ALL, [OPEN, BAD, BAD], Never(2)),
        (ANY, [OPEN, OK], SATISFIED),
        (ANY, [BAD, OK], SATISFIED),
        (ANY, [BAD, OPEN], WAITING),
        (ANY, [BAD, BAD], Never(1)),
    ],
)
def test_all_or_any(mode: str, known: list[Outcome], verdict: Verdict) -> None:
    table = dict(enumerate(known, 1))
    needs = Needs(dependencies=tuple(Dependency(kind="afterok", id=job_id) for job_id in table), mode=mode)
    assert dependency_rules.judge(needs, lambda each: table[each.id or 0], NOW) == verdict


def test_the_earliest_time_is_told() -> None:
    needs = Needs(dependencies=tuple(Dependency(kind="after", id=1, delay=delay) for delay in (60.0, 20.0, 40.0)))
    assert dependency_rules.judge(needs, lambda _: LATE, NOW) == Waiting(1010.0)


PHASES = st.sampled_from(
    [QUEUED, Starting(run=RUN), RUNNING, UNBEGUN, *(ended(state) for state in ENDED_STATES), ended(CANCELLED, None)]
)


@given(st.lists(st.tuples(st.integers(0, 4), PHASES), max_size=30))
def test_an_array_is_the_sum_of_its_elements(steps: list[tuple[int, Phase]]) -> None:
    elements: dict[int, Phase] = dict.fromkeys(range(5), QUEUED)
    whole = Outcome(jobs=5)
    for index, phase in steps:
        whole = dependency_rules.moved(whole, dependency_rules.of(elements[index]), dependency_rules.of(phase))
        elements[index] = phase
    each = [dependency_rules.of(phase) for phase in elements.values()]
    assert (whole.begun, whole.ended, whole.finished) == (
        sum(one.begun for one in each),
        sum(one.ended for one in each),
        sum(one.finished for one in each),
    )
    assert (whole.begun_at or 0) >= max(one.begun_at or 0 for one in each)
    assert (whole.ended_at or 0) >= max(one.ended_at or 0 for one in each)


@given(st.lists(PHASES, min_size=1, max_size=5), st.integers(0, 4), st.sampled_from(ENDED_STATES))
def test_what_is_lost_stays_lost_and_what_came_stays(phases: list[Phase], place: int, state: str) -> None:
    """An end of what has not ended yet takes back no verdict, and at the end of all none waits."""
    over = [phase if isinstance(phase, Ended) else ended(state) for phase in phases]
    for kind in ("afterok", "afterany", "afternotok", "after"):
        before, after = judged(kind, *phases), judged(kind, *over)
        assert before in (after, WAITING)
        assert after != WAITING


def test_aftercorr_means_the_element_of_the_same_index() -> None:
    other = Dependency(kind="aftercorr", id=42)
    assert dependency_rules.corresponding(other, 3, {1: 42, 3: 44}.get) == Dependency(
        kind="afterok", id=44, element=True
    )
    assert dependency_rules.corresponding(other, 1, {1: 42, 3: 44}.get) == Dependency(
        kind="afterok", id=42, element=True
    )
    assert dependency_rules.corresponding(other, None, {1: 42}.get) == Dependency(kind="afterok", id=42)
    assert dependency_rules.corresponding(other, 3, None) == Dependency(kind="afterok", id=42)
    with pytest.raises(Refused, match="array 42 has no element 2"):
        dependency_rules.corresponding(other, 2, {1: 42, 3: 44}.get)


def test_a_dependency_is_met_at_the_end_or_for_after_at_the_start_and_its_delay() -> None:
    outcome = Outcome(begun=1, begun_at=10.0, ended=1, ended_at=50.0, finished=1)
    assert dependency_rules.met_at(Dependency(kind="afterok", id=1), outcome) == 50.0
    assert dependency_rules.met_at(Dependency(kind="after", id=1, delay=5.0), outcome) == 15.0
    assert dependency_rules.met_at(Dependency(kind="after", id=1), Outcome(jobs=0)) is None
