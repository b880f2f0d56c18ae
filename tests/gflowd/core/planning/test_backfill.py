from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import combinations, product
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st
from machine_room import BIG, Clockwork, Reserved, could_start, job
from support import depth

from gflowd.core.accounting.quotas import Ledger, Quotas
from gflowd.core.accounting.runtimes import DEFAULT, Length
from gflowd.core.job import reasons
from gflowd.core.job.model import Job, Queued, Spec, Wish
from gflowd.core.planning import backfill
from gflowd.core.planning.backfill import LATE, Look, Plan, Rules, limit_or_guess
from gflowd.core.planning.capacity import Capacity, Device
from gflowd.core.planning.occupancy import Hold, Occupancy, hold
from gflowd.core.planning.promises import Promise

NOW = 1000.0
HOUR = 3600.0


def has(
    *gpus: int,
    until: float | None = None,
    cpus: int = 0,
    memory_mb: int = 0,
    user: str = "u",
    shared: int | None = None,
) -> Hold:
    """What a job has whose limit lets it run `until` then; one without a limit is expected to take another hour."""
    certain = until is not None
    return Hold(user, until if until is not None else NOW + HOUR, cpus, memory_mb, gpus, shared, certain)


def plan(
    jobs: Sequence[Job],
    *live: Hold,
    capacity: Capacity = BIG,
    available: Sequence[int] = (0, 1, 2, 3),
    windows: Sequence[Reserved] = (),
    doubtful: Sequence[int] = (),
    **rules: object,
) -> Plan:
    """Who waits is promised a start at once, unless `rules` say otherwise."""
    room = Occupancy(capacity, available, NOW, windows, doubtful=doubtful)
    for each in live:
        room.take(each)
    return backfill.plan(jobs, room, Rules(**{"depth": 1000, "promise_after": 0.0, **rules}))  # type: ignore[arg-type]


def started(made: Plan) -> list[tuple[int, tuple[int, ...]]]:
    return [(job.id, gpu_ids) for job, gpu_ids in made.starts]


def promised(made: Plan) -> list[tuple[int, float | None, float | None]]:
    return [(each.job.id, each.at, each.expected) for each in made.promises]


def once() -> Ledger:
    """Each user may have one job at a time."""
    return Ledger(Quotas({"default-user": {"max_running_jobs": 1}}, {}))


# What fits starts.


def test_jobs_start_in_order_as_long_as_there_is_room() -> None:
    made = plan([job(1, cpus=3), job(2, cpus=3), job(3, cpus=3)])
    assert (started(made), made.reasons) == ([(1, ()), (2, ())], {3: reasons.RESOURCES})


def test_gpus_are_given_lowest_first_and_each_once() -> None:
    assert started(plan([job(1, gpus=2), job(2, gpus=1), job(3, gpus=2)])) == [(1, (0, 1)), (2, (2,))]


def test_what_is_held_is_not_given_again() -> None:
    assert started(plan([job(3, gpus=2)], has(0), has(2), has(memory_mb=400))) == [(3, (1, 3))]


def test_the_whole_machine_may_be_asked_for() -> None:
    assert started(plan([job(1, gpus=4, cpus=8, memory_mb=1000)])) == [(1, (0, 1, 2, 3))]


def test_gpus_are_of_the_type_and_size_asked_for() -> None:
    jobs = [job(1, gpus=1, gpu_type="h100"), job(2, gpus=1, gpu_memory_mb=150), job(3, gpus=2)]
    assert started(plan(jobs)) == [(1, (2,)), (2, (1,)), (3, (0, 3))]


def test_a_chooser_chooses_among_the_candidates() -> None:
    made = plan([job(1, gpus=2), job(2, gpus=2)], choose=lambda job, found, count: tuple(found[-count:]))
    assert started(made) == [(1, (2, 3)), (2, (0, 1))]


# Shared GPUs.


def test_shared_jobs_fill_one_gpu_before_the_next() -> None:
    jobs = [job(number, gpus=1, cpus=0, shared=True, gpu_memory_mb=60) for number in range(1, 5)]
    assert started(plan(jobs)) == [(1, (0,)), (2, (1,)), (3, (1,)), (4, (1,))]


def test_a_shared_job_takes_no_gpu_of_an_exclusive_one_and_the_other_way_round() -> None:
    jobs = [job(1, gpus=1, shared=True, gpu_memory_mb=10), job(2, gpus=4), job(3, gpus=3, time_limit=1.0)]
    made = plan(jobs, has(0))
    assert (started(made), made.reasons) == ([(1, (1,))], dict.fromkeys((2, 3), reasons.RESOURCES))


def test_what_foreign_processes_really_use_is_respected() -> None:
    capacity = Capacity((Device(0, "x", 100, used_mb=60),), 8, 1000)
    jobs = [job(1, gpus=1, shared=True, gpu_memory_mb=41), job(2, gpus=1, shared=True, gpu_memory_mb=40)]
    made = plan(jobs, has(0, shared=30), capacity=capacity, available=(0,))
    assert (started(made), made.reasons) == ([(2, (0,))], {1: reasons.RESOURCES})


def test_what_others_use_is_not_free_for_a_job_alone_on_its_gpu_either() -> None:
    capacity = Capacity((Device(0, "x", 100, used_mb=60, foreign_mb=60), Device(1, "x", 100, used_mb=99)), 8, 1000)
    jobs = [job(1, gpus=1, gpu_memory_mb=41), job(2, gpus=1), job(3, gpus=1, gpu_memory_mb=40)]
    made = plan(jobs, capacity=capacity, available=(0, 1))
    assert started(made) == [(1, (1,)), (2, (0,))]
    assert started(plan(jobs[2:], has(1), capacity=capacity, available=(0, 1))) == [(3, (0,))]


def test_what_others_use_and_what_was_given_to_shared_jobs_is_both_taken() -> None:
    capacity = Capacity((Device(0, "x", 100, used_mb=40, foreign_mb=40),), 8, 1000)
    jobs = [job(1, gpus=1, shared=True, gpu_memory_mb=31), job(2, gpus=1, shared=True, gpu_memory_mb=30)]
    assert started(plan(jobs, has(0, shared=30), capacity=capacity, available=(0,))) == [(2, (0,))]


# What can never be, and what cannot be now.


def test_what_can_never_be_is_impossible_and_blocks_nobody() -> None:
    made = plan([job(1, cpus=9), job(2)])
    assert [job.id for job, _ in made.impossible] == [1]
    assert (started(made), made.reasons) == ([(2, ())], {})


def test_a_job_begins_at_its_time_and_not_before_and_blocks_nobody() -> None:
    made = plan([job(1, begin_at=NOW), job(2, begin_at=NOW + 0.001, cpus=7), job(3, cpus=7)])
    assert (started(made), made.reasons) == ([(1, ()), (3, ())], {})


def test_a_retry_begins_after_its_delay_and_not_before_the_begin_time() -> None:
    soon, later = Queued(attempt=2, begin_at=NOW + 1), Queued(attempt=2, begin_at=NOW)
    jobs = [
        job(1).replace(phase=soon),
        job(2, begin_at=NOW - 1).replace(phase=soon),
        job(3, begin_at=NOW + 1).replace(phase=later),
        job(4, Wish(begin_at=NOW - 1), begin_at=NOW + 9).replace(phase=later),
    ]
    assert started(plan(jobs)) == [(4, ())]


def test_gpus_that_are_not_available_hold_up_only_those_that_need_them() -> None:
    made = plan([job(1, gpus=3), job(2, gpus=2)], available=(1, 3))
    assert (started(made), made.reasons) == ([(2, (1, 3))], {1: reasons.GPU_UNAVAILABLE})
    assert promised(made) == []


def test_before_anybody_has_looked_gpus_are_unavailable_and_nothing_is_impossible() -> None:
    made = plan([job(1, gpus=99), job(2)], capacity=Capacity(None, 8, 1000))
    assert (started(made), made.reasons, made.impossible) == ([(2, ())], {1: reasons.GPU_UNAVAILABLE}, [])
    assert not made.wants_gpu


def test_a_gpu_is_looked_at_before_it_is_given() -> None:
    made = plan([job(1, gpus=1)], gpus_are_fresh=False)
    assert (made.starts, made.reasons, made.wants_gpu) == ([], {1: reasons.RESOURCES}, {1: Look((0,), NOW)})
    assert not plan([job(1, gpus=1)]).wants_gpu
    assert not plan([job(1)], gpus_are_fresh=False).wants_gpu
    assert not plan([job(1, gpus=4)], has(0), gpus_are_fresh=False).wants_gpu


def test_what_waits_for_that_look_is_kept_for_its_job() -> None:
    first = job(1, gpus=1, cpus=6, memory_mb=600)
    made = plan([first, job(2, cpus=3), job(3, memory_mb=500), job(4, cpus=2)], gpus_are_fresh=False)
    assert (started(made), list(made.reasons)) == ([(4, ())], [1, 2, 3])


def test_a_job_without_cpu_slots_runs_on_a_full_machine() -> None:
    assert started(plan([job(1, cpus=0)], has(cpus=8, memory_mb=1000))) == [(1, ())]


def test_who_asks_for_nothing_is_not_held_up_by_a_machine_that_has_shrunk() -> None:
    shrunk, held = Capacity((Device(0),), cpus=2, memory_mb=100), has(cpus=8, memory_mb=1000)
    assert started(plan([job(1, cpus=0), job(2, cpus=0, memory_mb=0)], held, capacity=shrunk)) == [(1, ()), (2, ())]
    assert plan([job(1, cpus=1)], held, capacity=shrunk).reasons == {1: reasons.RESOURCES}
    assert plan([job(1, cpus=0, memory_mb=1)], held, capacity=shrunk).reasons == {1: reasons.RESOURCES}


def test_no_more_requests_are_tried_in_vain_than_the_depth() -> None:
    queue = [job(number, cpus=9 - number) for number in range(1, 6)]
    assert list(plan(queue, has(cpus=7), depth=2).reasons) == [1, 2]
    assert plan(queue, depth=0).starts == []
    made = plan([job(1, begin_at=NOW + 1), job(2, cpus=99), job(3, cpus=8), job(4)], has(cpus=1), depth=2)
    assert made.reasons.keys() == {3, 4}


def test_jobs_that_ask_for_the_same_count_once_and_as_many_reasons_as_the_depth_are_told() -> None:
    made = plan([*(job(number, cpus=8) for number in range(1, 60)), job(60, cpus=7)], has(cpus=7), depth=2)
    assert (started(made), list(made.reasons)) == ([], [1, 2])
    made = plan([*(job(number, cpus=8) for number in range(1, 60)), job(60, time_limit=HOUR)], has(cpus=7), depth=2)
    assert (started(made), list(made.reasons)) == ([(60, ())], [1, 2])


def test_jobs_over_a_quota_or_without_their_gpus_take_no_place_of_those_that_wait_for_resources() -> None:
    mine = [job(number) for number in range(1, 6)]
    made = plan([*mine, job(6, user="v", cpus=1)], ledger=once(), depth=2)
    assert (started(made), made.reasons) == ([(1, ()), (6, ())], {2: reasons.QUOTA, 3: reasons.QUOTA})
    gpus = [job(number, gpus=4) for number in range(1, 5)]
    made = plan([*gpus, job(5)], available=(), depth=2)
    assert (started(made), list(made.reasons)) == ([(5, ())], [1, 2])
    many = [job(number, gpus=4, cpus=number % 8) for number in range(1, 30)]
    assert started(plan([*many, job(30)], available=(), depth=2)) == [(30, ())]


def test_what_cannot_start_is_told_with_the_length_from_which_on_others_like_it_cannot() -> None:
    told: list[tuple[int, float, bool]] = []

    def note(job: Job, length: float, personal: bool) -> None:
        told.append((job.id, length, personal))

    queue = [
        job(1, gpus=3, time_limit=HOUR), job(2, gpus=3, time_limit=60.0), job(3, gpus=1, time_limit=HOUR),
        job(4, gpus=1, time_limit=2 * HOUR), job(5, gpus=1, time_limit=HOUR / 2), job(6, gpus=4),
    ]  # fmt: skip
    live = has(0, until=NOW + HOUR / 2), has(1, until=NOW + HOUR)
    made = plan(queue, *live, rule_out=note)
    assert (started(made), told) == ([(5, (2,))], [(1, 0.0, False), (3, HOUR, False), (6, 0.0, False)])
    assert made.reasons == dict.fromkeys((1, 2, 6), reasons.RESOURCES) | dict.fromkeys((3, 4), reasons.PRIORITY)
    told.clear()
    plan([*queue[:1], job(7, gpus=3, time_limit=HOUR), job(8, user="v", gpus=3)], *live, ledger=once(), rule_out=note)
    assert told == [(1, 0.0, True), (8, 0.0, True)]
    told.clear()
    plan([job(1, time_limit=60.0), job(2, cpus=2), job(3, cpus=2)], ledger=once(), rule_out=note)
    assert told == [(2, 0.0, True), (3, 0.0, True)]


def once_with(*live: Job) -> Ledger:
    """The same, with jobs that may run for another 99 seconds."""
    ledger = once()
    for each in live:
        ledger.start(each.spec, NOW + 99)
    return ledger


def test_who_is_over_a_quota_waits_and_blocks_nobody() -> None:
    made = plan([job(1), job(2, cpus=7), job(3, user="v")], ledger=once())
    assert (started(made), made.reasons) == ([(1, ()), (3, ())], {2: reasons.QUOTA})
    assert promised(made) == []


# The promise.


def test_the_first_that_waits_is_promised_the_time_that_the_limits_before_it_allow() -> None:
    made = plan([job(1, gpus=3)], has(0, until=NOW + 50), has(1, until=NOW + 90), has(2, until=NOW + 70))
    assert promised(made) == [(1, NOW + 70, NOW + 70)]


def test_a_small_job_uses_the_gap_if_it_is_gone_in_time() -> None:
    live = has(0, 1, 2, until=NOW + HOUR)
    jobs = [job(1, gpus=4), job(2, gpus=1, time_limit=HOUR), job(3, gpus=1)]
    made = plan(jobs, live)
    assert (started(made), made.reasons) == ([(2, (3,))], dict.fromkeys((1, 3), reasons.RESOURCES))
    made = plan([jobs[0], jobs[2], job(4, gpus=1, time_limit=HOUR + 1)], live)
    assert (started(made), made.reasons[3], made.reasons[4]) == ([], reasons.PRIORITY, reasons.PRIORITY)
    assert promised(made) == [(1, NOW + HOUR, NOW + HOUR)]


def test_what_the_promise_does_not_need_is_given_for_any_time() -> None:
    live = has(0, 1, until=NOW + HOUR, cpus=4)
    jobs = [job(1, gpus=3, cpus=6), job(2, gpus=1, cpus=2), job(3, gpus=1, cpus=0), job(4, gpus=0, cpus=1)]
    made = plan(jobs, live)
    assert (started(made), made.reasons[3], made.reasons[4]) == ([(2, (3,))], reasons.PRIORITY, reasons.PRIORITY)


def test_a_job_that_outlives_the_promise_gets_a_gpu_that_is_of_no_use_to_it() -> None:
    live = has(0, until=NOW + HOUR)
    made = plan([job(1, gpus=2, gpu_type="a100"), job(2, gpus=1), job(3, gpus=1), job(4, gpus=1)], live)
    assert (started(made), made.reasons[4]) == ([(2, (2,)), (3, (3,))], reasons.PRIORITY)


def test_jobs_without_limits_are_not_let_past_a_wide_one_and_count_as_what_is_predicted() -> None:
    live, jobs = has(0), [job(1, gpus=4), job(2, gpus=1), job(3, gpus=1, time_limit=HOUR)]
    made = plan(jobs, live)
    assert (started(made), made.reasons[2], promised(made)) == (
        [(3, (1,))], reasons.PRIORITY, [(1, None, NOW + HOUR)],
    )  # fmt: skip

    def an_hour(job: Job) -> Length:
        return Length(HOUR, DEFAULT) if job.spec.time_limit is None else limit_or_guess(job)

    assert started(plan(jobs, live, length=an_hour)) == [(2, (1,)), (3, (2,))]
    made = plan(jobs, has(0, until=NOW + HOUR), length=an_hour)  # a time that is known is kept from what may never end
    assert (started(made), promised(made)) == ([(3, (1,))], [(1, NOW + HOUR, NOW + HOUR)])


def test_a_time_that_is_known_and_an_earlier_one_that_is_expected_are_both_kept() -> None:
    live = has(0, until=NOW + 2 * HOUR), has(1)
    jobs = [job(1, gpus=3), job(2, gpus=1, time_limit=2 * HOUR), job(3, gpus=1, time_limit=HOUR)]
    made = plan(jobs, *live)
    assert promised(made) == [(1, NOW + 2 * HOUR, NOW + HOUR)]
    assert (started(made), made.reasons[2]) == ([(3, (2,))], reasons.PRIORITY)


def test_a_promise_is_for_who_has_waited_some_times_its_length_or_long_enough_in_all() -> None:
    live, stream = has(0, until=NOW + HOUR), job(2, gpus=1, time_limit=2 * HOUR)

    def made(waited: float, **rules: float) -> Plan:
        return plan([job(1, gpus=4, time_limit=HOUR, submitted_at=NOW - waited), stream], live, **rules)

    early = made(HOUR - 1, promise_after=1.0)
    assert (promised(early), started(early), early.promise_due) == ([], [(2, (1,))], NOW + 1)
    late = made(HOUR, promise_after=1.0)
    assert (promised(late), started(late), late.promise_due) == ([(1, NOW + HOUR, NOW + HOUR)], [], None)
    assert made(HOUR, promise_after=16.0).promise_due == NOW + 15 * HOUR
    assert made(HOUR, promise_after=16.0, promise_within=2 * HOUR).promise_due == NOW + HOUR
    assert promised(made(HOUR, promise_after=16.0, promise_within=HOUR)) != []
    assert promised(made(HOUR, promise_after=1.0, ready=lambda _: NOW)) == []


def test_the_first_to_be_due_is_waited_for() -> None:
    jobs = [job(1, gpus=4, time_limit=2 * HOUR), job(2, gpus=3, time_limit=HOUR), job(3, gpus=2, time_limit=3 * HOUR)]
    assert plan(jobs, has(0, 1, 2), ready=lambda _: NOW, promise_after=1.0).promise_due == NOW + HOUR


def test_the_first_who_has_waited_long_enough_is_promised_a_start_not_the_first_in_order() -> None:
    jobs = [job(1, gpus=4, time_limit=HOUR), job(2, gpus=3, time_limit=99.0), job(3, gpus=2, time_limit=99.0)]
    made = plan(jobs, has(0, 1, until=NOW + 9), has(2, until=NOW + 30), promise_after=10.0)
    assert promised(made) == [(2, NOW + 9, NOW + 9)]


def test_all_that_were_promised_a_start_keep_it_and_nobody_new_gets_one_meanwhile() -> None:
    jobs = [job(number, gpus=4, time_limit=HOUR) for number in range(1, 5)]
    made = plan(jobs, has(0, until=NOW + HOUR), promised={2: None, 3: None})
    assert promised(made)[0][0] == 1  # nobody in its band has a promise that was looked at before
    made = plan([jobs[1], jobs[2], jobs[0], jobs[3]], has(0, until=NOW + HOUR), promised={2: None, 3: None})
    assert promised(made) == [(2, NOW + HOUR, NOW + HOUR), (3, NOW + 2 * HOUR, NOW + 2 * HOUR)]


def test_a_promise_is_kept_although_its_gpus_are_away_or_its_owner_is_over_a_quota() -> None:
    wide = job(1, gpus=3, time_limit=HOUR)
    made = plan([wide, job(2, gpus=2)], available=(1, 3), promised={1: None})
    assert made.promises == [Promise(wide, None, None, reasons.GPU_UNAVAILABLE)]
    assert started(made) == [(2, (1, 3))]
    ledger = once()
    ledger.start(wide.spec, NOW + 99)
    live = has(until=NOW + 99)
    made = plan([wide, job(2, user="v", gpus=2, time_limit=100.0)], live, ledger=ledger, promised={1: None})
    assert made.promises == [Promise(wide, NOW + 99, NOW + 99, reasons.QUOTA)]
    assert (made.reasons, started(made)) == ({1: reasons.QUOTA, 2: reasons.PRIORITY}, [])
    made = plan([wide, job(2, user="v", gpus=2, time_limit=99.0)], ledger=once_with(wide), promised={1: None})
    assert started(made) == [(2, (0, 1))]
    assert promised(plan([wide], ledger=once_with(wide))) == []  # a quota alone is no reason for a promise


def test_what_is_overdue_is_expected_to_go_in_a_moment() -> None:
    assert promised(plan([job(1, gpus=4)], has(0, until=NOW - 5))) == [(1, NOW + 1, NOW + 1)]


def test_a_shared_job_that_is_promised_a_start_waits_for_memory() -> None:
    live = (has(0, until=NOW + 10, shared=80), has(1, 2, 3))
    jobs = [
        job(1, gpus=1, shared=True, gpu_memory_mb=90),
        job(2, gpus=1, shared=True, gpu_memory_mb=10),
        job(3, gpus=1, shared=True, gpu_memory_mb=20, time_limit=10.0),
        job(4, gpus=1, shared=True, gpu_memory_mb=20),
    ]
    made = plan(jobs, *live)
    assert (started(made), promised(made)) == ([(2, (0,))], [(1, NOW + 10, NOW + 10)])
    assert plan([jobs[0], jobs[3]], *live).reasons[4] == reasons.PRIORITY
    assert started(plan([jobs[0], jobs[2]], *live)) == [(3, (0,))]


# Reservations.


def test_a_gpu_that_is_reserved_is_given_to_its_user_alone_and_first() -> None:
    windows = [Reserved("v", NOW, NOW + HOUR, gpu_list=(1, 3))]
    jobs = [job(1, gpus=1, user="v", time_limit=HOUR), job(2, gpus=2), job(3, gpus=1, user="v")]
    assert started(plan(jobs, windows=windows)) == [(1, (1,)), (2, (0, 2)), (3, (3,))]


def test_who_has_the_name_of_somebody_else_by_now_inherits_no_reservation() -> None:
    """Nor stands in the way of who it is for: what cannot start is ruled out by name for others alone."""
    out: list[int] = []
    old, new = (job(number, gpus=1, user="ada", uid=uid) for number, uid in ((1, 1001), (2, 1077)))

    def starts(*windows: Reserved) -> list[int]:
        out.clear()
        rules = Rules(100, rule_out=lambda each, *_: out.append(each.id))
        made = backfill.plan([old, new], Occupancy(BIG, (0, 1, 2, 3), NOW, windows), rules)
        return [number for number, _ in started(made)]

    every = (0, 1, 2, 3)
    assert starts(Reserved("ada", NOW, NOW + HOUR, gpu_list=every, uid=1077)) == [2]
    assert out == []
    assert starts(Reserved("ada", NOW, NOW + HOUR, gpu_list=every, uid=1001)) == [1]
    assert starts(Reserved("ada", NOW, NOW + HOUR, gpu_list=every)) == [1, 2], "as it was made before ids were kept"
    assert starts(Reserved("bob", NOW, NOW + HOUR, gpu_list=every, uid=1001)) == []
    assert out == [1, 2]
    assert starts(Reserved("ada", NOW, NOW + HOUR, 4, uid=1077)) == [2]


def test_a_job_that_would_run_into_a_reservation_is_not_started_on_what_it_needs() -> None:
    windows = [Reserved("v", NOW + HOUR, NOW + 2 * HOUR, gpu_list=(0, 1, 2, 3))]
    made = plan([job(1, gpus=1), job(2, gpus=1, time_limit=HOUR)], windows=windows)
    assert (started(made), made.reasons) == ([(2, (0,))], {1: reasons.RESERVATION})
    assert promised(made) == [(1, NOW + 2 * HOUR, NOW + 2 * HOUR)]


def test_who_lacks_only_what_is_reserved_now_waits_for_the_reservation() -> None:
    windows = [Reserved("v", NOW - 5, NOW + HOUR, gpu_list=(0,))]
    assert plan([job(1, gpus=1)], has(1, 2, 3), windows=windows).reasons == {1: reasons.RESERVATION}
    assert plan([job(1, gpus=2)], has(1, 2, 3), windows=windows).reasons == {1: reasons.RESOURCES}


def test_as_many_gpus_as_are_reserved_are_left_to_their_user() -> None:
    windows = [Reserved("v", NOW + 10, NOW + HOUR, 3), Reserved("w", NOW, NOW + 5, gpu_list=(0,))]
    jobs = [job(1, gpus=1, time_limit=99.0), job(2, gpus=1, time_limit=99.0), job(3, gpus=1, time_limit=10.0)]
    made = plan(jobs, windows=windows)
    assert (started(made), made.reasons) == ([(1, (1,)), (3, (2,))], {2: reasons.RESERVATION})
    held = (has(1, 2, user="v"), has(3, until=NOW + 7))
    assert started(plan(jobs[1:2], *held, windows=windows)) == []
    windows = windows[:1]
    assert started(plan(jobs[1:2], *held, windows=windows)) == [(2, (0,))]


def test_who_can_start_at_no_time_because_of_reservations_is_told_none() -> None:
    windows = [Reserved("v", NOW + HOUR, inf, gpu_list=(0, 1, 2, 3))]
    made = plan([job(1, gpus=1), job(2, gpus=4, time_limit=10.0)], windows=windows)
    assert (started(made), made.reasons) == ([(2, (0, 1, 2, 3))], {1: reasons.RESERVATION})
    assert promised(made) in ([], [(1, None, None)])


def test_who_can_be_told_no_time_takes_the_promise_from_nobody() -> None:
    windows = [Reserved("v", NOW + HOUR, inf, gpu_list=(0,))]
    jobs = [job(1, gpus=4), job(2, gpus=3, time_limit=2 * HOUR), job(3, gpus=1, time_limit=2 * HOUR)]
    made = plan(jobs, has(1, until=NOW + HOUR), windows=windows)
    assert promised(made) == [(2, NOW + HOUR, NOW + HOUR)]
    assert started(made) == []


def every_day(start: float, length: float, gpu_list: tuple[int, ...] = (0, 1, 2, 3)) -> list[Reserved]:
    """Of "v", for 16 days."""
    begins = [NOW + start + 24 * HOUR * day for day in range(16)]
    return [Reserved("v", begin, begin + length, gpu_list=gpu_list, again=True) for begin in begins]


def test_who_finds_no_gap_between_reservations_that_come_again_never_starts_and_holds_nobody_up() -> None:
    windows = every_day(2 * HOUR, 4 * HOUR)
    jobs = [job(1, gpus=1), job(2, gpus=4, time_limit=21 * HOUR), job(3, gpus=4, time_limit=HOUR)]
    made = plan(jobs, windows=windows)
    assert made.reasons == dict.fromkeys((1, 2), reasons.NEVER_RESERVATION)
    assert (started(made), promised(made)) == ([(3, (0, 1, 2, 3))], [])
    at, longest = made.shorter(jobs[0])
    assert (at, longest is not None and 20 * HOUR - 60 <= longest <= 20 * HOUR) == (None, True)
    made = plan([jobs[1].replace(spec=jobs[1].spec.replace(time_limit=20 * HOUR))], windows=windows)
    assert promised(made) == [(2, NOW + 6 * HOUR, NOW + 6 * HOUR)]
    assert started(plan([job(1, user="v", gpus=4)], windows=windows)) == [(1, (0, 1, 2, 3))]
    assert plan([job(1, gpus=1)], windows=windows, promised={1: None}).promises[0].why == reasons.NEVER_RESERVATION


def test_who_asks_for_more_than_its_quota_never_starts_and_holds_nobody_up() -> None:
    ledger = Ledger(Quotas({"user:u": {"max_running_gpus": 2}}, {}))
    made = plan([job(1, gpus=3), job(2, gpus=2), job(3, gpus=1), job(4, user="v", gpus=2)], ledger=ledger)
    assert made.reasons == {1: reasons.NEVER_QUOTA, 3: reasons.QUOTA}
    assert (started(made), promised(made)) == ([(2, (0, 1)), (4, (2, 3))], [])


# The quotas of those that were promised something.


def passes(passing: Job, wide: Job, quotas: dict[str, dict[str, int | None]], *live: Job) -> bool:
    """Whether a job is let past one that is promised the GPUs 0, 1 and 2 in two hours; `live` ones end in five."""
    ledger = Ledger(Quotas(quotas, {}))
    for each in live:
        ledger.start(each.spec, NOW + 5 * HOUR)
    made = plan([wide, passing], has(0, 1, 2, until=NOW + 2 * HOUR, user="w"), ledger=ledger)
    assert promised(made) == [(wide.id, NOW + 2 * HOUR, NOW + 2 * HOUR)]
    return made.starts != []


def test_what_is_let_past_takes_nothing_of_the_quota_of_its_owner_that_a_promise_needs() -> None:
    wide, live, quotas = job(1, gpus=3), job(9, cpus=0), {"user:u": {"max_running_jobs": 2}}
    assert passes(job(2, time_limit=2 * HOUR), wide, quotas, live)
    assert not passes(job(2, time_limit=2 * HOUR + 1), wide, quotas, live)
    assert not passes(job(2), wide, quotas, live)
    assert passes(job(2), wide, quotas)
    assert passes(job(2, user="v", time_limit=9 * HOUR), wide, quotas, live)
    assert passes(job(2), wide, {"user:u": {"max_running_jobs": 3}}, live)


def test_what_is_let_past_takes_none_of_the_gpus_that_the_owner_of_a_promise_may_have() -> None:
    wide = job(1, gpus=3)
    for most, found in ((3, False), (4, True)):
        quotas: dict[str, dict[str, int | None]] = {"user:u": {"max_running_gpus": most}}
        assert passes(job(2, gpus=1, time_limit=3 * HOUR), wide, quotas) == found
        assert passes(job(2, gpus=1, time_limit=2 * HOUR), wide, quotas)
        assert passes(job(2, time_limit=3 * HOUR), wide, quotas)


def test_what_is_let_past_takes_nothing_of_the_quota_of_the_project_of_a_promise_whoever_it_is() -> None:
    wide, quotas = job(1, gpus=3, project="p"), {"project:p": {"max_running_jobs": 1}}
    assert not passes(job(2, user="v", project="p"), wide, quotas)
    assert passes(job(2, user="v", project="q"), wide, quotas)
    assert passes(job(2), wide, quotas)


def test_a_promise_waits_for_the_quota_of_its_owner_too() -> None:
    ledger = Ledger(Quotas({"user:u": {"max_running_jobs": 1}}, {}))
    ledger.start(job(9).spec, NOW + 3 * HOUR, certain=False)
    live = has(0, until=NOW + 2 * HOUR), Hold("u", NOW + 3 * HOUR, 1, 0, (), certain=False)
    made = plan([job(1, gpus=4)], *live, ledger=ledger, promised={1: None})
    assert promised(made) == [(1, None, NOW + 3 * HOUR)]


# A look at the GPUs.


def test_who_was_to_start_once_its_gpus_were_looked_at_gets_them_before_all_others() -> None:
    queue = [job(1, gpus=1), job(3, gpus=3, priority=99), job(1, gpus=1), job(4, gpus=1)]
    looking = {1: Look((2,), NOW - 3)}
    made = plan(queue, looking=looking)
    assert (started(made), made.reasons) == ([(1, (2,)), (3, (0, 1, 3))], {4: reasons.RESOURCES})
    made = plan(queue, looking=looking, gpus_are_fresh=False)
    assert (started(made), made.wants_gpu) == ([], {1: Look((2,), NOW - 3), 3: Look((0, 1, 3), NOW)})
    assert made.reasons == dict.fromkeys((1, 3, 4), reasons.RESOURCES)


def test_who_is_looked_at_for_ends_as_late_as_it_may_after_it_was_decided_on() -> None:
    queue = [job(1, gpus=1, time_limit=HOUR), job(2, gpus=4, time_limit=HOUR)]
    for since in (NOW, NOW - 3):
        made = plan(queue, looking={1: Look((0,), since)}, gpus_are_fresh=False, promised={2: None})
        end = since + LATE + HOUR
        assert promised(made) == [(2, end, end)]


def test_a_look_that_hangs_costs_a_job_its_gpus_and_its_place() -> None:
    queue = [job(1, gpus=1), job(3, gpus=4, priority=99), job(1, gpus=1)]
    on_time = plan(queue, looking={1: Look((2,), NOW - LATE)}, gpus_are_fresh=False)
    assert on_time.wants_gpu == {1: Look((2,), NOW - LATE)}
    late = plan(queue, looking={1: Look((2,), NOW - LATE - 0.1)}, gpus_are_fresh=False)
    assert late.wants_gpu == {3: Look((0, 1, 2, 3), NOW)}
    assert late.reasons == dict.fromkeys((3, 1), reasons.RESOURCES)
    assert plan(queue[:1], looking={1: Look((2,), NOW - 9)}, gpus_are_fresh=False).wants_gpu == {}
    again = plan([queue[0], queue[2]], looking={1: Look((2,), NOW - 9)}, gpus_are_fresh=False)
    assert again.wants_gpu == {1: Look((0,), NOW)}


def test_a_look_that_comes_late_still_gives_what_was_decided_before_it() -> None:
    queue = [job(1, gpus=1), job(3, gpus=4, priority=99), job(1, gpus=1)]
    assert started(plan(queue, looking={1: Look((2,), NOW - LATE - 0.1)})) == [(1, (2,))]


def test_all_wait_for_the_same_look_and_none_keeps_its_place_longer_because_it_came_later() -> None:
    queue = [job(1, gpus=1), job(2, gpus=1), job(3, gpus=4), job(1, gpus=1), job(2, gpus=1)]
    looking = {1: Look((2,), NOW - LATE - 0.1), 2: Look((1,), NOW - 1)}
    assert plan(queue, looking=looking, gpus_are_fresh=False).wants_gpu == {3: Look((0, 1, 2, 3), NOW)}
    assert started(plan(queue, has(0, 3), looking=looking)) == [(1, (2,)), (2, (1,))]


def test_who_cannot_have_the_gpus_that_were_looked_at_gets_others_or_waits() -> None:
    queue = [job(1, gpus=2), job(1, gpus=2)]
    looking = {1: Look((1, 2), NOW - 1)}
    assert started(plan(queue, has(2), looking=looking)) == [(1, (0, 1))]
    made = plan(queue, has(0, 2, 3), looking=looking)
    assert (started(made), made.reasons) == ([], {1: reasons.RESOURCES})
    made = plan(queue, looking=looking, ledger=once_with(queue[0]))
    assert (started(made), made.reasons) == ([], {1: reasons.QUOTA})


def test_nobody_new_is_promised_what_a_look_may_change() -> None:
    queue = [job(1, gpus=1, time_limit=HOUR), job(2, gpus=4, time_limit=HOUR)]
    assert promised(plan(queue, gpus_are_fresh=False)) == []
    assert promised(plan(queue)) == [(2, NOW + HOUR, NOW + HOUR)]
    assert promised(plan(queue[1:], has(0, until=NOW + HOUR), gpus_are_fresh=False)) != []


def test_who_must_be_looked_at_first_is_let_past_only_if_it_is_gone_in_time_all_the_same() -> None:
    wide, live = job(1, gpus=4), has(0, until=NOW + HOUR)
    made = plan([wide, job(2, gpus=1, time_limit=HOUR)], live, gpus_are_fresh=False, promised={1: None})
    assert (made.wants_gpu, made.reasons[2]) == ({}, reasons.PRIORITY)
    made = plan([wide, job(2, gpus=1, time_limit=HOUR - LATE)], live, gpus_are_fresh=False, promised={1: None})
    assert made.wants_gpu == {2: Look((1,), NOW)}
    made = plan([wide, job(2, time_limit=HOUR)], live, gpus_are_fresh=False, promised={1: None})
    assert started(made) == [(2, ())]


# GPUs that were there a moment ago.


def test_a_gpu_that_may_be_back_in_a_moment_is_given_to_nobody_and_no_promise_is_given_up_for_it() -> None:
    queue = [job(1, gpus=4), job(2, gpus=1), job(3, gpus=1, time_limit=1.0)]
    made = plan(queue, available=(1, 2, 3), doubtful=(0,), promised={1: None})
    assert made.reasons == {1: reasons.GPU_UNAVAILABLE, 2: reasons.PRIORITY}
    assert (started(made), promised(made)) == ([(3, (1,))], [(1, None, NOW + 1)])
    made = plan(queue, available=(1, 2, 3), doubtful=(0,))
    assert (started(made), promised(made)) == ([(2, (1,)), (3, (2,))], []), "nothing new is promised"
    made = plan(queue[1:], available=(1, 2, 3), doubtful=(0,))
    assert started(made) == [(2, (1,)), (3, (2,))]
    made = plan(queue, available=(1, 2, 3), promised={1: None})
    assert (made.reasons, started(made)) == ({1: reasons.GPU_UNAVAILABLE}, [(2, (1,)), (3, (2,))])


def test_while_a_gpu_may_be_back_in_a_moment_nobody_passes_a_promise_by_an_estimate() -> None:
    queue = [job(1, gpus=4), job(2, gpus=1), job(3, gpus=1, time_limit=HOUR - 1)]

    def length(each: Job) -> Length:
        return Length(60.0, DEFAULT) if each.spec.time_limit is None else limit_or_guess(each)

    made = plan(queue, available=(1, 2, 3), doubtful=(0,), promised={1: NOW + HOUR}, length=length)
    assert (started(made), promised(made)) == ([(3, (1,))], [(1, None, NOW + HOUR)])
    assert made.reasons[2] == reasons.PRIORITY, "it may run for longer than is expected"


def test_a_doubtful_gpu_that_is_available_or_unknown_is_no_special_one() -> None:
    assert started(plan([job(1, gpus=1)], available=(1, 2), doubtful=(9,))) == [(1, (1,))]


# Why, and what would help.


def test_the_reason_of_any_job_is_told() -> None:
    jobs = [job(1, gpus=4), job(2, gpus=1, time_limit=2 * HOUR), job(3, gpus=4), job(4, gpus=1)]
    made = plan(jobs, has(0, until=NOW + HOUR), depth=2)
    assert [made.why(each) for each in jobs] == [
        reasons.RESOURCES, reasons.PRIORITY, reasons.RESOURCES, reasons.PRIORITY,
    ]  # fmt: skip
    assert made.why(job(5, begin_at=NOW + 1)) is None
    assert made.why(job(5, begin_at=NOW, gpus=4)) == reasons.RESOURCES
    assert made.why(job(6, cpus=3)) == reasons.PRIORITY  # nobody has looked at it
    assert made.why(job(7, gpus=1, time_limit=2 * HOUR)) == reasons.PRIORITY
    ledger = Ledger(Quotas({"user:v": {"max_running_jobs": 0}, "user:w": {"max_running_gpus": 3}}, {}))
    made = plan(jobs, has(0, until=NOW + HOUR), ledger=ledger)
    assert made.why(job(8, user="v")) == reasons.NEVER_QUOTA
    assert made.why(job(8, user="w", gpus=4)) == reasons.NEVER_QUOTA
    assert Plan().why(jobs[0]) is None


def test_a_job_is_told_by_when_it_would_have_to_be_over_to_start_now() -> None:
    jobs = [job(1, gpus=4), job(2, gpus=1), job(3, gpus=1, time_limit=HOUR / 2), job(4, gpus=3)]
    made = plan(jobs, has(0, until=NOW + HOUR))
    assert started(made) == [(3, (1,))]
    assert made.shorter(jobs[1]) == (NOW + HOUR, None)
    assert made.shorter(job(5, gpus=2, time_limit=HOUR + 1)) == (NOW + HOUR, None)
    assert made.shorter(job(5, gpus=2, time_limit=HOUR)) == (None, None)
    assert made.shorter(jobs[3]) == (None, None)
    assert Plan().shorter(jobs[1]) == (None, None)


def test_a_job_in_the_way_of_a_reservation_is_told_the_latest_time_that_helps_of_a_minute_or_more() -> None:
    windows = [
        Reserved("v", NOW + HOUR, NOW + 3 * HOUR, gpu_list=(0, 1)),
        Reserved("v", NOW + 2 * HOUR, NOW + 3 * HOUR, gpu_list=(2, 3)),
    ]
    made = plan([job(1, gpus=1), job(2, gpus=3)], windows=windows)
    assert made.reasons == dict.fromkeys((1, 2), reasons.RESERVATION)
    assert made.shorter(job(1, gpus=1)) == (NOW + 2 * HOUR, None)
    assert made.shorter(job(2, gpus=3)) == (NOW + HOUR, None)
    assert made.shorter(job(3, gpus=3, user="v")) == (NOW + 3 * HOUR, None)  # there it is promised to others
    assert plan([], windows=windows).shorter(job(3, gpus=3, user="v")) == (None, None)
    soon = [Reserved("v", NOW + 59, NOW + HOUR, gpu_list=(0, 1, 2, 3))]
    assert plan([job(1, gpus=1)], windows=soon).shorter(job(1, gpus=1)) == (None, None)
    ledger = once_with(job(9))
    assert plan([], windows=windows, ledger=ledger).shorter(job(1, gpus=1)) == (None, None)


# Lower priorities.


def test_a_lower_priority_delays_nobody_of_a_higher_one_that_waits() -> None:
    live = has(0, until=NOW + HOUR), has(1, until=NOW + 2 * HOUR)
    high = [job(1, gpus=3, priority=20, time_limit=HOUR), job(2, gpus=4, priority=20, time_limit=HOUR)]
    low = [job(3, gpus=1), job(4, gpus=1, time_limit=2 * HOUR), job(5, gpus=1, time_limit=HOUR)]
    made = plan([*high, *low], *live, promise_after=99.0)
    assert (started(made), made.guarded, made.promises) == ([(5, (2,))], [1, 2], [])
    assert (made.reasons[3], made.reasons[4]) == (reasons.PRIORITY, reasons.PRIORITY)
    made = plan([*high, *low[:2]], *live, promise_after=99.0)
    assert started(made) == []
    made = plan(
        [each.replace(spec=each.spec.replace(priority=10)) for each in (*high, *low)], *live, promise_after=99.0
    )
    assert (started(made), made.guarded) == ([(3, (2,)), (4, (3,))], [])


def test_a_lower_priority_does_not_delay_the_second_that_waits_by_what_the_first_could_do_without() -> None:
    live = has(0, until=NOW + 5), has(until=NOW + 10, cpus=3), has(1, 2, until=NOW + 10, cpus=4)
    high = [job(1, gpus=1, cpus=2, priority=20), job(2, gpus=2, priority=20)]  # at 10 on GPU 1, and at 5 on 0 and 3
    assert started(plan([*high, job(3)], *live, promise_after=inf)) == []


def test_who_was_promised_a_start_is_guarded_by_that_and_every_priority_has_its_own() -> None:
    live = has(0, until=NOW + HOUR)
    jobs = [job(number, gpus=4, priority=40 - 10 * (number // 3), time_limit=HOUR) for number in range(1, 7)]
    made = plan(jobs, live)
    assert [each.job.id for each in made.promises] == [1, 3, 6]
    assert made.guarded == [2, 4, 5]
    assert [each.at for each in made.promises] == [NOW + HOUR, NOW + 3 * HOUR, NOW + 6 * HOUR]


def test_no_more_than_thirty_two_that_wait_are_guarded() -> None:
    jobs = [job(number, cpus=8, priority=20, time_limit=HOUR) for number in range(1, 40)]
    made = plan([*jobs, job(40)], has(cpus=1), promise_after=99.0)
    assert made.guarded == list(range(1, 33))


def test_who_waits_for_other_things_than_resources_is_not_guarded() -> None:
    jobs = [job(1, priority=20), job(2, priority=20), job(3, gpus=3, user="v", priority=20), job(4, gpus=2, user="v")]
    made = plan(jobs, available=(0, 1), ledger=once())
    assert (started(made), made.guarded) == ([(1, ()), (4, (0, 1))], [])
    assert made.reasons == {2: reasons.QUOTA, 3: reasons.GPU_UNAVAILABLE}


# In general.

FIELDS = st.fixed_dictionaries(
    {
        "user": st.sampled_from("uv"),
        "gpus": st.integers(0, 4),
        "cpus": st.integers(0, 8),
        "memory_mb": st.sampled_from([None, 300, 600]),
        "time_limit": st.sampled_from([None, 1.0, 10.0, 25.0, 40.0]),
        "gpu_type": st.sampled_from([None, None, "a100"]),
    },
    optional={"shared": st.just(value=True), "gpu_memory_mb": st.sampled_from([40, 120])},
).filter(lambda fields: not fields.get("shared") or "gpu_memory_mb" in fields)
ARRIVALS = st.lists(
    st.tuples(st.integers(0, 60).map(float), FIELDS, st.sampled_from([0.5, 5.0, 10.0, 30.0])), min_size=1, max_size=14
).map(lambda drawn: [(at, job(number, **fields), takes) for number, (at, fields, takes) in enumerate(drawn, 1)])
WINDOWS = st.lists(
    st.builds(
        lambda user, start, length, gpus: Reserved(user, start, start + length, **gpus),
        st.sampled_from("uv"),
        st.integers(0, 80).map(float),
        st.sampled_from([5.0, 20.0]),
        st.sampled_from([{"gpus": 1}, {"gpus": 3}, {"gpu_list": (0, 2)}, {"gpu_list": (3,)}]),
    ),
    max_size=1,
)


@given(ARRIVALS, WINDOWS)
@settings(max_examples=depth.examples(300), deadline=None)
def test_nothing_is_given_twice_no_promise_is_put_off_and_no_job_waits_in_vain(
    arrivals: list[tuple[float, Job, float]], windows: list[Reserved]
) -> None:
    machine = Clockwork(arrivals, windows=windows)
    for now, made in machine.run():
        for waiting in [each for each in machine.queue if made.reasons[each.id] != reasons.RESERVATION]:
            assert not could_start(machine.room(now), waiting, made.promises), (waiting, made)
        again = backfill.plan([job for job, _ in made.starts], machine.room(now), Rules(1000))
        assert set(again.reasons) <= {job.id for job, _ in made.starts}
    unlimited = any(each.spec.time_limit is None for _, each, _ in arrivals)
    assert not machine.queue or unlimited or windows


@given(ARRIVALS, st.integers(1, 5))
def test_equal_queues_make_equal_plans(arrivals: list[tuple[float, Job, float]], depth: int) -> None:
    jobs = [each for _, each, _ in arrivals]
    one, other = (plan(jobs, has(1, until=NOW + 5), depth=depth) for _ in range(2))
    for field in fields(Plan):
        if field.name not in {"why", "shorter"}:
            assert getattr(one, field.name) == getattr(other, field.name)
    assert [(one.why(each), one.shorter(each)) for each in jobs] == [
        (other.why(each), other.shorter(each)) for each in jobs
    ]


def test_a_wide_job_is_not_starved_by_an_endless_stream_of_small_ones() -> None:
    stream = [(20.0 * number, job(number + 2, gpus=1, cpus=0, time_limit=100.0), 100.0) for number in range(200)]
    machine = Clockwork([*stream, (90.0, job(1, gpus=4, time_limit=50.0), 50.0)])
    for _ in machine.run(until=1000.0):
        pass
    assert machine.started[1][0] == 200.0
    assert machine.started[7][0] == 250.0  # the first of the stream behind it


def test_whatever_is_short_a_stream_of_jobs_without_limits_starves_nobody() -> None:
    stream = [(10.0 * number, job(number + 2, gpus=1, cpus=0), 35.0) for number in range(100)]
    machine = Clockwork([*stream, (15.0, job(1, gpus=4), 50.0)])
    for _ in machine.run(until=500.0):
        pass
    assert machine.started[1][0] <= 50.0


def test_an_endless_stream_of_jobs_without_limits_does_not_starve_one_that_wants_half_of_the_gpus() -> None:
    stream = [(10.0 * number, job(number + 2, gpus=1, cpus=0), 35.0) for number in range(100)]
    for gpus in (2, 3):
        machine = Clockwork([*stream, (15.0, job(1, gpus=gpus), 50.0)])
        for _ in machine.run(until=500.0):
            pass
        assert machine.started[1][0] <= 50.0


def test_a_wide_job_waits_no_longer_than_its_promise_is_due_and_those_before_it_may_run() -> None:
    stream = [(20.0 * number, job(number + 2, gpus=1, cpus=0, time_limit=100.0), 100.0) for number in range(200)]
    machine = Clockwork([*stream, (90.0, job(1, gpus=4, time_limit=50.0), 50.0)], promise_after=4.0)
    for _ in machine.run(until=1000.0):
        pass
    assert 290.0 < machine.started[1][0] <= 400.0


# Lower priorities, in general.

Span = tuple[Spec, float, float]  # a job that waits, from when until when it is to run


def ways(spec: Spec) -> list[tuple[int, ...]]:
    """All choices of GPUs that a job could have on an empty machine."""
    fitting = [device.index for device in BIG.gpus or () if device.suits(spec)]
    return list(combinations(fitting, spec.gpus))


def can_all_run(held: Sequence[Hold], spans: Sequence[Span], *, certain: bool) -> bool:
    """Whether there is any choice of GPUs with which all can run when they are to, beside what is held."""

    def fits(when: float, choice: Sequence[tuple[int, ...]]) -> bool:
        there = [(each.cpus, each.gpus) for each in held if not each.is_over(when, certain=certain)]
        for (spec, at, until), gpus in zip(spans, choice, strict=True):
            if at <= when < until:
                there.append((spec.cpus, gpus))
        taken = [index for _, gpus in there for index in gpus]
        return sum(cpus for cpus, _ in there) <= BIG.cpus and len(taken) == len(set(taken))

    choices = product(*(ways(spec) for spec, *_ in spans))
    return any(all(fits(at, choice) for _, at, _ in spans) for choice in choices)


def earliest(held: Sequence[Hold], waiting: Job, *, certain: bool) -> float | None:
    """When a job can start, by trying all times at which something ends and all GPUs."""
    length = limit_or_guess(waiting).seconds
    times = sorted(each.end for each in held if each.certain or not certain)
    able = (at for at in times if can_all_run(held, [(waiting.spec, at, at + length)], certain=certain))
    return next(able, None)


def spans_of(held: Sequence[Hold], waiting: Sequence[Job], *, certain: bool) -> list[Span]:
    """When those that wait are to start, each as early as those before it allow; who never can is left out."""
    room = Occupancy(BIG, (0, 1, 2, 3), NOW)
    for each in held:
        room.take(each)
    spans: list[Span] = []
    for each in waiting:
        length = limit_or_guess(each).seconds
        at = room.earliest(each.spec, length, certain=certain)
        if not spans:
            assert at == earliest(held, each, certain=certain)
        if at is not None:
            until = inf if certain and each.spec.time_limit is None else at + length  # nobody knows its end
            room.keep(each.spec, at, until, certain=certain)
            spans.append((each.spec, at, until))
    return spans


HIGH = st.fixed_dictionaries(
    {
        "gpus": st.integers(0, 4),
        "cpus": st.integers(0, 8),
        "time_limit": st.sampled_from([None, 10.0, 25.0]),
        "priority": st.just(20),
        "gpu_type": st.sampled_from([None, None, "a100"]),
    }
)
LOW = st.fixed_dictionaries(
    {
        "gpus": st.integers(0, 2),
        "cpus": st.integers(0, 4),
        "time_limit": st.sampled_from([None, 1.0, 10.0, 25.0, 40.0]),
        "gpu_type": st.sampled_from([None, None, "a100"]),
    }
)
HELD = st.lists(
    st.tuples(st.sampled_from([5.0, 10.0, 20.0, 30.0]), st.integers(0, 4), st.integers(0, 2), st.booleans()),
    min_size=1,
    max_size=4,
)


@given(HELD, st.lists(HIGH, min_size=1, max_size=2), st.lists(LOW, min_size=1, max_size=5))
@settings(max_examples=depth.examples(400))
def test_no_lower_priority_delays_a_higher_one_that_waits_and_none_waits_that_delays_nobody(
    held: list[tuple[float, int, int, bool]], above: list[dict[str, object]], below: list[dict[str, object]]
) -> None:
    free, live = [0, 1, 2, 3], []
    for after, cpus, gpus, certain in held:
        taken, free = free[:gpus], free[gpus:]
        live.append(
            Hold("u", NOW + after, min(cpus, 8 - sum(each.cpus for each in live)), 0, tuple(taken), None, certain)
        )
    high = [job(number, **fields) for number, fields in enumerate(above, 1)]
    low = [job(number, **fields) for number, fields in enumerate(below, 11)]
    made = plan([*high, *low], *live, promise_after=inf)
    before = [*live, *(given_to(each, gpus) for each, gpus in made.starts if each in high)]
    after = [*live, *(given_to(each, gpus) for each, gpus in made.starts)]
    waiting = [each for each in high if each.id in made.reasons]
    spans = {certain: spans_of(before, waiting, certain=certain) for certain in (True, False)}
    for certain in (True, False):
        assert can_all_run(after, spans[certain], certain=certain)
    for each in low if len(waiting) < 2 else ():  # of more, those that are kept GPUs may stand in each other's way
        for gpus in ways(each.spec) if each.id in made.reasons else ():
            taken = {index for other in after for index in other.gpus}
            cpus = each.spec.cpus + sum(other.cpus for other in after)
            if not taken.intersection(gpus) and cpus <= BIG.cpus:
                beside = [*after, given_to(each, gpus)]
                assert not all(can_all_run(beside, spans[certain], certain=certain) for certain in (True, False))


def given_to(job: Job, gpus: tuple[int, ...]) -> Hold:
    length = limit_or_guess(job)
    return hold(job.spec, gpus, NOW + length.seconds, certain=length.is_certain)
