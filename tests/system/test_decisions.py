"""What is told to somebody who asks why: decisions in the log, the commit that a job ran, its errors as they come."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest
from support.machine import GATE
from support.waiting import eventually

if TYPE_CHECKING:
    from support.machine import Machine


def lines(machine: Machine, event: str) -> list[dict[str, str]]:
    """The fields of an event at level debug, in each of its lines."""
    found = re.findall(rf"(?m)^\S+ debug scheduler {event}((?: \w+=(?:\"[^\"]*\"|\S+))*)$", machine.daemon_log())
    return [dict(re.findall(r"(\w+)=(\"[^\"]*\"|\S+)", fields)) for fields in found]


def started(machine: Machine, level: str) -> Machine:
    machine.write_config(daemon={"log_level": level}, gpu={"simulate": "1"})
    machine.start()
    return machine


def test_the_log_tells_decisions_and_their_causes_at_level_debug(machine: Machine) -> None:
    started(machine, "debug")
    first = machine.submit("-g", "1", "-c", "3", "-t", "1h", "--wrap", GATE)
    machine.until(first, "running")
    second = machine.submit("-g", "1", "-p", "20", "true")
    third = machine.submit("-d", str(second), "true")
    eventually(lambda: {each["job"] for each in lines(machine, "waits")} >= {str(second), str(third)})
    waits = {int(each["job"]): each for each in lines(machine, "waits")}
    assert waits[second] | {"why": "Resources", "gpus": "1", "idle_gpus": "0", "free_cpus": "5"} == waits[second]
    assert waits[third]["why"] == "Dependency"
    choice = lines(machine, "chosen")[0]
    assert choice | {"job": str(first), "gpus": "0", "cpus": "3", "priority": "10", "length": "3600"} == choice
    assert float(choice["waited"]) >= 0
    looks = lines(machine, '"looks at GPUs"')
    assert looks[0] | {"job": str(first), "gpus": "0"} == looks[0]
    told = len(lines(machine, "waits"))
    machine.open_gate()
    machine.wait(first, second, third)
    assert [int(each["job"]) for each in lines(machine, "chosen")] == [first, second, third]
    assert len([each for each in lines(machine, "waits")[told:] if each["job"] == str(second)]) == 0, "told twice"


def test_at_level_info_it_tells_none_of_them(machine: Machine) -> None:
    started(machine, "info")
    machine.result("-g", "1", "true")
    assert " debug " not in machine.daemon_log()
    assert " info scheduler starts job=1 " in machine.daemon_log()


def test_errors_are_followed_as_they_are_written(machine: Machine) -> None:
    machine.start()
    job_id = machine.submit("-e", "errors", "-o", "out", "--wrap", f"echo one >&2; echo no; {GATE}; echo two >&2")
    follow = ("log", "-f", "--error", str(job_id))
    with (machine.work / "shown").open("wb") as shown, machine.begin(*follow, stdout=shown) as following:
        eventually(lambda: machine.lines("shown") == ["one"])
        machine.open_gate()
        assert following.wait(60) == 0
    assert machine.lines("shown") == ["one", "two"]
    plain = machine.submit("true")
    assert "has no separate error file" in machine.refused(1, "log", "-f", "--error", str(plain))


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_stays_with_a_job_to_its_end_and_in_the_history(machine: Machine) -> None:
    for words in (
        ("init", "-q", "-b", "trunk"),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x", "--allow-empty"),
    ):
        machine.run("git", *words, env={**machine.env, "GIT_CONFIG_GLOBAL": "/dev/null"})
    head = machine.run("git", "rev-parse", "HEAD").stdout.strip()
    machine.write_config(history={"after": "0s"})
    machine.start()
    job_id = machine.submit("true")
    machine.wait(job_id)
    eventually(lambda: f'"spec",{job_id},null' in (machine.root / "state/snapshot.jsonl").read_text())
    found = machine.job(job_id)["git"]
    assert (found["commit"], found["branch"]) == (head, "trunk")
    assert f"{head} on trunk" in machine.ctl("show", str(job_id)).stdout
    again = int(machine.ctl("redo", "--parsable", str(job_id)).stdout)
    assert machine.job(again)["git"]["commit"] == head
