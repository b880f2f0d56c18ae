"""Many jobs at once through `submit --from`."""

from __future__ import annotations

import json
import random
import time

from support.machine import Machine, kill
from support.waiting import eventually


def lines(count: int, **more: object) -> str:
    job = {"command": "echo $GFLOW_JOB_ID >>ran", "cpus": 0, **more}
    return "".join(json.dumps(job) + "\n" for _ in range(count))


def test_each_line_runs_once(either: Machine) -> None:
    done = either.ctl("submit", "--from", "-", "--wait", "--parsable", input=lines(60))
    first, last = map(int, done.stdout.split("-"))
    assert last - first == 59
    either.ran_exactly_once(list(range(first, last + 1)))


def test_lines_may_be_of_all_kinds(up: Machine) -> None:
    (up.work / "job.sh").write_text("#!/bin/sh\n#SBATCH -o out.txt\nsrun echo $1\n")
    jobs = [
        {"command": ["job.sh", "a b"]},
        {"command": ["sh", "-c", "exit 3"]},
        {"command": "echo $GFLOW_ARRAY_TASK_ID >>elements", "array": "1-3", "cpus": 0},
    ]
    done = up.ctl("submit", "--from", "-", "--wait", "--parsable", check=False, input="\n".join(map(json.dumps, jobs)))
    assert done.returncode == 3
    assert up.lines("out.txt") == ["a b"]
    assert sorted(up.lines("elements")) == ["1", "2", "3"]


def test_what_was_queued_while_the_daemon_was_down_runs_when_it_is_up(machine: Machine) -> None:
    assert machine.ctl("submit", "--from", "-", "--parsable", input=lines(30)).stdout == "1-30\n"
    machine.start()
    machine.wait(*range(1, 31))
    machine.ran_exactly_once(list(range(1, 31)))


def test_a_submission_that_is_killed_leaves_all_its_jobs_or_none(machine: Machine) -> None:
    (machine.work / "jobs").write_text(lines(3000, hold=True))
    chance, total = random.Random(1), 0
    for _ in range(8):
        submitting = machine.begin("submit", "--from", "jobs", "--parsable")
        time.sleep(chance.uniform(0.05, 0.6))  # a moment within its life, whichever it is
        if submitting.poll() is None:
            kill(submitting.pid)
        said, _ = submitting.communicate(timeout=120)
        found = len(machine.jobs())
        assert found in (total, total + 3000)
        assert not said or found == total + 3000
        total = found
    assert eventually(lambda: machine.ctl("submit", "--from", "jobs", "--parsable").stdout)
