from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from stage import BOOT, NOTHING_POSTED, now, polled
from support.specs import SPEC

from gflowd.core.accounting.runtimes import Runtimes
from gflowd.core.gpu.admin_state import AdminState
from gflowd.core.gpu.device import Gpu, GpuProcess
from gflowd.core.job import codec, reasons
from gflowd.core.job.model import (
    Ended,
    Identity,
    Pauses,
    Phase,
    Queued,
    Run,
    Running,
    Spec,
    Started,
    Starting,
    Stopping,
    Suspended,
)
from gflowd.core.planning.backfill import LATE, Plan
from gflowd.core.planning.occupancy import OVERDUE
from gflowd.core.planning.reservation_calendar import ReservationCalendar
from gflowd.core.queue.job_queue import JobQueue
from gflowd.core.queue.job_records import JobRecords
from gflowd.workers.base import Wiring
from gflowd.workers.board_slots import Slots
from gflowd.workers.scheduler.planner import DOUBT, Planner, Said

NOTHING_SAID = Said({}, {}, {})
NO_RESERVATIONS = ReservationCalendar(None)
NOW = now(wall=5000.0, mono=100.0)
GPUS = tuple(Gpu(index=index, uuid=f"GPU-{uuid4()}", model="A100", memory_mb=1000) for index in range(2))


def started(mono: float, boot: str = BOOT) -> Started:
    return Started(at=4000.0, mono=mono, identity=Identity(boot, 9, 9))


def job_queue(
    *jobs: tuple[Spec, Phase], runtimes: Runtimes | None = None, wishes: dict[int, Any] | None = None
) -> JobQueue:
    specs = {number: codec.encode(spec) for number, (spec, _) in enumerate(jobs, 1)}
    phases = {number: codec.encode_phase(phase) for number, (_, phase) in enumerate(jobs, 1)}
    made = JobQueue(JobRecords(specs, wishes or {}, phases), runtimes=runtimes)
    made.settle(made.refresh(specs, ()), NOW.wall)
    return made


def slots(begun: float = 0.0, trouble: str | None = None) -> Slots:
    return polled(begun, GPUS, trouble)


@pytest.fixture
def planner(wiring: Wiring) -> Planner:
    return Planner(wiring.config, NO_RESERVATIONS)


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
    live = job_queue((SPEC.replace(time_limit=60.0, cpus=4), phase), (SPEC.replace(time_limit=60.0), Queued()))
    plan = planner.plan(live, NOTHING_SAID, {}, slots(), NOW)
    at = max(ends, NOW.wall + OVERDUE)
    assert [(each.job.id, each.at, each.expected) for each in plan.promises] == [
        (2, pytest.approx(at), plan.promises[0].at)
    ]
    line = planner.in_line(live, {}, 9, NOW)
    assert planner.expected(live, line, plan, NOW) == {2: pytest.approx(at)}


def test_a_grace_of_its_own_counts_for_a_job_that_stops(planner: Planner) -> None:
    phase = Stopping(run=RUN, started=started(70.0), why="x", since_at=1.0, since_mono=96.0, since_boot=BOOT)
    live = job_queue((SPEC.replace(cpus=4, grace=30.0), phase), (SPEC.replace(time_limit=60.0), Queued()))
    plan = planner.plan(live, NOTHING_SAID, {}, slots(), NOW)
    assert [each.at for each in plan.promises] == [5026.0], "certain, though it had no limit"


def suspended(**fields: Any) -> Suspended:
    """One that had run for 20 s when it was suspended 10 s ago, and had stood still for 5 s before."""
    pauses = Pauses(count=1, seconds=5.0)
    phase = Suspended(run=RUN, started=started(65.0), since_at=4990.0, since_mono=90.0, since_boot=BOOT, pauses=pauses)
    return phase.replace(**fields)


def test_a_suspended_job_is_expected_to_be_gone_when_it_had_run_on_from_now(planner: Planner) -> None:
    live = job_queue((SPEC.replace(time_limit=60.0, cpus=4), suspended()), (SPEC.replace(time_limit=60.0), Queued()))
    plan = planner.plan(live, NOTHING_SAID, {}, slots(), NOW)
    assert [(each.at, each.expected) for each in plan.promises] == [(None, 5040.0)], "nobody can promise that"
    goes_on = Running(run=RUN, started=started(65.0), pauses=Pauses(count=2, seconds=15.0))
    live = job_queue((SPEC.replace(time_limit=60.0, cpus=4), goes_on), (SPEC.replace(time_limit=60.0), Queued()))
    plan = planner.plan(live, NOTHING_SAID, {}, slots(), NOW)
    assert [(each.at, each.expected) for each in plan.promises] == [(5040.0, 5040.0)]


def test_the_cpus_that_a_suspended_job_gave_back_are_given_away_until_it_is_to_go_on(planner: Planner) -> None:
    jobs = (SPEC.replace(cpus=4), suspended(without_cpus=True)), (SPEC, Queued())
    for wish, starts in ({"suspended": 1}, [2]), ({}, []):
        live = job_queue(*jobs, wishes={1: wish})
        plan = planner.plan(live, NOTHING_SAID, {}, slots(), NOW)
        assert [job.id for job, _ in plan.starts] == starts


def test_jobs_without_a_limit_count_as_the_configuration_says_until_runs_are_known(planner: Planner) -> None:
    for default, seconds in ((30.0, 30.0), (None, 86400.0)):
        jobs = (
            (SPEC.replace(cpus=4), Starting(run=RUN.replace(launched_at=5000.0))),
            (SPEC.replace(time_limit=60.0), Queued()),
        )
        live = job_queue(*jobs, runtimes=Runtimes(default))
        plan = planner.plan(live, NOTHING_SAID, {}, slots(), NOW)
        assert [(each.at, each.expected) for each in plan.promises] == [(None, 5000.0 + seconds)], "it is an estimate"
        live.note_runs("0 u x", {"user": "u", "gpus": 0, "name": "x", "runs": [[1.0, 500.0]]})
        plan = planner.plan(live, NOTHING_SAID, {}, slots(), NOW)
        assert [(each.at, each.expected) for each in plan.promises] == [(None, 5500.0)]
        late = replace(NOW, wall=5600.0, mono=700.0)
        plan = planner.plan(live, NOTHING_SAID, {}, slots(), late)
        assert [(each.at, each.expected) for each in plan.promises] == [(None, 6000.0)], "overdue: twice as long"


def test_gpus_are_given_after_a_look_that_was_asked_for(planner: Planner) -> None:
    waiting = job_queue((SPEC.replace(gpus=1), Queued()))
    assert planner.plan(waiting, NOTHING_SAID, {}, slots(), NOW).starts == []
    assert planner.poll_after == NOW.mono
    assert planner.plan(waiting, NOTHING_SAID, {}, slots(begun=99.0), NOW).starts == []
    plan = planner.plan(waiting, NOTHING_SAID, {}, slots(begun=101.0), replace(NOW, mono=102.0))
    assert [gpu_ids for _, gpu_ids in plan.starts] == [(0,)]
    assert planner.poll_after is None


def test_what_lingers_keeps_its_gpus(planner: Planner) -> None:
    run = Run(executor="process", launched_at=1.0, gpu_ids=(0, 1))
    ended = Ended(state="finished", ended_at=2.0, run=run, lingers=True)
    made = job_queue((SPEC.replace(gpus=2), ended), (SPEC.replace(gpus=1), Queued()))
    later = replace(NOW, mono=NOW.mono + DOUBT + 0.1)
    for when in (NOW, later):
        assert planner.plan(made, NOTHING_SAID, {}, slots(), when).reasons == {2: reasons.GPU_UNAVAILABLE}
    live = job_queue((SPEC.replace(gpus=2), Running(run=run, started=started(70.0))), (SPEC.replace(gpus=1), Queued()))
    plan = planner.plan(live, NOTHING_SAID, {1: (ended,)}, slots(), later)
    assert plan.reasons == {2: reasons.GPU_UNAVAILABLE}


def test_what_ends_now_is_free_and_what_is_drained_waits(planner: Planner) -> None:
    live = job_queue((SPEC.replace(cpus=4), Starting(run=RUN)), (SPEC, Queued()))
    changes: dict[int, tuple[Phase, ...]] = {1: (Ended(state="finished", ended_at=2.0, run=RUN),)}
    assert [job.id for job, _ in planner.plan(live, NOTHING_SAID, changes, slots(), NOW).starts] == [2]
    drained = replace(NOTHING_SAID, settings={"drain": {"at": 1.0}})
    assert planner.plan(live, drained, changes, slots(), NOW).starts == []


def test_users_with_less_usage_go_first_and_quotas_hold(wiring: Wiring) -> None:
    queue = job_queue(*((SPEC.replace(user=user, cpus=2), Queued()) for user in ("ada", "ada", "bob", "eve")))
    usage = {"ada": {"usage": 9.0, "at": 5000.0}, "eve": {"usage": 5.0, "at": 5000.0}}
    plan = Planner(wiring.config, NO_RESERVATIONS).plan(queue, replace(NOTHING_SAID, usage=usage), {}, slots(), NOW)
    assert [job.id for job, _ in plan.starts] == [3, 4]
    quotas = {"user:bob": {"max_running_jobs": 0}, "default-user": {"max_running_jobs": 1}}
    plan = Planner(wiring.config, NO_RESERVATIONS).plan(
        queue, replace(NOTHING_SAID, usage=usage, quotas=quotas), {}, slots(), NOW
    )
    assert [job.id for job, _ in plan.starts] == [4, 1]
    assert plan.reasons == {2: reasons.QUOTA, 3: reasons.NEVER_QUOTA}


def test_while_the_driver_fails_or_hangs_nothing_is_known_of_gpus(planner: Planner) -> None:
    for board, late in ((slots(trouble="reboot"), 0.0), (NOTHING_POSTED, LATE)):
        when = replace(NOW, mono=NOW.mono + late)
        plan = planner.plan(job_queue((SPEC.replace(gpus=9), Queued())), NOTHING_SAID, {}, board, when)
        assert plan.reasons == {1: reasons.GPU_UNAVAILABLE}
        assert planner.capacity().gpus is None


def test_no_job_passes_another_before_the_first_look_at_the_gpus(planner: Planner, wiring: Wiring) -> None:
    """Where some job waits for GPUs of this machine; and no promise is changed."""
    waiting = job_queue((SPEC.replace(gpus=1, priority=20), Queued()), (SPEC, Queued()))
    said = replace(NOTHING_SAID, promises={1: {"since": 1.0, "at": NOW.wall + 9, "by": []}})
    plan = planner.plan(waiting, said, {}, NOTHING_POSTED, NOW)
    assert (plan.starts, plan.reasons, next(iter(planner.wakes(plan, NOW)))) == ([], {}, NOW.mono + LATE)
    assert planner.promises(waiting, said, plan, NOW) == {}
    plan = planner.plan(waiting, said, {}, NOTHING_POSTED, replace(NOW, mono=NOW.mono + LATE))
    assert [job.id for job, _ in plan.starts] == [2], "the driver hangs"
    for others in ((SPEC, SPEC), (SPEC.replace(gpus=1, cluster="c"), SPEC)):
        fresh = Planner(wiring.config, NO_RESERVATIONS)
        alone = job_queue(*((spec, Queued()) for spec in others))
        assert 2 in [job.id for job, _ in fresh.plan(alone, NOTHING_SAID, {}, NOTHING_POSTED, NOW).starts]


def test_a_look_that_never_comes_is_told(planner: Planner) -> None:
    waiting = job_queue((SPEC.replace(gpus=1, priority=20), Queued()), (SPEC.replace(gpus=2), Queued()))
    for late, reason in ((0.0, reasons.RESOURCES), (5.0, reasons.RESOURCES), (5.1, reasons.GPU_UNAVAILABLE)):
        when = replace(NOW, wall=NOW.wall + late, mono=NOW.mono + late)
        plan = planner.plan(waiting, NOTHING_SAID, {}, slots(), when)
        assert plan.reasons == {1: reason, 2: reasons.RESOURCES}


def test_gpus_are_chosen_as_the_configuration_says(wiring: Wiring) -> None:
    near = tuple(
        Gpu(index=index, uuid=f"GPU-{uuid4()}", model="A100", memory_mb=1000, links=links)
        for index, links in enumerate((("X", "SYS", "NV4"), ("SYS", "X", "SYS"), ("NV4", "SYS", "X")))
    )
    planner = Planner(replace(wiring.config, gpu_allocation="topology"), NO_RESERVATIONS)
    planner.poll_after = 100.0
    board = polled(101.0, near)
    plan = planner.plan(job_queue((SPEC.replace(gpus=2), Queued())), NOTHING_SAID, {}, board, NOW)
    assert [gpu_ids for _, gpu_ids in plan.starts] == [(0, 2)]


class Line:
    """A planner, the records and the time, as ticks find them."""

    def __init__(self, wiring: Wiring, *jobs: tuple[Spec, Phase], **settings: Any) -> None:
        self.config = replace(wiring.config, **settings)
        self.planner = Planner(self.config, NO_RESERVATIONS)
        self.jobs = jobs
        self.records: dict[int, Any] = {}
        self.said = NOTHING_SAID
        self.now = NOW
        self.gpus: tuple[Gpu, ...] = GPUS

    def restart(self) -> None:
        self.planner = Planner(self.config, NO_RESERVATIONS)

    def phase(self, job_id: int, phase: Phase) -> None:
        self.jobs = tuple((spec, phase if number == job_id else was) for number, (spec, was) in enumerate(self.jobs, 1))

    def add(self, **fields: Any) -> None:
        self.jobs = (*self.jobs, (SPEC.replace(**fields), Queued()))

    def tick(
        self, passing: float = 1.0, *, begun: float = 0.0, trouble: str | None = None, blind: bool = False
    ) -> Plan:
        self.now = replace(self.now, wall=self.now.wall + passing, mono=self.now.mono + passing)
        made = job_queue(*self.jobs)
        made.settle((), self.now.wall)
        said = replace(self.said, promises=self.records)
        board = NOTHING_POSTED if blind else polled(begun, self.gpus, trouble)
        plan = self.planner.plan(made, said, {}, board, self.now)
        changed = self.planner.promises(made, said, plan, self.now)
        self.planner.settled(())
        kept = {**self.records, **changed}
        self.records = {job_id: record for job_id, record in kept.items() if record is not None}
        return plan


def holding(*gpu_ids: int, until: float) -> tuple[Spec, Phase]:
    """A job on these until then."""
    run = Run(executor="process", launched_at=4000.0, gpu_ids=gpu_ids)
    limit = until - NOW.wall + NOW.mono
    return SPEC.replace(gpus=len(gpu_ids), time_limit=limit), Running(run=run, started=started(mono=0.0))


WIDE = SPEC.replace(gpus=2, time_limit=600.0), Queued()


def test_a_job_whose_gpus_are_looked_at_starts_before_the_next_in_plan_after_plan(wiring: Wiring) -> None:
    line = Line(wiring, WIDE)
    assert line.tick().starts == []
    line.add(gpus=1)
    line.add(gpus=1, time_limit=60.0)
    for _ in range(3):
        plan = line.tick()
        assert set(plan.wants_gpu) == {1}
        assert plan.reasons == {1: reasons.RESOURCES, 2: reasons.RESOURCES, 3: reasons.RESOURCES}
    plan = line.tick(begun=102.0)
    assert [(job.id, gpus) for job, gpus in plan.starts] == [(1, (0, 1))]


def test_the_gpus_that_were_chosen_are_given_after_the_look_though_others_are_free_by_then(wiring: Wiring) -> None:
    line = Line(wiring, (SPEC.replace(gpus=1, time_limit=600.0), Queued()))
    line.gpus = (replace_gpu(GPUS[0], strange=True), GPUS[1])
    line.tick()
    line.gpus = GPUS
    assert [gpus for _, gpus in line.tick(begun=102.0).starts] == [(1,)]


def replace_gpu(gpu: Gpu, *, strange: bool) -> Gpu:
    """With a process of which nobody knows, or without."""
    return gpu.replace(processes=(GpuProcess(pid=1, memory_mb=500, job_id=None),) if strange else ())


def test_a_promise_says_when_and_is_dropped_when_its_job_starts_or_is_gone(wiring: Wiring) -> None:
    line = Line(wiring, holding(0, until=6000.0), WIDE)
    line.tick()
    assert line.records == {2: {"since": 5001.0, "at": 6000.0, "by": [[1, 6000.0]]}}
    line.tick()
    assert line.records[2]["since"] == 5001.0
    before = line.records
    line.phase(1, Ended(state="finished", ended_at=5002.0))
    line.tick()
    assert line.records == before, "until it does"
    assert [job.id for job, _ in line.tick(begun=line.now.mono).starts] == [2]
    assert line.records == {}
    line.records, line.jobs = before, (line.jobs[0], (WIDE[0], Ended(state="cancelled", ended_at=5002.0)))
    line.tick()
    assert line.records == {}


def test_no_gpus_are_given_up_for_two_minutes_and_a_promise_that_rests_on_them_neither(wiring: Wiring) -> None:
    line = Line(wiring, holding(0, until=6000.0), WIDE)
    line.tick()
    promised = line.records[2]
    line.gpus = (GPUS[0], replace_gpu(GPUS[1], strange=True))
    line.add(gpus=1)
    for passing in (1.0, 60.0, 58.0):
        plan = line.tick(passing)
        assert line.records == {2: promised}
        assert plan.starts == []
    line.tick(2.0)
    record = line.records[2]
    assert (record["at"], record["was"], record["cause"]) == (None, 6000.0, "GPU 1 is not available")
    line.gpus = GPUS
    line.tick()
    assert line.records[2] == {**promised, "by": [[1, 6000.0]]}, "and its place is the same"


def test_two_minutes_after_its_time_a_promise_is_given_up_though_a_restart_brought_new_hope(wiring: Wiring) -> None:
    line = Line(wiring, holding(0, until=5010.0), WIDE)
    line.tick()
    promised = line.records[2]
    line.gpus = (GPUS[0], replace_gpu(GPUS[1], strange=True))
    for passing in (1.0, 100.0):
        line.tick(passing)
        assert line.records == {2: promised}
    line.restart()
    line.tick(1.0)
    assert line.records == {2: promised}
    line.tick(30.0)
    record = line.records[2]
    assert (record["at"], record["was"], record["cause"]) == (None, 5010.0, "GPU 1 is not available")


def test_what_one_gpu_is_gone_for_is_given_up_though_another_may_come_back(wiring: Wiring) -> None:
    line = Line(wiring, holding(0, until=6000.0), WIDE)
    line.tick()
    promised = line.records[2]
    line.gpus = (GPUS[0], replace_gpu(GPUS[1], strange=True))
    line.tick()
    line.tick(60.0)
    line.gpus = tuple(replace_gpu(gpu, strange=True) for gpu in GPUS)
    line.tick(50.0)
    assert line.records == {2: promised}
    line.tick(15.0)
    record = line.records[2]
    assert (record["at"], record["was"], record["cause"]) == (None, 6000.0, "GPU 0, 1 is not available")


def test_the_planner_says_when_a_gpu_is_no_longer_expected_back(wiring: Wiring) -> None:
    line = Line(wiring, holding(0, until=6000.0), WIDE)
    line.tick()
    assert line.planner.doubt_ends is None
    had = line.now.mono
    line.gpus = (GPUS[0], replace_gpu(GPUS[1], strange=True))
    line.tick(50.0)
    assert line.planner.doubt_ends == had + DOUBT
    line.tick(DOUBT)
    assert line.planner.doubt_ends is None
    line.gpus = GPUS
    line.tick()
    had = line.now.mono
    line.tick(10.0, blind=True)
    assert line.planner.doubt_ends == had + DOUBT


def test_a_gpu_that_is_drained_moves_a_promise_at_once(wiring: Wiring) -> None:
    line = Line(wiring, holding(0, until=6000.0), WIDE)
    line.tick()
    line.said = replace(line.said, settings={"drained_gpus": {"gpus": [GPUS[1].uuid]}})
    orders = AdminState(drained={GPUS[1].uuid: "x"})
    with mock.patch("gflowd.core.gpu.admin_state.read", return_value=orders):
        line.tick()
    assert (line.records[2]["at"], line.records[2]["cause"]) == (None, "GPU 1 is not available")


def test_a_new_planner_keeps_the_promises_that_were_written_down(wiring: Wiring) -> None:
    line = Line(wiring, holding(0, until=6000.0), WIDE)
    line.tick()
    promised = line.records
    line.restart()
    line.add(gpus=2, time_limit=60.0, submitted_at=0.5)
    line.tick(100.0)
    assert line.records == promised, "also before one that has a better score now"


@pytest.mark.parametrize("how", [{"blind": True}, {"trouble": "no driver"}])
def test_while_gpus_are_not_known_after_a_restart_no_promise_moves(wiring: Wiring, how: dict[str, Any]) -> None:
    line = Line(wiring, holding(0, until=6000.0), WIDE)
    line.tick()
    promised = line.records
    line.restart()
    for _ in range(3):
        assert line.tick(10.0, **how).starts == []
        assert line.records == promised
    line.tick()
    assert line.records == promised
    line.tick(DOUBT - 1.0, **how)
    assert line.records == promised
    line.tick(2.0, **how)
    assert (line.records[2]["at"], line.records[2]["was"]) == (None, 6000.0)


def test_while_gflow_is_drained_places_stay_and_no_time_is_promised(wiring: Wiring) -> None:
    line = Line(wiring, holding(0, 1, until=5050.0), WIDE)
    line.tick()
    promised = line.records
    line.said = replace(line.said, settings={"drain": {"at": 1.0}})
    for _ in range(3):
        assert line.tick(100.0).starts == []
        assert (line.records[2]["at"], line.records[2]["since"]) == (None, promised[2]["since"])
        assert line.records[2]["cause"] == "no job is started while gflow is drained"
    line.said = replace(line.said, settings={})
    line.phase(1, Ended(state="finished", ended_at=5050.0))
    line.tick()
    assert line.records[2]["since"] == promised[2]["since"]
    assert [job.id for job, _ in line.tick(begun=line.now.mono).starts] == [2]


@pytest.mark.parametrize("cpus", [1, 2])
def test_one_of_higher_priority_moves_a_promise_and_is_its_cause(wiring: Wiring, cpus: int) -> None:
    line = Line(wiring, holding(0, 1, until=6000.0), (WIDE[0].replace(cpus=cpus), Queued()))
    line.tick()
    assert line.records[2]["at"] == 6000.0
    line.add(gpus=2, time_limit=600.0, priority=20, cpus=1)
    line.tick()
    assert line.records[3]["at"] == 6000.0
    assert (line.records[2]["at"], line.records[2]["cause"]) == (6600.0, "job 3 of higher priority waits")


def test_a_promise_that_moves_because_gflow_was_drained_says_so(wiring: Wiring) -> None:
    line = Line(
        wiring,
        holding(0, 1, until=5050.0),
        (WIDE[0].replace(priority=20), Queued()),
        (WIDE[0].replace(cpus=2), Queued()),
    )
    line.tick()
    assert [line.records[job_id]["at"] for job_id in (2, 3)] == [5050.0, 5650.0]
    line.said = replace(line.said, settings={"drain": {"at": 1.0}})
    line.tick()
    line.phase(1, Ended(state="finished", ended_at=5050.0))
    line.tick(1000.0)
    line.said = replace(line.said, settings={})
    line.tick()
    assert line.records[3]["was"] == 5650.0
    assert line.records[3]["cause"] == "no job is started while gflow is drained"


def test_what_moves_a_promise_that_a_drain_did_not_move_is_not_the_drain(wiring: Wiring) -> None:
    line = Line(wiring, holding(0, 1, until=6000.0), WIDE)
    line.tick()
    line.said = replace(line.said, settings={"drain": {"at": 1.0}})
    line.tick()
    line.said = replace(line.said, settings={})
    line.tick()
    line.jobs = (holding(0, 1, until=7000.0), *line.jobs[1:])
    line.tick()
    assert line.records[2]["was"] == 6000.0
    assert line.records[2]["cause"] == "job 1 may now run longer"


def test_one_that_only_estimates_allow_a_time_keeps_its_place_without_one(wiring: Wiring) -> None:
    spec, phase = holding(0, 1, until=6000.0)
    line = Line(wiring, (spec.replace(time_limit=None), phase), WIDE)
    plan = line.tick()
    assert line.records == {2: {"since": 5001.0, "at": None, "by": [], "estimate": pytest.approx(91300.0)}}
    assert [each.expected for each in plan.promises] == [pytest.approx(4900.0 + 86400.0)]


def test_a_job_is_promised_only_once_it_has_waited_for_its_length_and_the_planner_says_when(wiring: Wiring) -> None:
    line = Line(wiring, holding(0, until=6000.0), (WIDE[0].replace(submitted_at=4900.0), Queued()))
    assert line.tick().promise_due == 5500.0
    assert line.records == {}
    line.tick(499.0)
    assert line.records[2]["at"] == 6000.0
    line = Line(wiring, holding(0, until=6000.0), (WIDE[0].replace(submitted_at=4900.0), Queued()), promise_within=50.0)
    line.tick()
    assert line.records[2]["at"] == 6000.0


def test_what_places_rest_on_is_told(wiring: Wiring) -> None:
    jobs = (
        holding(0, until=6000.0),
        WIDE,
        (SPEC.replace(gpus=1, user="v", begin_at=4990.0), Queued()),
        (SPEC.replace(gpus=9, time_limit=60.0, priority=0), Queued()),
    )
    made = job_queue(*jobs)
    planner = Planner(wiring.config, NO_RESERVATIONS)
    said = replace(NOTHING_SAID, usage={"u": {"usage": 100.0, "at": 5000.0}, "v": {"usage": 50.0, "at": 5000.0}})
    plan = planner.plan(made, said, {}, slots(), NOW)
    line = planner.in_line(made, {}, 2, NOW)
    told = planner.told(made, plan, line)
    assert told["order"] == [2, 3]
    assert told["ready"] == {"3": 4990.0}
    assert told["lengths"] == {"3": [86400.0, "guess", 0]}
    assert 0 < told["shares"]["u"] < told["shares"]["v"] < 1
    assert plan.why(made.queued[3]) == reasons.PRIORITY
    assert told["longest"] == {}


ADVISED = (holding(0, until=6000.0), WIDE, (SPEC.replace(gpus=1), Queued()))


def until(planner: Planner, board: Slots) -> dict[str, float]:
    """Until when those in line would have to be over to start at once."""
    made = job_queue(*ADVISED)
    plan = planner.plan(made, NOTHING_SAID, {}, board, NOW)
    assert plan.starts == []
    found: dict[str, float] = planner.told(made, plan, planner.in_line(made, {}, 9, NOW))["until"]
    return found


def test_just_after_a_look_it_is_told_until_when_a_gpu_is_not_needed_by_the_promised(planner: Planner) -> None:
    planner.poll_after = 100.0
    assert until(planner, slots(begun=101.0)) == {"3": 6000.0}


def test_without_a_look_it_is_told_too_until_when_a_gpu_is_not_needed_by_the_promised(planner: Planner) -> None:
    found = until(planner, slots())
    assert 5990.0 <= found["3"] <= 6000.0
