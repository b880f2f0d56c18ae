from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import uuid4

import orjson
import pytest
import stage
from stage import BOOT, NOTHING_POSTED, Jobs, now, observed
from support.specs import SPEC
from support.waiting import eventually

from gflowd.core.accounting.runtimes import NAMES
from gflowd.core.errors import TryAgain
from gflowd.core.execution.observations import Enforced, Observation
from gflowd.core.gpu.admin_state import Resumed
from gflowd.core.gpu.device import Gpu, GpuProcess
from gflowd.core.job import arrays, codec, reasons
from gflowd.core.job.arrays import Family
from gflowd.core.job.dependencies import AFTEROK, Dependency, Needs
from gflowd.core.job.model import Ended, Identity, Phase, Queued, Run, Running, Started, Starting, Stopping, Wish
from gflowd.core.moment import Moment
from gflowd.core.planning.reservations import Reservation, encode
from gflowd.effects.doorbell import POLL
from gflowd.effects.gpu.claims import Claims
from gflowd.storage.store import Store
from gflowd.workers.base import Turn, Wiring
from gflowd.workers.board_slots import TIMEOUT_ENFORCER, Agenda, Post, Slots
from gflowd.workers.scheduler import worker as module
from gflowd.workers.scheduler.due_transitions import AT_ONCE
from gflowd.workers.scheduler.upkeep.snapshot_follower import Fenced
from gflowd.workers.scheduler.worker import ROUNDS, Scheduler

STARTED = Started(at=10.0, mono=10.0, identity=Identity(BOOT, 1 << 30, 1))
GPUS = tuple(Gpu(index=i, uuid=f"GPU-{uuid4()}", model="M", memory_mb=10) for i in range(2))


@pytest.fixture
def wiring(wiring: Wiring) -> Wiring:
    """With the process executor."""
    Path(wiring.state.path("env")).mkdir(mode=0o700)
    environment = Path(wiring.state.environment("e"))
    environment.write_bytes(b"PATH=/usr/bin:/bin\0GFLOW_TEST_MARK=" + os.environ["GFLOW_TEST_MARK"].encode() + b"\0")
    environment.chmod(0o600)
    return replace(wiring, config=replace(wiring.config, executor="process"))


@pytest.fixture
def make(wiring: Wiring, jobs: Jobs) -> Iterator[Callable[..., Scheduler]]:
    made: list[Scheduler] = []

    def start(**settings: object) -> Scheduler:
        made.append(module.open(replace(wiring, config=replace(wiring.config, **settings))))  # type: ignore[arg-type]
        return made[-1]

    yield start
    for scheduler in made:
        scheduler.close()


def submit(wiring: Wiring, text: str = "true", wish: Wish | None = None, **fields: object) -> int:
    spec = SPEC.replace(command=("/bin/sh", "-c", text), cwd=wiring.state.root).replace(**fields)
    with Store(wiring.state).commit() as commit:
        job_id = commit.allocate(1 if spec.family is None else arrays.size(spec.family))
        commit.put("spec", job_id, codec.encode(spec))
        if wish is not None:
            commit.put("wish", job_id, codec.encode(wish))
    return job_id


def wish(wiring: Wiring, job_id: int, **fields: object) -> None:
    with Store(wiring.state).commit() as commit:
        commit.put("wish", job_id, codec.encode(Wish().replace(**fields)))


def reserve(wiring: Wiring, number: int, **fields: object) -> None:
    made = Reservation(id=number, user="v", gpus=1, created_at=1.0, created_by="u", **fields)  # type: ignore[arg-type]
    with Store(wiring.state).commit() as commit:
        commit.put("reservation", number, encode(made))


def make_after(make: Callable[..., Scheduler], first: Scheduler) -> Scheduler:
    """The next scheduler, when the first one was killed."""
    first._alone.release()
    return make()


def phase(wiring: Wiring, job_id: int) -> Phase:
    raw = Store(wiring.state).read().of("phase").get(job_id)
    return Queued() if raw is None else codec.decode_phase(raw)


def sees(wiring: Wiring, **of_jobs: Observation) -> Slots:
    """The detector's slot: sights of first attempts by `job<id>`."""
    return observed({(int(name[3:]), 1): observation for name, observation in of_jobs.items()})


def agenda(turn: Turn) -> Agenda:
    found = turn.decision
    assert isinstance(found, Agenda)
    return found


def test_a_submitted_job_is_committed_and_started(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    job_id = submit(wiring, "echo ran >>ran")
    scheduler = make()
    turn = scheduler.tick(now(), NOTHING_POSTED)
    assert isinstance(phase(wiring, job_id), Starting)
    assert [job.key for job in agenda(turn).live] == [(job_id, 1)]
    eventually((Path(wiring.state.attempt(job_id, 1)) / "exit").exists)
    for _ in range(3):
        scheduler.tick(now(), NOTHING_POSTED)
    time.sleep(0.1)
    assert Path(wiring.state.path("ran")).read_text() == "ran\n"


def test_how_much_of_the_machine_a_job_has_that_asks_for_all_is_decided_as_it_starts(
    make: Callable[..., Scheduler], wiring: Wiring
) -> None:
    alone = submit(wiring, exclusive=True, all_memory=True, cpus=64, family=Family(ranges=((1, 2, 1),)))
    beside = submit(wiring)
    make(cpus=3, memory_mb=500).tick(now(), NOTHING_POSTED)
    assert [type(phase(wiring, each)) for each in (alone, alone + 1, beside)] == [Starting, Queued, Queued]
    spec = codec.decode_spec(Store(wiring.state).read().of("spec")[alone])
    assert (spec.cpus, spec.memory_mb, spec.exclusive) == (3, 500, True)


def test_a_scheduler_that_was_killed_is_followed_by_one_that_starts_nothing_twice(
    make: Callable[..., Scheduler], wiring: Wiring
) -> None:
    job_id = submit(wiring, "echo ran >>ran; sleep 0.2")
    first = make()
    first.tick(now(), NOTHING_POSTED)
    first._alone.release()
    second = make()
    second.tick(now(), NOTHING_POSTED)
    eventually((Path(wiring.state.attempt(job_id, 1)) / "exit").exists)
    assert Path(wiring.state.path("ran")).read_text() == "ran\n"


def test_what_was_committed_and_never_launched_is_launched(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    job_id = submit(wiring, "echo ran >>ran")
    first = make()
    first._launcher.launch = lambda jobs: None  # type: ignore[method-assign] # it died between commit and launch
    first.tick(now(), NOTHING_POSTED)
    first._alone.release()
    assert isinstance(phase(wiring, job_id), Starting)
    make().tick(now(), NOTHING_POSTED)
    eventually(lambda: Path(wiring.state.path("ran")).exists())


def test_a_job_lives_through_its_phases_as_it_is_seen(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    job_id = submit(wiring)
    scheduler = make()
    scheduler.tick(now(), NOTHING_POSTED)
    scheduler.tick(now(), sees(wiring, job1=Observation(started=STARTED, lives=True)))
    assert isinstance(phase(wiring, job_id), Running)
    done = Observation(started=STARTED, status=3, ended_at=12.0, complete=True)
    turn = scheduler.tick(now(), sees(wiring, job1=done))
    ended = phase(wiring, job_id)
    assert isinstance(ended, Ended)
    assert (ended.state, ended.exit_code, ended.ended_at) == ("failed", 3, 12.0)
    assert agenda(turn).live == ()


def test_the_end_of_one_job_starts_the_next_in_the_same_tick(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    first, second = submit(wiring, cpus=4), submit(wiring, cpus=4)
    scheduler = make()
    scheduler.tick(now(), NOTHING_POSTED)
    assert phase(wiring, second) == Queued()
    done = Observation(started=STARTED, status=0, ended_at=12.0, complete=True)
    scheduler.tick(now(), sees(wiring, job1=done))
    assert isinstance(phase(wiring, first), Ended)
    assert isinstance(phase(wiring, second), Starting)


def test_what_an_end_sets_free_starts_in_the_same_tick(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    submit(wiring)
    needs = Needs(dependencies=(Dependency(kind=AFTEROK, id=1),))
    second = submit(wiring, needs=needs)
    scheduler = make()
    scheduler.tick(now(), NOTHING_POSTED)
    assert phase(wiring, second) == Queued()
    scheduler.tick(now(), sees(wiring, job1=Observation(started=STARTED, status=0, ended_at=12.0, complete=True)))
    assert isinstance(phase(wiring, second), Starting)


def test_very_many_cancellations_are_committed_in_parts(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    count = ROUNDS * AT_ONCE + 1
    with Store(wiring.state).commit() as commit:
        for job_id in range(1, count + 1):
            spec = SPEC
            commit.put("spec", commit.allocate(), codec.encode(spec))
            commit.put("wish", job_id, {"cancelled_at": 1.0, "cancelled_by": "u"})
    scheduler = make()
    at = now()
    turn = scheduler.tick(at, NOTHING_POSTED)
    assert len(Store(wiring.state).read().of("phase")) == count - 1
    assert turn.wake_at == at.mono, "the rest comes at once, after a look at whether to stop"
    scheduler.tick(now(), NOTHING_POSTED)
    assert len(Store(wiring.state).read().of("phase")) == count


def test_an_overdue_job_is_stopped(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    job_id = submit(wiring, time_limit=5.0)
    scheduler = make()
    seen = sees(wiring, job1=Observation(started=STARTED, lives=True))
    scheduler.tick(now(), NOTHING_POSTED)
    scheduler.tick(now(), seen)
    overdue = {TIMEOUT_ENFORCER: Post(Enforced(overdue=((job_id, 1),)))}
    turn = scheduler.tick(now(mono=99.0), Slots({**seen.posts, **overdue}))
    stopping = phase(wiring, job_id)
    assert isinstance(stopping, Stopping)
    assert (stopping.why, stopping.since_mono, stopping.since_boot) == (reasons.TIME_LIMIT, 99.0, BOOT)
    assert agenda(turn).live[0].why == reasons.TIME_LIMIT


def test_what_was_seen_of_another_attempt_is_not_this_ones(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    job_id = submit(wiring)
    scheduler = make()
    scheduler.tick(now(), NOTHING_POSTED)
    old = Observation(started=STARTED, status=0, ended_at=1.0, complete=True)
    scheduler.tick(now(), observed({(job_id, 2): old}))
    assert isinstance(phase(wiring, job_id), Starting)


def test_a_cancelled_queued_job_ends_and_a_held_one_waits(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    held, gone = submit(wiring, wish=Wish(held=True)), submit(wiring, cpus=4)
    wish(wiring, gone, cancelled_by="u", cancelled_at=1.0)
    scheduler = make()
    scheduler.tick(now(), NOTHING_POSTED)
    assert phase(wiring, held) == Queued()
    ended = phase(wiring, gone)
    assert isinstance(ended, Ended)
    assert (ended.state, ended.run) == ("cancelled", None)
    wish(wiring, held, held=False)
    scheduler.tick(now(), NOTHING_POSTED)
    assert isinstance(phase(wiring, held), Starting)


def test_what_can_never_run_is_rejected(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    job_id = submit(wiring, cpus=99)
    make().tick(now(), NOTHING_POSTED)
    ended = phase(wiring, job_id)
    assert isinstance(ended, Ended)
    assert (ended.state, ended.reason) == ("failed", "Rejected:99 CPUs asked for, but this machine gives 4")


def polled(begun: float, gpus: tuple[Gpu, ...] | None = GPUS, trouble: str | None = None) -> Slots:
    return stage.polled(begun, gpus, trouble)


def test_a_gpu_is_given_only_after_a_look_that_was_asked_for(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    job_id = submit(wiring, gpus=1)
    scheduler = make()
    turn = scheduler.tick(now(mono=100.0), NOTHING_POSTED)
    assert (agenda(turn).poll_after, turn.rings) == (None, b""), "nobody has looked yet, nobody knows how many"
    turn = scheduler.tick(now(mono=101.0), polled(90.0))
    assert (agenda(turn).poll_after, turn.rings) == (101.0, POLL)
    turn = scheduler.tick(now(mono=102.0), polled(100.9))
    assert (agenda(turn).poll_after, phase(wiring, job_id)) == (101.0, Queued())
    turn = scheduler.tick(now(mono=103.0), polled(101.5))
    started = phase(wiring, job_id)
    assert isinstance(started, Starting)
    assert started.run.gpu_ids == (0,)
    assert agenda(turn).poll_after is None


def test_one_look_serves_once(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    submit(wiring, gpus=1)
    scheduler = make()
    scheduler.tick(now(mono=101.0), polled(90.0))
    scheduler.tick(now(mono=103.0), polled(101.5))
    late = submit(wiring, gpus=1)
    turn = scheduler.tick(now(mono=104.0), polled(101.5))
    assert phase(wiring, late) == Queued()
    assert agenda(turn).poll_after == 104.0


def test_a_look_is_asked_for_when_a_job_has_left_its_gpus_idle_for_long_enough(
    make: Callable[..., Scheduler], wiring: Wiring
) -> None:
    job_id = submit(wiring, gpus=1)
    scheduler = make(idle_cancel=12.0, poll_interval=10.0)
    idle = tuple(gpu.replace(utilisation=0) for gpu in GPUS)
    assert given(scheduler, wiring, job_id, idle)

    def tick(mono: float, begun: float) -> Turn:
        running = sees(wiring, **{f"job{job_id}": Observation(started=STARTED, lives=True)})
        return scheduler.tick(now(mono=mono), Slots({**polled(begun, idle).posts, **running.posts}))

    turn = tick(110.0, 110.0)
    assert agenda(turn).poll_after is None
    assert turn.wake_at is not None
    assert turn.wake_at <= 122.0
    turn = tick(122.0, 110.0)
    assert (agenda(turn).poll_after, turn.rings) == (122.0, POLL)
    assert isinstance(phase(wiring, job_id), Running), "only what was seen counts"
    turn = tick(122.1, 122.01)
    stopping = phase(wiring, job_id)
    assert isinstance(stopping, Stopping)
    assert (stopping.why, agenda(turn).poll_after) == ("IdleGpus", None)


def given(make: Scheduler, wiring: Wiring, job_id: int, gpus: tuple[Gpu, ...] = GPUS) -> Run | None:
    """What a job gets that asks for a look and has it."""
    make.tick(now(mono=100.0), polled(90.0, gpus))
    make.tick(now(mono=102.0), polled(101.0, gpus))
    found = phase(wiring, job_id)
    return found.run if isinstance(found, Starting) else None


def order(wiring: Wiring, name: str, value: object) -> None:
    with Store(wiring.state).commit() as commit:
        commit.put("setting", name, value)


def test_while_the_driver_fails_no_gpu_is_given_and_no_job_refused(
    make: Callable[..., Scheduler], wiring: Wiring
) -> None:
    ids = [submit(wiring, gpus=1), submit(wiring, gpus=99)]
    plain = submit(wiring)
    scheduler = make()
    for mono in (100.0, 102.0):
        turn = scheduler.tick(now(mono=mono), polled(mono - 0.5, tuple(gpu.replace(fault="x") for gpu in GPUS), "x"))
        assert agenda(turn).poll_after is None
    assert [phase(wiring, job_id) for job_id in ids] == [Queued(), Queued()]
    assert isinstance(phase(wiring, plain), Starting)
    seen = orjson.loads(Path(wiring.state.observed).read_bytes())
    assert (seen["gpu_trouble"], seen["capacity"]["gpus"]) == ("x", None)
    assert seen["reasons"] == dict.fromkeys(map(str, ids), reasons.GPU_UNAVAILABLE)


def test_a_run_names_its_gpus_by_uuid_which_the_job_is_told_when_one_is_lost(
    make: Callable[..., Scheduler], wiring: Wiring
) -> None:
    scheduler = make()
    run = given(scheduler, wiring, submit(wiring, gpus=1))
    assert run is not None
    assert (run.gpu_ids, run.gpu_uuids, run.by_uuid) == ((0,), (GPUS[0].uuid,), False)
    lost = (GPUS[0].replace(fault="lost", answers=False), GPUS[1])
    job_id = submit(wiring, gpus=1)
    run = given(scheduler, wiring, job_id, lost)
    assert run is not None
    assert (run.gpu_ids, run.by_uuid) == ((1,), True)
    script = (Path(wiring.state.attempt(job_id, 1)) / "job.sh").read_text()
    assert f"CUDA_VISIBLE_DEVICES={GPUS[1].uuid}" in script.replace("'", "")


def test_a_gpu_that_moved_is_not_given_twice(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    scheduler = make()
    assert given(scheduler, wiring, submit(wiring, "sleep 30", gpus=1))
    moved = (GPUS[1].replace(index=0), GPUS[0].replace(index=1), GPUS[1].replace(index=2, uuid="GPU-new"))
    run = given(scheduler, wiring, submit(wiring, "sleep 30", gpus=1), moved)
    assert run is not None
    assert run.gpu_uuids != (GPUS[0].uuid,)


FOREIGN = GpuProcess(pid=5, user="ada", start=9)


@pytest.mark.parametrize(
    ("changes", "orders"),
    [
        ({"processes": (FOREIGN,)}, {}),
        ({"fault": "lost"}, {}),
        ({}, {"gpus.drained": {GPUS[0].uuid: {"reason": None, "at": 1.0, "by": "ada"}}}),
        ({}, {"gpus.allow": {"gpus": [1]}}),
    ],
)
def test_a_gpu_that_must_not_be_used_is_passed_over(
    make: Callable[..., Scheduler], wiring: Wiring, changes: dict[str, object], orders: dict[str, object]
) -> None:
    for name, value in orders.items():
        order(wiring, name, value)
    run = given(make(), wiring, submit(wiring, gpus=1), (GPUS[0].replace(**changes), GPUS[1]))
    assert run is not None
    assert run.gpu_ids == (1,)


def test_an_ignored_process_keeps_nobody_from_its_gpu(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    order(wiring, "gpus.ignored", [{"gpu": GPUS[0].uuid, "pid": 5, "start": 9, "boot": BOOT}])
    run = given(make(), wiring, submit(wiring, gpus=1), (GPUS[0].replace(processes=(FOREIGN,)),))
    assert run is not None


def test_two_daemons_never_give_out_the_same_gpu(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    theirs = Claims()
    assert theirs.take(GPUS[0].uuid)
    scheduler = make()
    job_id = submit(wiring, "sleep 30", gpus=1)
    assert given(scheduler, wiring, job_id, GPUS[:1]) is None
    seen = orjson.loads(Path(wiring.state.observed).read_bytes())
    assert [gpu["state"] for gpu in seen["gpus"]] == ["unmanaged"]
    assert scheduler.tick(now(mono=103.0), polled(101.0, GPUS[:1])).wake_at is not None
    theirs.close()
    assert given(scheduler, wiring, job_id, GPUS[:1])
    assert not theirs.take(GPUS[0].uuid)
    scheduler.close()
    eventually(lambda: theirs.take(GPUS[0].uuid))  # a job just started may have what ends with its exec for an instant
    theirs.close()


def test_a_resumed_gpu_is_looked_at_at_once(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    scheduler = make()
    assert scheduler.tick(now(), polled(1.0)).rings == b""
    order(wiring, "gpus.resumed", {"G": {"at": 5.0, "boot": BOOT, "ecc": 3}})
    turn = scheduler.tick(now(), polled(1.0))
    assert (agenda(turn).resumed, turn.rings) == ((Resumed("G", 5.0, 3),), POLL)
    assert scheduler.tick(now(), polled(1.0)).rings == b""


def test_begin_times_are_edges_for_the_timer(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    job_id = submit(wiring, begin_at=2000.0)
    scheduler = make()
    assert agenda(scheduler.tick(now(wall=1999.9), NOTHING_POSTED)).edges == (2000.0,)
    assert phase(wiring, job_id) == Queued()
    assert agenda(scheduler.tick(now(wall=2000.0), NOTHING_POSTED)).edges == ()
    assert isinstance(phase(wiring, job_id), Starting)


def test_starts_and_ends_of_reservations_are_edges_for_the_timer(
    make: Callable[..., Scheduler], wiring: Wiring
) -> None:
    submit(wiring, begin_at=2500.0)
    reserve(wiring, 1, start=2000.0, duration=1000.0)
    scheduler = make()
    expected = {1999.9: (2000.0, 2500.0, 3000.0), 2000.0: (2500.0, 3000.0), 2999.9: (3000.0,), 3000.0: ()}
    for wall, edges in expected.items():
        assert agenda(scheduler.tick(now(wall=wall), NOTHING_POSTED)).edges == edges
    reserve(wiring, 2, start=4000.0, duration=10.0, repeat="daily")
    assert agenda(scheduler.tick(now(wall=3000.0), NOTHING_POSTED)).edges == (4000.0, 4010.0)
    reserve(wiring, 2, start=4000.0, duration=10.0, repeat="daily", cancelled_at=3001.0)
    assert agenda(scheduler.tick(now(wall=3001.0), NOTHING_POSTED)).edges == ()


def test_a_clock_that_is_set_finds_each_reservation_where_it_is(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    reserve(wiring, 1, start=2000.0, duration=1000.0)
    scheduler = make()
    expected = {1000.0: (2000.0, 3000.0), 5000.0: (), 2500.0: (3000.0,), 1500.0: (2000.0, 3000.0), 2001.0: (3000.0,)}
    for wall, edges in expected.items():
        assert agenda(scheduler.tick(now(wall=wall), NOTHING_POSTED)).edges == edges
    assert agenda(make_after(make, scheduler).tick(now(wall=2002.0), NOTHING_POSTED)).edges == (3000.0,)


def test_a_scheduler_that_was_succeeded_writes_nothing_more(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    old = make()
    os.unlink(wiring.state.scheduler_lock)  # else no other could have come
    with Store(wiring.state).commit() as commit:
        commit.put("scheduler", 0, {"generation": 999, "pid": 1})
    job_id = submit(wiring)
    with pytest.raises(Fenced):
        old.tick(now(), NOTHING_POSTED)
    assert phase(wiring, job_id) == Queued()
    assert not os.path.exists(wiring.state.attempt(job_id, 1)), "nor starts anything"


@pytest.mark.parametrize("record", [{"generation": 999, "pid": 1}, {"generation": 2**53}, None])
def test_a_scheduler_that_holds_its_lock_takes_its_place_again_whatever_the_records_say(
    make: Callable[..., Scheduler], wiring: Wiring, record: dict[str, int] | None
) -> None:
    scheduler = make()
    with Store(wiring.state).commit() as commit:
        commit.put("scheduler", 0, record)
    job_id = submit(wiring)
    scheduler.tick(now(), NOTHING_POSTED)
    assert isinstance(phase(wiring, job_id), Starting)
    assert Store(wiring.state).read().of("scheduler")[0]["pid"] == os.getpid()


def test_there_are_never_two(make: Callable[..., Scheduler], wiring: Wiring, monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    monkeypatch.setattr(module, "SUCCESSION", 0.1)
    with pytest.raises(TryAgain):
        make()


def test_each_generation_is_a_new_one(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    for expected in (1, 2, 3):
        made = make()
        assert Store(wiring.state).read().of("scheduler")[0] == {"generation": expected, "pid": os.getpid()}
        made._alone.release()


def test_with_no_room_on_the_disk_nothing_is_started_until_there_is(
    make: Callable[..., Scheduler], wiring: Wiring
) -> None:
    """A limit on the size of files stands for a disk that is full."""
    job_id = submit(wiring, "echo ran >>ran")
    scheduler = make()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(wiring.state.snapshot), before[1]))
    try:
        turn = scheduler.tick(now(mono=100.0), NOTHING_POSTED)
        assert (turn.wake_at, agenda(turn).live) == (101.0, ())
        assert scheduler.tick(now(mono=100.5), NOTHING_POSTED).wake_at == 101.0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert phase(wiring, job_id) == Queued()
    assert not os.path.exists(wiring.state.attempt(job_id, 1))
    scheduler.tick(now(mono=101.0), NOTHING_POSTED)
    assert isinstance(phase(wiring, job_id), Starting)


def test_a_snapshot_removed_while_the_disk_is_full_is_put_back_when_there_is_room(
    make: Callable[..., Scheduler], wiring: Wiring
) -> None:
    """Until then what the scheduler remembers is the only copy, and must not end with it."""
    job_id = submit(wiring, wish=Wish(held=True))
    scheduler = make()
    scheduler.tick(now(mono=100.0), NOTHING_POSTED)
    os.unlink(wiring.state.snapshot)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        for mono in (101.0, 101.5, 102.5):
            wake_at = scheduler.tick(now(mono=mono), NOTHING_POSTED).wake_at
            assert wake_at is not None
            assert wake_at <= mono + 1
            assert not os.path.exists(wiring.state.snapshot)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    scheduler.tick(now(mono=104.0), NOTHING_POSTED)
    assert phase(wiring, job_id) == Queued()
    assert Store(wiring.state).read().next_id == job_id + 1


def test_a_snapshot_spoilt_in_place_is_mended_from_memory(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    ids = [submit(wiring, wish=Wish(held=True), name=f"job{n}") for n in range(3)]
    scheduler = make()
    scheduler.tick(now(mono=100.0), NOTHING_POSTED)
    path = Path(wiring.state.snapshot)
    data = path.read_bytes()
    spoilt = data.replace(b"job1", b"\0\0\0\0")
    assert spoilt != data
    assert len(spoilt) == len(data)
    with path.open("r+b") as file:
        file.write(spoilt)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))  # as of later than the last commit, however short ago
    scheduler.tick(now(mono=101.0), NOTHING_POSTED)
    fold = Store(wiring.state).read()
    assert fold.dropped == []
    assert [fold.of("spec")[job_id]["name"] for job_id in ids] == ["job0", "job1", "job2"]
    assert [kept.read_bytes() for kept in path.parent.glob("*.corrupt-*")] == [spoilt]


def test_why_jobs_wait_is_told_in_observed_json(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    submit(wiring, cpus=4)
    waiting = submit(wiring, cpus=1)
    submit(wiring, begin_at=time.time() + 999)
    make().tick(now(), NOTHING_POSTED)
    observed = orjson.loads(Path(wiring.state.observed).read_bytes())
    assert observed["reasons"] == {str(waiting): "Resources"}  # who waits for a time, anybody can see
    assert observed["used"]["cpus"] == 4
    assert observed["trouble"] is None


def test_the_capacity_is_the_configured_one_or_the_machines(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    submit(wiring, wish=Wish(held=True))
    make(cpus=None, memory_mb=None).tick(now(), NOTHING_POSTED)
    observed = orjson.loads(Path(wiring.state.observed).read_bytes())
    assert observed["capacity"]["cpus"] == len(os.sched_getaffinity(0))
    assert observed["capacity"]["memory_mb"] > 100


def test_a_long_queue_is_started_in_one_commit(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    ids = [submit(wiring, cpus=0) for _ in range(20)]
    lines = Path(wiring.state.snapshot).read_bytes().count(b"\n")
    scheduler = make()
    scheduler.tick(now(), NOTHING_POSTED)
    assert all(isinstance(phase(wiring, job_id), Starting) for job_id in ids)
    assert Path(wiring.state.snapshot).read_bytes().count(b"\n") == lines + 1 + len(ids)
    for job_id in ids:
        eventually((Path(wiring.state.attempt(job_id, 1)) / "exit").exists)


def records(wiring: Wiring, kind: str) -> dict[Any, Any]:
    return Store(wiring.state).read().of(kind)


def seen_ending(wiring: Wiring, job_id: int, when: Moment, seconds: float, **fields: object) -> dict[str, Any]:
    """Its sight when it has run for so long."""
    begun = replace_started(when, seconds)
    observation = Observation(started=begun, status=0, ended_at=when.wall, complete=True).replace(**fields)
    return sees(wiring, **{f"job{job_id}": observation})


def replace_started(when: Moment, seconds: float) -> Started:
    return STARTED.replace(at=when.wall - seconds, mono=when.mono - seconds)


def later(when: Moment, seconds: float) -> Moment:
    return replace(when, wall=when.wall + seconds, mono=when.mono + seconds)


def test_a_promise_is_committed_moves_with_its_cause_in_the_log_and_is_dropped_when_the_job_starts(
    make: Callable[..., Scheduler], wiring: Wiring, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="gflow")
    first = submit(wiring, "sleep 9", cpus=4, time_limit=100.0)
    scheduler, when = make(), now()
    scheduler.tick(when, NOTHING_POSTED)
    second = submit(wiring, cpus=4, time_limit=60.0)
    scheduler.tick(when, NOTHING_POSTED)
    assert records(wiring, "promise") == {
        second: {
            "since": when.wall,
            "at": pytest.approx(when.wall + 100),
            "by": [[first, pytest.approx(when.wall + 100)]],
        }
    }
    promised = records(wiring, "promise")[second]
    for seconds in (0.3, 0.6):
        scheduler.tick(later(when, seconds), NOTHING_POSTED)
    assert records(wiring, "promise")[second] == promised
    when = later(when, 50.0)
    late = sees(wiring, **{f"job{first}": Observation(started=replace_started(when, 0.0), lives=True)})
    scheduler.tick(when, late)
    assert isinstance(phase(wiring, first), Running)
    scheduler.tick(later(when, 1.0), late)
    moved = records(wiring, "promise")[second]
    assert (moved["since"], moved["was"]) == (promised["since"], promised["at"])
    assert moved["at"] == pytest.approx(when.wall + 100)
    assert moved["cause"] == f"job {first} may now run longer"
    told = [vars(record) for record in caplog.records if vars(record)["gflow_event"] == "promise moved"]
    assert [record["gflow_fields"] for record in told] == [
        {"job": second, "was": promised["at"], "at": moved["at"], "why": moved["cause"]}
    ]
    scheduler.tick(later(when, 2.0), seen_ending(wiring, first, when, 5.0))
    assert isinstance(phase(wiring, second), Starting)
    assert records(wiring, "promise") == {}


def test_a_promise_names_also_a_job_that_starts_in_the_same_plan(
    make: Callable[..., Scheduler], wiring: Wiring
) -> None:
    first = submit(wiring, "sleep 9", cpus=4, time_limit=100.0)
    second = submit(wiring, cpus=4, time_limit=600.0)
    scheduler, when = make(), now()
    for seconds in range(3):
        scheduler.tick(later(when, seconds), NOTHING_POSTED)
    assert [job_id for job_id, _ in records(wiring, "promise")[second]["by"]] == [first]


def test_a_promise_is_dropped_when_its_job_is_held_or_cancelled(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    submit(wiring, "sleep 9", cpus=4, time_limit=100.0)
    ids = [submit(wiring, cpus=4, time_limit=60.0) for _ in range(2)]
    scheduler, when = make(), now()
    scheduler.tick(when, NOTHING_POSTED)
    assert list(records(wiring, "promise")) == ids[:1]
    wish(wiring, ids[0], held=True)
    scheduler.tick(later(when, 1.0), NOTHING_POSTED)
    assert list(records(wiring, "promise")) == ids[1:]
    wish(wiring, ids[1], cancelled_by="u", cancelled_at=2.0)
    for seconds in (2.0, 3.0):
        scheduler.tick(later(when, seconds), NOTHING_POSTED)
    assert records(wiring, "promise") == {}


def test_a_promise_outlives_its_scheduler(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    submit(wiring, "sleep 9", cpus=4, time_limit=100.0)
    first = submit(wiring, cpus=4, time_limit=900.0)
    scheduler, when = make(), now()
    scheduler.tick(when, NOTHING_POSTED)
    promised = records(wiring, "promise")
    assert list(promised) == [first]
    submit(wiring, cpus=4, time_limit=60.0)  # has a higher score
    make_after(make, scheduler).tick(later(when, 2.0), NOTHING_POSTED)
    assert records(wiring, "promise") == promised
    observed = orjson.loads(Path(wiring.state.observed).read_bytes())
    assert observed["line"]["order"] == [first, first + 1]
    assert observed["expected"][str(first)] == pytest.approx(promised[first]["at"], abs=0.01)


def test_the_scheduler_wakes_when_somebody_has_waited_long_enough_for_a_promise(
    make: Callable[..., Scheduler], wiring: Wiring
) -> None:
    when = now()
    submit(wiring, "sleep 9", cpus=4, time_limit=1000.0)
    submit(wiring, cpus=4, time_limit=60.0, submitted_at=when.wall - 20.0)
    turn = make().tick(when, NOTHING_POSTED)
    assert records(wiring, "promise") == {}
    assert turn.wake_at == pytest.approx(when.mono + 40.0)


def test_how_long_jobs_ran_is_written_down_at_their_end(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    long = submit(wiring, "sleep 9", name="a")
    failed = submit(wiring, "sleep 9", name="a")
    cancelled = submit(wiring, "sleep 9", name="b")
    scheduler, when = make(), now()
    scheduler.tick(when, NOTHING_POSTED)
    assert records(wiring, "runs") == {}
    when = later(when, 1.0)
    scheduler.tick(when, seen_ending(wiring, long, when, 500.0))
    wish(wiring, cancelled, cancelled_by="u", cancelled_at=when.wall)
    when = later(when, 1.0)
    scheduler.tick(when, seen_ending(wiring, failed, when, 90.0, status=1))
    when = later(when, 1.0)
    scheduler.tick(when, seen_ending(wiring, cancelled, when, 50.0, status=137))
    assert isinstance(phase(wiring, cancelled), Ended)
    assert records(wiring, "runs") == {
        "0 u a": {
            "user": "u",
            "gpus": 0,
            "name": "a",
            "runs": [[pytest.approx(when.wall - 2), 500.0], [pytest.approx(when.wall - 1), 90.0]],
        }
    }
    assert list(records(wiring, "usage")) == ["u"]


def test_of_the_names_of_a_user_and_width_the_last_64_are_kept(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    with Store(wiring.state).commit() as commit:
        for number in range(NAMES):
            record = {"user": "u", "gpus": 0, "name": f"n{number}", "runs": [[float(number), 5.0]]}
            commit.put("runs", f"0 u n{number}", record)
    new, known = submit(wiring, "sleep 9", name="new"), submit(wiring, "sleep 9", name="n1")
    scheduler, when = make(), now()
    scheduler.tick(when, NOTHING_POSTED)
    for job_id in (known, new):
        when = later(when, 1.0)
        scheduler.tick(when, seen_ending(wiring, job_id, when, 30.0))
    kept = records(wiring, "runs")
    assert len(kept) == NAMES
    assert "0 u n0" not in kept
    assert [seconds for _, seconds in kept["0 u n1"]["runs"]] == [5.0, 30.0]
    assert [seconds for _, seconds in kept["0 u new"]["runs"]] == [30.0]


def test_the_place_in_line_of_jobs_that_wait_is_told_in_observed_json(
    make: Callable[..., Scheduler], wiring: Wiring
) -> None:
    submit(wiring, "sleep 9", cpus=4)
    scheduler, when = make(), now()
    scheduler.tick(when, NOTHING_POSTED)
    ids = [submit(wiring, cpus=cpus, time_limit=limit) for cpus, limit in ((4, 9000.0), (4, None), (1, 60.0))]
    scheduler.tick(later(when, 2.0), NOTHING_POSTED)
    line = orjson.loads(Path(wiring.state.observed).read_bytes())["line"]
    assert line["order"] == [ids[2], ids[0], ids[1]]
    assert line["lengths"] == {str(ids[1]): [86400.0, "guess", 0]}
    assert line["ready"] == {}


def test_while_drained_the_line_is_told_and_nothing_starts(make: Callable[..., Scheduler], wiring: Wiring) -> None:
    job_id = submit(wiring)
    with Store(wiring.state).commit() as commit:
        commit.put("setting", "drain", {"at": 1.0, "by": "u"})
    make().tick(now(), NOTHING_POSTED)
    observed = orjson.loads(Path(wiring.state.observed).read_bytes())
    assert (observed["line"]["order"], observed["reasons"]) == ([job_id], {str(job_id): "Drained"})


@pytest.mark.parametrize(
    ("kind", "key", "record", "started"),
    [
        ("limit", 1, {"max_concurrent": 1}, 1),
        ("quota", "user:u", {"max_running_jobs": 1}, 1),
        ("setting", "drain", {"at": 1.0, "by": "u"}, 0),
    ],
)
def test_a_rule_made_between_a_decision_and_its_commit_holds(
    make: Callable[..., Scheduler], wiring: Wiring, kind: str, key: Any, record: Any, started: int
) -> None:
    with Store(wiring.state).commit() as commit:
        commit.put("quota", "user:v", {"max_running_jobs": 1})  # the first rewrites the file, which is read anew
    scheduler = make()
    submit(wiring, family=Family(ranges=((1, 2, 1),)))
    decide = scheduler._decide

    def decide_late(*args: Any) -> Any:
        decided = decide(*args)
        scheduler._decide = decide  # type: ignore[method-assign]
        with Store(wiring.state).commit() as commit:
            commit.put(kind, key, record)
        return decided

    scheduler._decide = decide_late  # type: ignore[method-assign]
    scheduler.tick(now(), NOTHING_POSTED)
    scheduler.tick(now(), NOTHING_POSTED)
    assert sum(isinstance(phase(wiring, job_id), Starting) for job_id in (1, 2)) == started


def test_what_nothing_has_changed_is_shown_without_another_decision(
    make: Callable[..., Scheduler], wiring: Wiring
) -> None:
    scheduler = make(cpus=1, promise_after=1e9, promise_within=1e9)
    began = now(mono=100.0)

    def at(mono: float) -> Moment:
        return later(began, mono - began.mono)

    scheduler.tick(began, NOTHING_POSTED)
    first, second = submit(wiring), submit(wiring)
    for _ in range(ROUNDS):
        turn = scheduler.tick(at(100.5), NOTHING_POSTED)
    assert turn.wake_at == 101.0
    with mock.patch.object(scheduler._planner, "plan", side_effect=AssertionError):
        again = scheduler.tick(at(101.0), NOTHING_POSTED)
        assert again.decision == turn.decision
        observed = orjson.loads(Path(wiring.state.observed).read_bytes())
        assert observed["reasons"] == {str(second): "Resources"}
        for mono, slots in ((106.0, NOTHING_POSTED), (101.5, sees(wiring, **{f"job{first}": Observation()}))):
            with pytest.raises(AssertionError):
                scheduler.tick(at(mono), slots)
        wish(wiring, second, held=True)
        with pytest.raises(AssertionError):
            scheduler.tick(at(101.5), NOTHING_POSTED)
