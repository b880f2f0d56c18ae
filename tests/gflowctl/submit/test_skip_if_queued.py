"""`submit --skip-if-queued`: nothing is queued while a job of the same user and name has not ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support import descriptors
from support.waiting import eventually

if TYPE_CHECKING:
    from support.ctl import Ctl

SKIP = ("submit", "--skip-if-queued")


def test_nothing_is_queued_while_a_job_of_that_name_lives(ctl: Ctl) -> None:
    assert ctl.ok(*SKIP, "-n", "nightly", "true") == "Submitted batch job 1\n"
    ctl.submit("-n", "other", "true")
    with ctl.store.commit() as commit:  # a namesake of somebody else's
        commit.put("spec", commit.allocate(), ctl.store.read().of("spec")[1] | {"user": "somebody-else"})
    assert ctl.ok(*SKIP, "-n", "nightly", "-g", "99", "true") == "Nothing submitted: job 1 (nightly) is queued\n"
    ctl.ok("hold", "1")
    assert ctl.ok(*SKIP, "--dry-run", "-n", "nightly", "true") == "Would submit nothing: job 1 (nightly) is held\n"
    ctl.run_job(1)
    assert ctl.ok(*SKIP, "--parsable", "--wait", "-n", "nightly", "true") == "1\n", "it does not wait"
    (record,) = json.loads(ctl.ok(*SKIP, "--json", "-n", "nightly", "true"))
    assert (record["id"], record["state"]) == (1, "running")
    (ctl.home / "nightly").write_text("#!/bin/sh\n# GFLOW --skip-if-queued --parsable\n")
    assert ctl.ok("submit", "nightly") == "1\n", "the head of a script may ask for it"
    assert ctl.slurm("sbatch", "nightly").stdout == "1\n"
    assert sorted(ctl.store.read().of("spec")) == [1, 2, 3]
    ctl.end_job(1, "failed", exit_code=1)
    assert ctl.ok(*SKIP, "--dry-run", "-n", "nightly", "true").startswith("Would submit nightly: ")
    assert ctl.ok(*SKIP, "--parsable", "-n", "nightly", "true") == "4\n"
    ctl.ok("cancel", "4")
    assert ctl.ok(*SKIP, "--parsable", "-n", "nightly", "true") == "5\n", "one that is cancelled never runs"
    ctl.end_job(5)
    ctl.archive(1, 5)
    assert ctl.ok(*SKIP, "--parsable", "-n", "nightly", "true") == "6\n"


def test_arrays_and_series_are_named_as_they_were_when_submitted(ctl: Ctl) -> None:
    assert ctl.ok("submit", "--parsable", "-n", "many", "-a", "1-3", "true") == "1-3\n"
    ctl.end_job(1)
    ctl.end_job(3)
    assert ctl.ok(*SKIP, "--parsable", "-n", "many", "true") == "1-3\n"
    assert ctl.ok(*SKIP, "-n", "many", "-a", "1-9", "true") == "Nothing submitted: jobs 1-3 (many) have not ended\n"
    assert [job["id"] for job in json.loads(ctl.ok(*SKIP, "--json", "-n", "many", "true"))] == [1, 2, 3]
    ctl.end_job(2)
    assert ctl.ok(*SKIP, "--parsable", "-n", "many", "true") == "4\n"
    series = ctl.submit("--repeat", "daily 02:00", "-n", "again", "true")
    raw = ctl.store.read().of("spec")[series]
    with ctl.store.commit() as commit:  # its second run, after the first
        commit.put("spec", commit.allocate(), raw | {"repeat": raw["repeat"] | {"series": series}})
    ctl.end_job(series)
    assert ctl.ok(*SKIP, "--parsable", "--repeat", "daily 02:00", "-n", "again", "true") == f"{series}\n"
    assert ctl.ok(*SKIP, "-n", "again", "true") == f"Nothing submitted: job {series} (again) is queued\n"


def test_two_at_once_submit_one(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.end_job(1)
    with ctl.store.commit() as commit:
        late = ctl.start(*SKIP, "--parsable", "true")
        eventually(lambda: ctl.state.snapshot_lock in descriptors.opened(late.pid))
        commit.put("spec", commit.allocate(), ctl.store.read().of("spec")[1])
    assert late.communicate(timeout=60) == (b"2\n", b"")
    assert sorted(ctl.store.read().of("spec")) == [1, 2]


@pytest.mark.parametrize("line", [{"command": "true", "skip-if-queued": True}, {"command": ["./head.sh"]}])
def test_it_is_for_one_submission(ctl: Ctl, line: dict[str, object]) -> None:
    (ctl.home / "head.sh").write_text("#!/bin/sh\n# GFLOW --skip-if-queued\n")
    assert "skip-if-queued" in ctl.fails(1, "submit", "--from", "-", input=json.dumps(line))
    assert "--from or --skip-if-queued" in ctl.fails(2, *SKIP, "--from", "-", input="")
