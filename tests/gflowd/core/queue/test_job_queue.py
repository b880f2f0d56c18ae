from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.specs import SPEC
from world import World, array, needs

from gflowd.core.accounting import runtimes
from gflowd.core.execution import transitions
from gflowd.core.job import codec, reasons
from gflowd.core.job.dependencies import ALONE, ANY, Dependency, Needs
from gflowd.core.job.model import (
    Ended,
    Identity,
    Phase,
    Queued,
    Repeat,
    Run,
    Running,
    Started,
    Starting,
    Stopping,
    Wish,
)
from gflowd.core.job.retry_policy import Retry
from gflowd.core.moment import Moment
from gflowd.core.queue.job_queue import JobQueue
from gflowd.core.queue.job_records import JobRecords

RUN = Run(executor="tmux", launched_at=1.0)
STARTED = Started(at=1.0, mono=1.0, identity=Identity("b", 1, 1))
LIVE: dict[str, Phase] = {
    "starting": Starting(run=RUN),
    "running": Running(run=RUN, started=STARTED),
    "stopping": Stopping(run=RUN, started=STARTED, why="x", since_at=1.0, since_mono=1.0, since_boot="b"),
}


class Records:
    """What a snapshot holds, and a job queue that follows it."""

    def __init__(self) -> None:
        self.specs: dict[int, object] = {}
        self.wishes: dict[int, object] = {}
        self.phases: dict[int, object] = {}
        self.job_queue = self.rebuilt()
        self.now = 0.0

    def rebuilt(self) -> JobQueue:
        return JobQueue(JobRecords(self.specs, self.wishes, self.phases))

    def rebuilt_and_settled(self) -> JobQueue:
        made = self.rebuilt()
        made.settle(made.refresh([*self.specs], ()), self.now)
        return made

    def submit(self, job_id: int, priority: int = 10, begin_at: float | None = None) -> None:
        spec = SPEC
        self.specs[job_id] = codec.encode(spec.replace(priority=priority, begin_at=begin_at))
        self.refresh(job_id, specs=True)

    def wish(self, job_id: int, **fields: object) -> None:
        self.wishes[job_id] = codec.encode(Wish().replace(**fields))
        self.refresh(job_id)

    def phase(self, job_id: int, phase: Phase) -> None:
        self.phases[job_id] = codec.encode_phase(phase)
        self.refresh(job_id)

    def refresh(self, *ids: int, specs: bool = False) -> None:
        touched = self.job_queue.refresh(ids if specs else (), ids)
        self.job_queue.settle(touched, self.now)

    def pass_time(self, now: float) -> None:
        self.now = now
        self.job_queue.settle((), now)

    def commit_losses(self) -> None:
        """As the scheduler does at once."""
        while self.job_queue.lost:
            job_id, why = next(iter(self.job_queue.lost.items()))
            self.phase(job_id, transitions.lose(self.job_queue.queued[job_id], why, Moment(self.now, self.now, "boot")))

    def order(self) -> list[int]:
        return [job.id for job in self.job_queue.queue()]


def test_ends_matter_beyond_their_resources_while_somebody_waits_for_others_or_an_array_is_limited() -> None:
    world = World()
    first = world.submit()
    world.settle()
    assert not world.job_queue.heeds_ends()
    world.submit(needs=needs(first))
    world.settle()
    assert world.job_queue.heeds_ends()
    world = World()
    world.submit(family=array(3, max_concurrent=1))
    world.settle()
    assert world.job_queue.heeds_ends()


def test_an_array_that_leaves_takes_its_jobs_along_also_while_somebody_waits_for_others() -> None:
    for waits in (False, True):
        world = World()
        first = world.submit(family=array(3, max_concurrent=None))
        if waits:
            world.submit(needs=needs(first))
        world.settle()
        world.forget(first)
        world.settle()
        assert not world.job_queue.queued.keys() & {first, first + 1, first + 2}


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
        assert records.job_queue.live[1].phase == phase
    records.phase(1, Ended(state="finished", ended_at=2.0))
    assert (records.job_queue.queued, records.job_queue.live) == ({}, {})


def test_begin_times_are_edges_until_they_have_passed() -> None:
    records = Records()
    records.submit(1, begin_at=50.0)
    records.submit(2, begin_at=40.0)
    records.submit(3)
    assert records.job_queue.edges(0.0) == (40.0, 50.0)
    assert records.order() == [3]
    records.pass_time(40.0)
    assert records.job_queue.edges(40.0) == (50.0,)
    assert records.order() == [3, 2], "one that had to come first has waited for less long"
    records.wish(1, begin_at=60.0)
    assert records.job_queue.edges(40.0) == (60.0,)
    records.pass_time(50.0)
    assert records.order() == [3, 2], "the time that was asked for before is no more"
    records.pass_time(60.0)
    assert records.order() == [3, 2, 1]
    assert records.job_queue.edges(60.0) == ()


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
    assert (records.order(), records.job_queue.edges(0.0)) == ([], (30.0,))
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
    assert records.job_queue.edges(0.0) == ()
    assert records.order() == []
    records.wish(1, held=False)
    assert records.job_queue.edges(0.0) == (50.0,)


def test_only_queued_jobs_whose_cancellation_is_wished_are_unwanted() -> None:
    records = Records()
    records.submit(1)
    records.submit(2)
    records.phase(2, LIVE["running"])
    for job_id in (1, 2):
        records.wish(job_id, cancelled_by="u", cancelled_at=3.0)
    assert [job.id for job in records.job_queue.unwanted()] == [1]
    assert records.order() == [], "it takes no other job's place"
    records.phase(1, Ended(state="cancelled", ended_at=4.0))
    assert not list(records.job_queue.unwanted())


def test_an_id_without_a_spec_is_forgotten() -> None:
    records = Records()
    records.submit(1)
    records.wish(7, held=True)
    assert 7 not in records.job_queue.queued
    del records.specs[1]
    records.refresh(1, specs=True)
    assert records.job_queue.queued == {}
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
    anew = records.rebuilt()
    anew.settle(anew.refresh(records.specs, ()), records.now)
    job_queue = records.job_queue
    assert (anew.queued, anew.live) == (job_queue.queued, job_queue.live)
    assert list(anew.queue()) == list(job_queue.queue())
    assert anew.edges(0.0) == job_queue.edges(0.0)
    assert {job.id for job in anew.unwanted()} == {job.id for job in job_queue.unwanted()}


def test_an_array_is_one_spec_with_many_jobs() -> None:
    world = World()
    world.submit(cpus=4)
    world.submit(family=array(3))
    world.submit(priority=20, cpus=3)
    world.settle()
    assert [job.id for job in world.job_queue.queue()] == [5, 1, 2, 3, 4]
    assert [job.array_id for job in world.job_queue.queue()] == [None, None, 2, 2, 2]
    assert len({id(job.spec) for job in world.job_queue.queue()}) == 3
    world.wish(3, held=True)
    world.update(2, world.spec(2).replace(priority=30))
    world.settle()
    assert [job.id for job in world.job_queue.queue()] == [2, 4, 5, 1]
    assert world.job_queue.queued[3].spec.priority == 30


def test_an_array_at_its_limit_is_passed_over_in_every_band() -> None:
    world = World()
    world.submit(family=array(4, max_concurrent=2), cpus=0)
    world.submit(cpus=0)
    world.wish(3, top_at=1.0)
    world.settle()
    assert [job.id for job in world.job_queue.queue()] == [3, 1, 5]
    world.tick()
    assert world.job_queue.waiting(9) == {2: reasons.GROUP}
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
    assert [job.id for job in world.job_queue.queue(folded=True)] == [2, 4, 5]
    assert [job.id for job in world.job_queue.queue()] == [2, 3, 4, 5, 6]


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
        queue = world.job_queue.queue(world.now)
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
    assert (world.state(1), world.state(2), set(world.job_queue.lingering)) == ("finished", "queued", {1})
    world.end(world.key(1))
    world.run_down(9)
    assert (world.state(2), world.job_queue.lingering) == ("starting", {})


def test_a_wish_to_run_an_earlier_attempt_again_makes_nothing_of_a_job_that_has_ended() -> None:
    records = Records()
    records.submit(1)
    records.wish(1, requeued=1)
    records.phase(1, Ended(state="failed", ended_at=2.0, run=RUN.replace(attempt=2)))
    assert not records.job_queue.has(1)
    assert records.order() == []


def test_an_ended_job_that_is_requeued_is_queued_again_under_its_id() -> None:
    world = World()
    world.submit()
    world.tick()
    world.end(world.key(1))
    world.tick()
    world.requeue(1)
    world.settle()
    assert set(world.job_queue.reopened) == {1}
    world.tick()
    assert world.phase(1) == Queued(attempt=2, since=100.0)
    assert world.job_queue.reopened == {}
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


def ready(job_queue: JobQueue, job_id: int) -> float:
    return job_queue.ready(job_queue.queued[job_id])


def readiness(world: World) -> dict[int, float]:
    """Since when each queued job could have started, which another scheduler finds too."""
    world.settle()
    found = {job_id: ready(world.job_queue, job_id) for job_id in world.job_queue.queued}
    anew = world.rebuilt()
    assert found == {job_id: ready(anew, job_id) for job_id in anew.queued}
    return found


def test_a_job_is_ready_when_it_is_submitted_and_its_begin_time_and_its_release_have_come() -> None:
    world = World()
    for fields in ({}, {"begin_at": 90.0}, {"begin_at": 0.5}, {"begin_at": 90.0}, {}, {"submitted_at": -5.0}):
        world.submit(**fields)
    world.wish(4, begin_at=80.0)
    world.wish(5, released_at=70.0)
    assert readiness(world) == {1: 1.0, 2: 90.0, 3: 1.0, 4: 80.0, 5: 70.0, 6: 0.0}


def test_a_job_is_ready_when_the_last_that_it_waits_for_has_come_also_to_another_scheduler() -> None:
    world = World()
    for _ in range(2):
        world.submit()
    world.submit(needs=needs(1, 2), cpus=4)
    world.submit(needs=needs(1, 2, mode=ANY), cpus=4)
    world.submit(needs=Needs(dependencies=(Dependency(kind="after", id=1, delay=60.0),)), cpus=4)
    world.submit(cpus=2)
    world.tick()
    world.now = 120.0
    world.begin(world.key(1))
    world.tick()
    world.now = 150.0
    world.end(world.key(1))
    world.tick()
    world.tick()
    assert readiness(world) == {3: 1.0, 4: 150.0, 5: 1.0}
    world.now = 170.0
    world.end(world.key(2))
    world.tick()
    world.now = 185.0
    world.tick()
    assert readiness(world) == {3: 170.0, 4: 150.0, 5: 180.0}
    assert [job.id for job in world.job_queue.queue()] == [4, 3, 5]


def test_who_waited_for_a_whole_array_is_ready_when_its_last_has_ended() -> None:
    world = World()
    world.submit(family=array(2))
    world.submit(needs=needs(1, kind="afterany"), cpus=4)
    world.tick()
    for job_id, now in ((2, 130.0), (1, 140.0)):
        world.now = now
        world.end(world.key(job_id))
        world.tick()
        world.submit(cpus=3)
    assert readiness(world)[3] == 140.0


def test_a_retry_is_ready_after_its_delay_or_the_end_and_a_requeued_job_when_it_is_queued_again() -> None:
    world = World()
    world.submit(retry=Retry(max_retries=1, delay=30.0))
    world.submit(retry=Retry(max_retries=1))
    world.submit()
    world.tick()
    world.now = 140.0
    for job_id in (1, 2, 3):
        world.end(world.key(job_id), 1)
    world.drained = True
    world.tick()
    world.now = 200.0
    world.requeue(3)
    world.tick()
    assert readiness(world) == {1: 170.0, 2: 140.0, 3: 200.0}


def test_who_was_behind_another_of_its_name_is_ready_when_that_is_gone() -> None:
    world = World()
    world.submit(name="a")
    world.submit(name="a", needs=ALONE)
    world.submit(name="a", needs=ALONE, priority=20)
    world.submit(priority=0, submitted_at=50.0)
    world.tick()
    assert [job.id for job in world.job_queue.queue()] == []
    assert ready(world.job_queue, 2) == 1.0
    world.wish(3, held=True)
    world.now = 160.0
    world.end(world.key(1))
    world.tick()
    world.drained = True
    world.settle()
    assert [job.id for job in world.job_queue.queue()] == [2]
    assert ready(world.job_queue, 2) == 160.0
    assert ready(world.job_queue, 3) == 1.0
    world.wish(2, held=True)
    world.settle()
    world.now = 170.0
    world.wish(2, held=False)
    world.settle()
    assert ready(world.job_queue, 2) == 1.0, "its records have changed, and say nothing of that"


def test_who_need_not_wait_for_its_name_when_another_has_ended_is_ready_at_that_end() -> None:
    world = World()
    world.submit(name="a")
    world.submit(name="a", cpus=4)
    world.submit(name="a", cpus=4, needs=Needs(dependencies=(*ALONE.dependencies, *needs(1).dependencies), mode=ANY))
    world.tick()
    world.now = 150.0
    world.end(world.key(1))
    world.drained = True
    world.tick()
    assert readiness(world)[3] == 150.0


def test_who_leaves_while_it_is_behind_another_of_its_name_is_forgotten() -> None:
    world = World()
    world.submit(name="a")
    for _ in range(3):
        world.submit(name="a", needs=ALONE)
    world.tick()
    world.forget(2)
    world.wish(3, held=True)
    world.settle()
    assert world.job_queue._blocked == {4}
    world.wish(3, held=False)
    world.settle()
    assert [job.id for job in world.job_queue.queue()] == []
    assert world.job_queue._blocked == {3, 4}


def run_record(name: str = "x", user: str = "u", gpus: int = 0, seconds: float = 1000.0) -> tuple[str, dict[str, Any]]:
    spec = SPEC.replace(name=name, user=user, gpus=gpus)
    return runtimes.record_id(spec), runtimes.record(None, spec, (50.0, seconds))


def test_jobs_without_a_limit_move_in_line_with_what_is_learned_of_their_name_and_back() -> None:
    world = World()
    world.submit(name="a")
    world.submit(name="b")
    world.submit(name="a", gpus=8)
    world.submit(name="a", user="v")
    world.submit(name="c", time_limit=20000.0)
    world.submit(name="b", needs=needs(1))
    world.settle()
    job_queue, now = world.job_queue, 100.0

    def order() -> list[int]:
        return [job.id for job in job_queue.queue(now)]

    assert order() == [5, 3, 1, 2, 4]
    key, record = run_record("b", seconds=9000.0)
    job_queue.note_runs(key, record)
    assert order() == [3, 1, 2, 4, 5], "the user's narrow jobs, then everybody's: nothing else is known"
    key, record = run_record("a", seconds=600.0)
    job_queue.note_runs(key, record)
    assert order() == [1, 3, 4, 2, 5]
    assert all(job_queue.is_lined_up(job) == (job.id != 6) for job in job_queue.queued.values())
    job_queue.note_runs(key, {**record, "runs": [[60.0, 700000.0]]})
    assert order() == [3, 2, 4, 5, 1], "of the name the median counts"
    job_queue.note_runs(key, None)
    job_queue.note_runs(key, None)
    assert [job_queue.runtimes.label(job_queue.queued[job_id]) for job_id in (1, 2)] == [None, "b"]
    assert all(job_queue.is_lined_up(job) == (job.id != 6) for job in job_queue.queued.values())


def test_very_long_names_are_one_as_far_as_they_are_told_apart() -> None:
    world = World()
    first, other = "n" * 200 + "1", "n" * 200 + "2"
    world.submit(name=first)
    world.submit(name=other)
    world.submit(name="n" * 200)
    world.submit(name="n" * 200, user="v")
    world.settle()
    key, record = run_record(first)
    world.job_queue.note_runs(key, record)
    assert all(map(world.job_queue.is_lined_up, world.job_queue.queued.values()))
    labels = {job.id: world.job_queue.runtimes.label(job) for job in world.job_queue.queued.values()}
    assert labels == {1: "n" * 200, 2: "n" * 200, 3: "n" * 200, 4: None}


def test_the_end_of_an_element_tells_of_the_others_unless_they_have_a_limit_or_nobody_knows_why_it_ended() -> None:
    world = World()
    world.submit(family=array(3), cpus=2)
    world.submit(family=array(3), cpus=0, time_limit=600.0)
    world.tick()
    world.end(world.key(1), 1)
    world.end(world.key(4))
    world.vanish(world.key(2))
    world.tick()
    assert [world.job_queue.runtimes.knows(array_id) for array_id in (1, 4)] == [True, False]
    assert world.job_queue.runtimes.predicted("u", 0, 1)[2] == 1, "of the one that vanished nothing is known"


def test_elements_that_wait_move_with_the_first_of_them_that_ends() -> None:
    world = World()
    world.submit(family=array(4), cpus=4, name="a")
    key, record = run_record("a", seconds=500000.0)
    world.job_queue.note_runs(key, record)
    world.submit(cpus=4, time_limit=20000.0)
    world.settle()
    assert [job.id for job in world.job_queue.queue(110.0)] == [5, 1, 2, 3, 4]
    world.wish(5, held=True)
    world.tick()
    world.begin(world.key(1))
    world.now = 110.0
    world.wish(5, held=False)
    world.end(world.key(1))
    world.drained = True
    world.tick()
    world.settle()
    job_queue = world.job_queue
    assert {job_queue.runtimes.label(job_queue.queued[job_id]) for job_id in (2, 3, 4)} == {1}
    assert [job.id for job in job_queue.queue(120.0)] == [2, 3, 4, 5]
    world.wish(3, held=True)
    world.wish(3, held=False)
    world.settle()
    assert [job.id for job in job_queue.queue(120.0)] == [2, 3, 4, 5]
    world.forget(1)
    world.settle()
    assert not job_queue.runtimes.knows(1)
    assert [job.id for job in job_queue.queue(120.0)] == [5]


def test_the_promised_come_first_of_their_priority_and_then_those_whose_gpus_are_looked_at() -> None:
    world = World()
    for priority in (10, 20, 10, 10, 20):
        world.submit(priority=priority)
    world.submit(family=array(3, max_concurrent=1))
    world.wish(4, held=True)
    world.settle()
    job_queue = world.job_queue
    assert [job.id for job in job_queue.queue(100.0)] == [2, 5, 1, 3, 6]
    assert [job.id for job in job_queue.queue(100.0, promised=(99, 4, 5, 3))] == [5, 2, 3, 1, 6]
    assert [job.id for job in job_queue.queue(100.0, looking=(99, 4, 3, 1))] == [2, 5, 3, 1, 1, 3, 6]
    assert [job.id for job in job_queue.queue(100.0, looking=(7,))] == [2, 5, 7, 1, 3, 7], (
        "there is room for one of the array"
    )
    assert 7 not in job_queue.waiting(9)
    assert [job.id for job in job_queue.queue(100.0, looking=(7, 8), promised=(8,))] == [2, 5, 8, 1, 3]


def test_one_whose_gpus_are_looked_at_is_passed_over_while_another_of_its_name_is_there() -> None:
    world = World()
    world.submit(name="a", priority=20)
    world.submit(name="a", needs=ALONE)
    world.settle()
    assert [job.id for job in world.job_queue.queue(100.0, looking=(2,))] == [1]


def test_shares_count_in_the_order_but_no_priority() -> None:
    world = World()
    for user, priority in (("a", 10), ("b", 10), ("a", 20)):
        world.submit(user=user, priority=priority)
    world.settle()
    assert [job.id for job in world.job_queue.queue(100.0, {"a": 0.2})] == [3, 2, 1]
    assert [job.id for job in world.job_queue.queue(100.0, {"b": 0.2})] == [3, 1, 2]


NAMES, USERS = st.sampled_from(["x", "y", "n" * 201]), st.sampled_from(["u", "v"])
ENDS = [
    Ended(state=state, ended_at=at, run=RUN, started_at=1.0)
    for state in ("finished", "failed", "cancelled")
    for at in (3.0, 900.0, 90000.0)
]
AGAIN = [Queued(attempt=2, since=4.0), Queued(attempt=2, since=4.0, begin_at=6.0)]
SPECS = st.fixed_dictionaries(
    {
        "name": NAMES,
        "user": USERS,
        "gpus": st.integers(0, 1),
        "time_limit": st.sampled_from([None, None, 60.0, 7200.0]),
        "priority": st.sampled_from([10, 10, 20]),
        "submitted_at": st.floats(1, 9),
        "begin_at": st.none() | st.floats(1, 9),
        "needs": st.none()
        | st.builds(
            lambda place, kind: needs(1 + 3 * place, kind=kind),
            st.integers(0, 4),
            st.sampled_from(["afterok", "afterany"]),
        ),
    }
)
MOVES = st.one_of(
    st.tuples(st.just("submit"), st.integers(0, 4), SPECS, st.booleans()),
    st.tuples(st.just("wish"), st.integers(1, 15), st.booleans(), st.none() | st.floats(1, 9)),
    st.tuples(st.just("phase"), st.integers(1, 15), st.sampled_from([*LIVE.values(), *AGAIN, *ENDS])),
    st.tuples(st.just("forget"), st.integers(0, 4)),
    st.tuples(st.just("runs"), NAMES, USERS, st.integers(0, 1), st.sampled_from([None, 30.0, 80000.0])),
    st.tuples(st.just("time"), st.floats(0, 5)),
)


def _may_wait_for(records: Records, job_id: int, its: Needs) -> bool:
    """Jobs wait for others that were there before them."""
    return all(each.id < job_id and each.id in records.specs for each in its.dependencies)


def _is_waited_for(records: Records, job_id: int) -> bool:
    """Who is waited for is not archived."""
    needs_of = [job.spec.needs for job in records.job_queue.queued.values() if job.spec.needs is not None]
    return any(each.id == job_id for its in needs_of for each in its.dependencies)


@given(st.lists(MOVES, max_size=25), st.sampled_from([10.0, 5000.0]))
def test_a_book_that_followed_walks_in_the_order_of_one_made_anew(moves: list[tuple[Any, ...]], now: float) -> None:
    """Up to three jobs for each of five submissions, some of them arrays."""
    records = Records()
    runs: dict[str, Any] = {}
    for number, move in enumerate(moves):
        match move:
            case "submit", int(place), fields, is_array:
                spec = SPEC.replace(**fields, family=array(3) if is_array else None)
                if spec.needs is not None and not _may_wait_for(records, 1 + 3 * place, spec.needs):
                    spec = spec.replace(needs=None)
                records.specs[1 + 3 * place] = codec.encode(spec)
                records.refresh(1 + 3 * place, specs=True)
            case "wish", int(job_id), held, released_at:
                records.wish(job_id, held=held, released_at=released_at)
            case "phase", int(job_id), phase:
                records.phase(job_id, phase)
            case "forget", int(place) if not _is_waited_for(records, 1 + 3 * place):
                records.specs.pop(1 + 3 * place, None)
                records.refresh(1 + 3 * place, specs=True)
            case "runs", name, user, gpus, seconds:
                spec = SPEC.replace(name=name, user=user, gpus=gpus)
                key, before = runtimes.record_id(spec), runs.pop(runtimes.record_id(spec), None)
                if seconds is not None:
                    runs[key] = runtimes.record(before, spec, (float(number), seconds))
                records.job_queue.note_runs(key, runs.get(key))
            case "time", passing:
                records.pass_time(records.now + passing)
            case _:
                pass
        records.commit_losses()
    anew = records.rebuilt()
    for key, record in runs.items():
        anew.note_runs(key, record)
    anew.settle(anew.refresh(records.specs, ()), records.now)
    assert anew.queued == records.job_queue.queued
    assert {job.id: anew.ready(job) for job in anew.queued.values()} == {
        job.id: records.job_queue.ready(job) for job in records.job_queue.queued.values()
    }
    assert [job.id for job in anew.queue(now)] == [job.id for job in records.job_queue.queue(now)]


def test_whoever_has_seen_enough_meets_only_the_promised() -> None:
    world = World()
    for priority in (20, 20, 10, 10):
        world.submit(priority=priority)
    world.settle()
    queue = world.job_queue.queue(100.0, promised=(4,))
    met = []
    for job in queue:
        met.append(job.id)
        queue.enough()
    assert met == [1, 4]


def test_an_element_that_waits_for_another_of_its_name_is_not_said_to_wait_for_its_group() -> None:
    """Whichever of them could start first, the book that followed and one made anew say the same."""
    world = World()
    world.submit(family=array(3, max_concurrent=1), needs=ALONE, gpus=9)
    for _ in range(2):
        world.tick()
        anew = world.rebuilt()
        for each in (world.job_queue, anew):
            list(each.queue())
        assert world.job_queue.waiting(9) == anew.waiting(9)
        assert reasons.GROUP not in anew.waiting(9).values()


def test_a_run_whose_time_has_come_is_told_with_the_end_of_the_one_before() -> None:
    def runs() -> list[tuple[int, float | None]]:
        one, other = records.job_queue, records.rebuilt_and_settled()
        found = [[(job.id, of.ended_at(before)) for job, before in of.due_runs(records.now)] for of in (one, other)]
        assert found[0] == found[1]
        return found[0]

    records = Records()
    repeat = Repeat(rule="every 10s", due=50.0)
    records.specs[1] = codec.encode(SPEC.replace(repeat=repeat, begin_at=40.0))
    records.specs[2] = codec.encode(SPEC.replace(repeat=repeat, begin_at=50.0, needs=needs(1, kind="afterany")))
    records.phases[1] = codec.encode_phase(Running(run=RUN, started=STARTED))
    records.refresh(1, 2, specs=True)
    assert records.job_queue.edges(0.0) == (50.0,), "it waits for the other, and its time is an edge"
    assert runs() == []
    records.pass_time(50.0)
    assert records.job_queue.edges(50.0) == ()
    assert runs() == [(2, None)]
    records.phase(1, Queued(attempt=2, begin_at=90.0))
    assert runs() == [(2, None)], "a retry is to come"
    records.phase(1, Ended(state="finished", ended_at=57.0))
    assert runs() == [(2, 57.0)]
    records.wish(2, cancelled_at=58.0)
    assert runs() == []
    records.wish(2)
    records.specs.pop(1)
    records.phases.pop(1)
    records.refresh(1, specs=True)
    assert runs() == [(2, float("-inf"))], "it has left"
    records.phase(2, Starting(run=RUN))
    assert runs() == []


def test_a_job_that_asks_for_the_whole_machine_has_what_that_is_now() -> None:
    alone = codec.encode(SPEC.replace(exclusive=True, all_memory=True, cpus=64))
    several = codec.encode(SPEC.replace(exclusive=True, family=array(2)))
    made = JobQueue(JobRecords({1: alone, 2: several}), machine=(8, 1000))
    made.settle(made.refresh([1, 2], ()), 0.0)
    found = {job_id: (job.spec.cpus, job.spec.memory_mb) for job_id, job in made.queued.items()}
    assert found == {1: (8, 1000), 2: (8, None), 3: (8, None)}
