from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from support import depth
from world import DEPTH, SPEC, World, array, needs

from gflowd.core.job import reasons
from gflowd.core.job.array_index import ArrayIndex
from gflowd.core.job.dependencies import ALONE, ANY, Dependency, Needs
from gflowd.core.job.model import Ended
from gflowd.core.job.retry_policy import Retry
from gflowd.core.queue import dependency_graph, pending
from gflowd.core.queue.archived_jobs import Archive
from gflowd.core.queue.job_records import JobRecords

MANY = depth.number(10_000, 1500)  # more than Python's stack is deep


def world_with(*specs: object) -> World:
    """Jobs 1, 2, ... with these needs, the first decision made."""
    world = World()
    for wanted in specs:
        world.submit(needs=wanted)
    world.tick()
    return world


def run(world: World, job_id: int, status: int = 0) -> None:
    world.end(world.key(job_id), status)
    world.tick()


def test_a_job_starts_when_what_it_waits_for_has_ended() -> None:
    world = world_with(None, needs(1), needs(2))
    assert world.states() == {1: "starting", 2: "queued", 3: "queued"}
    assert world.job_queue.waiting(DEPTH) == {2: reasons.DEPENDENCY, 3: reasons.DEPENDENCY}
    assert world.job_queue.waiting(1) == {2: reasons.DEPENDENCY}
    run(world, 1)
    world.tick()
    assert world.states() == {1: "finished", 2: "starting", 3: "queued"}
    assert world.job_queue.waiting(DEPTH) == {3: reasons.DEPENDENCY}


def test_those_that_wait_for_a_failed_job_fall_with_it_all_at_once() -> None:
    world = world_with(None, needs(1), needs(2), needs(3, kind="afterany"))
    run(world, 1, 1)
    world.tick()
    assert [world.reason(job_id) for job_id in (2, 3)] == ["DependencyFailed:1", "DependencyFailed:2"]
    assert world.state(4) == "starting"


def test_without_auto_cancel_a_job_waits_until_its_user_acts() -> None:
    world = world_with(None, needs(1, auto_cancel=False), needs(2))
    run(world, 1, 1)
    world.run_down(3)
    assert (world.state(2), world.state(3)) == ("queued", "queued")
    assert world.job_queue.waiting(DEPTH) == {2: reasons.DEPENDENCY, 3: reasons.DEPENDENCY}
    world.requeue(1)
    world.run_down(3)
    run(world, 1)
    world.run_down(3)
    assert (world.state(1), world.state(2)) == ("finished", "starting")


def test_what_was_told_of_a_job_that_is_requeued_is_no_more_so() -> None:
    world = World()
    world.submit()
    world.submit(needs=needs(1), cpus=4)
    world.submit(cpus=4, priority=20)
    world.tick()
    world.run_down(9)
    world.end(world.key(3))
    world.tick()
    run(world, 1)
    world.submit(cpus=4, priority=20)
    world.tick()
    assert world.states() == {1: "finished", 2: "queued", 3: "finished", 4: "starting"}
    assert [job.id for job in world.job_queue.queue()] == [2]
    world.requeue(1)
    world.settle()
    assert [job.id for job in world.job_queue.queue()] == []
    assert world.job_queue.waiting(DEPTH) == {2: reasons.DEPENDENCY}
    world.run_down(9)
    run(world, 4)
    world.run_down(9)
    assert (world.state(1), world.state(2)) == ("starting", "queued")


def test_a_job_submitted_beside_a_requeue_waits_for_the_new_attempt() -> None:
    world = world_with(None)
    run(world, 1, 1)
    world.requeue(1)
    world.submit(needs=needs(1))
    world.run_down(9)
    assert world.states() == {1: "starting", 2: "queued"}


def test_dependents_wait_for_the_last_attempt() -> None:
    world = World()
    world.submit(retry=Retry(max_retries=1))
    world.submit(needs=needs(1))
    world.submit(needs=needs(1, kind="after"))
    world.tick()
    run(world, 1, 1)
    world.tick()
    assert world.states() == {1: "starting", 2: "queued", 3: "queued"}
    run(world, 1)
    world.tick()
    assert world.states() == {1: "finished", 2: "starting", 3: "starting"}


def test_dependents_wait_for_the_attempt_that_strays_hold_up() -> None:
    world = World(kill_strays=False)
    world.submit(retry=Retry(max_retries=1))
    world.submit(needs=needs(1))
    world.submit()
    world.submit(needs=needs(3))
    world.tick()
    for job_id in (1, 3):
        world.leave_strays(world.key(job_id), 1)
    world.run_down(9)
    assert world.states() == {1: "failed", 2: "queued", 3: "failed", 4: "cancelled"}
    world.cancel(1)
    assert world.state(2) == "queued"
    world.end(world.key(1), 1)
    world.run_down(9)
    assert (world.state(1), world.state(2)) == ("starting", "queued")


def test_strays_of_a_cancelled_job_hold_up_no_attempt() -> None:
    world = World(kill_strays=False)
    world.submit(retry=Retry(max_retries=1))
    world.submit(needs=needs(1, kind="afterany"))
    world.tick()
    world.leave_strays(world.key(1), 1)
    world.tick()
    world.wish(1, cancelled_by="u", cancelled_at=1.0)
    world.wish(2, top_at=1.0)
    world.tick()
    assert world.states() == {1: "failed", 2: "starting"}


def test_after_counts_from_the_begin_and_its_delay_is_an_edge() -> None:
    world = World()
    world.submit()
    world.submit(needs=Needs(dependencies=(Dependency(kind="after", id=1, delay=60.0),)))
    world.tick()
    assert world.job_queue.edges(world.now) == ()
    world.begin(world.key(1))
    world.tick()
    world.now += 1.0
    world.tick()
    assert world.job_queue.edges(world.now) == (160.0,)
    world.now = 160.0
    world.tick()
    assert world.state(2) == "starting"


def test_after_a_job_that_is_lost_counts_from_its_loss() -> None:
    world = world_with(None, needs(1), Needs(dependencies=(Dependency(kind="after", id=2, delay=60.0),)))
    run(world, 1, 1)
    world.run_down(9)
    assert (world.state(2), world.state(3), world.job_queue.edges(world.now)) == ("cancelled", "queued", (160.0,))


def test_a_whole_array_is_waited_for_by_those_that_name_it() -> None:
    world = World()
    world.submit(family=array(3), cpus=0)
    world.submit(needs=needs(1))
    world.submit(needs=Needs(dependencies=(Dependency(kind="afterok", id=1, element=True),)))
    world.submit(needs=needs(1, kind="afternotok"))
    world.tick()
    run(world, 1)
    world.tick()
    assert [world.state(job_id) for job_id in (4, 5, 6)] == ["queued", "starting", "queued"]
    for job_id in (2, 3):
        run(world, job_id)
    world.tick()
    assert [world.state(job_id) for job_id in (4, 6)] == ["starting", "cancelled"]
    assert world.reason(6) == "DependencyFailed:1"


def test_an_array_is_counted_anew_when_one_of_it_is_requeued() -> None:
    world = World()
    world.submit(family=array(2))
    world.tick()
    for job_id in (1, 2):
        run(world, job_id)
    world.submit(needs=needs(1))
    world.tick()
    world.requeue(2)
    world.submit(needs=needs(1))
    world.run_down(9)
    assert (world.state(2), world.state(4)) == ("starting", "queued")


def test_elements_correspond_by_their_indices() -> None:
    world = World()
    world.submit(family=array(3, first=0), cpus=0)
    world.submit(family=array(3, first=1), cpus=0, needs=needs(1, kind="aftercorr"))
    world.submit(family=array(2), cpus=0, needs=Needs(dependencies=(Dependency(kind="aftercorr", id=1, element=True),)))
    world.submit(needs=needs(1, kind="aftercorr"), cpus=0)
    world.tick()
    assert world.reason(6) == "DependencyFailed:1", "the first array has no index 3"
    run(world, 2)
    world.tick()
    assert [world.state(job_id) for job_id in (4, 5, 7, 8, 9)] == ["starting", *["queued"] * 4]
    run(world, 1)
    world.tick()
    assert [world.state(job_id) for job_id in (5, 7, 8, 9)] == ["queued", "starting", "starting", "queued"]
    run(world, 3)
    world.tick()
    assert (world.state(5), world.state(9)) == ("starting", "starting")


def test_a_job_of_which_nothing_is_known_is_not_waited_for() -> None:
    world = world_with(None, needs(1), needs(99))
    assert (world.state(2), world.reason(3)) == ("queued", "DependencyFailed:99")


def test_a_singleton_starts_when_it_is_alone_of_its_name() -> None:
    world = World()
    world.submit(name="a")
    for _ in range(2):
        world.submit(name="a", needs=ALONE)
    world.submit(name="b", needs=ALONE)
    world.submit(name="a", needs=Needs(dependencies=(*ALONE.dependencies, *needs(4).dependencies), mode=ANY))
    world.tick()
    assert world.states() == {1: "starting", 2: "queued", 3: "queued", 4: "starting", 5: "queued"}
    run(world, 1)
    world.tick()
    assert [world.state(job_id) for job_id in (2, 3, 5)] == ["starting", "queued", "queued"]
    run(world, 4)
    world.tick()
    assert [world.state(job_id) for job_id in (2, 3, 5)] == ["starting", "queued", "starting"]


def test_a_job_touched_while_it_is_lost_takes_those_that_fell_with_it_along() -> None:
    world = world_with(None, needs(1), needs(2))
    world.end(world.key(1), 1)
    world.tick()
    world.tick(lambda: world.update(2, SPEC))
    assert (world.state(2), world.state(3)) == ("queued", "queued")
    world.tick()
    assert (world.state(2), world.state(3)) == ("starting", "queued")


def test_needs_that_are_updated_away_are_no_more_waited_for() -> None:
    world = world_with(None, needs(1))
    world.update(2, SPEC)
    world.tick()
    assert world.state(2) == "starting"


class Counts:
    def __init__(self) -> None:
        self.calls = 0


@contextmanager
def counted() -> Iterator[Counts]:
    """Counts what a decision about a dependency costs: each look at one, and each judgement."""
    counts = Counts()
    judge_one = dependency_graph.judge_one

    def count(*args: object) -> object:
        counts.calls += 1
        return judge_one(*args)  # type: ignore[arg-type]

    with mock.patch.object(dependency_graph, "judge_one", count):
        yield counts


@pytest.mark.parametrize("status", [0, 1])
def test_a_long_chain_settles_in_steps_that_grow_with_its_length(status: int) -> None:
    with counted() as counts:
        world = World()
        world.submit()
        for job_id in range(1, MANY):
            world.submit(needs=needs(job_id, kind="afterok" if job_id % 2 else "afterany", auto_cancel=True))
        world.tick()
        at_first = counts.calls
        run(world, 1, status)
        world.tick()
    assert MANY - 1 <= at_first <= 2 * MANY
    assert counts.calls - at_first <= 2 * MANY
    assert world.state(2) == ("cancelled" if status else "starting")
    assert world.state(3) == ("starting" if status else "queued")


def test_a_long_chain_of_losses_is_one_decision() -> None:
    with counted() as counts:
        world = World()
        world.submit()
        for job_id in range(1, MANY):
            world.submit(needs=needs(job_id))
        world.tick()
        run(world, 1, 1)
        world.tick()
    assert isinstance(world.phase(MANY), Ended)
    assert world.reason(MANY) == f"DependencyFailed:{MANY - 1}"
    assert counts.calls <= 4 * MANY


def test_a_wide_fan_in_settles_in_steps_that_grow_with_its_width() -> None:
    with counted() as counts:
        world = World()
        for _ in range(MANY):
            world.submit(cpus=0, retry=Retry(max_retries=1))
        last = world.submit(needs=needs(*range(1, MANY + 1)))
        world.tick()
        for status in (1, 0):  # all are tried twice, and end in batches
            for start in range(1, MANY + 1, MANY // 2):
                for job_id in range(start, start + MANY // 2):
                    world.end(world.key(job_id), status)
                world.tick()
            world.tick()
        world.tick()
    assert world.state(last) == "starting"
    assert counts.calls <= 8 * MANY, "each is heard of when it is queued, starts and ends, twice"


def test_a_wide_array_is_judged_as_a_whole() -> None:
    """Not once for each of its elements and each of those that wait for it."""
    some = MANY // 10
    with counted() as counts:
        world = World()
        world.submit(family=array(some), cpus=0)
        world.submit(family=array(some), cpus=0, needs=needs(1))
        world.tick()
        for start in range(2, some + 1, 9):
            for job_id in range(start, min(start + 9, some + 1)):
                world.end(world.key(job_id))
            world.tick()
        assert world.state(some + 1) == "queued"
        run(world, 1)
        world.tick()
    assert all(world.state(job_id) == "starting" for job_id in (some + 1, 2 * some))
    assert counts.calls <= 5 * some


def test_a_room_in_which_nobody_waits_says_so() -> None:
    room = pending.PendingJobs(JobRecords(), ArrayIndex(), Archive())
    assert room.next_time() is None
    assert list(room.news()) == []
    room.leave(7)


def test_an_array_that_falls_is_told_nothing_more_of_what_it_waits_for() -> None:
    world = World()
    world.submit(cpus=0)
    world.submit(cpus=0)
    world.submit(family=array(3, max_failures=1), needs=needs(1, kind="after"))
    world.tick()
    world.begin(world.key(1))
    world.tick()
    world.wish(5, held=True)
    world.tick()
    world.end(world.key(3), 1)
    world.update(3, world.spec(3).replace(needs=needs(2, kind="afternotok")))
    world.end(world.key(2))
    world.run_down(9)
    assert world.reason(5) == "MaxFailures:1"


def test_a_job_waits_again_for_all_of_those_that_are_requeued_together() -> None:
    world = World()
    for _ in range(2):
        world.submit()
    world.submit(needs=needs(1, 2))
    world.wish(3, held=True)
    world.tick()
    for job_id in (1, 2):
        run(world, job_id)
    for job_id in (1, 2):
        world.requeue(job_id)
    world.wish(3, held=False)
    world.run_down(9)
    assert world.states() == {1: "starting", 2: "starting", 3: "queued"}
    for job_id in (1, 2):
        run(world, job_id)
    world.tick()
    assert world.state(3) == "starting"
