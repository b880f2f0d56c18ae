"""Jobs of several users under one daemon, from submission to end, started by gflow's own program."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from support.machine import kill
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shared_machine import Person, SharedMachine

NAMES = ("tmux", "process") if shutil.which("tmux") else ("process",)


@pytest.fixture(scope="module", autouse=True)
def started(machine: SharedMachine) -> Iterator[None]:
    machine.write_config(executor={"grace": 1, "tmp": "/var/lib"})
    machine.start()
    yield
    machine.stop()


def told(person: Person, job_id: int) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(person.ctl("show", "--json", str(job_id)).stdout)
    return found[0]


def ended(person: Person, job_id: int) -> tuple[str, str | None, int | None]:
    person.run(str(person.bin / "gflowctl"), "wait", str(job_id))
    found = told(person, job_id)
    return found["state"], found["reason"], found["exit_code"]


@pytest.mark.parametrize("executor", NAMES)
def test_each_job_is_its_submitters_and_its_status_is_true(machine: SharedMachine, executor: str) -> None:
    for name, status in (("gfa", 3), ("gfb", 0)):
        user = machine.as_user(name)
        script = user.write(
            "job.sh", f'#!/bin/sh\nid -un; pwd; [ -O "$TMPDIR" ] && echo own; echo "$1"; exit {status}\n'
        )
        job_id = user.submit("--executor", executor, str(script), "it's")
        assert ended(user, job_id)[2] == status
        lines = user.log(job_id).decode().split()
        assert lines == [name, f"{user.work}", "own", "it's"]
    assert machine.of_user("gfa") == machine.of_user("gfb") == {}
    eventually(lambda: not list((machine.root / "var/lib").glob("gflow-*")))


def test_an_array_writes_one_file_in_its_users_directory(machine: SharedMachine) -> None:
    user = machine.as_user("gfa")
    user.ctl("submit", "--wait", "--array", "1-3", "--output", "all", "--", "sh", "-c", "echo $GFLOW_ARRAY_TASK_ID")
    assert sorted((user.work / "all").read_text().split()) == ["1", "2", "3"]


def test_another_attempt_finds_what_the_first_left(machine: SharedMachine) -> None:
    user = machine.as_user("gfa")
    line = '[ -e "$TMPDIR/first" ] || { touch "$TMPDIR/first"; exit 1; }; echo $GFLOW_ATTEMPT'
    job_id = user.submit("--max-retries", "1", "--", "sh", "-c", line)
    assert ended(user, job_id)[2] == 0
    assert user.log(job_id).split() == [b"2"]


def test_a_script_written_for_slurm_finds_its_programs(machine: SharedMachine) -> None:
    user = machine.as_user("gfb")
    script = user.write("slurm.sh", "#!/bin/bash -l\n#SBATCH -n 2\nsrun id -un\necho $SLURM_JOB_UID\n")
    job_id = user.submit(str(script))
    assert ended(user, job_id)[2] == 0, user.log(job_id)
    assert user.log(job_id).decode().split() == ["gfb", "gfb", "60002"]


def test_limits_cancellations_and_strays_reach_all_of_a_job_and_nobody_elses(machine: SharedMachine) -> None:
    gfa, gfb = machine.as_user("gfa"), machine.as_user("gfb")
    other = gfb.submit("--", "sleep", "600")
    hides = "env -i setsid sh -c 'trap \"\" TERM INT; sleep 600' & "
    limited = gfa.submit("--time", "1s", "--", "sh", "-c", f"{hides} sleep 600")
    cancelled = gfa.submit("--", "sh", "-c", f"{hides} echo begun >begun; sleep 600")
    strays = gfa.submit("--", "sh", "-c", f"{hides} exit 4")
    eventually((gfa.work / "begun").exists)
    assert (
        gfb.run(str(gfb.bin / "gflowctl"), "cancel", str(cancelled)).stderr
        == f"gflowctl: job {cancelled} belongs to gfa\n"
    )
    gfa.ctl("cancel", str(cancelled))
    assert ended(gfa, limited)[:2] == ("timeout", "TimeLimit")
    assert ended(gfa, cancelled)[0] == "cancelled"
    assert ended(gfa, strays)[2] == 4
    eventually(lambda: not machine.of_user("gfa"))
    assert told(gfb, other)["state"] == "running"
    gfb.ctl("suspend", str(other))
    eventually(lambda: told(gfb, other)["state"] == "suspended")
    gfb.ctl("unsuspend", str(other))
    eventually(lambda: told(gfb, other)["state"] == "running")
    gfb.ctl("cancel", str(other))
    assert ended(gfb, other)[0] == "cancelled"


@pytest.mark.skipif("tmux" not in NAMES, reason="no tmux")
def test_a_terminal_opens_for_its_user_and_for_root_as_that_user(machine: SharedMachine) -> None:
    gfa, gfb, root = (machine.as_user(name) for name in ("gfa", "gfb", "root"))
    go = gfa.work / "go"
    job_id = gfa.submit("--", "sh", "-c", f"until [ -e {go} ]; do sleep 0.05; done")
    eventually(lambda: told(gfa, job_id)["state"] == "running")
    for name in ("gfb", "gfop"):
        assert machine.as_user(name).refused(1, "attach", str(job_id)) == f"job {job_id} belongs to gfa"
    socket = f"/var/spool/gflow/jobs/{job_id}/1/u/tmux.sock"
    clients = f"tmux -S {socket} list-clients -F '#{{client_user}}'"
    line = f"{gfa.bin}/gflowctl attach {job_id}"
    opened = [each.begin_program("env", "TERM=xterm", "script", "-qfec", line, "/dev/null") for each in (gfa, root)]
    eventually(lambda: gfa.sh(clients).stdout == "gfa\ngfa\n")
    assert gfb.refused(1, "close-sessions", str(job_id)) == f"job {job_id} belongs to gfa"
    go.touch()
    assert ended(gfa, job_id)[2] == 0
    for each in opened:
        each.communicate()
    assert "no session to close" in root.ctl("close-sessions", str(job_id)).stderr
    assert not os.path.exists(f"{machine.root}{socket}")
    assert re.search("gflow-job|tmux", " ".join(p.words for p in machine.processes().values())) is None


def test_the_terminal_of_a_suspended_job_stands_still_and_is_refused(machine: SharedMachine) -> None:
    gfa, root = machine.as_user("gfa"), machine.as_user("root")
    job_id = gfa.submit("--", "sleep", "1000")
    eventually(lambda: told(gfa, job_id)["state"] == "running")
    gfa.ctl("suspend", str(job_id))
    eventually(lambda: told(gfa, job_id)["state"] == "suspended")
    said = f"job {job_id} is suspended, and its terminal with it; gflowctl unsuspend {job_id} lets it go on"
    for person in (gfa, root):
        line = f"timeout 20 {gfa.bin}/gflowctl attach {job_id}"
        done = person.run("env", "TERM=xterm", "script", "-qfec", line, "/dev/null")
        assert (done.returncode, done.stdout.strip()) == (1, f"gflowctl: {said}")
    gfa.ctl("cancel", str(job_id))
    ended(gfa, job_id)


def test_a_job_outlives_the_daemon_and_its_status_is_kept(machine: SharedMachine) -> None:
    user = machine.as_user("gfb")
    go = user.work / "go"
    jobs = [
        user.submit("--executor", name, "--", "sh", "-c", f"until [ -e {go} ]; do sleep 0.05; done; exit 9")
        for name in NAMES
    ]
    for job_id in jobs:
        eventually(lambda job_id=job_id: told(user, job_id)["state"] == "running")
    before = machine.of_user("gfb").keys()
    kill(machine.daemon.pid)
    machine.daemon.wait()
    ends_meanwhile = jobs.pop(0)
    go.touch()
    eventually(lambda: not machine.of_user("gfb"))
    machine.start()
    assert {ended(user, job_id)[2] for job_id in (ends_meanwhile, *jobs)} == {9}
    assert before
    machine.stop()
