from __future__ import annotations

from math import inf

from machine_room import BIG, job

from gflowd.core import forecast
from gflowd.core.occupancy import Hold, Occupancy

NOW = 1000.0


def room(*held: Hold) -> Occupancy:
    made = Occupancy(BIG, (0, 1, 2, 3), NOW)
    for each in held:
        made.take(each)
    return made


def test_each_starts_when_those_before_it_have_run_to_their_limits() -> None:
    jobs = [job(1, gpus=4, time_limit=10.0), job(2, gpus=2, time_limit=5.0), job(3, gpus=2), job(4, gpus=1)]
    held = Hold("u", NOW + 30, 0, 0, (0,)), Hold("u", NOW + 20, 8, 0, ())
    assert forecast.expected(jobs, room(*held)) == {1: NOW + 30, 2: NOW + 40, 3: NOW + 40, 4: NOW + 45}


def test_beyond_a_job_without_a_limit_nobody_can_tell() -> None:
    jobs = [job(1, gpus=1), job(2, gpus=4), job(3)]
    assert forecast.expected(jobs, room()) == {1: NOW}
    assert forecast.expected(jobs, room(), default_limit=60.0) == {1: NOW, 2: NOW + 60, 3: NOW + 60}
    assert forecast.expected(jobs[1:], room(Hold("u", inf, 8, 0, ()))) == {}


def test_of_a_job_that_waits_for_a_person_nobody_can_tell() -> None:
    assert forecast.expected([job(1, gpus=4), job(2)], Occupancy(BIG, (0, 1), NOW)) == {}
