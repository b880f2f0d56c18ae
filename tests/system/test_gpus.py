"""Who is given which GPU, seen from the jobs themselves."""

from __future__ import annotations

import pytest
from support.machine import GATE, Machine
from support.stop_ladder import HOUR, let_pass
from support.waiting import eventually

LIVES = "grep -s '^State:' /proc/$p/status | grep -qv '[ZX]'"  # kill -0 finds a corpse too


def test_two_jobs_have_a_gpu_each_and_the_third_waits(machine: Machine) -> None:
    machine.start("--simulate-gpus", "2x24G")
    ids = [machine.submit("-g", "1", "--wrap", f"echo $CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER; {GATE}") for _ in "abc"]
    machine.until_in(ids[:2], "running")
    eventually(lambda: machine.job(ids[2])["reason"] == "Resources", news=machine.news)
    jobs = machine.jobs()
    assert [jobs[i]["gpu_ids"] for i in ids] == [[0], [1], []]
    assert jobs[ids[2]]["state"] == "queued"
    eventually(lambda: "waits for 1 GPU, 0 idle" in machine.ctl("show", str(ids[2])).stdout)
    machine.open_gate()
    assert machine.wait(*ids) == 0
    assert [machine.log(i) for i in ids[:2]] == [b"0 PCI_BUS_ID\n", b"1 PCI_BUS_ID\n"]
    assert machine.job(ids[2])["gpu_ids"] == [int(machine.log(ids[2]).split()[0])]


@pytest.mark.parametrize("executor", ["tmux", "process"])
def test_no_gpu_is_ever_given_twice(machine: Machine, executor: str) -> None:
    """Each job takes a directory per GPU that it was told of, which only one process can make, and gives it back."""
    machine.write_config(executor={"type": executor})
    machine.start("--simulate-gpus", "4x8G")
    text = (
        "IFS=,; n=0; for gpu in $CUDA_VISIBLE_DEVICES; do"
        ' mkdir held.$gpu || echo "$gpu twice" >>wrong; n=$((n+1)); done;'
        "[ $n = %d ] || echo $n given >>wrong; sleep 0.1; echo $GFLOW_JOB_ID >>ran;"
        "for gpu in $CUDA_VISIBLE_DEVICES; do rmdir held.$gpu; done"
    )
    ids = []
    for gpus, count in ((1, 16), (2, 10), (4, 4)):
        ids += machine.submit_all("-c", "0", "-g", str(gpus), "--wrap", text % gpus, count=count)
    assert machine.wait(*ids) == 0
    assert machine.lines("wrong") == []
    machine.ran_exactly_once(ids)
    for job in machine.jobs().values():
        assert len(set(job["gpu_ids"])) == job["gpus"]


def test_a_job_without_gpus_sees_none(machine: Machine) -> None:
    machine.start("--simulate-gpus", "2")
    seen = machine.result("--", "env", env={**machine.env, "CUDA_VISIBLE_DEVICES": "0,1"})
    assert "CUDA_VISIBLE_DEVICES=\n" in seen


def test_only_allowed_gpus_are_given(machine: Machine) -> None:
    machine.start("--simulate-gpus", "3", "--gpus", "2")
    assert machine.result("-g", "1", "--wrap", "echo $CUDA_VISIBLE_DEVICES") == "2\n"
    eventually(lambda: "restricted" in machine.ctl("info").stdout)


def test_what_the_machine_can_never_give_is_refused(machine: Machine) -> None:
    machine.start("--simulate-gpus", "2x8G")
    machine.await_gpus()
    assert "3 GPUs" in machine.refused(1, "submit", "-g", "3", "true")
    assert "9 CPUs" in machine.refused(1, "submit", "-c", "9", "true")
    assert "memory" in machine.refused(1, "submit", "-m", "900T", "true")
    assert machine.jobs() == {}


def test_what_was_queued_unseen_and_can_never_run_is_rejected(machine: Machine) -> None:
    job_id = machine.submit("-g", "3", "true")
    other = machine.submit("true")
    machine.start("--simulate-gpus", "2")
    job = machine.ended(job_id)
    assert job["state"] == "failed"
    assert job["reason"].startswith("Rejected:")
    assert machine.wait(other) == 0


def test_simulated_gpus_are_marked_as_such(machine: Machine) -> None:
    machine.start("--simulate-gpus", "2x24G")
    machine.await_gpus()
    for text in (machine.gflowd("status").stdout, machine.ctl("info").stdout):
        assert text.lower().count("simulated") >= 2, text
    assert all(gpu["simulated"] for gpu in machine.status()["gpus"])
    assert "simulated" in machine.ctl("doctor", check=False).stdout


def test_a_gpu_is_free_only_after_the_last_process_is_dead(own: Machine) -> None:
    """The job holds on to its GPU through INT and TERM; who comes next must find it dead."""
    own.gflowd("restart", "--simulate-gpus", "1x8G")
    text = "trap 'echo INT >>got' INT; trap 'echo TERM >>got' TERM; echo $$ >first; while :; do sleep 0.1; done"
    first = own.submit("-g", "1", "--grace", "1h", "--time", "1h", "--", "sh", "-c", text)
    eventually(lambda: own.lines("first"))
    own.ctl("update", str(first), "--time", "1s")
    second = own.submit("-g", "1", "--wrap", f"p=$(cat first); {LIVES} && echo alive || echo dead")
    for told, seconds in ((["INT"], HOUR / 2), (["INT", "TERM"], HOUR)):
        eventually(lambda told=told: own.lines("got") == told)
        assert own.job(second)["state"] == "queued"
        let_pass(own, first, seconds)
    assert own.wait(first) == 124
    assert own.job(first)["state"] == "timeout"
    assert own.wait(second) == 0
    assert own.log(second) == b"dead\n"
    assert own.lines("got") == ["INT", "TERM"]


def test_a_stray_holds_the_gpu_until_it_is_dead(own: Machine) -> None:
    """It left the session, closed every descriptor, and ignores TERM."""
    own.gflowd("restart", "--simulate-gpus", "1x8G")
    (own.work / "stray.sh").write_text("trap '' TERM INT HUP; echo $$ >stray; while :; do sleep 0.1; done")
    closed = "</dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-"
    text = f"setsid sh stray.sh {closed} & until [ -s stray ]; do sleep 0.02; done; exit 5"
    first = own.submit("-g", "1", "--grace", "1s", "--", "sh", "-c", text)
    second = own.submit("-g", "1", "--wrap", f"p=$(cat stray); {LIVES} && echo alive || echo dead")
    assert own.wait(first) == 5
    assert own.wait(second) == 0
    assert own.log(second) == b"dead\n"
    job = own.job(first)
    assert (job["state"], job["reason"], job["exit_code"]) == ("failed", "NonZeroExit", 5)


def test_a_gpu_that_does_not_exist_is_refused_at_the_start(machine: Machine) -> None:
    two = ("--simulate-gpus", "2")
    said = "--gpus {}: there is no GPU {}; this machine has 2 GPUs, 0 to 1"
    assert machine.refused(1, "start", *two, "--gpus", "9", program="gflowd") == said.format("9", "9")
    assert not machine.status()["running"]
    machine.start(*two, "--gpus", "1")
    for command in ("reload", "restart"):
        assert machine.refused(1, command, "--gpus", "0-3", program="gflowd") == said.format("0-3", "2-3")
    assert machine.status()["running"]


def test_which_of_option_file_and_order_counts_is_said(machine: Machine) -> None:
    machine.write_config(gpu={"allow": "1"})
    machine.start("--simulate-gpus", "2")
    eventually(lambda: f"Allowed:  jobs may use GPU 1 only ({machine.config_file})" in machine.ctl("info").stdout)
    machine.ctl("gpus", "allow", "all")
    said = f"jobs may use every GPU: gflowctl gpus allow takes precedence over {machine.config_file}"
    assert said in machine.gflowd("restart").stderr
    assert "takes precedence over an option of gflowd" in machine.gflowd("restart", "--gpus", "0").stderr
    machine.ctl("gpus", "allow", "--default")
    eventually(lambda: "Allowed:  jobs may use GPU 0 only (an option of gflowd)" in machine.ctl("info").stdout)
    job_id = machine.submit("-g", "1", "true")
    machine.wait(job_id)
    assert machine.job(job_id)["gpu_ids"] == [0]
    assert machine.gflowd("restart").stderr == ""
