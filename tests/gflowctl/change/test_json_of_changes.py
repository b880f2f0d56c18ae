"""What commands that change something print with --json: what is so afterwards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl


@pytest.fixture
def four(ctl: Ctl) -> Ctl:
    """1 queued, 2 held, 3 running, 4 failed."""
    for words in ([], ["--hold"], [], []):
        ctl.submit(*words, "true")
    ctl.run_job(3)
    ctl.end_job(4, "failed", exit_code=3)
    return ctl


def answer(ctl: Ctl, words: str) -> Any:
    return json.loads(ctl.ok(*words.split(), "--json"))


@pytest.mark.parametrize(
    ("words", "states"),
    [
        ("cancel 1,3", {1: "cancelled", 3: "running"}),
        ("cancel --all", {1: "cancelled", 2: "cancelled", 3: "running"}),
        ("cancel --dry-run 1", {1: "queued"}),
        ("hold 1", {1: "held"}),
        ("release 2", {2: "queued"}),
        ("suspend 3", {3: "running"}),
        ("requeue 3,4", {3: "running", 4: "queued"}),
        ("top 1", {1: "queued"}),
        ("update 1,2 --priority 20", {1: "queued", 2: "held"}),
        ("redo 4", {5: "queued"}),
    ],
)
def test_the_jobs_are_listed_as_they_are_afterwards(four: Ctl, words: str, states: dict[int, str]) -> None:
    found = answer(four, words)
    assert {job["id"]: job["state"] for job in found} == states
    assert found == [job for job in four.jobs("-a") if job["id"] in states]


def test_a_cancelled_job_that_still_runs_says_who_cancelled_it(four: Ctl) -> None:
    assert [job["cancelled_by"] for job in answer(four, "cancel 3")] == [four.jobs("1")[0]["user"]]


def test_what_was_not_changed_is_not_listed_and_still_told(four: Ctl) -> None:
    done = four.run("hold", "2", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "gflowctl: job 2 is already held\n")
    done = four.run("hold", "--name", "x", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "gflowctl: no job to hold matches --name x\n")


def test_what_falls_with_cancelled_jobs_is_a_note(four: Ctl) -> None:
    four.submit("-d", "1", "true")
    done = four.run("cancel", "1", "--json")
    assert [job["id"] for job in json.loads(done.stdout)] == [1]
    assert done.stderr == "gflowctl: Also cancelling job 5, which depends on job 1\n"


def test_the_limit_of_an_array(ctl: Ctl) -> None:
    ctl.ok("submit", "--array", "1-4", "true")
    assert answer(ctl, "limit 1 2") == {"array_id": 1, "max_concurrent": 2}


def test_draining_and_resuming_the_machine(ctl: Ctl) -> None:
    found = json.loads(ctl.ok("drain", "--reason", "new disks", "--json"))["drained"]
    assert (found["reason"], sorted(found)) == ("new disks", ["at", "by", "reason"])
    assert answer(ctl, "info")["drained"] == found
    assert json.loads(ctl.run("drain", "--json").stdout) == {"drained": found}
    assert answer(ctl, "resume") == {"drained": None}


GPU = {"index": 0, "uuid": "GPU-a", "model": "A100", "memory_mb": 40960, "state": "idle"}


def test_orders_about_gpus(ctl: Ctl) -> None:
    ctl.observe(gpus=[GPU, {**GPU, "index": 1, "uuid": "GPU-b", "fault": "Xid 79", "lasting": True}])
    assert answer(ctl, "gpus allow 0") == {"gpus": [0], "by": "gflowctl gpus allow", "over": None}
    assert answer(ctl, "gpus allow --default") == {"gpus": None, "by": None, "over": None}
    found = answer(ctl, "gpus drain 0 --reason hot")
    assert (found["index"], found["uuid"], found["drained"]["reason"], found["fault"]) == (0, "GPU-a", "hot", None)
    assert answer(ctl, "gpus resume 0") == {"index": 0, "uuid": "GPU-a", "drained": None, "fault": None}
    assert answer(ctl, "gpus drain 1")["fault"] == "Xid 79"
    done = ctl.run("gpus", "unignore", "--json")
    assert (done.returncode, done.stdout) == (0, "[]\n")


def test_quotas(ctl: Ctl) -> None:
    assert answer(ctl, "quota set --default-user --max-running-gpus 2") == {
        "kind": "default-user", "name": None, "running_jobs": None, "running_gpus": None, "queued_jobs": None,
        "max_running_jobs": None, "max_running_gpus": 2, "max_queued_jobs": None,
    }  # fmt: skip
    assert answer(ctl, "quota remove --default-user")["max_running_gpus"] is None


def test_no_session_to_close(four: Ctl) -> None:
    assert four.run("close-sessions", "--all", "--json").stdout == "[]\n"
