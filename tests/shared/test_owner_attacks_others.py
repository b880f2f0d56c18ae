"""Processes of a job that want to outlive it, to be taken for another's, or to end another's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.machine import alive
from support.waiting import eventually

if TYPE_CHECKING:
    from support.shared_machine import SharedMachine

BOMB = """
import os, time
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        if len(os.listdir('/proc')) < 600 and os.fork() == 0:
            os.setsid()
            os.environ.clear()
            if os.fork():
                os._exit(0)
    except OSError:
        pass
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def running(machine: SharedMachine) -> SharedMachine:
    machine.write_config(executor={"grace": 1})
    machine.start()
    return machine


def test_a_stray_with_an_emptied_environment_ends_with_its_job(running: SharedMachine) -> None:
    gfa = running.as_user("gfa")
    job = gfa.submit("--", "sh", "-c", "env -i setsid sleep 3000 & sleep 0.2; exit 3")
    gfa.wait(job)
    assert gfa.job(job)["exit_code"] == 3
    eventually(lambda: not any("sleep 3000" in process.words for process in running.of_user("gfa").values()))


def test_a_fork_bomb_ends_when_it_is_cancelled(running: SharedMachine) -> None:
    gfa, gfb = running.as_user("gfa"), running.as_user("gfb")
    gfa.write("bomb.py", BOMB)
    job = gfa.submit("--", "python3", "bomb.py")
    gfa.until(job, "running")
    eventually(lambda: len(running.of_user("gfa")) > 100)
    gfb.ctl("submit", "--wait", "--", "true")
    gfa.ctl("cancel", str(job))
    gfa.wait(job)
    eventually(lambda: running.of_user("gfa") == {})


def test_another_users_process_with_a_jobs_mark_is_not_the_jobs(running: SharedMachine) -> None:
    gfa, gfb = running.as_user("gfa"), running.as_user("gfb")
    job = gfa.submit("--", "sleep", "1000")
    gfa.until(job, "running")
    environment = (running.own(job) / "pid").parent
    assert environment.exists()
    other = gfb.begin_program("sleep", "2000", env={**gfb.env, "GFLOW_JOB_ID": str(job), "GFLOW_ATTEMPT": "1"})
    gfa.ctl("cancel", str(job))
    gfa.wait(job)
    assert alive(other.pid)
    other.kill()
    other.communicate()


def test_a_job_cannot_leave_its_control_group(running: SharedMachine) -> None:
    gfa = running.as_user("gfa")
    line = (
        "grep ^0: /proc/self/cgroup; for place in / /user.slice /system.slice; do "
        "(echo $$ >/sys/fs/cgroup$place/cgroup.procs) 2>/dev/null && echo left; done; grep ^0: /proc/self/cgroup"
    )
    before, after = gfa.result("--", "sh", "-c", line).split()
    assert before == after
    assert "user.slice" not in before
    assert f"{before.count('.')}" != "0"


def test_a_job_runs_as_its_submitter_alone(running: SharedMachine) -> None:
    gfa = running.as_user("gfa")
    told = gfa.result(
        "--", "sh", "-c", "id -u; id -g; id -Gn; grep -E '^(Uid|Gid|CapEff|CapPrm|CapAmb)' /proc/self/status"
    )
    lines = told.splitlines()
    assert lines[:3] == ["60001", "60001", "gfa gflab"]
    assert {line.split(":")[0]: set(line.split()[1:]) for line in lines[3:]} == {
        "Uid": {"60001"}, "Gid": {"60001"}, "CapPrm": {"0" * 16}, "CapEff": {"0" * 16}, "CapAmb": {"0" * 16},
    }  # fmt: skip
    assert gfa.result("--", "python3", "-c", "import os\ntry: os.setuid(0)\nexcept OSError: print('no')") == "no\n"


def test_a_job_holds_no_descriptor_of_roots(running: SharedMachine) -> None:
    gfa = running.as_user("gfa")
    told = gfa.result("--executor", "process", "--", "ls", "-l", "/proc/self/fd")
    places = [line.rpartition(" -> ")[2] for line in told.splitlines() if " -> " in line]
    assert not [place for place in places if place.startswith(("/var/lib/gflow", "/run/gflow", "socket:"))], places
