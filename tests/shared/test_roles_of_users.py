"""Owners, operators and root, through the whole of gflow: what gflowctl says, and what the gateway lets pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.shared_machine import ACCOUNTS

from gflowd.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shared_machine import SharedMachine


@pytest.fixture(scope="module")
def shared(machine: SharedMachine) -> Iterator[SharedMachine]:
    """With two GPUs, and a job of gfa's that runs."""
    machine.write_config(gpu={"simulate": 2})
    machine.start()
    user = machine.as_user("gfa")
    assert user.submit("--time", "1:00:00", "sleep", "1000") == 1
    user.until(1, "running")
    user.ctl("submit", "--hold", "--array", "1-3", "true")
    yield machine
    user.ctl("cancel", "--all")


ONLY = "only operators may"


def test_what_is_refused(shared: SharedMachine) -> None:
    mine, other = shared.as_user("gfa"), shared.as_user("gfb")
    for words in (("cancel", "1"), ("update", "1", "--time", "5m"), ("suspend", "1"), ("requeue", "1"), ("redo", "1"),
                  ("top", "2")):  # fmt: skip
        assert other.refused(1, *words).endswith(f"{words[1] if words[0] != 'top' else '2_[1-3]'} belongs to gfa")
    assert other.refused(1, "limit", "2", "1") == "job 2 belongs to gfa"
    for words, why in (
        (("drain",), f"{ONLY} drain the machine or its GPUs, or change which GPUs are used"),
        (("gpus", "drain", "0"), f"{ONLY} drain the machine or its GPUs, or change which GPUs are used"),
        (("quota", "set", "--user", "gfa", "--max-running-jobs", "9"), f"{ONLY} set quotas"),
        (("reserve", "create", "--gpus", "1", "--start", "now+1h", "--for", "1h"), f"{ONLY} reserve GPUs"),
        (("submit", "--priority", "11", "true"), f"{ONLY} give jobs a priority above 10"),
        (("submit", "--notify", "https://x.test/", "true"),
         "no URLs are called for jobs here, only mail is sent (notify_urls in [shared])"),
        (("top", "2"), f"{ONLY} move jobs to the front of the queue"),
        (("update", "2", "--priority", "11"), f"job 2: {ONLY} give jobs a priority above 10"),
        (("update", "1", "--time", "2:00:00"), f"job 1: {ONLY} raise the time limit of a job that has started"),
    ):  # fmt: skip
        assert mine.refused(1, *words) == why, words
    assert mine.ctl("update", "1", "--time", "30m").stdout == "Updated job 1\n"


def test_what_operators_do(shared: SharedMachine) -> None:
    operator, mine, other = (shared.as_user(name) for name in ("gfop", "gfa", "gfb"))
    operator.ctl("update", "1", "--time", "3:00:00")
    operator.ctl("update", "2", "--priority", "200")
    operator.ctl("top", "2")
    operator.ctl("limit", "2", "1")
    operator.ctl("quota", "set", "--user", "gfb", "--max-running-jobs", "1")
    operator.ctl("reserve", "create", "--user", "gfb", "--gpus", "1", "--start", "now+1d", "--for", "1h")
    made = Store(shared.state).read().of("reservation")[1]
    assert [made[each] for each in ("user", "uid", "created_by", "creator_uid")] == [
        "gfb", ACCOUNTS["gfb"], "gfop", ACCOUNTS["gfop"]
    ]  # fmt: skip
    operator.ctl("reserve", "cancel", "1")
    operator.ctl("drain", "--reason", "cleaning")
    assert "cleaning" in mine.ctl("info").stdout
    operator.ctl("resume")
    operator.ctl("gpus", "drain", "0")
    operator.ctl("gpus", "resume", "0")
    assert operator.refused(1, "redo", "1") == "job 1 belongs to gfa"

    job = other.submit("sleep", "1000")
    assert other.ctl("cancel", "--all").stdout in (f"Cancelled job {job}\n", f"Stopping job {job}\n")
    assert "no job to cancel matches --user gfa; 4 jobs of others" in other.ctl("cancel", "--user", "gfa").stderr
    assert operator.ctl("cancel", "--user", "gfa").stdout == "Cancelled jobs 2_[1-3]\nStopping job 1\n"
    mine.until(1, "cancelled")
    shown = mine.ctl("show", "1", "2_1").stdout
    assert shown.count("CancelledByUser (cancelled by gfop)") == 2
