"""Thousands of jobs that wait for one another."""

from __future__ import annotations

import orjson
import pytest
from support.machine import Machine
from support.waiting import eventually

from gflowd.storage.store import Store

MANY = 2000


def submit_waiting(machine: Machine, first: int, ids_of: dict[int, list[int]]) -> None:
    """Puts copies of a job into the snapshot in one commit, as `submit` would one by one."""
    store = Store(machine.state, dumps=orjson.dumps)
    with store.commit() as commit:
        spec = dict(commit.fold().of("spec")[first])
        assert commit.allocate(len(ids_of)) == min(ids_of)
        for job_id, others in ids_of.items():
            needs = {"dependencies": [{"kind": "afterok", "id": other} for other in others]}
            commit.put("spec", job_id, {**spec, "needs": needs})


@pytest.mark.parametrize("running", [False, True])
def test_a_long_chain_falls_to_its_end(machine: Machine, running: bool) -> None:
    head = machine.submit("--hold", "true")
    submit_waiting(machine, head, {head + place: [head + place - 1] for place in range(1, MANY)})
    if running:
        machine.start()
        eventually(lambda: machine.job(head + 1)["reason"] == "Dependency")
    machine.ctl("cancel", str(head))
    if not running:
        machine.start()
    last = head + MANY - 1
    assert machine.wait(last) == 130
    jobs = machine.jobs()
    assert all(jobs[job_id]["reason"] == f"DependencyFailed:{job_id - 1}" for job_id in range(head + 1, last + 1))


@pytest.mark.parametrize("good", [True, False])
def test_one_job_waits_for_thousands(machine: Machine, good: bool) -> None:
    done = machine.ctl("submit", "--parsable", "-H", "-c", "0", "-a", f"1-{MANY}", "true").stdout
    first = int(done.partition("-")[0])
    last = machine.submit("-d", ":".join(["afterany", *map(str, range(first, first + MANY))]), "true")
    bad = machine.submit("-d", f"{first}-{first + MANY - 1}", "true")
    whole = machine.submit("-d", f"afterany:{first}", "true")
    machine.start()
    machine.ctl("cancel", f"{first}-{first + MANY - (1 if good else 2)}")
    if not good:
        eventually(lambda: machine.job(bad)["state"] == "cancelled")
        assert machine.job(last)["state"] == machine.job(whole)["state"] == "queued"
        machine.ctl("cancel", str(first + MANY - 1))
    assert machine.wait(last, whole) == 0
    assert machine.job(bad)["reason"].startswith("DependencyFailed:")
