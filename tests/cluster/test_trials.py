"""Jobs on a real Slurm, seen through gflowctl: each runs once, and ends as Slurm and its exit record say."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import cluster_machine
from support.cluster_machine import NAME, RAN, array, at_work, ends
from support.machine import Machine
from support.slurm_cluster import SlurmCluster
from support.waiting import eventually

GATE = "until [ -e gate ]; do sleep 0.05; done"
THERE = ("--cluster", NAME)


@pytest.fixture(scope="module")
def _machine(cluster: SlurmCluster) -> Iterator[Machine]:
    with cluster_machine.new_cluster_machine(cluster) as found:
        found.start()
        yield found


@pytest.fixture
def machine(_machine: Machine, cluster: SlurmCluster) -> Iterator[Machine]:
    with _machine.visit():
        yield _machine
        _machine.ctl("cancel", "--all", check=False)  # what a test that failed has left is not to fail the next
    cluster.clear()


def test_a_job_runs_on_a_node_and_all_is_known_here(machine: Machine) -> None:
    words = ("-c", "2", "--wrap", f"{RAN}; echo on $SLURMD_NODENAME $SLURM_JOB_ID $SLURM_CPUS_ON_NODE; {GATE}; exit 5")
    job_id = machine.submit(*THERE, *words)
    slurms = at_work(machine, job_id)
    job = machine.job(job_id)
    assert job["state"] == "running", job
    assert (job["cluster"], job["gpu_ids"]) == (NAME, []), job
    assert job["node"] in machine.ctl("queue", str(job_id)).stdout
    assert slurms in machine.ctl("show", str(job_id)).stdout
    machine.open_gate()
    assert ends(machine, job_id) == [("failed", "NonZeroExit", 5)]
    assert machine.log(job_id).decode() == f"on {job['node']} {slurms} 2\n"
    machine.ran_exactly_once([job_id])


def test_exits_are_those_of_the_exit_record_and_slurm_knows_good_from_bad(
    machine: Machine, cluster: SlurmCluster
) -> None:
    wanted = {
        "exit 0": ("finished", 0, None), "exit 7": ("failed", 7, None), "exit 126": ("failed", 126, None),
        "exit 255": ("failed", 255, None), "kill -KILL $$": ("failed", None, 9), "kill -SEGV $$": ("failed", None, 11),
    }  # fmt: skip
    ids = {machine.submit(*THERE, "--wrap", text): end for text, end in wanted.items()}
    machine.wait(*ids)
    jobs = machine.jobs()
    assert {i: (jobs[i]["state"], jobs[i]["exit_code"], jobs[i]["signal"]) for i in ids} == ids
    there = cluster.jobs()
    said = {i: there[jobs[i]["cluster_id"]]["state"] for i in ids}
    assert said == {i: "COMPLETED" if end[0] == "finished" else "FAILED" for i, end in ids.items()}


def test_fifty_jobs_with_dependencies_of_all_kinds_run_once_each(machine: Machine) -> None:
    plain = [machine.submit(*THERE, "--wrap", RAN) for _ in range(20)]
    chain = [machine.submit(*THERE, "--wrap", RAN)]
    for number in range(9):  # by turns here and there
        where = THERE if number % 2 else ()
        chain.append(machine.submit(*where, "-d", f"afterok:{chain[-1]}", "--wrap", RAN))
    elements = array(machine, *THERE, "--array", "1-15%4", "--wrap", f"echo b >>four; {RAN}; sleep 0.2; echo e >>four")
    bad = [machine.submit(*THERE, "--wrap", f"{RAN}; exit 3") for _ in range(3)]
    after = machine.submit(*THERE, "-d", f"afternotok:{bad[0]}", "--wrap", RAN)
    never = machine.submit(*THERE, "-d", f"afterok:{bad[1]}", "--wrap", RAN)
    good = [*plain, *chain, *elements, after]
    machine.wait(*good, *bad, never)
    jobs = machine.jobs()
    assert Counter(jobs[i]["state"] for i in good) == {"finished": len(good)}
    assert {jobs[i]["exit_code"] for i in bad} == {3}
    assert jobs[never]["state"] == "cancelled"
    machine.ran_exactly_once([*good, *bad])
    running, most = 0, 0
    for line in machine.lines("four"):
        running += 1 if line == "b" else -1
        most = max(most, running)
    assert most <= 4
    assert len({jobs[i]["cluster_id"].partition("_")[0] for i in elements}) == 1  # one sbatch


def test_an_element_of_an_array_has_its_index_and_can_be_cancelled_alone(machine: Machine) -> None:
    ids = array(machine, *THERE, "--array", "3,5,9", "--wrap", f"echo $SLURM_ARRAY_TASK_ID >>indices; {GATE}")
    eventually(lambda: len(machine.lines("indices")) == 3)
    machine.ctl("cancel", str(ids[1]))
    machine.wait(ids[1])
    machine.open_gate()
    assert [end[0] for end in ends(machine, *ids)] == ["finished", "cancelled", "finished"]
    assert sorted(map(int, machine.lines("indices"))) == [3, 5, 9]


def test_cancelling_signals_the_job_as_here(machine: Machine) -> None:
    text = "trap 'echo INT >>seen; exit 9' INT; echo x >>began; while :; do sleep 0.05; done"
    polite = machine.submit(*THERE, "--grace", "1h", "--wrap", text)
    stubborn = machine.submit(*THERE, "--grace", "0.5s", "--wrap", "trap '' INT TERM; echo x >>began; sleep 1000")
    waiting = machine.submit(*THERE, "-c", "32", "-m", "32000", "--wrap", "true")
    eventually(lambda: len(machine.lines("began")) == 2)
    machine.ctl("cancel", f"{polite},{stubborn},{waiting}")
    found = ends(machine, polite, stubborn, waiting)
    assert [end[:2] for end in found[:2]] == [("cancelled", "CancelledByUser")] * 2
    assert machine.lines("seen") == ["INT"]


def test_a_job_that_is_cancelled_before_we_have_seen_it_begin_is_signalled_all_the_same(
    machine: Machine, cluster: SlurmCluster
) -> None:
    """The array has an element at work and two that wait."""
    text = "trap 'echo INT $GFLOW_JOB_ID >>seen; exit 9' INT; echo x >>began; while :; do sleep 0.05; done"
    blind = machine.work / "blind"
    blind.touch()
    with (
        cluster.before("squeue", f"while [ -e '{blind}' ]; do sleep 0.05; done"),
        cluster.before("scancel", f"echo \"$*\" >>'{machine.work}/cancelled'"),
    ):
        alone = machine.submit(*THERE, "--grace", "1h", "--wrap", text)
        elements = array(machine, *THERE, "--grace", "1h", "--array", "1-3%1", "--wrap", text)
        eventually(lambda: len(machine.lines("began")) == 2)
        assert {job["state"] for job in machine.jobs().values() if job["id"] in (alone, *elements)} == {"starting"}
        machine.ctl("cancel", f"{alone},{elements[0]}-{elements[-1]}")
        eventually(lambda: machine.lines("cancelled"))
        blind.unlink()
        found = ends(machine, alone, *elements)
    assert {end[:2] for end in found} == {("cancelled", "CancelledByUser")}
    assert sorted(machine.lines("seen")) == [f"INT {alone}", f"INT {elements[0]}"]
    assert len(machine.lines("began")) == 2


def test_what_is_cancelled_on_the_cluster_is_told_apart(machine: Machine, cluster: SlurmCluster) -> None:
    job_id = machine.submit(*THERE, "--wrap", f"echo x >>began; {GATE}")
    there = at_work(machine, job_id)
    eventually(lambda: machine.lines("began"))
    cluster.run("scancel", there)
    assert ends(machine, job_id)[0][:2] == ("cancelled", "CancelledElsewhere")


def test_a_job_held_or_suspended_there_is_shown_so(machine: Machine, cluster: SlurmCluster) -> None:
    fills = [machine.submit(*THERE, "-c", "32", "-m", "32000", "--wrap", GATE) for _ in range(3)]
    machine.until_in(fills, "running")
    waits = machine.submit(*THERE, "--wrap", RAN)
    there = eventually(lambda: machine.job(waits)["cluster_id"])
    cluster.run("scontrol", "hold", there)
    eventually(lambda: "Held" in (machine.job(waits)["reason"] or ""))
    assert machine.job(waits)["reason"].startswith("Cluster:JobHeld")
    cluster.run("scontrol", "suspend", machine.job(fills[0])["cluster_id"])
    machine.until(fills[0], "suspended")
    cluster.run("scontrol", "resume", machine.job(fills[0])["cluster_id"])
    machine.until(fills[0], "running")
    cluster.run("scontrol", "release", there)
    machine.open_gate()
    assert {end[0] for end in ends(machine, *fills, waits)} == {"finished"}


def test_what_never_fits_is_refused_as_soon_as_it_is_known_what_there_is(machine: Machine) -> None:
    machine.wait(machine.submit(*THERE, "--wrap", "true"))  # so that it is known
    done = machine.ctl("submit", *THERE, "-m", "900G", "--wrap", RAN, check=False)
    assert (done.returncode, "no node of the cluster has as much" in done.stderr) == (1, True)


def test_gpus_are_those_that_slurm_gives(machine: Machine) -> None:
    show = "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES >>gpus"
    ends(machine, machine.submit(*THERE, "-g", "2", "--gpu-type", "h100", "--wrap", show))
    assert machine.lines("gpus") == ["n2 0,1"]


def test_retries_are_ours(machine: Machine) -> None:
    job_id = machine.submit(*THERE, "--max-retries", "1", "--wrap", f"{RAN}; [ $GFLOW_ATTEMPT = 2 ]")
    assert ends(machine, job_id) == [("finished", None, 0)]
    assert machine.lines("ran") == [str(job_id)] * 2


def test_a_node_that_dies_fails_its_job_which_can_run_again(machine: Machine, cluster: SlurmCluster) -> None:
    text = f"echo $$ $SLURMD_NODENAME >>pids; [ $GFLOW_ATTEMPT = 2 ] || {GATE}"
    once = machine.submit(*THERE, "--wrap", text)
    eventually(lambda: len(machine.lines("pids")) == 1)
    node = machine.lines("pids")[0].split()[1]
    eventually(lambda: machine.job(once)["state"] == "running")
    after = machine.submit(*THERE, "-d", f"afterok:{once}", "--wrap", RAN)
    cluster.fail(node)
    assert ends(machine, once, after)[0][:2] == ("failed", "NodeFail")
    assert machine.job(after)["state"] == "cancelled"
    _kill_old(machine)
    cluster.start(node)
    eventually(lambda: cluster.states()[node] == "idle")
    again = machine.submit(*THERE, "--max-retries", "1", "--wrap", text)
    eventually(lambda: len(machine.lines("pids")) == 2)
    node = machine.lines("pids")[1].split()[1]
    eventually(lambda: machine.job(again)["state"] == "running")
    cluster.fail(node)
    assert ends(machine, again) == [("finished", None, 0)]
    _kill_old(machine)
    cluster.start(node)


def _kill_old(machine: Machine) -> None:
    """The processes of a job outlive its node's daemons."""
    for line in machine.lines("pids"):
        try:
            os.killpg(os.getpgid(int(line.split()[0])), signal.SIGKILL)
        except ProcessLookupError:
            pass


def test_nothing_is_known_while_the_controller_is_away(machine: Machine, cluster: SlurmCluster) -> None:
    runs = machine.submit(*THERE, "--wrap", f"echo x >>began; {GATE}; exit 4")
    at_work(machine, runs)
    eventually(lambda: machine.lines("began"))
    cluster.save()
    cluster.kill("slurmctld")
    later = machine.submit(*THERE, "--wrap", RAN)
    eventually(lambda: machine.job(later)["reason"] == "ClusterUnreachable")
    machine.open_gate()
    eventually(lambda: Path(f"{machine.attempt(runs)}/exit").exists())
    cluster.start("slurmctld")
    assert ends(machine, runs, later) == [("failed", "NonZeroExit", 4), ("finished", None, 0)]
    machine.ran_exactly_once([later])


def test_a_job_that_slurm_may_not_requeue_is_not(machine: Machine, cluster: SlurmCluster) -> None:
    job_id = machine.submit(*THERE, "--wrap", f"{RAN}; {GATE}")
    there = at_work(machine, job_id)
    eventually(lambda: machine.lines("ran"))
    with pytest.raises(AssertionError):
        cluster.run("scontrol", "requeue", there)
    machine.open_gate()
    assert ends(machine, job_id) == [("finished", None, 0)]


def test_jobs_for_any_cluster_go_there_when_they_cannot_start_here(machine: Machine) -> None:
    fits_only_there = machine.submit("--cluster", "auto", "-c", "20", "--wrap", RAN)  # this machine has 8
    fits_here = machine.submit("--cluster", "auto", "-c", "1", "--wrap", RAN)
    ends(machine, fits_only_there, fits_here)
    jobs = machine.jobs()
    assert (jobs[fits_only_there]["cluster_id"] is not None, jobs[fits_here]["cluster_id"]) == (True, None)


def test_a_time_limit_is_slurms_and_an_early_signal_comes(machine: Machine) -> None:
    text = "trap 'echo USR1 >>seen' USR1; while :; do sleep 0.05; done"
    job_id = machine.submit(*THERE, "-t", "1m", "--signal", "USR1@50", "--wrap", text)
    eventually(lambda: machine.job(job_id)["state"] not in ("queued", "starting", "running", "stopping"), within=200)
    assert ends(machine, job_id)[0][:2] == ("timeout", "TimeLimit")
    assert machine.lines("seen") == ["USR1"]
