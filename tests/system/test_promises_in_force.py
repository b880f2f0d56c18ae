"""What was promised is kept by the whole daemon: through looks at GPUs, streams of small jobs, restarts and quotas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.machine import GATE, Machine
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

ALONE = {"executor": {"type": "process"}, "scheduler": {"cpus": 64}}
SHORT = "echo $GFLOW_JOB_ID $(date +%s.%N) >>began"


@pytest.fixture
def gpus(machine: Machine) -> Machine:
    """Four simulated GPUs; no job needs a CPU slot that another could want. Promises come soon: who asks for a minute,
    which is enough on a busy machine, is promised its start after a second.
    """
    machine.write_config(**{**ALONE, "scheduler": {"cpus": 64, "promise_after": 0.017}})
    machine.start("--simulate-gpus", "4x24G")
    return machine


def order(machine: Machine) -> list[int]:
    """The jobs in the order in which they began."""
    return [int(line.split()[0]) for line in sorted(machine.lines("began"), key=lambda line: float(line.split()[1]))]


def blocking(machine: Machine, count: int, *options: str, gate: str = "gate") -> int:
    """A job that has some GPUs until the gate opens."""
    job_id = machine.submit("-g", str(count), *options, "--wrap", GATE.replace("gate", gate))
    machine.until(job_id, "running")
    return job_id


def test_the_first_in_line_starts_first_though_its_gpus_are_looked_at_first(gpus: Machine) -> None:
    running = blocking(gpus, 4)
    wide = gpus.submit("-g", "4", "--time", "1m", "--wrap", SHORT)
    narrow = gpus.submit("-g", "1", "--time", "1h", "--wrap", SHORT)
    gpus.open_gate()
    gpus.wait(running, wide, narrow)
    assert order(gpus) == [wide, narrow]


def test_who_was_promised_a_start_is_not_passed_while_gpus_are_looked_at(gpus: Machine) -> None:
    first = blocking(gpus, 2, "--time", "5m", gate="first")
    second = blocking(gpus, 1, "--time", "10m", gate="second")
    wide = gpus.submit("-g", "4", "--time", "1m", "--wrap", SHORT)
    eventually(lambda: gpus.job(wide)["promised_start"])
    newcomer = gpus.submit("-g", "1", "--time", "1h", "--wrap", SHORT)
    assert gpus.job(newcomer)["state"] == "queued"
    gpus.open_gate("first")
    gpus.wait(first)
    gpus.open_gate("second")
    gpus.wait(second, wide, newcomer)
    assert order(gpus) == [wide, newcomer]


def passed(machine: Machine, wide: int, stream: range) -> int:
    """How many of a stream of small jobs began before the wide job."""
    began = order(machine)
    return sum(job_id in stream for job_id in began[: began.index(wide)])


def test_a_stream_of_jobs_without_limits_lets_the_wide_job_through_once_lengths_are_learned(machine: Machine) -> None:
    machine.write_config(**ALONE)
    machine.start("--simulate-gpus", "8x24G")
    for seconds in range(8):
        machine.submit("--gpus", "1", "--", "sleep", f"{0.3 + seconds / 10}")
    wide = machine.submit("--gpus", "4", "--name", "wide", "--wrap", SHORT)
    first = machine.submit("--gpus", "1", "--wrap", f"{SHORT}; sleep 0.6")
    rest = machine.submit_all("--gpus", "1", "--wrap", f"{SHORT}; sleep 0.6", count=59)
    machine.wait(wide, first, *rest)
    assert passed(machine, wide, range(first, rest[-1] + 1)) <= 20


def test_a_stream_does_so_with_nothing_learned_once_the_wide_job_has_waited(machine: Machine) -> None:
    machine.write_config(**{**ALONE, "scheduler": {"cpus": 64, "promise_within": "2s"}})
    machine.start("--simulate-gpus", "8x24G")
    blocked = [machine.submit("--gpus", "1", "--wrap", GATE.replace("gate", f"gate-{number}")) for number in range(8)]
    wide = machine.submit("--gpus", "4", "--name", "wide", "--wrap", SHORT)
    eventually(lambda: "\nPromise" in machine.ctl("show", str(wide)).stdout, news=machine.news)  # to come, or made
    rest = machine.submit_all("--gpus", "1", "--wrap", f"{SHORT}; sleep 0.8", count=60)
    for number, job_id in enumerate(blocked):  # one GPU after the other is free
        machine.open_gate(f"gate-{number}")
        machine.wait(job_id)
    machine.wait(wide, *blocked, *rest)
    assert passed(machine, wide, range(rest[0], rest[-1] + 1)) <= 30


def test_a_restart_keeps_every_promise(gpus: Machine) -> None:
    running = blocking(gpus, 3, "--time", "10m")
    wide = gpus.submit("-g", "4", "--time", "1m", "--wrap", SHORT)
    told = eventually(lambda: gpus.job(wide)["promised_start"])
    better = gpus.submit("-g", "4", "--time", "1m", "--wrap", SHORT)
    gpus.gflowd("restart", "--simulate-gpus", "4x24G")
    eventually(lambda: gpus.job(better)["expected_start"])
    assert gpus.job(wide)["promised_start"] == told
    gpus.open_gate()
    gpus.wait(running, wide, better)
    assert order(gpus) == [wide, better]


def test_what_passes_leaves_the_promised_job_its_quota(gpus: Machine) -> None:
    gpus.ctl("quota", "set", "--project", "p", "--max-running-jobs", "1")
    running = blocking(gpus, 4, "--time", "10m")
    wide = gpus.submit("-g", "4", "--time", "1m", "-P", "p", "--wrap", SHORT)
    eventually(lambda: gpus.job(wide)["promised_start"])
    long = gpus.submit("-g", "0", "--time", "1h", "-P", "p", "--wrap", SHORT)
    short = gpus.submit("-g", "0", "--time", "1m", "-P", "p", "--wrap", SHORT)
    assert gpus.wait(short) == 0
    eventually(lambda: gpus.job(long)["reason"] == "Priority")
    gpus.open_gate()
    gpus.wait(running, wide, long)
    assert order(gpus) == [short, wide, long]


@pytest.fixture
def weekly(gpus: Machine) -> Iterator[Machine]:
    """All GPUs are reserved for somebody else for a while of each week."""
    gpus.await_gpus()
    gpus.ctl(
        "reserve", "create", "--user", "nobody", "--gpus", "4", "--start", "now+2d", "--for", "1h", "--repeat", "weekly"
    )
    eventually(lambda: '"again":true' in Path(gpus.state.observed).read_text())
    return gpus


def test_what_can_never_start_says_so_and_holds_nobody_up(weekly: Machine) -> None:
    endless = weekly.ctl("submit", "-g", "4", "--wrap", SHORT)
    assert "never" in endless.stderr
    job_id = int(endless.stdout.split()[-1])
    eventually(lambda: weekly.job(job_id)["reason"] == "Never:Reservation")
    said: dict[str, Any] = weekly.job(job_id)
    assert (said["promised_start"], said["expected_start"]) == (None, None)
    other = weekly.submit("-g", "4", "--time", "1h", "--wrap", SHORT)
    assert weekly.wait(other) == 0
    shown = weekly.ctl("show", str(job_id)).stdout
    assert "--time" in shown
    weekly.ctl("update", str(job_id), "--time", "1h")
    assert weekly.wait(job_id) == 0
    assert json.loads(weekly.ctl("reserve", "list", "--json").stdout)


def test_a_reservation_that_shuts_jobs_out_for_ever_says_so(gpus: Machine) -> None:
    running = blocking(gpus, 1, "--time", "10m")
    waits = gpus.submit("-g", "4", "--wrap", SHORT)
    gpus.await_gpus()
    made = gpus.ctl(
        "reserve", "create", "--user", "nobody", "--gpus", "1", "--start", "now+2d", "--for", "1h", "--repeat", "daily"
    )
    assert f"job {waits}" in made.stderr
    assert "never" in made.stderr
    gpus.open_gate()
    gpus.wait(running)
    gpus.cancel(waits)
