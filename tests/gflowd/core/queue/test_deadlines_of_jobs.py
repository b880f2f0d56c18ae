"""Queued jobs with a deadline: given up when they can no longer end by then, whatever else they wait for."""

from __future__ import annotations

from world import SPEC, World, array, needs

from gflowd.core.job import reasons
from gflowd.core.job.retry_policy import Retry
from gflowd.core.queue.job_queue import LATE


def at(world: World, now: float) -> None:
    world.now = now
    world.run_down(9)


def test_one_that_waits_is_given_up_once_it_could_not_end_in_time_any_more() -> None:
    world = World()
    limited = world.submit(deadline=200.0, time_limit=60.0, cpus=4)
    unlimited = world.submit(deadline=150.0, cpus=4)
    free = world.submit(cpus=4, priority=20)
    world.drained = True
    world.settle()
    assert world.job_queue.edges(100.0) == (140.0 + LATE,)
    at(world, 140.0 + LATE / 2)
    assert world.states() == dict.fromkeys((limited, unlimited, free), "queued"), "instants are given to the second"
    at(world, 140.0 + LATE)
    assert (world.state(limited), world.reason(limited)) == ("cancelled", reasons.DEADLINE)
    assert world.job_queue.edges(141.0) == (150.0 + LATE,)
    at(world, 150.0 + LATE)
    assert world.reason(unlimited) == reasons.DEADLINE
    assert world.job_queue.edges(151.0) == ()
    assert world.state(free) == "queued"


def test_held_ones_and_those_that_wait_for_others_are_given_up_too_and_so_are_their_dependents() -> None:
    world = World()
    held = world.submit(deadline=150.0)
    world.wish(held, held=True)
    ahead = world.submit(begin_at=500.0)
    waits = world.submit(deadline=150.0, needs=needs(ahead))
    behind = world.submit(needs=needs(waits))
    at(world, 151.0)
    assert [world.reason(each) for each in (held, waits)] == [reasons.DEADLINE] * 2
    assert world.reason(behind) == reasons.dependency_failed(waits)
    assert world.state(ahead) == "queued"


def test_who_begins_at_the_last_moment_starts() -> None:
    world = World()
    job_id = world.submit(begin_at=140.0, time_limit=60.0, deadline=200.0)
    at(world, 140.2)
    assert world.state(job_id) == "starting"
    at(world, 1000.0)
    assert world.state(job_id) == "starting", "of one that has started nothing is asked any more"


def test_a_retry_that_cannot_be_in_time_is_given_up() -> None:
    world = World()
    job_id = world.submit(deadline=200.0, time_limit=60.0, retry=Retry(max_retries=1, delay=100.0))
    world.tick()
    world.end(world.key(job_id), 1)
    world.run_down(9)
    assert world.state(job_id) == "queued"
    at(world, 141.0)
    assert (world.state(job_id), world.reason(job_id)) == ("cancelled", reasons.DEADLINE)


def test_all_elements_of_an_array_are() -> None:
    world = World()
    first = world.submit(SPEC.replace(family=array(3, max_concurrent=1), deadline=150.0))
    world.run_down(9)
    assert world.state(first) == "starting"
    at(world, 151.0)
    assert [world.state(each) for each in range(first, first + 3)] == ["starting", "cancelled", "cancelled"]


def test_a_deadline_that_is_put_off_or_dropped_counts_no_more() -> None:
    world = World()
    one, other = world.submit(deadline=150.0), world.submit(deadline=150.0)
    world.drained = True
    world.run_down(9)
    world.update(one, SPEC.replace(deadline=300.0))
    world.update(other, SPEC)
    at(world, 299.0)
    assert world.states() == {one: "queued", other: "queued"}
    assert world.job_queue.edges(299.0) == (301.0,)
    at(world, 301.0)
    assert world.states() == {one: "cancelled", other: "queued"}


def test_one_that_is_lost_already_is_lost_for_that_reason() -> None:
    world = World()
    ahead = world.submit()
    world.tick()
    behind = world.submit(deadline=150.0, needs=needs(ahead))
    world.end(world.key(ahead), 1)
    world.tick()
    world.settle()
    assert world.job_queue.lost == {behind: reasons.dependency_failed(ahead)}, "not committed yet"
    at(world, 160.0)
    assert world.reason(behind) == reasons.dependency_failed(ahead)
