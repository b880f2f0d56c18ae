from __future__ import annotations

from support.specs import SPEC

from gflowd.core.job.arrays import Family
from gflowd.core.job.model import Job, Run, Starting, Wish
from gflowd.core.queue.array_limits import ArrayLimits
from gflowd.core.queue.job_records import JobRecords

PLAIN = Family(ranges=((1, 9, 1),))
FAILED, TIMED_OUT = {"is": "ended", "state": "failed"}, {"is": "ended", "state": "timeout"}


def live(job_id: int, array_id: int | None) -> Job:
    return Job(job_id, SPEC, Wish(), Starting(run=Run(executor="tmux", launched_at=1.0)), array_id)


def limited_by(limits: dict[int, dict[str, int | None]], **fields: int) -> ArrayLimits:
    array_limits = ArrayLimits(JobRecords(limits=limits))
    array_limits.note(10, PLAIN.replace(**fields))
    return array_limits


def limited(**fields: int) -> ArrayLimits:
    return limited_by({}, **fields)


def test_limits_of_jobs_at_a_time_and_of_failures_are_known_of() -> None:
    limits: dict[int, dict[str, int | None]] = {}
    array_limits = limited_by(limits)
    assert not array_limits.are_limited()
    limits[10] = {"max_concurrent": 3}
    assert array_limits.are_limited()
    assert limited(max_concurrent=2).are_limited()
    assert limited(max_failures=2).are_limited()


def test_only_a_limited_array_has_a_room_and_live_jobs_fill_it() -> None:
    array_limits = limited(max_concurrent=2)
    array_limits.note(20, PLAIN)
    array_limits.note(30, None)
    assert array_limits.rooms() == {10: 2}
    for job in (live(10, 10), live(20, 20), live(30, None)):
        array_limits.start(job)
    assert array_limits.rooms() == {10: 1}
    array_limits.start(live(10, 10))
    assert array_limits.rooms() == {10: 1}, "it is one job"
    array_limits.start(live(11, 10))
    array_limits.start(live(12, 10))
    assert array_limits.rooms() == {10: 0}
    for job_id in (11, 20, 30, 99):
        array_limits.leave(job_id)
    assert array_limits.rooms() == {10: 0}, "the limit was not held before, and is now"
    array_limits.leave(12)
    assert array_limits.rooms() == {10: 1}


def test_a_cluster_has_any_number_of_an_array_while_one_more_might_start() -> None:
    array_limits = limited(max_concurrent=2)
    assert array_limits.rooms(native=True) == {}
    array_limits.start(live(10, 10))
    assert array_limits.rooms(native=True) == {}
    array_limits.start(live(11, 10))
    assert array_limits.rooms(native=True) == {10: 0}


def test_a_limit_put_on_an_array_later_wins() -> None:
    limits: dict[int, dict[str, int | None]] = {10: {"max_concurrent": 5}, 20: {"max_concurrent": 1}}
    array_limits = limited_by(limits, max_concurrent=2)
    array_limits.note(20, PLAIN)
    assert array_limits.rooms() == {10: 5, 20: 1}
    limits[10] = {"max_concurrent": None}
    del limits[20]
    assert array_limits.rooms() == {}


def test_who_was_left_out_is_known_until_the_next_walk() -> None:
    array_limits = limited(max_concurrent=1)
    array_limits.rooms()
    array_limits.left_out(11)
    assert array_limits.outside == {11}
    array_limits.rooms()
    assert array_limits.outside == set()


def test_an_array_is_exhausted_once_with_its_last_failure_that_it_may_have() -> None:
    array_limits = limited(max_failures=2)
    array_limits.see(10, 10, FAILED)
    array_limits.see(10, 10, FAILED)
    array_limits.see(10, 11, {"is": "ended", "state": "cancelled"})
    array_limits.see(10, 12, {"is": "ended", "state": "finished"})
    array_limits.see(10, 13, None)
    assert (list(array_limits.exhausted()), array_limits.too_many(10)) == ([], None)
    array_limits.see(10, 14, TIMED_OUT)
    assert (list(array_limits.exhausted()), array_limits.too_many(10)) == ([10], 2)
    array_limits.see(10, 15, FAILED)
    assert (list(array_limits.exhausted()), array_limits.too_many(10)) == ([], 3)


def test_an_array_whose_failed_jobs_are_tried_again_may_be_exhausted_again() -> None:
    array_limits = limited(max_failures=1)
    array_limits.see(10, 10, FAILED)
    assert list(array_limits.exhausted()) == [10]
    array_limits.see(10, 10, {"is": "queued", "attempt": 2})
    assert (list(array_limits.exhausted()), array_limits.too_many(10)) == ([], None)
    array_limits.see(10, 10, FAILED)
    assert list(array_limits.exhausted()) == [10]


def test_other_jobs_may_fail_as_they_like() -> None:
    array_limits = limited()
    array_limits.see(None, 9, FAILED)
    array_limits.see(10, 10, FAILED)
    assert (list(array_limits.exhausted()), array_limits.too_many(10)) == ([], None)


def test_an_array_that_is_gone_has_neither_limit_nor_failures() -> None:
    array_limits = limited(max_concurrent=1, max_failures=1)
    array_limits.see(10, 10, FAILED)
    array_limits.note(10, None)
    assert (array_limits.rooms(), list(array_limits.exhausted())) == ({}, [])
