from __future__ import annotations

import os
import stat
from pathlib import Path

import orjson
import pytest
from stage import now
from support import specs

from gflowd.core.gpu.device import Gpu, GpuProcess
from gflowd.core.gpu.states import Picture
from gflowd.core.job import codec, reasons
from gflowd.core.job.model import Identity, Phase, Run, Running, Started, Stopping
from gflowd.core.moment import Moment
from gflowd.core.planning.capacity import Capacity, Device
from gflowd.core.planning.reservations import Window
from gflowd.core.queue.job_queue import JobQueue
from gflowd.core.queue.job_records import JobRecords
from gflowd.workers.base import Wiring
from gflowd.workers.scheduler.observed_writer import ObservedWriter, Status, Trouble, Waiting, status

SPEC = specs.SPEC.replace(cpus=2, memory_mb=300, gpus=1)
STARTED = Started(at=1.0, mono=1.0, identity=Identity("b", 1, 1))
FOREIGN = (GpuProcess(pid=5, user="ada", start=9),)
GPUS = tuple(
    Gpu(index=i, uuid=f"G{i}", model="M", memory_mb=10, simulated=True, processes=FOREIGN[: i % 2]) for i in range(3)
)
STATES = {0: ("busy", None), 1: ("unmanaged", "pid 5 of ada"), 2: ("idle", None)}
PICTURE = Picture(GPUS, {0: [1]}, STATES, None)
CAPACITY = Capacity(gpus=(Device(0), Device(1), Device(2)), cpus=4, memory_mb=1000)


def running(*gpu_ids: int) -> Running:
    return Running(run=Run(executor="tmux", launched_at=1.0, gpu_ids=gpu_ids), started=STARTED)


def stopping(why: str) -> Stopping:
    run = Run(executor="tmux", launched_at=1.0)
    return Stopping(run=run, started=STARTED, why=why, since_at=1.0, since_mono=1.0, since_boot="b")


def job_queue(phases: dict[int, Phase]) -> JobQueue:
    specs = dict.fromkeys(phases, codec.encode(SPEC))
    encoded = {job_id: codec.encode_phase(phase) for job_id, phase in phases.items()}
    made = JobQueue(JobRecords(specs, phases=encoded))
    made.refresh(specs, phases)
    return made


def told(phases: dict[int, Phase], **fields: object) -> Status:
    known: dict[str, object] = {
        "waiting": Waiting({}), "capacity": CAPACITY, "picture": PICTURE, "windows": (), "next_id": 1, "stuck": (),
        "trouble": Trouble(), **fields,
    }  # fmt: skip
    return status(job_queue(phases), **known)  # type: ignore[arg-type]


def show(file: ObservedWriter, said: Status, moment: Moment, expected: dict[int, float] | None = None) -> float | None:
    """Writes as the scheduler does; where it cannot, when to come again."""
    if moment.mono < file.due_at or (file.is_news(said) and not file.write(said, expected or {}, moment)):
        return file.due_at
    return None


def seen(wiring: Wiring) -> dict[str, object]:
    found: dict[str, object] = orjson.loads(Path(wiring.state.observed).read_bytes())
    return found


@pytest.fixture
def observed_writer(wiring: Wiring) -> ObservedWriter:
    return ObservedWriter(wiring, "tmux")


def test_the_world_is_written_as_it_is(observed_writer: ObservedWriter, wiring: Wiring) -> None:
    trouble = Trouble("disk full", {"notifier": "no mail"})
    world = told({1: running(0, 2), 2: running()}, waiting=Waiting({7: "Resources"}), trouble=trouble)
    assert show(observed_writer, world, now(wall=123.5), {7: 1.5}) is None
    found = seen(wiring)
    assert found["at"] == 123.5
    assert found["capacity"] == {"gpus": 3, "cpus": 4, "memory_mb": 1000}
    assert found["used"] == {"cpus": 4, "memory_mb": 600}
    assert found["reasons"] == {"7": "Resources"}
    assert found["expected"] == {"7": 1.5}
    assert found["trouble"] == "disk full"
    assert found["service_troubles"] == {"notifier": "no mail"}
    gpus: list[dict[str, object]] = found["gpus"]  # type: ignore[assignment]
    assert [(g["state"], g["cause"], g["jobs"]) for g in gpus] == [
        ("busy", None, [1]), ("unmanaged", "pid 5 of ada", []), ("idle", None, []),
    ]  # fmt: skip
    assert gpus[1]["processes"] == [
        {"pid": 5, "user": "ada", "memory_mb": None, "start": 9, "job_id": None, "graphics": False}
    ]
    assert found["gpu_trouble"] is None
    assert found["executor"] == "tmux"
    assert found["runtime_dir"] == wiring.runtime.root
    assert found["pid"] == wiring.supervisor
    assert stat.S_IMODE(os.stat(wiring.state.observed).st_mode) == 0o600


def test_before_the_first_look_the_gpus_are_unknown(observed_writer: ObservedWriter, wiring: Wiring) -> None:
    show(observed_writer, told({}, picture=Picture(trouble="no driver"), capacity=Capacity(None, 4, 1000)), now())
    assert seen(wiring)["capacity"]["gpus"] is None  # type: ignore[index]
    assert (seen(wiring)["gpus"], seen(wiring)["gpu_trouble"]) == ([], "no driver")


def test_what_is_reserved_now_or_next_is_told(observed_writer: ObservedWriter, wiring: Wiring) -> None:
    window = Window(id=3, user="ada", start=10.0, end=20.0, gpus=0, gpu_list=(0, 2))
    show(observed_writer, told({}, windows=[window]), now())
    assert seen(wiring)["reservations"] == [
        {"id": 3, "user": "ada", "start": 10.0, "end": 20.0, "gpus": 0, "gpu_list": [0, 2], "again": False, "uid": None}
    ]


def test_a_stopping_job_says_why_and_when_it_cannot_be_killed(observed_writer: ObservedWriter, wiring: Wiring) -> None:
    phases: dict[int, Phase] = {1: stopping(reasons.TIME_LIMIT), 2: stopping(reasons.STRAYS)}
    show(observed_writer, told(phases, stuck=((2, 1), (1, 9))), now())
    assert seen(wiring)["reasons"] == {"1": "TimeLimit", "2": "Unkillable"}


def test_it_is_written_at_most_once_a_second_and_only_when_changed(
    observed_writer: ObservedWriter, wiring: Wiring
) -> None:
    assert show(observed_writer, told({}), now(mono=100.0)) is None
    os.unlink(wiring.state.observed)
    assert show(observed_writer, told({}), now(mono=105.0)) is None
    assert not os.path.exists(wiring.state.observed), "nothing has changed"
    assert show(observed_writer, told({1: running()}), now(mono=105.0)) is None
    assert show(observed_writer, told({}), now(mono=105.5)) == 106.0
    assert seen(wiring)["used"] == {"cpus": 2, "memory_mb": 300}
    assert show(observed_writer, told({}), now(mono=106.0)) is None
    assert seen(wiring)["used"] == {"cpus": 0, "memory_mb": 0}


def test_what_could_not_be_written_is_written_later(observed_writer: ObservedWriter, wiring: Wiring) -> None:
    os.rename(wiring.state.root, wiring.state.root + ".away")
    assert show(observed_writer, told({}), now(mono=100.0)) == 101.0
    assert show(observed_writer, told({}), now(mono=100.5)) == 101.0
    os.rename(wiring.state.root + ".away", wiring.state.root)
    assert show(observed_writer, told({}), now(mono=101.0)) is None
    assert seen(wiring)["trouble"] is None
