from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from stage import BOOT, now

from gflowd.core import codec, reasons
from gflowd.core.book import Book
from gflowd.core.gpu import Gpu
from gflowd.core.model import Ended, Identity, Phase, Queued, Run, Running, Spec, Started, Starting, Stopping
from gflowd.core.occupancy import LEAST
from gflowd.core.runtimes import Runtimes
from gflowd.workers.base import Wiring
from gflowd.workers.planner import Planner, Said

SPEC = Spec(command=("x",), name="x", user="u", cwd="/", env="e", submitted_at=1.0)
NOTHING_SAID = Said({}, {}, {}, ())
NOW = now(wall=5000.0, mono=100.0)
GPUS = tuple(Gpu(index=index, uuid=f"GPU-{index}", model="A100", memory_mb=1000) for index in range(2))


def started(mono: float, boot: str = BOOT) -> Started:
    return Started(at=4000.0, mono=mono, identity=Identity(boot, 9, 9))


def book(*jobs: tuple[Spec, Phase], runtimes: Runtimes | None = None) -> Book:
    made = Book(runtimes=runtimes)
    specs = {number: codec.encode(spec) for number, (spec, _) in enumerate(jobs, 1)}
    phases = {number: codec.encode_phase(phase) for number, (_, phase) in enumerate(jobs, 1)}
    made.settle(made.refresh(specs, (), specs, {}, phases), NOW.wall)
    return made


def slots(begun: float = 0.0, trouble: str | None = None) -> dict[str, Any]:
    return {"gpu_poller": ((begun, trouble, ()), (begun, GPUS))}


@pytest.fixture
def planner(wiring: Wiring) -> Planner:
    return Planner(wiring.config)


RUN = Run(executor="process", launched_at=4000.0)


@pytest.mark.parametrize(
    ("phase", "ends"),
    [
        (Starting(run=RUN.replace(launched_at=4990.0)), 5050.0),
        (Starting(run=RUN), 5000.0),  # overdue
        (Starting(run=RUN.replace(launched_at=5500.0)), 5060.0),
        (Running(run=RUN, started=started(mono=70.0)), 5030.0),
        (Running(run=RUN, started=started(mono=10.0)), 4970.0),  # overdue
        (Running(run=RUN, started=started(mono=70.0, boot="another")), 5000.0),
        (
            Stopping(run=RUN, started=started(70.0), why="x", since_at=1.0, since_mono=96.0, since_boot=BOOT),
            5006.0,
        ),
        (
            Stopping(run=RUN, started=started(70.0), why="x", since_at=1.0, since_mono=1.0, since_boot="another"),
            5000.0,
        ),
    ],
)
def test_a_live_job_is_gone_at_its_limit_or_when_its_grace_is_over_which_no_step_of_the_clock_moves(
    planner: Planner, phase: Phase, ends: float
) -> None:
    live = book((SPEC.replace(time_limit=60.0, cpus=4), phase), (SPEC.replace(time_limit=60.0), Queued()))
    plan = planner.plan(live, NOTHING_SAID, {}, slots(), NOW)
    at = max(ends, NOW.wall + LEAST)
    assert [(each.job.id, each.at, each.expected) for each in plan.promises] == [
        (2, pytest.approx(at), plan.promises[0].at)
    ]
    line = planner.in_line(live, {}, 9, NOW)
    assert planner.expected(live, NOTHING_SAID, line, plan, NOW) == {2: pytest.approx(at)}


def test_a_grace_of_its_own_counts_for_a_job_that_stops(planner: Planner) -> None:
    phase = Stopping(run=RUN, started=started(70.0), why="x", since_at=1.0, since_mono=96.0, since_boot=BOOT)
    live = book((SPEC.replace(cpus=4, grace=30.0), phase), (SPEC.replace(time_limit=60.0), Queued()))
    plan = planner.plan(live, NOTHING_SAID, {}, slots(), NOW)
    assert [each.at for each in plan.promises] == [5026.0], "certain, though it had no limit"


def test_jobs_without_a_limit_count_as_the_configuration_says_until_runs_are_known(planner: Planner) -> None:
    for default, seconds in ((30.0, 30.0), (None, 86400.0)):
        jobs = (
            (SPEC.replace(cpus=4), Starting(run=RUN.replace(launched_at=5000.0))),
            (SPEC.replace(time_limit=60.0), Queued()),
        )
        live = book(*jobs, runtimes=Runtimes(default))
        plan = planner.plan(live, NOTHING_SAID, {}, slots(), NOW)
        assert [(each.at, each.expected) for each in plan.promises] == [(None, 5000.0 + seconds)], "it is an estimate"
        live.note_runs("0 u x", {"user": "u", "gpus": 0, "name": "x", "runs": [[1.0, 500.0]]})
        plan = planner.plan(live, NOTHING_SAID, {}, slots(), NOW)
        assert [(each.at, each.expected) for each in plan.promises] == [(None, 5500.0)]
        late = replace(NOW, wall=5600.0, mono=700.0)
        plan = planner.plan(live, NOTHING_SAID, {}, slots(), late)
        assert [(each.at, each.expected) for each in plan.promises] == [(None, 6000.0)], "overdue: twice as long"


def test_gpus_are_given_after_a_look_that_was_asked_for(planner: Planner) -> None:
    waiting = book((SPEC.replace(gpus=1), Queued()))
    assert planner.plan(waiting, NOTHING_SAID, {}, slots(), NOW).starts == []
    assert planner.poll_after == NOW.mono
    assert planner.plan(waiting, NOTHING_SAID, {}, slots(begun=99.0), NOW).starts == []
    plan = planner.plan(waiting, NOTHING_SAID, {}, slots(begun=101.0), replace(NOW, mono=102.0))
    assert [gpu_ids for _, gpu_ids in plan.starts] == [(0,)]
    assert planner.poll_after is None


def test_what_lingers_keeps_its_gpus(planner: Planner) -> None:
    run = Run(executor="process", launched_at=1.0, gpu_ids=(0, 1))
    ended = Ended(state="finished", ended_at=2.0, run=run, lingers=True)
    made = book((SPEC.replace(gpus=2), ended), (SPEC.replace(gpus=1), Queued()))
    plan = planner.plan(made, NOTHING_SAID, {}, slots(), NOW)
    assert plan.reasons == {2: reasons.GPU_UNAVAILABLE}
    live = book((SPEC.replace(gpus=2), Running(run=run, started=started(70.0))), (SPEC.replace(gpus=1), Queued()))
    plan = planner.plan(live, NOTHING_SAID, {1: (ended,)}, slots(), NOW)
    assert plan.reasons == {2: reasons.GPU_UNAVAILABLE}


def test_what_ends_now_is_free_and_what_is_drained_waits(planner: Planner) -> None:
    live = book((SPEC.replace(cpus=4), Starting(run=RUN)), (SPEC, Queued()))
    changes: dict[int, tuple[Phase, ...]] = {1: (Ended(state="finished", ended_at=2.0, run=RUN),)}
    assert [job.id for job, _ in planner.plan(live, NOTHING_SAID, changes, slots(), NOW).starts] == [2]
    drained = replace(NOTHING_SAID, settings={"drain": {"at": 1.0}})
    assert planner.plan(live, drained, changes, slots(), NOW).starts == []


def test_users_with_less_usage_go_first_and_quotas_hold(wiring: Wiring) -> None:
    queue = book(*((SPEC.replace(user=user, cpus=2), Queued()) for user in ("ada", "ada", "bob", "eve")))
    usage = {"ada": {"usage": 9.0, "at": 5000.0}, "eve": {"usage": 5.0, "at": 5000.0}}
    plan = Planner(wiring.config).plan(queue, replace(NOTHING_SAID, usage=usage), {}, slots(), NOW)
    assert [job.id for job, _ in plan.starts] == [3, 4]
    quotas = {"user:bob": {"max_running_jobs": 0}, "default-user": {"max_running_jobs": 1}}
    plan = Planner(wiring.config).plan(queue, replace(NOTHING_SAID, usage=usage, quotas=quotas), {}, slots(), NOW)
    assert [job.id for job, _ in plan.starts] == [4, 1]
    assert plan.reasons == {2: reasons.QUOTA, 3: reasons.NEVER_QUOTA}


def test_before_the_first_look_or_while_the_driver_fails_nothing_is_known_of_gpus(planner: Planner) -> None:
    for board in ({}, slots(trouble="reboot")):
        plan = planner.plan(book((SPEC.replace(gpus=9), Queued())), NOTHING_SAID, {}, board, NOW)
        assert plan.reasons == {1: reasons.GPU_UNAVAILABLE}
        assert planner.capacity().gpus is None


def test_a_look_that_never_comes_is_told(planner: Planner) -> None:
    waiting = book((SPEC.replace(gpus=1), Queued()), (SPEC.replace(gpus=2), Queued()))
    for mono, reason in ((100.0, reasons.RESOURCES), (105.0, reasons.RESOURCES), (105.1, reasons.GPU_UNAVAILABLE)):
        plan = planner.plan(waiting, NOTHING_SAID, {}, slots(), replace(NOW, mono=mono))
        assert plan.reasons == {1: reason, 2: reasons.RESOURCES}


def test_gpus_are_chosen_as_the_configuration_says(wiring: Wiring) -> None:
    near = tuple(
        Gpu(index=index, uuid=f"GPU-{index}", model="A100", memory_mb=1000, links=links)
        for index, links in enumerate((("X", "SYS", "NV4"), ("SYS", "X", "SYS"), ("NV4", "SYS", "X")))
    )
    planner = Planner(replace(wiring.config, gpu_allocation="topology"))
    planner.poll_after = 100.0
    board = {"gpu_poller": ((101.0, None, ()), (101.0, near))}
    plan = planner.plan(book((SPEC.replace(gpus=2), Queued())), NOTHING_SAID, {}, board, NOW)
    assert [gpu_ids for _, gpu_ids in plan.starts] == [(0, 2)]
