from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import depth

from gflowd.core.job.dependencies import ALL, ALONE, ANY, Dependency, Needs
from gflowd.core.queue import dependency_rules
from gflowd.core.queue.dependency_graph import DependencyGraph
from gflowd.core.queue.dependency_rules import Never, Outcome, Satisfied, Verdict, Waiting

SATISFIED, WAITING = Satisfied(), Waiting()
OK = Outcome(begun=1, begun_at=10.0, ended=1, finished=1)
BAD = OK.replace(finished=0)
RUNS = Outcome(begun=1, begun_at=10.0)
MANY = depth.number(10_000, 2000)  # more than Python's stack is deep


def needs(*ids: int, kind: str = "afterok", mode: str = ALL, auto_cancel: bool = True, delay: float = 0.0) -> Needs:
    found = tuple(Dependency(kind=kind, id=job_id, delay=delay) for job_id in ids)
    return Needs(dependencies=found, mode=mode, auto_cancel=auto_cancel)


class World:
    """What is known of each job, and how often it was asked for."""

    def __init__(self) -> None:
        self.known: dict[int, Outcome] = {}
        self.looks = 0
        self.graph = DependencyGraph()

    def look(self, each: Dependency) -> Outcome:
        self.looks += 1
        return self.known.get(each.id or 0, Outcome())

    def add(self, job_id: int, wanted: Needs, now: float = 20.0) -> None:
        self.graph.add(job_id, wanted, self.look, now)

    def becomes(self, job_id: int, outcome: Outcome, now: float = 20.0) -> None:
        self.known[job_id] = outcome
        self.graph.hear(job_id, self.look, now)

    def settle(self) -> dict[int, Verdict]:
        """Reads the news, cancelling who can never start, as the scheduler does."""
        decided: dict[int, Verdict] = {}
        for job_id, verdict in self.graph.news():
            assert job_id not in decided
            decided[job_id] = verdict
            if isinstance(verdict, Never):
                self.graph.remove(job_id)
                self.becomes(job_id, BAD)
        return decided


def test_a_job_without_needs_may_start() -> None:
    world = World()
    world.add(1, Needs())
    world.add(2, Needs(mode=ANY))
    assert world.settle() == {1: SATISFIED, 2: SATISFIED}
    assert world.graph.verdict(3) == SATISFIED


def test_an_end_frees_those_that_wait_for_it() -> None:
    world = World()
    world.add(3, needs(1, 2))
    world.add(4, needs(1))
    assert world.settle() == {}
    assert world.graph.verdict(3) == WAITING
    world.becomes(1, OK)
    assert world.settle() == {4: SATISFIED}
    world.becomes(2, OK)
    assert world.settle() == {3: SATISFIED}
    assert world.settle() == {}


def test_what_ended_before_counts_at_once() -> None:
    world = World()
    world.known = {1: OK, 2: BAD}
    world.add(3, needs(1))
    world.add(4, needs(2))
    assert world.settle() == {3: SATISFIED, 4: Never(2)}


def test_the_first_lost_dependency_is_named() -> None:
    world = World()
    world.add(4, needs(1, 2, 3, auto_cancel=False))
    world.becomes(3, BAD)
    assert world.graph.verdict(4) == Never(3)
    world.becomes(2, BAD)
    assert world.graph.verdict(4) == Never(2)
    world.becomes(1, OK)
    assert world.graph.verdict(4) == Never(2)
    assert list(world.graph.news()) == [(4, Never(2))]


def test_any_needs_one_and_is_lost_with_the_last() -> None:
    world = World()
    world.add(4, needs(1, 2, mode=ANY))
    world.add(5, needs(2, 3, mode=ANY))
    world.becomes(2, BAD)
    assert world.settle() == {}
    world.becomes(1, OK)
    world.becomes(3, BAD)
    assert world.settle() == {4: SATISFIED, 5: Never(2)}


def test_what_is_once_decided_stands() -> None:
    world = World()
    world.add(3, needs(1, 2))
    world.becomes(1, OK)
    world.becomes(1, BAD)
    assert world.graph.verdict(3) == WAITING
    world.becomes(2, OK)
    assert world.graph.verdict(3) == SATISFIED


def test_several_dependencies_on_one_job_are_told_apart() -> None:
    world = World()
    world.add(2, Needs(dependencies=(Dependency(kind="after", id=1), Dependency(kind="afterany", id=1))))
    world.becomes(1, RUNS)
    assert world.graph.verdict(2) == WAITING
    world.becomes(1, BAD)
    assert world.graph.verdict(2) == SATISFIED


def test_a_delay_passes_without_anything_happening() -> None:
    world = World()
    assert world.graph.next_time() is None
    world.add(2, needs(1, kind="after", delay=60.0))
    world.add(3, needs(1, kind="after", delay=30.0))
    assert world.graph.next_time() is None
    world.becomes(1, RUNS)
    assert world.graph.next_time() == 40.0
    world.graph.pass_time(world.look, 39.9)
    assert world.settle() == {}
    world.graph.pass_time(world.look, 40.0)
    assert world.settle() == {3: SATISFIED}
    assert world.graph.next_time() == 70.0
    world.graph.remove(2)
    assert world.graph.next_time() is None


def test_time_that_passes_for_a_job_that_is_gone_is_nobodys() -> None:
    world = World()
    world.known = {1: RUNS}
    world.add(2, needs(1, kind="after", delay=60.0))
    world.graph.remove(2)
    world.graph.pass_time(world.look, 100.0)
    assert world.settle() == {}


def test_a_singleton_starts_when_it_is_alone() -> None:
    world = World()
    world.add(2, Needs(dependencies=(*needs(1).dependencies, *ALONE.dependencies)))
    world.add(3, Needs(dependencies=(*needs(1).dependencies, *ALONE.dependencies), mode=ANY))
    assert world.settle() == {3: SATISFIED}
    assert world.graph.verdict(3, alone=False) == WAITING
    world.becomes(1, OK)
    assert world.settle() == {2: SATISFIED}
    assert world.graph.verdict(2, alone=False) == WAITING
    assert world.graph.verdict(3, alone=False) == SATISFIED


def test_needs_taken_in_anew_replace_the_old() -> None:
    world = World()
    world.known = {1: OK}
    world.add(3, needs(1))
    world.add(3, needs(2))
    assert world.graph.affected(1) == ()
    assert world.graph.affected(2) == (3,)
    assert world.settle() == {}
    world.add(3, needs(1))
    world.add(3, needs(1, 4, mode=ANY))
    assert world.settle() == {3: SATISFIED}


def test_who_is_gone_is_not_in_the_news() -> None:
    world = World()
    world.known = {1: OK}
    world.add(2, needs(1))
    world.graph.remove(2)
    world.graph.remove(2)
    assert world.settle() == {}


def test_after_a_requeue_the_affected_wait_again() -> None:
    world = World()
    world.add(3, needs(1, 2))
    world.add(4, needs(1))
    world.becomes(1, OK)
    world.known[1] = Outcome()
    assert world.graph.affected(1) == (3, 4)
    for job_id in world.graph.affected(1):
        world.add(job_id, needs(1))
    assert world.settle() == {}
    assert world.graph.verdict(3) == WAITING


def test_a_chain_of_thousands_falls_in_linear_time() -> None:
    world = World()
    for job_id in range(2, MANY + 1):
        world.add(job_id, needs(job_id - 1))
    world.becomes(1, BAD)
    assert world.settle() == {job_id: Never(job_id - 1) for job_id in range(2, MANY + 1)}
    assert world.looks <= 2 * MANY


def test_a_chain_of_thousands_runs_through_in_linear_time() -> None:
    world = World()
    for job_id in range(2, MANY + 1):
        world.add(job_id, needs(job_id - 1))
    for job_id in range(1, MANY):
        world.becomes(job_id, OK)
        assert world.settle() == {job_id + 1: SATISFIED}
        world.graph.remove(job_id + 1)
    assert world.looks <= 2 * MANY


@pytest.mark.parametrize("mode", [ALL, ANY])
def test_a_fan_in_of_thousands_settles_in_linear_time(mode: str) -> None:
    world = World()
    last = MANY + 1
    world.add(last, needs(*range(1, last), mode=mode))
    for job_id in range(1, last):
        assert world.graph.verdict(last) == WAITING
        world.becomes(job_id, OK if mode == ALL else BAD)
    assert world.settle() == {last: SATISFIED if mode == ALL else Never(1)}
    assert world.looks <= 2 * MANY


def test_a_fan_out_of_thousands_settles_in_linear_time() -> None:
    world = World()
    for job_id in range(2, MANY + 2):
        world.add(job_id, needs(1))
    world.becomes(1, BAD)
    assert len(world.settle()) == MANY
    assert world.looks == 2 * MANY


def test_one_job_waits_for_a_large_array_at_the_cost_of_one_look_per_end() -> None:
    world = World()
    whole = Outcome(jobs=MANY)
    world.known[1] = whole
    world.add(MANY + 1, needs(1))
    for _ in range(MANY):
        whole = dependency_rules.moved(whole, Outcome(), OK)
        world.becomes(1, whole)
    assert world.settle() == {MANY + 1: SATISFIED}
    assert world.looks == MANY + 1


KINDS = st.sampled_from(["afterok", "afterany", "afternotok", "after"])
DEPENDENCIES = st.builds(
    lambda kind, job_id, delay: Dependency(kind=kind, id=job_id, delay=delay if kind == "after" else 0.0),
    KINDS,
    st.integers(1, 4),
    st.sampled_from([0.0, 7.0, 13.0]),
) | st.just(Dependency(kind="singleton"))
NEEDS = st.builds(
    lambda found, mode: Needs(dependencies=tuple(found), mode=mode),
    st.lists(DEPENDENCIES, max_size=5),
    st.sampled_from([ALL, ANY]),
)
FORWARD = [Outcome(), Outcome(begun=1, begun_at=10.0), OK, BAD]


@given(
    st.lists(NEEDS, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.floats(0, 5)), max_size=10),
    st.booleans(),
)
def test_the_graph_says_what_judging_everything_anew_says(
    wanted: list[Needs], steps: list[tuple[int, int, float]], alone: bool
) -> None:
    world = World()
    now = 10.0
    jobs = dict(enumerate(wanted, 100))
    told: dict[int, Verdict] = {}

    def everything(each: Dependency) -> Outcome:
        return Outcome(jobs=0 if alone else 1) if each.id is None else world.known.get(each.id, Outcome())

    for job_id, each in jobs.items():
        world.add(job_id, each, now)
    for job_id, stage, passing in [(0, 0, 0.0), *steps]:
        now += passing
        world.graph.pass_time(world.look, now)
        if not world.known.get(job_id, Outcome()).ended:
            world.becomes(job_id, FORWARD[stage], now)
        told.update(world.graph.news())
        edges = []
        for other, each in jobs.items():
            verdict = dependency_rules.judge(each, everything, now)
            seen = world.graph.verdict(other, alone=alone)
            if isinstance(verdict, Waiting):
                assert seen == WAITING
                edges += [] if verdict.until is None else [verdict.until]
            else:
                assert seen == verdict
                assert other in told
        coming = world.graph.next_time()
        assert not edges or (coming is not None and now < coming <= min(edges))


def test_needs_are_met_when_the_last_has_come_or_the_first_where_that_is_enough() -> None:
    world = World()
    early, late = OK.replace(ended_at=30.0), OK.replace(ended_at=50.0)
    world.known = {1: late, 2: early}
    world.add(3, needs(1, 2))
    world.add(4, needs(1, 2, mode=ANY))
    world.add(5, needs(2, 1, mode=ANY))
    world.add(6, Needs())
    world.add(7, needs(8))
    assert [world.graph.met_at(job_id) for job_id in (3, 4, 5, 6, 7, 99)] == [50.0, 30.0, 30.0, None, None, None]
    world.becomes(8, OK)
    assert world.graph.met_at(7) is None, "nobody knows when it ended"


def test_a_delay_was_over_when_it_was_and_not_when_somebody_looked() -> None:
    world = World()
    world.known = {1: RUNS}
    world.add(2, needs(1, kind="after", delay=15.0), 20.0)
    assert world.graph.met_at(2) is None
    world.graph.pass_time(world.look, 90.0)
    assert world.graph.met_at(2) == 25.0
