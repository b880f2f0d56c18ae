from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING

import pytest

from gflowctl.commands import redo

if TYPE_CHECKING:
    from support.ctl import Ctl


@pytest.fixture
def chain(ctl: Ctl) -> Ctl:
    """1 failed; 2 waited for it, 3 for 2 and 5, and fell with it; 4 waited for 1 by afterany; 5 finished."""
    ctl.submit("-n", "a", "-g", "1", "-t", "1h", "false")
    ctl.submit("-n", "b", "-d", "1", "true")
    ctl.submit("-n", "x", "true")
    ctl.submit("-n", "c", "-d", "2,3", "true")
    ctl.submit("-n", "d", "-d", "afterany:1", "true")
    ctl.end_job(1, "failed", exit_code=1, reason="NonZeroExit")
    ctl.end_job(2, "cancelled", reason="DependencyFailed:1")
    ctl.end_job(3)
    ctl.end_job(4, "cancelled", reason="DependencyFailed:2")
    return ctl


def needs(ctl: Ctl, job_id: int) -> list[tuple[str, int]]:
    return [(each["kind"], each["id"]) for each in ctl.jobs(str(job_id))[0]["dependencies"]]


def test_redoing_a_job(chain: Ctl) -> None:
    assert chain.ok("redo", "1") == "Submitted batch job 6\n"
    old, new = chain.spec(1), chain.spec(6)
    assert new.redone_from == 1
    assert new.submitted_at > old.submitted_at
    assert new == old.replace(submitted_at=new.submitted_at, redone_from=1)
    job = chain.jobs("6")[0]
    assert (job["state"], job["redone_from"], job["attempt"]) == ("queued", 1, 1)
    assert "Redone from: 1\n" in chain.ok("show", "6")


def test_redoing_with_changes(chain: Ctl) -> None:
    words = ["-g", "2", "-t", "0", "-m", "1G", "-n", "again", "--nice", "4", "--max-retries", "2", "-d", "5", "--hold"]
    assert chain.ok("redo", "1", "--parsable", *words) == "6\n"
    spec = chain.spec(6)
    assert (spec.gpus, spec.time_limit, spec.memory_mb, spec.name, spec.priority) == (2, None, 1024, "again", 6)
    assert spec.retry.max_retries == 2
    assert needs(chain, 6) == [("afterok", 5)]
    assert chain.jobs("6")[0]["state"] == "held"


def test_redo_has_an_option_for_each_field_that_it_sets(chain: Ctl) -> None:
    parser = argparse.ArgumentParser()
    redo.configure(parser)
    assert redo.FIELDS.keys() <= vars(parser.parse_args([])).keys()
    chain.ok("redo", "1", "--notify-email", "ada@example.org", "--notify-on", "fail")
    assert (chain.spec(6).notify_email, chain.spec(6).notify_on) == ("ada@example.org", ("fail",))


def test_jobs_redone_together_wait_for_each_other(chain: Ctl) -> None:
    assert chain.ok("redo", "2,1") == "Submitted batch jobs 6-7\n"
    assert (needs(chain, 6), needs(chain, 7)) == ([], [("afterok", 6)])


def test_what_a_job_waited_for_is_kept_or_cleared(chain: Ctl) -> None:
    chain.ok("redo", "4")
    assert needs(chain, 6) == [("afterok", 2), ("afterok", 3)]
    chain.ok("redo", "4", "--clear-deps")
    assert needs(chain, 7) == []
    chain.ok("redo", "4", "--no-auto-cancel")
    assert not chain.spec(8).needs.auto_cancel


def test_a_cascade(chain: Ctl) -> None:
    found = json.loads(chain.ok("redo", "1", "--cascade", "--json", "-g", "2"))
    assert [(job["id"], job["redone_from"], job["gpus"]) for job in found] == [(6, 1, 2), (7, 2, 0), (8, 4, 0)]
    assert needs(chain, 7) == [("afterok", 6)]
    assert needs(chain, 8) == [("afterok", 7), ("afterok", 3)]
    assert len(chain.jobs("-a")) == 8


def test_a_long_cascade(ctl: Ctl) -> None:
    ctl.submit("false")
    spec = ctl.store.read().of("spec")[1]
    ctl.end_job(1, "failed", exit_code=1)
    with ctl.store.commit() as commit:
        commit.allocate(2999)
        for job_id in range(2, 3001):
            why = f"DependencyFailed:{job_id - 1}"
            needs = {"dependencies": [{"kind": "afterok", "id": job_id - 1}]}
            commit.put("spec", job_id, {**spec, "needs": needs})
            commit.put("phase", job_id, {"is": "ended", "state": "cancelled", "ended_at": 1.0, "reason": why})
    assert ctl.ok("redo", "1", "--cascade") == "Submitted batch jobs 3001-6000\n"
    assert ctl.spec(6000).needs.ids == (5999,)


@pytest.mark.parametrize(
    ("status", "words"),
    [(1, ["redo", "99"]), (1, ["redo", "1", "-d", "99"]), (1, ["redo", "1", "-g", "9"]), (2, ["redo"]),
     (2, ["redo", "x"]), (2, ["redo", "1", "--max-retries", "-1"]), (2, ["redo", "1", "--retry-on", "oom"]),
     (2, ["redo", "1", "--json", "--parsable"]), (1, ["redo", "1", "-n", " "]), (2, ["redo", "1", "--begin", "x"])],
)  # fmt: skip
def test_what_is_refused_queues_nothing(chain: Ctl, status: int, words: list[str]) -> None:
    chain.observe()
    before = chain.store.read().lines
    chain.fails(status, *words)
    assert chain.store.read().lines == before


def test_without_any_job_nothing_is_made(ctl: Ctl) -> None:
    for verb in ("redo", "requeue", "top"):
        assert ctl.fails(1, verb, "1") == "no job 1"
    assert ctl.fails(1, "update", "1", "-g", "1") == "no job 1"
    assert not os.path.exists(ctl.state.root)


def test_a_job_whose_environment_is_gone_is_refused(chain: Ctl) -> None:
    os.unlink(chain.state.environment(chain.spec(1).env))
    assert "environment of job 1 is no longer kept" in chain.fails(1, "redo", "1")
