"""Many jobs on few GPUs, with reservations passing through, judged by what the jobs themselves saw."""

from __future__ import annotations

import json
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from gflowd.storage.store import Store

if TYPE_CHECKING:
    from support.machine import Machine

OTHER = "nobody"  # every machine has this user
MEMORY = 24  # GiB of each GPU
TELL = """\
tell() { echo "$1 $GFLOW_JOB_ID ${CUDA_VISIBLE_DEVICES:--} $(date +%s.%N)" >>told; }
tell begin; sleep 0.0$(($$ % 9 + 1)); tell end"""


def asked(number: int, dice: Random) -> dict[str, Any]:
    """One job: without GPUs, with some to itself, or with a part of one."""
    line: dict[str, Any] = {"command": TELL, "cpus": 0, "name": f"many-{number}"}
    if dice.random() < 0.6:
        line["time"] = dice.choice(["2s", "5s"])
    kind = dice.random()
    if kind < 0.5:
        line["gpus"] = dice.choice([1, 1, 1, 2, 4, 8])
    elif kind < 0.9:
        line |= {"gpus": 1, "shared": True, "gpu_memory": f"{dice.choice([4, 8, 12])}G"}
    return line


def spans(machine: Machine, cut: dict[int, float]) -> dict[int, tuple[set[int], float, float]]:
    """By job: the GPUs that it was told, when it began and when it ended; by `cut` those that were ended first."""
    found: dict[int, dict[str, Any]] = {}
    for line in machine.lines("told"):
        what, job_id, gpus, at = line.split()
        seen = found.setdefault(int(job_id), {"gpus": set() if gpus == "-" else set(map(int, gpus.split(",")))})
        assert what not in seen, f"job {job_id} ran twice"
        seen[what] = float(at)
    ends = {job_id: seen["end"] if "end" in seen else cut[job_id] for job_id, seen in found.items()}
    return {job_id: (seen["gpus"], seen["begin"], ends[job_id]) for job_id, seen in found.items()}


@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.soak)])
def test_no_gpu_is_given_twice_whatever_passes_through(machine: Machine, count: int) -> None:
    machine.write_config(executor={"type": "process"})
    machine.start("--simulate-gpus", f"8x{MEMORY}G")
    for start, which in (("now+1s", ("--gpu-list", "0,1")), ("now+4s", ("--gpus", "3"))):
        machine.ctl("reserve", "create", "--user", OTHER, *which, "--start", start, "--for", "2s")
    windows = json.loads(machine.ctl("reserve", "list", "--json").stdout)
    dice = Random(count)
    lines = [asked(number, dice) for number in range(count)]
    machine.ctl("submit", "--from", "-", input="".join(json.dumps(line) + "\n" for line in lines))
    machine.run(str(machine.bin / "gflowctl"), "wait", f"1-{count}", "--timeout", "400s", timeout=420)
    jobs = {job["id"]: job for job in json.loads(machine.ctl("queue", "-a", "--json").stdout)}
    late = {job_id for job_id, job in jobs.items() if job["state"] == "timeout"}  # on a busy machine
    assert {job["state"] for job in jobs.values()} <= {"finished", "timeout"}
    for job_id in late:
        ran = epoch(jobs[job_id]["ended_at"]) - epoch(jobs[job_id]["started_at"])
        assert ran >= jobs[job_id]["time_limit"]
    told = spans(machine, {job_id: epoch(jobs[job_id]["ended_at"]) for job_id in late})
    assert told.keys() | late == jobs.keys()
    for job_id, (gpus, _, _) in told.items():
        assert (len(gpus), sorted(gpus)) == (jobs[job_id]["gpus"], jobs[job_id]["gpu_ids"])
    check_gpus(jobs, told)
    phases = Store(machine.state).read().of("phase")
    due = {i: phases[i]["run"]["launched_at"] + (jobs[i]["time_limit"] or inf) for i in told}
    check_reservations(windows, told, due)


def check_gpus(jobs: dict[int, Any], told: dict[int, tuple[set[int], float, float]]) -> None:
    """At each begin: who else is there, and is there memory for all."""
    for gpu in range(8):
        here = [(begin, end, job_id) for job_id, (gpus, begin, end) in told.items() if gpu in gpus]
        for begin, _, job_id in here:
            now = [other for since, until, other in here if since <= begin < until]
            assert len(now) == 1 or all(jobs[other]["shared"] for other in now), (gpu, now)
            taken = sum(jobs[other]["gpu_memory_mb"] or 0 for other in now)
            assert taken <= MEMORY * 1024 or not jobs[job_id]["shared"], (gpu, now, taken)


def check_reservations(
    windows: list[Any], told: dict[int, tuple[set[int], float, float]], due: dict[int, float]
) -> None:
    """While a reservation holds, no job of ours begins on what it keeps, and enough is left free; jobs apart that were
    launched so early that they were to be over before, which only a busy machine has held up (`due`: the latest ends).
    """
    for window in windows:
        start = epoch(window["start"])
        end = start + window["duration"]
        listed = set(window["gpu_list"] or ())
        here = [told[job_id] for job_id in told if due[job_id] > start]
        for gpus, begin, _ in here:
            if start <= begin < end:
                assert not gpus & listed
                busy = {gpu for others, since, until in here if since <= begin < until for gpu in others}
                assert 8 - len(busy) >= window["gpus"]


def epoch(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()
