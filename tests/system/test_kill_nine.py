"""kill -9 of each of our processes: no job is lost, none runs twice, none fails wrongly, nothing is left over."""

from __future__ import annotations

import signal

import pytest
from support import depth
from support.machine import GATE, WORKERS, Machine, alive, end, kill
from support.waiting import eventually

CHILDREN = ("manager", *WORKERS)


def test_every_process_has_its_name_in_ps(own_default: Machine) -> None:
    for name, pid in own_default.pids().items():
        comm = own_default.run("ps", "-o", "comm=", "-p", str(pid)).stdout.strip()
        if name != "supervisor":
            assert comm == f"gflowd:{name}"[:15]


@pytest.mark.parametrize("victim", CHILDREN)
def test_a_killed_worker_is_replaced_and_no_job_notices(own_default: Machine, victim: str) -> None:
    pids = own_default.pids()
    running = [own_default.submit("--wrap", f"echo $GFLOW_JOB_ID >>ran; {GATE}; exit 3") for _ in range(2)]
    own_default.until_in(running, "running")
    queued = own_default.submit_all("-c", "3", "--", "sh", "-c", "echo $GFLOW_JOB_ID >>ran", count=4)
    kill(pids[victim])
    more = own_default.submit_all("-c", "3", "--", "sh", "-c", "echo $GFLOW_JOB_ID >>ran", count=4)
    eventually(lambda: own_default.pids().get(victim, pids[victim]) != pids[victim])
    assert own_default.wait(*queued, *more) == 0
    assert {own_default.job(i)["state"] for i in running} == {"running"}
    own_default.open_gate()
    assert own_default.wait(*running) == 3
    own_default.ran_exactly_once([*running, *queued, *more])
    after = eventually(lambda: found if (found := own_default.pids()).keys() == pids.keys() else None)
    assert after["supervisor"] == pids["supervisor"]
    others = {name for name in pids if after[name] == pids[name]}
    assert others == ({"supervisor"} if victim == "manager" else pids.keys() - {victim})
    restarts = {worker["name"]: worker["restarts"] for worker in own_default.status()["workers"]}
    assert {name for name, count in restarts.items() if count} == {victim}


def test_each_worker_in_turn_dies_while_jobs_come_and_go(own: Machine) -> None:
    """As jobs are submitted as fast as they can be; kills fall wherever they fall."""
    seen = {}
    ids = []
    for victim in (*CHILDREN, "scheduler", "zombie_detector"):
        submitting = own.begin_many(depth.number(8, 4))
        seen[victim] = own.pids().get(victim)
        if seen[victim]:
            end(seen[victim])  # it may have just ended with one that was killed before
        ids += own.submitted(submitting)
    assert own.wait(*ids) == 0
    own.ran_exactly_once(ids)
    assert {job["state"] for job in own.jobs().values()} == {"finished"}


def test_a_second_copy_of_a_job_ends_at_once(own: Machine) -> None:
    """As when the daemon was killed between starting a job and taking note of it."""
    job_id = own.submit("--wrap", f"echo $GFLOW_JOB_ID >>ran; {GATE}; exit 3")
    own.until(job_id, "running")
    eventually(lambda: own.lines("ran"))
    for _ in range(3):
        assert own.run("sh", str(own.attempt(job_id) / "job.sh")).returncode == 0
    own.open_gate()
    assert own.wait(job_id) == 3
    assert own.run("sh", str(own.attempt(job_id) / "job.sh")).returncode == 0
    own.ran_exactly_once([job_id])


def test_after_the_supervisors_death_start_goes_on(own: Machine) -> None:
    pids = own.pids()
    running = own.submit("--wrap", f"echo $GFLOW_JOB_ID >>ran; {GATE}; exit 3")
    own.until(running, "running")
    waiting = own.submit_all("-c", "8", "--", "sh", "-c", "echo $GFLOW_JOB_ID >>ran", count=3)
    kill(pids["supervisor"])
    eventually(lambda: not any(map(alive, pids.values())))
    assert own.status()["running"] is False
    late = own.submit("-c", "0", "--wrap", "echo $GFLOW_JOB_ID >>ran")  # no wider job is ahead of it
    assert own.job(late)["reason"] == "DaemonDown"
    own.start()
    own.wait(late)
    assert own.job(running)["state"] == "running"
    own.open_gate()
    assert own.wait(running, *waiting) == 3
    own.ran_exactly_once([running, late, *waiting])


def test_a_supervisor_killed_again_and_again_starts_no_job_twice(own: Machine) -> None:
    ids = []
    for _ in range(depth.number(4, 3)):
        submitting = own.begin_many(depth.number(10, 6))
        before = len(ids)
        eventually(lambda before=before: len(own.lines("ran")) > before)
        pids = own.pids()
        kill(pids["supervisor"])
        own.start()
        ids += own.submitted(submitting)
    assert own.wait(*ids) == 0
    own.ran_exactly_once(ids)


def test_a_job_killed_with_the_daemon_ends_as_what_happened_to_it(own: Machine) -> None:
    job_id = own.submit("sleep", "100")
    job = own.until(job_id, "running")
    command = eventually(lambda: own.of_job(job_id).keys() - {job["pid"]})
    kill(own.pids()["supervisor"])
    end(*command)
    own.start()
    assert own.ended(job_id)["reason"] == "Signaled:SIGKILL"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_supervisor_ends_the_daemon_and_no_job(own_default: Machine, number: int) -> None:
    job_id = own_default.submit("--wrap", f"{GATE}; exit 2")
    own_default.until(job_id, "running")
    pids = own_default.pids()
    kill(pids["supervisor"], number)
    eventually(lambda: not any(map(alive, pids.values())))
    own_default.start()
    own_default.open_gate()
    assert own_default.wait(job_id) == 2


def test_a_signal_to_a_worker_or_the_manager_is_survived(own_default: Machine) -> None:
    pids = own_default.pids()
    for name in CHILDREN:
        kill(pids[name], signal.SIGTERM)
    assert own_default.result("echo", "well") == "well\n"
    assert own_default.pids()["supervisor"] == pids["supervisor"]


@pytest.mark.soak
@pytest.mark.parametrize("victim", CHILDREN)
def test_a_stopped_worker_is_replaced(own_default: Machine, victim: str) -> None:
    pids = own_default.pids()
    job_id = own_default.submit("--wrap", f"echo $GFLOW_JOB_ID >>ran; {GATE}; exit 3")
    own_default.until(job_id, "running")
    kill(pids[victim], signal.SIGSTOP)
    queued = own_default.submit("--wrap", "echo $GFLOW_JOB_ID >>ran")
    eventually(lambda: own_default.pids().get(victim, pids[victim]) != pids[victim], within=60)
    eventually(lambda: not alive(pids[victim]), within=5)
    own_default.wait(queued)
    own_default.open_gate()
    assert own_default.wait(job_id) == 3
    own_default.ran_exactly_once([job_id, queued])
