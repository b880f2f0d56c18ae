"""What is read from `observed.json` is what was written, whoever wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gflowd.core.errors import Refused
from gflowd.core.gpu.device import Gpu, GpuProcess
from gflowd.paths import State
from gflowd.storage import observed_reader
from gflowd.storage.observed_reader import Line, Observed, SeenGpu

PROCESS = GpuProcess(pid=5, user="ada", start=9, job_id=7, graphics=True, memory_mb=3)
GPU = Gpu(
    index=1, uuid="GPU-1", model="M", memory_mb=10, used_mb=4, utilisation=93, temperature=71, processes=(PROCESS,),
    simulated=True, fault="lost", lasting=True, answers=True, ecc=2, links=("X", "PIX"), parent="GPU-0",
)  # fmt: skip
SEEN = {**GPU.fields(), "processes": [PROCESS.fields()], "state": "faulty", "cause": "lost", "jobs": [7]}
RECORD: dict[str, Any] = {
    "at": 12.5, "version": "0.1.0", "pid": 42, "runtime_dir": "/run/x", "executor": "tmux", "memory_limits": "watch",
    "config": {"path": "/c"}, "capacity": {"gpus": 1, "cpus": 4, "memory_mb": 100},
    "used": {"cpus": 1, "memory_mb": 30}, "gpus": [SEEN], "gpu_trouble": "slow", "reasons": {"10": "A", "9": "B"},
    "line": {
        "order": [9, 10], "ready": {"9": 1.0}, "lengths": {"9": [60.0, "name", 3]}, "shares": {"ada": 0.5},
        "until": {"9": 99.0}, "longest": {"10": 5.0},
    },
    "next_id": 11, "reservations": [{"id": 1, "again": True}], "trouble": "disk full", "expected": {"9": 50.0},
    "service_troubles": {"notifier": "no mail"}, "meters": {"sync": {"counts": [1], "total": 0.5}},
}  # fmt: skip


def write(state: State, text: str, mode: int = 0o600) -> None:
    path = Path(state.observed)
    path.touch(0o600)
    path.write_text(text)
    path.chmod(mode)


def facts(value: object) -> dict[str, Any]:
    """All that can be asked of a value without an argument."""
    names = (name for name in dir(value) if not name.startswith("_") and not callable(getattr(value, name)))
    found = {name: getattr(value, name) for name in names}
    return {name: facts(each) if isinstance(each, (Line, SeenGpu)) else each for name, each in found.items()}


def seen(record: dict[str, Any]) -> dict[str, Any]:
    read = Observed(record)
    line = [
        (read.line.ready(n), read.line.length(n), read.line.share("ada"), read.line.until(n), read.line.longest(n))
        for n in (9, 10)
    ]
    return {**facts(read), "gpus": list(map(facts, read.gpus)), "line": (read.line.order, line)}


def test_a_record_is_read_field_by_field(state: State) -> None:
    write(state, json.dumps(RECORD))
    read = observed_reader.read(state)
    assert read.is_known
    assert (read.at, read.version, read.pid, read.runtime_dir) == (12.5, "0.1.0", 42, "/run/x")
    assert (read.executor, read.memory_limits, read.config) == ("tmux", "watch", {"path": "/c"})
    assert (read.gpu_count, read.cpus, read.memory_mb, read.used_cpus, read.used_memory_mb) == (1, 4, 100, 1, 30)
    assert (read.free_cpus, read.free_memory_mb) == (3, 70)
    assert (read.gpu_trouble, read.trouble, read.next_id, read.gpu_models) == ("slow", "disk full", 11, (("M", 10),))
    assert (read.reasons, read.expected_starts) == ({10: "A", 9: "B"}, {9: 50.0})
    assert read.has_repeating_reservations
    assert (read.line.order, read.line.ready(9), read.line.ready(10)) == ([9, 10], 1.0, None)
    assert (read.line.length(9), read.line.length(10)) == ([60.0, "name", 3], None)
    assert (read.line.share("ada"), read.line.share("bob")) == (0.5, 1.0)
    assert (read.line.until(9), read.line.longest(9), read.line.longest(10)) == (99.0, None, 5.0)


def test_a_gpu_is_read_as_it_was_seen() -> None:
    (gpu,) = Observed(RECORD).gpus
    assert gpu.raw == SEEN
    for name in ("index", "uuid", "model", "memory_mb", "used_mb", "utilisation", "temperature", "simulated", "fault"):
        assert getattr(gpu, name) == getattr(GPU, name)
    assert (gpu.lasting, gpu.answers, gpu.ecc, tuple(gpu.links), gpu.parent) == (True, True, 2, GPU.links, "GPU-0")
    assert (gpu.state, gpu.cause, gpu.jobs) == ("faulty", "lost", [7])
    (process,) = gpu.processes
    assert (process.pid, process.user, process.start, process.job_id, process.graphics) == (5, "ada", 9, 7, True)


@pytest.mark.parametrize("key", [*RECORD, *(f"line.{key}" for key in RECORD["line"])])
def test_nothing_that_is_written_is_passed_over(key: str) -> None:
    outer, _, inner = key.partition(".")
    lacking = {name: value for name, value in RECORD.items() if name != key}
    if inner:
        lacking[outer] = {name: value for name, value in RECORD[outer].items() if name != inner}
    assert seen(lacking) != seen(RECORD)


@pytest.mark.parametrize("text", ["", "\0", "[]", "null", "[" * 100_000, '{"capacity": 5}', '{"line": [1]}'])
def test_what_cannot_be_understood_is_as_nothing(state: State, text: str) -> None:
    assert facts(observed_reader.read(state)) == facts(Observed())
    write(state, text)
    read = observed_reader.read(state)
    assert not read.is_known
    assert seen({}) == {**seen(RECORD), **facts(read), "gpus": [], "line": seen({})["line"], "is_known": True}


def test_the_file_of_an_older_daemon_is_read_as_far_as_it_goes(state: State) -> None:
    write(state, '{"at": 1.0, "gpus": [{"index": 0, "model": "M", "memory_mb": 10}], "next_id": "x"}')
    read = observed_reader.read(state)
    assert (read.is_known, read.at, read.gpu_count, read.cpus, read.next_id) == (True, 1.0, None, None, None)
    assert (read.free_cpus, read.free_memory_mb, read.has_repeating_reservations) == (None, None, False)
    (gpu,) = read.gpus
    assert (gpu.index, gpu.state, gpu.jobs, gpu.processes, gpu.links) == (0, "", [], [], [])


def test_a_file_that_others_may_write_is_refused(state: State) -> None:
    write(state, json.dumps(RECORD), 0o666)
    with pytest.raises(Refused):
        observed_reader.read(state)
