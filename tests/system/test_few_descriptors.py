"""A daemon that may open few files, with more jobs than that: each still ends as itself."""

from __future__ import annotations

import pytest
from support import depth
from support.machine import GATE, TMUX, Machine
from support.waiting import eventually

FEW = 64
JOBS = depth.number(80, 68)  # more than that
EACH_SOME = depth.number(JOBS, 30)  # jobs in tmux, of which each takes several


@pytest.mark.skipif(TMUX is None, reason="tmux is not installed")
def test_sessions_that_tmux_has_no_descriptors_for_wait_for_others_to_end(machine: Machine) -> None:
    machine.run("sh", "-c", f"ulimit -n {FEW} && exec gflowd start")
    text = f"echo $GFLOW_JOB_ID >>ran; {GATE}; echo over; exit 3"
    machine.ctl("submit", "-c", "0", "-a", f"1-{EACH_SOME}", "--wrap", text)
    ids = list(range(1, EACH_SOME + 1))
    eventually(lambda: len(machine.lines("ran")) >= FEW // 3)
    eventually(
        lambda: "tmux may open no more files" in machine.ctl("doctor", check=False).stdout, news=machine.daemon_log
    )
    assert machine.result("--executor", "process", "echo", "beside them") == "beside them\n"
    machine.open_gate()
    assert machine.wait(*ids) == 3
    jobs = machine.jobs()
    assert {jobs[job_id]["reason"] for job_id in ids} == {"NonZeroExit"}
    machine.ran_exactly_once(ids)
    assert {machine.log(job_id) for job_id in ids[1:]} == {b"over\n"}
    assert "cannot cut a log" not in machine.daemon_log()


@pytest.mark.skipif(TMUX is None, reason="tmux is not installed")
def test_the_daemon_takes_as_many_descriptors_as_it_may(machine: Machine) -> None:
    machine.run("sh", "-c", f"ulimit -S -n {FEW} && exec gflowd start")
    machine.ctl("submit", "-c", "0", "-a", f"1-{EACH_SOME}", "--wrap", f"ulimit -n >>ran; {GATE}")
    ids = list(range(1, EACH_SOME + 1))
    machine.until_in(ids, "running")
    eventually(lambda: len(machine.lines("ran")) == EACH_SOME)
    assert str(FEW) not in machine.lines("ran")
    machine.open_gate()
    assert machine.wait(*ids) == 0


def test_a_daemon_that_may_open_too_few_files_says_so_and_does_not_start(machine: Machine) -> None:
    for few in (20, FEW - 1):
        done = machine.run("sh", "-c", f"ulimit -n {few} && exec gflowd start")
        assert done.returncode == 3
        assert done.stderr == f"gflowd: gflowd may open only {few} files and needs {FEW}; raise ulimit -n\n"


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
