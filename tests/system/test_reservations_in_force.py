"""Reservations with the real daemon: the machine's user reserves for `nobody`, and so stands in their way."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from support.machine import GATE, Machine, kill
from support.waiting import eventually

from gflowd.core.job.records import RESERVATION
from gflowd.effects import doorbell
from gflowd.storage.store import Store

OTHER = "nobody"


def reserve(machine: Machine, *words: str) -> dict[str, Any]:
    """A new reservation, as `--json` shows it."""
    found: dict[str, Any] = json.loads(machine.ctl("reserve", "create", "--json", *words).stdout)
    return found


def shown(machine: Machine, number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.ctl("reserve", "show", "--json", str(number)).stdout)
    return found


def observed(machine: Machine) -> list[dict[str, Any]]:
    """The windows that the daemon told of last."""
    found: list[dict[str, Any]] = json.loads(Path(machine.state.observed).read_bytes())["reservations"]
    return found


def move(machine: Machine, number: int, until: float) -> None:
    """Moves a reservation so that it ends at that time, as if it had been made for that in the first place."""
    with Store(machine.state).commit() as commit:
        raw = commit.fold().of(RESERVATION)[number]
        commit.put(RESERVATION, number, {**raw, "start": until - raw["duration"]})
    doorbell.ring(f"{machine.state.default_run()}/bell", doorbell.WISH)


def until_waiting(machine: Machine, job_id: int) -> None:
    """The job is queued because of a reservation."""
    eventually(lambda: (job := machine.job(job_id))["state"] == "queued" and job["reason"] == "Reservation")


def test_the_daemon_tells_of_reservations_until_they_are_over(machine: Machine) -> None:
    machine.start("--simulate-gpus", "2")
    soon = reserve(machine, "--user", OTHER, "--gpu-list", "1", "--start", "now", "--for", "1h")
    later = reserve(machine, "--gpus", "2", "--start", "now+1h", "--for", "1h")
    eventually(lambda: [window["id"] for window in observed(machine)] == [soon["id"], later["id"]])
    end = time.time() + 1
    move(machine, soon["id"], end)
    eventually(lambda: [window["id"] for window in observed(machine)] == [later["id"]])
    assert end <= time.time()
    assert shown(machine, soon["id"])["status"] == "completed"
    machine.ctl("reserve", "cancel", str(later["id"]))
    eventually(lambda: observed(machine) == [])


def test_the_machine_cannot_be_reserved_twice(machine: Machine) -> None:
    machine.start("--simulate-gpus", "2")
    machine.await_gpus()
    reserve(machine, "--user", OTHER, "--gpu-list", "0", "--start", "now+1h", "--for", "2h")
    late = ("--start", "now+90m", "--for", "2h")
    assert "GPU 0 is reserved at that time by reservation 1 (nobody, " in machine.refused(
        1, "reserve", "create", "--gpu-list", "0", *late
    )
    assert "3 GPUs would be reserved at a time" in machine.refused(1, "reserve", "create", "--gpus", "2", *late)
    assert "there is no GPU 2" in machine.refused(1, "reserve", "create", "--gpu-list", "2", *late)
    assert reserve(machine, "--gpus", "1", *late)["id"] == 2
    drawn = machine.ctl("reserve", "list", "--timeline").stdout
    assert drawn.isascii()
    assert "GPU 0" in drawn
    assert "2: any 1" in drawn


def test_many_at_once_never_get_more_than_there_is(machine: Machine) -> None:
    machine.start("--simulate-gpus", "4")
    machine.await_gpus()
    words = ("reserve", "create", "--gpus", "1", "--start", "now+1h", "--for", "1h")
    asking = [machine.begin(*words) for _ in range(12)]
    statuses = []
    for process in asking:
        process.communicate(timeout=60)
        statuses.append(process.returncode)
    assert sorted(statuses) == [0] * 4 + [1] * 8
    made = json.loads(machine.ctl("reserve", "list", "--json").stdout)
    assert [one["id"] for one in made] == [1, 2, 3, 4]


def test_what_passed_while_the_daemon_was_down_is_over_when_it_returns(machine: Machine) -> None:
    machine.start("--simulate-gpus", "1")
    machine.stop()
    made = reserve(machine, "--user", OTHER, "--gpus", "1", "--start", "now+1h", "--for", "1h")
    job_id = machine.submit("-g", "1", "true")
    assert shown(machine, made["id"])["status"] == "pending"
    move(machine, made["id"], time.time())
    eventually(lambda: shown(machine, made["id"])["status"] == "completed")
    machine.start("--simulate-gpus", "1")
    assert machine.wait(job_id) == 0
    assert observed(machine) == []


def test_reservations_outlive_the_kill_of_any_process(machine: Machine) -> None:
    machine.start("--simulate-gpus", "2")
    reserve(machine, "--user", OTHER, "--gpu-list", "1", "--start", "now", "--for", "1h", "--repeat", "daily")
    eventually(lambda: len(observed(machine)) == 1)
    for name in ("scheduler", "reservation_timer", "manager"):
        before = machine.pids()
        kill(before[name])
        eventually(lambda name=name, before=before: machine.pids().get(name, before[name]) != before[name])  # type: ignore[misc]
    ends = reserve(machine, "--gpus", "1", "--start", "now", "--for", "1h")
    eventually(lambda: ends["id"] in [window["id"] for window in observed(machine)])
    move(machine, ends["id"], time.time() + 1)
    eventually(lambda: [window["id"] for window in observed(machine)] == [1])


def test_a_job_without_gpus_starts_whatever_is_reserved(machine: Machine) -> None:
    machine.start("--simulate-gpus", "1")
    reserve(machine, "--user", OTHER, "--gpus", "1", "--start", "now", "--for", "1h")
    assert machine.result("echo", "hello") == "hello\n"


# What follows needs a planner that knows reservations.


def test_a_gpu_that_is_reserved_for_another_is_not_given_until_the_reservation_is_cancelled(machine: Machine) -> None:
    machine.start("--simulate-gpus", "2")
    reserve(machine, "--user", OTHER, "--gpu-list", "0", "--start", "now", "--for", "1h")
    first, second = (machine.submit("-g", "1", "--wrap", GATE) for _ in "ab")
    assert machine.until(first, "running")["gpu_ids"] == [1]
    until_waiting(machine, second)
    machine.ctl("reserve", "cancel", "1")
    assert machine.until(second, "running")["gpu_ids"] == [0]
    machine.open_gate()
    assert machine.wait(first, second) == 0


def test_a_reservation_by_number_leaves_so_many_gpus_free(machine: Machine) -> None:
    machine.start("--simulate-gpus", "3")
    reserve(machine, "--user", OTHER, "--gpus", "1", "--start", "now", "--for", "1h")
    ids = [machine.submit("-g", "1", "--wrap", GATE) for _ in "abc"]
    machine.until_in(ids[:2], "running")
    until_waiting(machine, ids[2])
    machine.open_gate()
    assert machine.wait(*ids) == 0


def test_the_owner_uses_what_is_reserved_for_them(machine: Machine) -> None:
    machine.start("--simulate-gpus", "2")
    reserve(machine, "--gpus", "2", "--start", "now", "--for", "1h")
    assert machine.result("-g", "2", "--wrap", "echo $CUDA_VISIBLE_DEVICES") == "0,1\n"


def test_a_job_that_would_run_into_a_coming_reservation_waits_and_a_short_one_starts(machine: Machine) -> None:
    machine.start("--simulate-gpus", "1")
    reserve(machine, "--user", OTHER, "--gpu-list", "0", "--start", "now+1h", "--for", "1h")
    long, endless = machine.submit("-g", "1", "-t", "2h", "true"), machine.submit("-g", "1", "true")
    short = machine.submit("-g", "1", "-t", "10m", "true")
    assert machine.wait(short) == 0
    until_waiting(machine, long)
    until_waiting(machine, endless)


def test_what_waited_starts_when_the_reservation_ends(machine: Machine) -> None:
    machine.start("--simulate-gpus", "1")
    made = reserve(machine, "--user", OTHER, "--gpus", "1", "--start", "now", "--for", "1h")
    job_id = machine.submit("-g", "1", "true")
    until_waiting(machine, job_id)
    end = time.time() + 1
    move(machine, made["id"], end)
    assert machine.wait(job_id) == 0
    assert datetime.fromisoformat(machine.job(job_id)["started_at"]).timestamp() >= end


def test_a_reservation_that_began_while_the_daemon_was_down_holds_when_it_returns(machine: Machine) -> None:
    machine.start("--simulate-gpus", "1")
    machine.stop()
    reserve(machine, "--user", OTHER, "--gpus", "1", "--start", "now+1s", "--for", "1h")
    job_id = machine.submit("-g", "1", "true")
    eventually(lambda: shown(machine, 1)["status"] == "active")
    machine.start("--simulate-gpus", "1")
    until_waiting(machine, job_id)
    machine.ctl("reserve", "cancel", "1")
    assert machine.wait(job_id) == 0
