"""Accounts that end, expire, or pass to somebody else while jobs of theirs are queued."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.waiting import eventually

if TYPE_CHECKING:
    from support.shared_machine import SharedMachine


@pytest.fixture(scope="module")
def running(machine: SharedMachine) -> SharedMachine:
    machine.start()
    return machine


def told(machine: SharedMachine, job: int) -> dict[str, object]:
    """The job as root sees it."""
    found: list[dict[str, object]] = json.loads(machine.as_user("root").ctl("queue", "--json", str(job)).stdout)
    return found[0]


def must_not_have_started(machine: SharedMachine, job: int, *words: str) -> None:
    eventually(lambda: told(machine, job)["state"] == "failed")
    shown = machine.as_user("root").ctl("show", str(job)).stdout
    assert str(told(machine, job)["reason"]).startswith("LaunchFailed")
    assert all(word in shown for word in words), shown
    assert not (machine.root / "ran").exists()


def test_an_expired_account_starts_nothing(running: SharedMachine) -> None:
    gfx = running.as_user("gfx")
    job = gfx.submit("--", "touch", str(running.root / "ran"))
    must_not_have_started(running, job, "expired")


def test_the_job_of_a_removed_user_is_not_started(running: SharedMachine) -> None:
    gfb = running.as_user("gfb")
    job = gfb.submit("--hold", "--", "touch", str(running.root / "ran"))
    saved = (running.root / "etc/passwd").read_text()
    running.remove_account("gfb")
    try:
        running.as_user("root").ctl("release", str(job))
        must_not_have_started(running, job, "gfb")
    finally:
        (running.root / "etc/passwd").write_text(saved)


def test_who_gets_a_uid_gets_nothing_of_who_had_it(running: SharedMachine) -> None:
    gfb = running.as_user("gfb")
    job, kept = (gfb.submit("--hold", "--", "touch", str(running.root / "ran")) for _ in range(2))
    running.rename("gfb", "gfz")
    try:
        heir = running.as_user("root").run("setpriv", "--reuid=60002", "--regid=60002", "--clear-groups",
                                           str(gfb.bin / "gflowctl"), "release", str(kept), cwd="/tmp")  # fmt: skip
        assert heir.returncode == 1, heir
        assert f"job {kept} belongs to gfb" in heir.stderr
        assert told(running, kept)["state"] in ("held", "queued")
        running.as_user("root").ctl("release", str(job))
        must_not_have_started(running, job, "gfb", "gfz")
    finally:
        running.rename("gfz", "gfb")
        gfb.ctl("cancel", "--all")
