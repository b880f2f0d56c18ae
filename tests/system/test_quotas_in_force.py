"""Quotas and fair share, as users of one machine meet them."""

from __future__ import annotations

import json
import os
import pwd
import re
import time
from datetime import datetime

import pytest
from support import elapsed
from support.machine import GATE, Machine
from support.waiting import eventually

from gflowd.core.planning.backfill import LATE
from gflowd.storage.store import Store

ME = pwd.getpwuid(os.getuid()).pw_name


def reason(machine: Machine, job_id: int) -> str:
    return str(machine.job(job_id)["reason"])


def submit_as(machine: Machine, user: str, *words: str) -> int:
    """A job of another user, as a later gateway for several users will queue it."""
    model = machine.submit("--hold", *words)
    store = Store(machine.state)
    with store.commit() as commit:
        job_id = commit.allocate()
        commit.put("spec", job_id, {**commit.fold().of("spec")[model], "user": user})
    machine.ctl("cancel", str(model))
    return job_id


def test_a_job_over_the_quota_of_running_jobs_waits_until_there_is_room(own_default: Machine) -> None:
    machine = own_default
    machine.ctl("quota", "set", "--user", ME, "--max-running-jobs", "1")
    first, second, third = (machine.submit("--wrap", GATE) for _ in range(3))
    machine.until(first, "running")
    eventually(lambda: reason(machine, second) == reason(machine, third) == "Quota", news=machine.news)
    machine.ctl("quota", "set", "--user", ME, "--max-running-jobs", "2")
    machine.until(second, "running")
    eventually(lambda: reason(machine, third) == "Quota", news=machine.news)
    machine.ctl("cancel", str(first))
    machine.until(third, "running")
    machine.open_gate()
    machine.wait(first, second, third)


def test_the_gpus_of_a_project_are_counted_and_other_projects_pass_it(machine: Machine) -> None:
    machine.write_config(gpu={"simulate": "4x8G"}, **{"quota.projects.ml": {"max_running_gpus": 2}})
    machine.start()
    running = machine.submit("--gpus", "2", "-P", "ml", "--wrap", GATE)
    over = machine.submit("--gpus", "1", "-P", "ml", "--wrap", GATE)
    without = machine.submit("-P", "ml", "true")
    other = machine.submit("--gpus", "2", "-P", "nlp", "true")
    assert machine.wait(without, other) == 0
    machine.until(running, "running")
    eventually(lambda: reason(machine, over) == "Quota", news=machine.news)
    machine.open_gate()
    assert machine.wait(running, over) == 0


def test_an_array_runs_as_many_at_a_time_as_the_quota_has(machine: Machine) -> None:
    machine.write_config(**{"quota.default_user": {"max_running_jobs": 2}})
    machine.start()
    text = (
        "mkdir slot.a || mkdir slot.b || touch over; sleep 0.1; echo $GFLOW_JOB_ID >>ran; rmdir slot.a || rmdir slot.b"
    )
    first, _, last = machine.ctl("submit", "--parsable", "-a", "1-8", "--wrap", text).stdout.strip().partition("-")
    ids = list(range(int(first), int(last) + 1))
    machine.wait(*ids)
    machine.ran_exactly_once(ids)
    assert not (machine.work / "over").exists()


def test_a_quota_that_was_set_holds_after_kill_and_restart(own_default: Machine) -> None:
    machine = own_default
    machine.ctl("quota", "set", "--default-user", "--max-running-jobs", "1", "--max-queued-jobs", "2")
    first = machine.submit("--wrap", GATE)
    machine.until(first, "running")
    second = machine.submit("--wrap", GATE)
    os.kill(machine.pids()["supervisor"], 9)
    eventually(lambda: not machine.status()["running"])
    machine.submit("--hold", "true")
    said = f"user {ME} has 2 jobs queued, another would exceed max_queued_jobs = 2 (gflowctl quota list)"
    assert machine.refused(1, "submit", "true") == said
    machine.start()
    assert machine.refused(1, "submit", "true") == said
    eventually(lambda: reason(machine, second) == "Quota", news=machine.news)
    rows = json.loads(machine.ctl("quota", "list", "--json").stdout)
    assert [(row["running_jobs"], row["queued_jobs"]) for row in rows if row["name"] == ME] == [(1, 2)]
    machine.open_gate()
    assert machine.wait(first, second) == 0


def test_a_quota_of_the_file_refuses_also_while_the_daemon_is_down(machine: Machine) -> None:
    machine.write_config(**{"quota.default_user": {"max_queued_jobs": 1}})
    machine.submit("true")
    machine.refused(1, "submit", "true")
    machine.start()
    machine.wait(1)
    machine.submit("--hold", "true")
    machine.refused(1, "submit", "true")
    machine.ctl("quota", "set", "--user", ME, "--max-queued-jobs", "2")
    machine.submit("--hold", "true")
    machine.refused(1, "submit", "true")
    machine.ctl("quota", "remove", "--user", ME)
    machine.stop()
    machine.refused(1, "submit", "true")


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("enabled", [True, False])
def test_who_had_less_goes_first(machine: Machine, enabled: bool, restarted: bool) -> None:
    share = {"enabled": enabled, "cpu_weight": 1e-6}  # so that what runs now, for however long, counts nothing
    patient = {"cpus": 1, "promise_after": 1e6}  # on a slow machine a promise would keep mine its place
    machine.write_config(scheduler=patient, gpu={"simulate": "1x8G"}, **{"scheduler.fair_share": share})
    machine.start()
    assert machine.wait(machine.submit("--gpus", "1", "--wrap", "sleep 0.3")) == 0
    running = submit_as(machine, "cy", "--wrap", GATE)
    machine.until(running, "running")
    mine = machine.submit("--wrap", "echo mine >>order")
    urgent = machine.submit("-p", "11", "--wrap", "echo urgent >>order")
    theirs = submit_as(machine, "bob", "--wrap", "echo theirs >>order")
    if restarted:
        os.kill(machine.pids()["supervisor"], 9)
        eventually(lambda: not machine.status()["running"])
        machine.start()
    times = (str(machine.job(each)["submitted_at"]) for each in (mine, theirs))
    first, second = (datetime.fromisoformat(at).timestamp() for at in times)
    # What mine has waited counts a ninth: 1 / (1 + 4 * 2 users * all of the usage).
    eventually(lambda: time.time() - second > (time.time() - first) / 4)
    machine.open_gate()
    assert machine.wait(running, mine, urgent, theirs) == 0
    order = ["urgent", "theirs", "mine"] if enabled else ["urgent", "mine", "theirs"]
    assert machine.lines("order") == order


def test_show_says_which_quota_and_one_that_became_too_small(machine: Machine) -> None:
    machine.start("--simulate-gpus", "4x8G")
    running = machine.submit("--gpus", "2", "--wrap", GATE)
    machine.until(running, "running")
    waiting = machine.submit("--gpus", "2", "true")
    machine.wait(waiting)
    machine.ctl("quota", "set", "--user", ME, "--max-running-gpus", "3")
    over = machine.submit("--gpus", "2", "true")
    eventually(lambda: reason(machine, over) == "Quota", news=machine.news)
    assert f"user {ME} uses 2 of 3 GPUs (max_running_gpus), 2 asked for" in machine.ctl("show", str(over)).stdout
    assert "may use 3 GPUs at most" in machine.refused(1, "submit", "--gpus", "4", "true")
    machine.ctl("quota", "set", "--user", ME, "--max-running-gpus", "1")
    eventually(lambda: reason(machine, over) == "Never:Quota", news=machine.news)
    said = machine.ctl("show", str(over)).stdout
    assert f"user {ME} may use 1 GPU at most (max_running_gpus = 1), 2 asked for" in said
    machine.ctl("quota", "set", "--user", ME, "--max-running-gpus", "2")
    machine.open_gate()
    assert machine.wait(running, over) == 0


def test_show_says_which_gpu_is_away_and_what_is_reserved(machine: Machine) -> None:
    machine.start("--simulate-gpus", "2x8G")
    machine.ctl("gpus", "drain", "1", "--reason", "new fan")
    away = machine.submit("--gpus", "2", "true")
    eventually(lambda: reason(machine, away) == "GpuUnavailable", news=machine.news)
    assert "GPU 1 is drained: new fan; gflowctl gpus resume 1" in machine.ctl("show", str(away)).stdout
    machine.ctl("cancel", str(away))
    machine.ctl("reserve", "create", "--user", "daemon", "--gpu-list", "0", "--start", "now+2h", "--for", "1h")
    long = machine.submit("--gpus", "1", "--time", "3h", "true")
    eventually(lambda: reason(machine, long) == "Reservation", news=machine.news)
    (window,) = json.loads(machine.ctl("reserve", "list", "--json").stdout)
    begins, asked = datetime.fromisoformat(window["start"]).timestamp(), time.time()
    said = str(
        eventually(lambda: (found := machine.ctl("show", str(long)).stdout) and "--time below" in found and found)
    )
    assert "reservation 1 keeps GPU 0 for daemon from " in said
    below = re.search(r"give it a --time below (\S+) and", said)
    assert below is not None
    looks = (0.0, LATE)  # seconds that are left to a look at the GPUs, if there is to be one first
    assert any(elapsed.is_left(below[1], until=begins - look, asked=asked) for look in looks)
    machine.ctl("update", "--time", "1h", str(long))
    assert machine.wait(long) == 0


def test_a_job_over_its_quota_is_expected_when_the_quota_lets_it(machine: Machine) -> None:
    machine.start("--simulate-gpus", "2x8G")
    machine.ctl("quota", "set", "--user", ME, "--max-running-gpus", "1")
    running = machine.submit("--gpus", "1", "--time", "1h", "--wrap", GATE)
    machine.until(running, "running")
    ids = [machine.submit("--gpus", "1", "--time", "2h", "true") for _ in range(2)]
    later = machine.submit("--begin", "now+9h", "true")
    eventually(lambda: [reason(machine, job_id) for job_id in ids] == ["Quota"] * 2, news=machine.news)
    began = datetime.fromisoformat(machine.job(running)["started_at"])
    for job_id, hours in ((ids[0], 1), (ids[1], 3)):
        told = eventually(lambda each=job_id: machine.job(each)["expected_start"])
        assert abs((datetime.fromisoformat(told) - began).total_seconds() - hours * 3600) < 60
    rows = machine.ctl("queue", "--start", "-f", "JOBID").stdout.split()[1:]
    assert rows == [*map(str, ids), str(later)]
    machine.open_gate()
    machine.wait(running, *ids)
    machine.ctl("cancel", str(later))
