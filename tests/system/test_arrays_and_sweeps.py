"""Arrays and sweeps with the real daemon."""

from __future__ import annotations

import json

from support.machine import GATE, Machine
from support.waiting import eventually


def submit(machine: Machine, *words: str) -> range:
    first, _, last = machine.ctl("submit", "--parsable", *words).stdout.strip().partition("-")
    return range(int(first), int(last or first) + 1)


def states(machine: Machine, ids: range) -> list[str]:
    return [job["state"] for job in json.loads(machine.ctl("queue", "--json", str(ids[0])).stdout)]


def test_each_element_knows_its_index(either: Machine) -> None:
    text = "echo $GFLOW_ARRAY_JOB_ID $GFLOW_ARRAY_TASK_ID $SLURM_ARRAY_TASK_MAX $GFLOW_JOB_ID >>ran"
    ids = submit(either, "-a", "3-9:3", "--wrap", text)
    assert either.wait(ids[0]) == 0
    assert sorted(either.lines("ran")) == [
        f"{ids[0]} {index} 9 {job_id}" for index, job_id in zip((3, 6, 9), ids, strict=True)
    ]


def test_a_sweep_is_every_combination(either: Machine) -> None:
    ids = submit(either, "--param", "lr=0.1,0.2", "--param", "seed=1:2", "--wrap", "echo {lr} $GFLOW_PARAM_seed >>ran")
    assert either.wait(ids[0]) == 0
    assert sorted(either.lines("ran")) == ["0.1 1", "0.1 2", "0.2 1", "0.2 2"]


def test_one_element_is_given_another_value_before_it_runs(up: Machine) -> None:
    ids = submit(up, "--hold", "--param", "lr=1,2,3", "--wrap", "echo {lr} $GFLOW_PARAM_lr >>ran")
    up.ctl("update", f"{ids[0]}_1", "--param", "lr=0.5")
    up.ctl("release", str(ids[0]))
    assert up.wait(ids[0]) == 0
    assert sorted(up.lines("ran")) == ["0.5 0.5", "1 1", "3 3"]


def test_a_limit_holds_and_can_be_changed_live(up: Machine) -> None:
    ids = submit(up, "-n", "scan", "-a", "1-6%2", "-c", "0", "--wrap", GATE)
    eventually(lambda: states(up, ids).count("running") == 2)
    waiting = next(job_id for job_id in ids if up.job(job_id)["state"] == "queued")
    eventually(lambda: up.job(waiting)["reason"] == "Group")
    assert states(up, ids).count("running") == 2
    up.ctl("limit", "scan", "4")
    eventually(lambda: states(up, ids).count("running") == 4)
    up.ctl("update", str(ids[0]), "--max-concurrent", "5")
    eventually(lambda: states(up, ids).count("running") == 5)
    rows = up.ctl("queue", "-g", "scan").stdout.splitlines()[1:]
    assert max(row.split()[0] for row in rows) == f"{ids[0]}_6"
    up.open_gate()
    assert up.wait(ids[0]) == 0


def test_the_queue_folds_and_unfolds(up: Machine) -> None:
    ids = submit(up, "--hold", "-a", "1-4%2", "true")
    folded = up.ctl("queue", str(ids[0])).stdout.splitlines()[1:]
    assert [row.split()[0] for row in folded] == [f"{ids[0]}_[1-4%2]"]
    unfolded = up.ctl("queue", "-r", str(ids[0])).stdout.splitlines()[1:]
    assert [row.split()[0] for row in unfolded] == [f"{ids[0]}_{index}" for index in range(1, 5)]
    up.ctl("cancel", f"{ids[0]}_[2-3]")
    assert states(up, ids) == ["held", "cancelled", "cancelled", "held"]
    up.ctl("cancel", str(ids[0]))
    assert up.wait(ids[0]) == 130


def test_too_many_failures_end_the_rest(up: Machine) -> None:
    ids = submit(up, "-a", "1-8%1", "--max-failures", "2", "--wrap", "[ $GFLOW_ARRAY_TASK_ID = 1 ]")
    up.wait(ids[0])
    assert states(up, ids) == ["finished", "failed", "failed", *["cancelled"] * 5]
    assert {up.job(job_id)["reason"] for job_id in ids[3:]} == {"MaxFailures:2"}


def test_waiting_for_an_array_ends_with_its_greatest_status(up: Machine) -> None:
    ids = submit(up, "-a", "1-3", "--wrap", "exit $GFLOW_ARRAY_TASK_ID")
    assert up.wait(ids[0]) == 3
    assert up.ctl("wait", f"{ids[0]}_2", check=False).returncode == 2
