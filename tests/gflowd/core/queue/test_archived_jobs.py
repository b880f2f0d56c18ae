"""Jobs that wait for jobs which have left the snapshot."""

from __future__ import annotations

from world import World, array, needs

from gflowd.core.job.arrays import Family
from gflowd.core.job.dependencies import Dependency, Needs
from gflowd.core.queue.archived_jobs import Archive
from gflowd.core.queue.dependency_rules import UNKNOWN, Outcome
from gflowd.core.queue.job_queue import JobQueue

DONE = Outcome(begun=1, begun_at=50.0, ended=1, finished=1)
LOST = Outcome(begun=1, begun_at=50.0, ended=1)


class Told(Archive):
    """Array 1001-1003, of which the second failed; 1010 finished."""

    def outcome(self, job_id: int, *, whole: bool) -> Outcome:
        if whole and job_id == 1001:
            return Outcome(jobs=3, begun=3, begun_at=50.0, ended=3, finished=2)
        return {1001: DONE, 1002: LOST, 1003: DONE, 1010: DONE}.get(job_id, UNKNOWN)

    def family(self, array_id: int) -> Family | None:
        return array(3) if array_id == 1001 else None


def past_world() -> World:
    world = World()
    world.job_queue = JobQueue(world.records, Told())
    return world


def finish(world: World) -> None:
    """Until every job has ended."""
    world.run_down(9)
    while world.running:
        for key in list(world.running):
            world.end(key)
        world.run_down(9)


def leave(world: World, spec_id: int) -> None:
    """What the archivist drops first; the phases follow."""
    del world.specs[spec_id]
    world._spec_ids.add(spec_id)
    world.tick()


def after(wanted: Needs, **fields: object) -> str:
    world = past_world()
    job_id = world.submit(needs=wanted, **fields)
    world.run_down(3)
    return world.state(job_id)


def element(job_id: int) -> Needs:
    return Needs(dependencies=(Dependency(kind="afterok", id=job_id, element=True),))


def test_a_job_in_the_past_counts_by_how_it_ended() -> None:
    assert after(needs(1010)) == "starting"
    assert after(needs(1010, kind="afternotok")) == "cancelled"
    assert after(needs(1010, kind="after")) == "starting"
    assert after(needs(1002)) == "cancelled"
    assert after(needs(1002, kind="afterany")) == "starting"


def test_an_array_in_the_past_counts_whole_its_elements_alone() -> None:
    assert after(needs(1001)) == "cancelled"
    assert after(needs(1001, kind="afternotok")) == "starting"
    assert after(element(1001)) == "starting"
    assert after(element(1002)) == "cancelled"


def test_aftercorr_finds_the_elements_of_an_array_in_the_past() -> None:
    world = past_world()
    first = world.submit(needs=needs(1001, kind="aftercorr"), family=array(4))
    world.run_down(3)
    states = [world.state(first + place) for place in range(4)]
    assert states == ["starting", "cancelled", "starting", "cancelled"]
    assert world.reason(first + 1) == "DependencyFailed:1002"
    assert world.reason(first + 3) == "DependencyFailed:1001"


def test_what_nobody_knows_is_never_satisfied() -> None:
    assert after(needs(999)) == "cancelled"
    assert Archive().outcome(999, whole=True) == UNKNOWN
    assert Archive().family(999) is None


def test_a_book_forgets_a_spec_that_has_left() -> None:
    world = World()
    single = world.submit()
    family = world.submit(family=array(2, max_concurrent=1, max_failures=1))
    waiting = world.submit(needs=needs(family, kind="afterany"))
    world.tick()
    assert world.job_queue.has(family + 1)
    assert all(world.job_queue.is_needed(each) for each in (single, family, waiting))
    finish(world)
    assert not any(map(world.job_queue.has, (single, family, family + 1, waiting)))
    assert not any(map(world.job_queue.is_needed, (single, family, waiting)))
    assert (world.job_queue.spec_of(family + 1), world.job_queue.ids(family)) == (family, range(family, family + 2))
    leave(world, family)
    assert (world.job_queue.spec_of(family + 1), world.job_queue.ids(family)) == (family + 1, range(family, family + 1))


def test_a_job_is_needed_while_one_that_waited_for_it_runs() -> None:
    world = World()
    first = world.submit()
    second = world.submit(needs=needs(first))
    other = world.submit()
    world.tick()
    world.end(world.key(first))
    world.run_down(9)
    assert world.state(second) == "starting"
    assert world.job_queue.is_needed(first)
    world.end(world.key(other))
    world.run_down(9)
    assert not world.job_queue.is_needed(other)
