from __future__ import annotations

from math import inf

from machine_room import BIG, Reserved, job

from gflowd.core.accounting.quotas import Ledger, Quotas
from gflowd.core.accounting.runtimes import DEFAULT, Length
from gflowd.core.job.model import Job
from gflowd.core.planning import forecast
from gflowd.core.planning.occupancy import Hold, Occupancy

NOW, DAY = 1000.0, 86400.0


def room(*held: Hold) -> Occupancy:
    made = Occupancy(BIG, (0, 1, 2, 3), NOW)
    for each in held:
        made.take(each)
    return made


def test_each_starts_when_those_before_it_have_run_to_their_limits() -> None:
    jobs = [job(1, gpus=4, time_limit=10.0), job(2, gpus=2, time_limit=5.0), job(3, gpus=2), job(4, gpus=1)]
    held = Hold("u", NOW + 30, 0, 0, (0,)), Hold("u", NOW + 20, 8, 0, ())
    assert forecast.expected(jobs, room(*held)) == {1: NOW + 30, 2: NOW + 40, 3: NOW + 40, 4: NOW + 45}


def test_a_job_without_a_limit_counts_as_what_is_predicted_or_as_a_day() -> None:
    jobs = [job(1, gpus=1), job(2, gpus=4), job(3)]
    assert forecast.expected(jobs, room()) == {1: NOW, 2: NOW + DAY, 3: NOW + DAY}

    def a_minute(job: Job) -> Length:
        return Length(60.0, DEFAULT)

    assert forecast.expected(jobs, room(), a_minute) == {1: NOW, 2: NOW + 60, 3: NOW + 60}
    held = Hold("u", NOW + 50, 8, 0, (), certain=False)
    assert forecast.expected(jobs[1:], room(held), a_minute) == {2: NOW + 50, 3: NOW + 50}


def test_beyond_what_has_no_end_nobody_can_tell() -> None:
    jobs = [job(1, gpus=2), job(2, gpus=4), job(3)]
    assert forecast.expected(jobs[1:], room(Hold("u", inf, 8, 0, ()))) == {}
    assert forecast.expected(jobs, room(Hold("u", inf, 0, 0, (0,)))) == {1: NOW}


def test_each_starts_on_what_reservations_leave_it() -> None:
    windows = [Reserved("v", NOW + 10, NOW + 20, gpu_list=(0, 1, 2))]
    jobs = [job(1, gpus=2, time_limit=10.0), job(2, gpus=3, time_limit=5.0), job(3, gpus=1), job(4, user="v", gpus=2)]
    made = Occupancy(BIG, (0, 1, 2, 3), NOW, windows)
    assert forecast.expected(jobs, made) == {1: NOW, 2: NOW + 20, 3: NOW + 20, 4: NOW + 25}


def test_of_a_job_that_waits_for_a_person_nobody_can_tell() -> None:
    assert forecast.expected([job(1, gpus=4), job(2)], Occupancy(BIG, (0, 1), NOW)) == {}


def test_whom_a_quota_keeps_out_starts_when_it_lets_him_and_delays_nobody() -> None:
    ledger = Ledger(Quotas({}, {"user:u": {"max_running_jobs": 1}}))
    jobs = [job(n, user="u", gpus=1, time_limit=10.0) for n in (1, 2)]
    jobs += [job(3, user="v", gpus=2, time_limit=5.0), job(4, user="v", gpus=4, time_limit=5.0)]
    held = Hold("u", NOW + 30, 0, 0, (0,))
    ledger.start(jobs[0].spec, NOW + 30)
    assert forecast.expected(jobs, room(held), ledger=ledger) == {3: NOW, 1: NOW + 30, 2: NOW + 40, 4: NOW + 50}


def test_whom_a_quota_keeps_out_for_a_time_that_nobody_knows_is_left_out() -> None:
    ledger = Ledger(Quotas({}, {"user:u": {"max_running_jobs": 1}}))
    ledger.start(job(9, user="u").spec, inf)
    assert forecast.expected([job(1, user="u"), job(2, user="v", gpus=1)], room(), ledger=ledger) == {2: NOW}
