from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World, array, needs

from gflowd.core import codec, reasons
from gflowd.core.book import Book
from gflowd.core.model import Ended, Identity, Phase, Queued, Run, Running, Spec, Started, Starting, Stopping, Wish
from gflowd.core.retries import Retry

RUN = Run(executor="tmux", launched_at=1.0)
STARTED = Started(at=1.0, mono=1.0, identity=Identity("b", 1, 1))
LIVE: dict[str, Phase] = {
    "starting": Starting(run=RUN),
    "running": Running(run=RUN, started=STARTED),
    "stopping": Stopping(run=RUN, started=STARTED, why="x", since_at=1.0, since_mono=1.0, since_boot="b"),
}


class Records:
    """What a snapshot holds, and a book that follows it."""

    def __init__(self) -> None:
        self.specs: dict[int, object] = {}
        self.wishes: dict[int, object] = {}
        self.phases: dict[int, object] = {}
        self.book = Book()
        self.now = 0.0

    def submit(self, job_id: int, priority: int = 10, begin_at: float | None = None) -> None:
        spec = Spec(command=("x",), name="x", user="u", cwd="/", env="e", submitted_at=1.0)
        self.specs[job_id] = codec.encode(spec.replace(priority=priority, begin_at=begin_at))
        self.refresh(job_id, specs=True)

    def wish(self, job_id: int, **fields: object) -> None:
        self.wishes[job_id] = codec.encode(Wish().replace(**fields))
        self.refresh(job_id)

    def phase(self, job_id: int, phase: Phase) -> None:
        self.phases[job_id] = codec.encode_phase(phase)
        self.refresh(job_id)

    def refresh(self, *ids: int, specs: bool = False) -> None:
        touched = self.book.refresh(ids if specs else (), ids, self.specs, self.wishes, self.phases)
        self.book.settle(touched, self.now)

    def pass_time(self, now: float) -> None:
        self.now = now
        self.book.settle((), now)

    def order(self) -> list[int]:
        return [job.id for job in self.book.queue()]


def test_ends_matter_beyond_their_resources_while_somebody_waits_for_others_or_an_array_is_limited() -> None:
    world = World()
    first = world.submit()
    world.settle()
    assert not world.book.heeds_ends()
    world.submit(needs=needs(first))
    world.settle()
    assert world.book.heeds_ends()
    world = World()
    world.submit(family=array(3, max_concurrent=1))
    world.settle()
    assert world.book.heeds_ends()


def test_an_array_that_leaves_takes_its_jobs_along_also_while_somebody_waits_for_others() -> None:
    for waits in (False, True):
        world = World()
        first = world.submit(family=array(3, max_concurrent=None))
        if waits:
            world.submit(needs=needs(first))
        world.settle()
        world.forget(first)
        world.settle()
        assert not world.book.queued.keys() & {first, first + 1, first + 2}


def test_the_queue_is_by_priority_then_of_equal_jobs_by_submission() -> None:
    records = Records()
    for job_id, priority in ((1, 10), (2, 20), (3, 10), (4, 20), (5, 0)):
        records.submit(job_id, priority)
    assert records.order() == [2, 4, 1, 3, 5]


def test_a_changed_priority_moves_the_job() -> None:
    records = Records()
    for job_id in (1, 2, 3):
        records.submit(job_id)
    records.submit(3, priority=11)
    assert records.order() == [3, 1, 2]
    records.submit(3, priority=9)
    assert records.order() == [1, 2, 3]


def test_a_started_job_leaves_the_queue_for_the_live_and_an_ended_one_leaves_both() -> None:
    records = Records()
    records.submit(1)
    for phase in LIVE.values():
        records.phase(1, phase)
        assert records.order() == []
        assert records.book.live[1].phase == phase
    records.phase(1, Ended(state="finished", ended_at=2.0))
    assert (records.book.queued, records.book.live) == ({}, {})


def test_begin_times_are_edges_until_they_have_passed() -> None:
    records = Records()
    records.submit(1, begin_at=50.0)
    records.submit(2, begin_at=40.0)
    records.submit(3)
    assert records.book.edges(0.0) == (40.0, 50.0)
    assert records.order() == [3]
    records.pass_time(40.0)
    assert records.book.edges(40.0) == (50.0,)
    assert records.order() == [3, 2], "one that had to come first has waited for less long"
    records.wish(1, begin_at=60.0)
    assert records.book.edges(40.0) == (60.0,)
    records.pass_time(50.0)
    assert records.order() == [3, 2], "the time that was asked for before is no more"
    records.pass_time(60.0)
    assert records.order() == [3, 2, 1]
    assert records.book.edges(60.0) == ()


def test_a_job_touched_while_it_waits_for_its_time_is_in_line_once() -> None:
    records = Records()
    records.submit(1, begin_at=50.0)
    records.submit(1, priority=20, begin_at=50.0)
    records.pass_time(50.0)
    assert records.order() == [1]
    records.phase(1, LIVE["starting"])
    assert records.order() == []


def test_a_retry_waits_for_its_delay() -> None:
    records = Records()
    records.submit(1)
    records.phase(1, LIVE["running"])
    records.phase(1, Queued(attempt=2, begin_at=30.0))
    assert (records.order(), records.book.edges(0.0)) == ([], (30.0,))
    records.pass_time(30.0)
    assert records.order() == [1]


def test_what_is_put_to_the_front_goes_before_any_priority_the_latest_first() -> None:
    records = Records()
    for job_id, priority in ((1, 10), (2, 20), (3, 10), (4, 10)):
        records.submit(job_id, priority)
    records.wish(3, top_at=1.0)
    records.wish(1, top_at=2.0)
    assert records.order() == [1, 3, 2, 4]


def test_the_begin_time_of_a_held_or_started_job_is_no_edge() -> None:
    records = Records()
    records.submit(1, begin_at=50.0)
    records.submit(2, begin_at=60.0)
    records.wish(1, held=True)
    records.phase(2, LIVE["starting"])
    assert records.book.edges(0.0) == ()
    assert records.order() == []
    records.wish(1, held=False)
    assert records.book.edges(0.0) == (50.0,)


def test_only_queued_jobs_whose_cancellation_is_wished_are_unwanted() -> None:
    records = Records()
    records.submit(1)
    records.submit(2)
    records.phase(2, LIVE["running"])
    for job_id in (1, 2):
        records.wish(job_id, cancelled_by="u", cancelled_at=3.0)
    assert [job.id for job in records.book.unwanted()] == [1]
    assert records.order() == [], "it takes no other job's place"
    records.phase(1, Ended(state="cancelled", ended_at=4.0))
    assert not list(records.book.unwanted())


def test_an_id_without_a_spec_is_forgotten() -> None:
    records = Records()
    records.submit(1)
    records.wish(7, held=True)
    assert 7 not in records.book.queued
    del records.specs[1]
    records.refresh(1, specs=True)
    assert records.book.queued == {}
    assert records.order() == []


PHASES = st.sampled_from([*LIVE.values(), Ended(state="finished", ended_at=2.0)])
STEPS = st.one_of(
    st.tuples(st.just("submit"), st.integers(1, 5), st.integers(0, 3), st.none() | st.floats(1, 9)),
    st.tuples(st.just("wish"), st.integers(1, 5), st.booleans(), st.none() | st.floats(1, 9)),
    st.tuples(st.just("phase"), st.integers(1, 5), PHASES),
    st.tuples(st.just("forget"), st.integers(1, 5)),
)


@given(st.lists(STEPS, max_size=25))
def test_following_step_by_step_is_the_same_as_reading_at_once(steps: list[tuple[object, ...]]) -> None:
    records = Records()
    for step in steps:
        match step:
            case "submit", int(job_id), int(priority), begin_at:
                records.submit(job_id, priority, begin_at)  # type: ignore[arg-type]
            case "wish", int(job_id), held, cancelled_at:
                records.wish(job_id, held=held, cancelled_at=cancelled_at)
            case "phase", int(job_id), phase:
                records.phase(job_id, phase)  # type: ignore[arg-type]
            case _, int(job_id):
                records.specs.pop(job_id, None)
                records.refresh(job_id, specs=True)
    anew = Book()
    anew.settle(anew.refresh(records.specs, (), records.specs, records.wishes, records.phases), records.now)
    book = records.book
    assert (anew.queued, anew.live) == (book.queued, book.live)
    assert list(anew.queue()) == list(book.queue())
    assert anew.edges(0.0) == book.edges(0.0)
    assert {job.id for job in anew.unwanted()} == {job.id for job in book.unwanted()}


def test_an_array_is_one_spec_with_many_jobs() -> None:
    world = World()
    world.submit(cpus=4)
    world.submit(family=array(3))
    world.submit(priority=20, cpus=3)
    world.settle()
    assert [job.id for job in world.book.queue()] == [5, 1, 2, 3, 4]
    assert [job.array_id for job in world.book.queue()] == [None, None, 2, 2, 2]
    assert len({id(job.spec) for job in world.book.queue()}) == 3
    world.wish(3, held=True)
    world.update(2, world.spec(2).replace(priority=30))
    world.settle()
    assert [job.id for job in world.book.queue()] == [2, 4, 5, 1]
    assert world.book.queued[3].spec.priority == 30


def test_an_array_at_its_limit_is_passed_over_in_every_band() -> None:
    world = World()
    world.submit(family=array(4, max_concurrent=2), cpus=0)
    world.submit(cpus=0)
    world.wish(3, top_at=1.0)
    world.settle()
    assert [job.id for job in world.book.queue()] == [3, 1, 5]
    world.tick()
    assert world.book.waiting(9) == {2: reasons.GROUP}
    assert world.states() == {1: "starting", 2: "queued", 3: "starting", 4: "queued", 5: "starting"}
    world.limits[1] = {"max_concurrent": 3}
    world.tick()
    assert (world.state(2), world.state(4)) == ("starting", "queued")
    world.limits[1] = {"max_concurrent": 1}
    for job_id in (1, 2):
        world.end(world.key(job_id))
    world.run_down(9)
    assert world.state(4) == "queued"
    world.end(world.key(3))
    world.run_down(9)
    assert world.state(4) == "starting"


def test_who_may_not_start_takes_no_place_of_its_array() -> None:
    world = World()
    world.submit(family=array(5, max_concurrent=1), retry=Retry(max_retries=1, delay=60.0))
    world.tick()
    world.end(world.key(1), 1)
    world.wish(2, held=True)
    world.cancel(3)
    world.wish(4, begin_at=150.0)
    world.run_down(9)
    assert world.states() == {1: "queued", 2: "held", 3: "cancelled", 4: "queued", 5: "starting"}


def test_of_a_folded_walk_an_array_has_only_its_first() -> None:
    world = World()
    world.submit(family=array(3))
    world.submit()
    world.submit(family=array(2))
    world.wish(1, held=True)
    world.settle()
    assert [job.id for job in world.book.queue(folded=True)] == [2, 4, 5]
    assert [job.id for job in world.book.queue()] == [2, 3, 4, 5, 6]


def test_what_is_ruled_out_on_the_way_is_passed_over() -> None:
    world = World()
    world.submit(family=array(3), time_limit=7200.0)
    world.submit(time_limit=3600.0)
    world.submit(time_limit=7200.0, user="v")
    world.submit(time_limit=7200.0, gpus=1)
    world.settle()
    world.now = 200.0

    def walk(length: float, *, personal: bool) -> list[int]:
        """Up to which the first of two hours is ruled out, and who is met."""
        queue = world.book.queue(world.now)
        met = []
        for job in queue:
            met.append(job.id)
            if job.id == 1:
                queue.rule_out(job, length, personal)
        return met

    assert walk(9000.0, personal=True) == [4, 1, 2, 3, 5, 6]
    assert walk(7200.0, personal=True) == [4, 1, 5, 6]
    assert walk(7200.0, personal=False) == [4, 1, 6]


def test_with_too_many_failures_the_rest_of_an_array_is_cancelled() -> None:
    world = World()
    world.submit(family=array(6, max_concurrent=3, max_failures=2), retry=Retry(max_retries=1, on=(7,)))
    world.submit(needs=needs(6))
    world.tick()
    world.end(world.key(1), 1)
    world.end(world.key(2), 7)
    world.wish(2, top_at=1.0)  # else it is behind those that have waited for longer
    world.tick()
    world.tick()
    assert world.states() == dict(zip(range(1, 8), ["failed", *["starting"] * 3, *["queued"] * 3], strict=True))
    world.end(world.key(2), 1)
    world.wish(6, held=True)
    world.run_down(9)
    assert [world.reason(job_id) for job_id in (5, 6, 7)] == ["MaxFailures:2", "MaxFailures:2", "DependencyFailed:6"]
    assert (world.state(3), world.state(4)) == ("starting", "starting"), "what runs goes on"
    world.end(world.key(3), 7)
    world.run_down(9)
    assert world.reason(3) == "MaxFailures:2", "what would be tried again is of the rest"


def test_one_that_is_touched_while_its_array_falls_falls_a_moment_later() -> None:
    world = World()
    world.submit(family=array(3, max_failures=1, max_concurrent=1))
    world.tick()
    world.end(world.key(1), 1)
    world.tick()
    world.tick(lambda: world.wish(2, held=True))
    assert (world.state(2), world.state(3)) == ("held", "cancelled")
    world.tick()
    assert world.reason(2) == "MaxFailures:1"


def test_what_lingers_is_kept_until_it_is_gone() -> None:
    world = World(kill_strays=False)
    world.submit(gpus=2)
    world.submit(gpus=2)
    world.tick()
    world.leave_strays(world.key(1), 0)
    world.tick()
    assert (world.state(1), world.state(2), set(world.book.lingering)) == ("finished", "queued", {1})
    world.end(world.key(1))
    world.run_down(9)
    assert (world.state(2), world.book.lingering) == ("starting", {})


def test_a_wish_to_run_an_earlier_attempt_again_makes_nothing_of_a_job_that_has_ended() -> None:
    records = Records()
    records.submit(1)
    records.wish(1, requeued=1)
    records.phase(1, Ended(state="failed", ended_at=2.0, run=RUN.replace(attempt=2)))
    assert not records.book.has(1)
    assert records.order() == []


def test_an_ended_job_that_is_requeued_is_queued_again_under_its_id() -> None:
    world = World()
    world.submit()
    world.tick()
    world.end(world.key(1))
    world.tick()
    world.requeue(1)
    world.settle()
    assert set(world.book.reopened) == {1}
    world.tick()
    assert world.phase(1) == Queued(attempt=2, since=100.0)
    assert world.book.reopened == {}
    world.run_down(9)
    world.end(world.key(1), 1)
    world.run_down(9)
    assert (world.state(1), set(world.attempts)) == ("failed", {"1.1"})


@pytest.mark.parametrize("fields", [{"gpus": 9}, {"needs": needs(1)}], ids=["impossible", "lost"])
def test_a_requeued_job_that_ends_in_the_queue_has_ended(fields: dict[str, Any]) -> None:
    world = World()
    world.submit()
    world.submit(**fields)
    world.tick()
    world.cancel(2)
    world.end(world.key(1), 1)
    world.run_down(9)
    world.requeue(2)
    world.run_down(9)
    assert world.state(2) in ("failed", "cancelled")
    world.requeue(2)
    world.run_down(9)
    assert (world.state(2) in ("failed", "cancelled"), set(world.attempts)) == (True, {"2.1", "2.2"})
