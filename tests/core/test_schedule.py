from __future__ import annotations

from collections.abc import Sequence
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st
from machine_room import BIG, Clockwork, Reserved, could_start, job

from gflowd.core import reasons, schedule
from gflowd.core.capacity import Capacity, Device
from gflowd.core.model import Job, Queued, Spec, Wish
from gflowd.core.occupancy import Hold, Occupancy
from gflowd.core.schedule import Plan, Rules

NOW = 1000.0
HOUR = 3600.0


def has(
    *gpus: int, until: float = inf, cpus: int = 0, memory_mb: int = 0, user: str = "u", shared: int | None = None
) -> Hold:
    return Hold(user, until, cpus, memory_mb, gpus, shared)


def plan(
    jobs: Sequence[Job],
    *live: Hold,
    capacity: Capacity = BIG,
    available: Sequence[int] = (0, 1, 2, 3),
    windows: Sequence[Reserved] = (),
    closed: set[int] | None = None,
    **rules: object,
) -> Plan:
    room = Occupancy(capacity, available, NOW, windows)
    for each in live:
        room.take(each)
    return schedule.plan(jobs, room, Rules(**{"depth": 1000, **rules}), closed)  # type: ignore[arg-type]


def started(made: Plan) -> list[tuple[int, tuple[int, ...]]]:
    return [(job.id, gpu_ids) for job, gpu_ids in made.starts]


def promised(made: Plan) -> tuple[int, float] | None:
    return None if made.promise is None else (made.promise.job.id, made.promise.at)


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
    assert promised(made) is None


def test_before_anybody_has_looked_gpus_are_unavailable_and_nothing_is_impossible() -> None:
    made = plan([job(1, gpus=99), job(2)], capacity=Capacity(None, 8, 1000))
    assert (started(made), made.reasons, made.impossible) == ([(2, ())], {1: reasons.GPU_UNAVAILABLE}, [])
    assert not made.wants_gpu


def test_a_gpu_is_looked_at_before_it_is_given() -> None:
    made = plan([job(1, gpus=1)], gpus_are_fresh=False)
    assert (made.starts, made.reasons, made.wants_gpu) == ([], {1: reasons.RESOURCES}, [1])
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


def test_no_more_jobs_are_looked_at_than_the_depth() -> None:
    queue = [job(number, cpus=8) for number in range(1, 6)]
    assert list(plan(queue, has(cpus=1), depth=2).reasons) == [1, 2]
    assert plan(queue, depth=0).starts == []
    made = plan([job(1, begin_at=NOW + 1), job(2, cpus=99), job(3, cpus=8), job(4)], has(cpus=1), depth=2)
    assert made.reasons.keys() == {3, 4}


def test_jobs_over_a_quota_or_without_their_gpus_take_no_place_of_those_that_wait_for_resources() -> None:
    mine = [job(number) for number in range(1, 6)]
    made = plan([*mine, job(6, user="v", cpus=1)], ledger=Once(), depth=2)
    assert (started(made), made.reasons) == ([(1, ()), (6, ())], {2: reasons.QUOTA, 3: reasons.QUOTA})
    gpus = [job(number, gpus=4) for number in range(1, 5)]
    made = plan([*gpus, job(5)], available=(), depth=2)
    assert (started(made), list(made.reasons)) == ([(5, ())], [1, 2])
    assert started(plan([*(job(number, gpus=4) for number in range(1, 30)), job(30)], available=(), depth=2)) == []


def test_an_array_is_closed_with_its_first_job_that_lacks_something() -> None:
    closed: set[int] = set()
    made = plan([job(1, cpus=5).replace(array_id=1), job(2, cpus=5).replace(array_id=1), job(8, cpus=6)], closed=closed)
    assert (started(made), list(made.reasons), closed) == ([(1, ())], [2, 8], {1})


class Once:
    """A ledger that admits one job of each user."""

    def __init__(self) -> None:
        self.users: set[str] = set()

    def admits(self, spec: Spec) -> bool:
        return spec.user not in self.users

    def start(self, spec: Spec) -> None:
        self.users.add(spec.user)


def test_who_is_over_a_quota_waits_and_blocks_nobody() -> None:
    made = plan([job(1), job(2, cpus=7), job(3, user="v")], ledger=Once())
    assert (started(made), made.reasons) == ([(1, ()), (3, ())], {2: reasons.QUOTA})
    assert promised(made) is None


# The promise.


def test_the_first_that_waits_is_promised_the_time_that_the_limits_before_it_allow() -> None:
    made = plan([job(1, gpus=3)], has(0, until=NOW + 50), has(1, until=NOW + 90), has(2, until=NOW + 70))
    assert promised(made) == (1, NOW + 70)


def test_a_small_job_uses_the_gap_if_it_is_gone_in_time() -> None:
    live = has(0, 1, 2, until=NOW + HOUR)
    jobs = [job(1, gpus=4), job(2, gpus=1, time_limit=HOUR), job(3, gpus=1)]
    made = plan(jobs, live)
    assert (started(made), made.reasons) == ([(2, (3,))], dict.fromkeys((1, 3), reasons.RESOURCES))
    made = plan([jobs[0], jobs[2], job(4, gpus=1, time_limit=HOUR + 1)], live)
    assert (started(made), made.reasons[3], made.reasons[4]) == ([], reasons.PRIORITY, reasons.PRIORITY)
    assert promised(made) == (1, NOW + HOUR)


def test_what_the_promise_does_not_need_is_given_for_any_time() -> None:
    live = has(0, 1, until=NOW + HOUR, cpus=4)
    jobs = [job(1, gpus=3, cpus=6), job(2, gpus=1, cpus=2), job(3, gpus=1, cpus=0), job(4, gpus=0, cpus=1)]
    made = plan(jobs, live)
    assert (started(made), made.reasons[3], made.reasons[4]) == ([(2, (3,))], reasons.PRIORITY, reasons.PRIORITY)


def test_a_job_that_outlives_the_promise_gets_a_gpu_that_is_of_no_use_to_it() -> None:
    live = has(0, until=NOW + HOUR)
    made = plan([job(1, gpus=2, gpu_type="a100"), job(2, gpus=1), job(3, gpus=1), job(4, gpus=1)], live)
    assert (started(made), made.reasons[4]) == ([(2, (2,)), (3, (3,))], reasons.PRIORITY)


def test_jobs_without_limits_are_not_let_past_a_wide_one_and_count_as_the_default() -> None:
    live, jobs = has(0), [job(1, gpus=4), job(2, gpus=1), job(3, gpus=1, time_limit=HOUR)]
    made = plan(jobs, live)
    assert (started(made), made.reasons[2], promised(made)) == ([(3, (1,))], reasons.PRIORITY, (1, inf))
    live = has(0, until=NOW + 2 * HOUR)
    assert started(plan(jobs, live, default_limit=2 * HOUR)) == [(2, (1,)), (3, (2,))]


def test_what_is_overdue_is_expected_to_go_in_a_moment() -> None:
    assert promised(plan([job(1, gpus=4)], has(0, until=NOW - 5))) == (1, NOW + 1)


def test_a_shared_job_that_is_promised_a_start_waits_for_memory() -> None:
    live = (has(0, until=NOW + 10, shared=80), has(1, 2, 3))
    jobs = [
        job(1, gpus=1, shared=True, gpu_memory_mb=90),
        job(2, gpus=1, shared=True, gpu_memory_mb=10),
        job(3, gpus=1, shared=True, gpu_memory_mb=20, time_limit=10.0),
        job(4, gpus=1, shared=True, gpu_memory_mb=20),
    ]
    made = plan(jobs, *live)
    assert (started(made), promised(made)) == ([(2, (0,))], (1, NOW + 10))
    assert plan([jobs[0], jobs[3]], *live).reasons[4] == reasons.PRIORITY
    assert started(plan([jobs[0], jobs[2]], *live)) == [(3, (0,))]


# Reservations.


def test_a_gpu_that_is_reserved_is_given_to_its_user_alone_and_first() -> None:
    windows = [Reserved("v", NOW, NOW + HOUR, gpu_list=(1, 3))]
    jobs = [job(1, gpus=1, user="v", time_limit=HOUR), job(2, gpus=2), job(3, gpus=1, user="v")]
    assert started(plan(jobs, windows=windows)) == [(1, (1,)), (2, (0, 2)), (3, (3,))]


def test_a_job_that_would_run_into_a_reservation_is_not_started_on_what_it_needs() -> None:
    windows = [Reserved("v", NOW + HOUR, NOW + 2 * HOUR, gpu_list=(0, 1, 2, 3))]
    made = plan([job(1, gpus=1), job(2, gpus=1, time_limit=HOUR)], windows=windows)
    assert (started(made), made.reasons) == ([(2, (0,))], {1: reasons.RESERVATION})
    assert promised(made) == (1, NOW + 2 * HOUR)


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


def test_who_can_start_at_no_time_because_of_reservations_is_promised_none() -> None:
    windows = [Reserved("v", NOW + HOUR, inf, gpu_list=(0, 1, 2, 3))]
    made = plan([job(1, gpus=1), job(2, gpus=4, time_limit=10.0)], windows=windows)
    assert (started(made), made.reasons, promised(made)) == ([(2, (0, 1, 2, 3))], {1: reasons.RESERVATION}, None)


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
@settings(max_examples=300, deadline=None)
def test_nothing_is_given_twice_no_promise_is_put_off_and_no_job_waits_in_vain(
    arrivals: list[tuple[float, Job, float]], windows: list[Reserved]
) -> None:
    machine = Clockwork(arrivals, windows=windows)
    for now, made in machine.run():
        for waiting in [each for each in machine.queue if made.reasons[each.id] != reasons.RESERVATION]:
            assert not could_start(machine.room(now), waiting, made.promise), (waiting, made)
        again = schedule.plan([job for job, _ in made.starts], machine.room(now), Rules(1000))
        assert set(again.reasons) <= {job.id for job, _ in made.starts}
    unlimited = any(each.spec.time_limit is None for _, each, _ in arrivals)
    assert not machine.queue or unlimited or windows


@given(ARRIVALS, st.integers(1, 5))
def test_equal_queues_make_equal_plans(arrivals: list[tuple[float, Job, float]], depth: int) -> None:
    jobs = [each for _, each, _ in arrivals]
    assert plan(jobs, has(1, until=NOW + 5), depth=depth) == plan(jobs, has(1, until=NOW + 5), depth=depth)


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
