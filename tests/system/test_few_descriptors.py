"""A daemon that may open few files, with more jobs than that: each still ends as itself."""

from __future__ import annotations

from support.machine import GATE, Machine
from support.waiting import eventually

FEW = 48
JOBS = 60


def test_with_more_jobs_than_descriptors_no_worker_falls_and_no_end_is_lost(machine: Machine) -> None:
    """A job that no descriptor is left to watch is found by looking."""
    machine.write_config(executor={"type": "process"})
    machine.run("sh", "-c", f"ulimit -n {FEW} && exec gflowd start")
    text = f"echo $GFLOW_JOB_ID >>ran; {GATE}; exit $((GFLOW_ARRAY_TASK_ID % 3))"
    machine.ctl("submit", "-c", "0", "-a", f"1-{JOBS}", "--wrap", text)
    ids = list(range(1, JOBS + 1))
    eventually(lambda: len(machine.lines("ran")) == JOBS)
    machine.until_in(ids, "running")
    machine.wait(machine.submit("-c", "0", "true"))
    machine.open_gate()
    machine.wait(*ids)
    jobs = machine.jobs()
    assert [jobs[job_id]["exit_code"] for job_id in ids] == [job_id % 3 for job_id in ids]
    machine.ran_exactly_once(ids)
    assert not any(worker["restarts"] for worker in machine.status()["workers"]), machine.daemon_log()[-2000:]
