from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core import reasons, schedule
from gflowd.core.model import Identity, Job, Queued, Run, Running, Spec, Started, Wish
from gflowd.core.schedule import Capacity, Free, Plan

NOW = 1000.0
BIG = Capacity(gpus=(0, 1, 2, 3), cpus=8, memory_mb=1000)
STARTED = Started(at=1.0, mono=1.0, identity=Identity("b", 1, 1))


def job(job_id: int, wish: Wish | None = None, **fields: object) -> Job:
    spec = Spec(command=("x",), name="x", user="u", cwd="/", env="e", submitted_at=1.0)
    return Job(job_id, spec.replace(**fields), wish or Wish(), Queued())


def running(job_id: int, gpu_ids: tuple[int, ...] = (), **fields: object) -> Job:
    run = Run(executor="tmux", launched_at=1.0, gpu_ids=gpu_ids)
    return job(job_id, gpus=len(gpu_ids), **fields).replace(phase=Running(run=run, started=STARTED))


def plan(
    jobs: list[Job],
    capacity: Capacity = BIG,
    live: tuple[Job, ...] = (),
    allowed: tuple[int, ...] | None = None,
    *,
    fresh: bool = True,
    depth: int = 1000,
) -> Plan:
    left = schedule.free(capacity, live, allowed, gpus_are_fresh=fresh)
    return schedule.plan(sorted(jobs, key=schedule.order), capacity, left, NOW, depth)


def started(made: Plan) -> list[tuple[int, tuple[int, ...]]]:
    return [(job.id, gpu_ids) for job, gpu_ids in made.starts]


def test_priority_comes_first_and_then_submission() -> None:
    made = plan([job(1, priority=0, cpus=3), job(2, cpus=3), job(3, cpus=3), job(4, priority=20, cpus=2)])
    assert started(made) == [(4, ()), (2, ()), (3, ())]
    assert made.reasons == {1: reasons.RESOURCES}


def test_gpus_are_given_lowest_first_and_each_once() -> None:
    assert started(plan([job(1, gpus=2), job(2, gpus=1), job(3, gpus=2)])) == [(1, (0, 1)), (2, (2,))]


def test_what_live_jobs_have_is_not_given_again() -> None:
    made = plan([job(3, gpus=2)], live=(running(1, (0,), cpus=1), running(2, (2,), memory_mb=400)))
    assert started(made) == [(3, (1, 3))]


def test_only_allowed_gpus_are_given() -> None:
    assert started(plan([job(1, gpus=2)], allowed=(1, 3, 9))) == [(1, (1, 3))]
    made = plan([job(1, gpus=3)], allowed=(1, 3))
    assert (made.starts, made.reasons, made.impossible) == ([], {1: reasons.RESOURCES}, [])


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"gpus": 5}, "5 GPUs asked for, the machine has 4"),
        ({"cpus": 9}, "9 CPUs asked for, the machine has 8"),
        ({"memory_mb": 1001}, "1001M of memory asked for, the machine has 1000M"),
    ],
)
def test_what_can_never_be_is_impossible_and_blocks_nobody(fields: dict[str, object], why: str) -> None:
    made = plan([job(1, **fields), job(2)])
    assert [(job.id, said) for job, said in made.impossible] == [(1, why)]
    assert started(made) == [(2, ())]
    assert made.reasons == {}


def test_the_whole_machine_may_be_asked_for() -> None:
    assert started(plan([job(1, gpus=4, cpus=8, memory_mb=1000)])) == [(1, (0, 1, 2, 3))]


def test_a_held_job_says_so_and_blocks_nobody() -> None:
    made = plan([job(1, Wish(held=True), cpus=8), job(2, cpus=8)])
    assert (started(made), made.reasons) == ([(2, ())], {1: reasons.HELD_BY_USER})


def test_a_job_begins_at_its_time_and_not_before() -> None:
    made = plan([job(1, begin_at=NOW), job(2, begin_at=NOW + 0.001)])
    assert (started(made), made.reasons) == ([(1, ())], {2: reasons.BEGIN_TIME})


def test_released_at_a_time_wins_over_the_begin_time() -> None:
    made = plan([job(1, Wish(begin_at=NOW - 1), begin_at=NOW + 9), job(2, Wish(begin_at=NOW + 1))])
    assert (started(made), made.reasons) == ([(1, ())], {2: reasons.BEGIN_TIME})


def test_a_smaller_job_passes_one_that_does_not_fit() -> None:
    made = plan([job(1, cpus=8), job(2, cpus=1)], live=(running(9, cpus=4),))
    assert (started(made), made.reasons) == ([(2, ())], {1: reasons.RESOURCES})


def test_before_anybody_has_looked_gpus_are_unavailable_and_nothing_is_impossible() -> None:
    made = plan([job(1, gpus=99), job(2)], Capacity(None, 8, 1000))
    assert (started(made), made.reasons, made.impossible) == ([(2, ())], {1: reasons.GPU_UNAVAILABLE}, [])
    assert not made.wants_gpu


def test_a_gpu_is_looked_at_before_it_is_given() -> None:
    made = plan([job(1, gpus=1)], fresh=False)
    assert (made.starts, made.reasons, made.wants_gpu) == ([], {1: reasons.RESOURCES}, True)
    assert not plan([job(1, gpus=1)]).wants_gpu
    assert not plan([job(1)], fresh=False).wants_gpu


def test_what_waits_for_that_look_is_kept_for_its_job() -> None:
    first = job(1, gpus=1, cpus=6, memory_mb=600)
    made = plan([first, job(2, cpus=3), job(3, memory_mb=500), job(4, cpus=2)], fresh=False)
    assert started(made) == [(4, ())]
    assert made.reasons == dict.fromkeys((1, 2, 3), reasons.RESOURCES)


def test_no_look_is_wanted_for_a_job_that_would_not_start_anyway() -> None:
    assert not plan([job(1, gpus=4)], live=(running(9, (0,)),), fresh=False).wants_gpu
    assert not plan([job(1, Wish(held=True), gpus=1)], fresh=False).wants_gpu


def test_no_more_jobs_are_looked_at_than_the_depth() -> None:
    queue = [job(i, cpus=8) for i in range(1, 6)]
    assert plan(queue, live=(running(9),), depth=2).reasons == dict.fromkeys((1, 2), reasons.RESOURCES)
    assert plan(queue, depth=0).starts == []


def test_a_job_without_cpu_slots_runs_on_a_full_machine() -> None:
    assert started(plan([job(1, cpus=0)], live=(running(9, cpus=8, memory_mb=1000),))) == [(1, ())]


def test_who_asks_for_nothing_is_not_held_up_by_a_machine_that_has_shrunk() -> None:
    shrunk = Capacity(gpus=(0,), cpus=2, memory_mb=100)
    live = (running(9, cpus=8, memory_mb=1000),)
    assert started(plan([job(1, cpus=0)], shrunk, live)) == [(1, ())]
    assert started(plan([job(1, cpus=0, memory_mb=0)], shrunk, live)) == [(1, ())]
    assert plan([job(1, cpus=1)], shrunk, live).reasons == {1: reasons.RESOURCES}
    assert plan([job(1, cpus=0, memory_mb=1)], shrunk, live).reasons == {1: reasons.RESOURCES}


WISHES = st.builds(Wish, held=st.booleans(), begin_at=st.none() | st.sampled_from([NOW - 1, NOW + 1]))
FIELDS = st.fixed_dictionaries(
    {
        "gpus": st.integers(0, 4),
        "cpus": st.integers(0, 6),
        "memory_mb": st.none() | st.integers(0, 600),
        "priority": st.integers(0, 3),
        "begin_at": st.none() | st.sampled_from([NOW - 1, NOW + 1]),
    }
)
JOBS = st.lists(st.tuples(WISHES, FIELDS), max_size=12).map(
    lambda drawn: [job(i, wish, **fields) for i, (wish, fields) in enumerate(drawn, 1)]
)
CAPACITIES = st.builds(
    Capacity,
    gpus=st.none() | st.sets(st.integers(0, 5), max_size=4).map(lambda s: tuple(sorted(s))),
    cpus=st.integers(1, 8),
    memory_mb=st.integers(1, 1000),
)
LIVE = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.none() | st.integers(0, 400)), max_size=3).map(
    lambda drawn: tuple(
        running(100 + i, tuple(range(6))[i * 2 : i * 2 + gpus % 3], cpus=cpus, memory_mb=memory)
        for i, (gpus, cpus, memory) in enumerate(drawn)
    )
)
ALLOWED = st.none() | st.sets(st.integers(0, 5)).map(lambda s: tuple(sorted(s)))


def holds(candidate: Job, capacity: Capacity) -> bool:
    """Whether something other than resources keeps a job from starting."""
    begins = candidate.begin_at is not None and candidate.begin_at > NOW
    return candidate.wish.held or begins or (capacity.gpus is None and candidate.spec.gpus > 0)


@given(JOBS, CAPACITIES, LIVE, ALLOWED, st.booleans(), st.integers(0, 12))
def test_a_plan_is_honest(
    jobs: list[Job], capacity: Capacity, live: tuple[Job, ...], allowed: tuple[int, ...] | None, fresh: bool, depth: int
) -> None:
    left = schedule.free(capacity, live, allowed, gpus_are_fresh=fresh)
    at_first = copy.deepcopy(left)
    queue = sorted(jobs, key=schedule.order)
    made = schedule.plan(queue, capacity, left, NOW, depth)
    assert made == plan(jobs, capacity, live, allowed, fresh=fresh, depth=depth)

    # Capacity is never exceeded, and no GPU is given twice, nor one that is taken, forbidden or not there.
    given_gpus = [index for _, gpu_ids in made.starts for index in gpu_ids]
    taken = {index for other in live for index in (other.run.gpu_ids if other.run else ())}
    assert len(given_gpus) == len(set(given_gpus))
    assert set(given_gpus) <= set(capacity.gpus or ()) - taken
    assert allowed is None or set(given_gpus) <= set(allowed)
    assert all(len(gpu_ids) == other.spec.gpus for other, gpu_ids in made.starts)
    cpus = sum(other.spec.cpus for other, _ in made.starts)
    memory = sum(other.spec.memory_mb or 0 for other, _ in made.starts)
    assert not cpus or cpus + sum(other.spec.cpus for other in live) <= capacity.cpus
    assert not memory or memory + sum(other.spec.memory_mb or 0 for other in live) <= capacity.memory_mb
    assert fresh or not given_gpus

    # Every job has one lot, in the order of the queue, and only a reached depth leaves some without.
    starts, never = [other.id for other, _ in made.starts], [other.id for other, _ in made.impossible]
    lots = [*starts, *made.reasons, *never]
    assert len(lots) == len(set(lots))
    reached = [other.id for other in queue if other.id in lots]
    assert reached == [other.id for other in queue[: len(reached)]]
    assert len(reached) == len(jobs) or len(made.reasons) == depth
    for found in (starts, list(made.reasons), never):
        assert found == [job_id for job_id in reached if job_id in found]

    # Each lot is the right one: walked through anew, with what was left at that point.
    state, wants = Free(list(at_first.gpus), at_first.cpus, at_first.memory_mb, fresh), False
    for other in queue[: len(reached)]:
        impossible = schedule.why_impossible(other.spec, capacity) is not None
        assert impossible == (other.id in never)
        if impossible:
            continue
        fits = state.fits(other.spec) and not holds(other, capacity)
        must_wait = fits and other.spec.gpus > 0 and not fresh
        assert (other.id in starts) == (fits and not must_wait)
        if fits:
            state.take(other.spec)
        else:
            assert (made.reasons[other.id] == reasons.RESOURCES) == (not holds(other, capacity))
        wants |= must_wait
    assert made.wants_gpu == wants


@given(JOBS, CAPACITIES, LIVE)
def test_a_later_job_overtakes_only_one_that_cannot_start(
    jobs: list[Job], capacity: Capacity, live: tuple[Job, ...]
) -> None:
    made = plan(jobs, capacity, live)
    starts = {other.id for other, _ in made.starts}
    alone = {other.id for other in jobs if plan([other], capacity, live).starts}
    first = min((other for other in jobs if other.id in alone), key=schedule.order, default=None)
    assert first is None or first.id in starts
