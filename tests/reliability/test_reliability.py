"""A selection of what `make soak` does: some seconds of it in every run of the tests."""

from __future__ import annotations

import random

import damage
import pytest
import rivals
from crashing import DAEMON, KILL, PROCESS, TORN
from day import Broken, Day
from machine import TMUX
from points import new_machine, trial, trials
from report import Result, page

SNAPSHOT = "scheduler|write|snapshot.jsonl"
FAULTS = [
    f"{SNAPSHOT}|2|{TORN}|{DAEMON}",
    f"scheduler|rename|jobs/N/N/job.sh.new|1|{KILL}|{DAEMON}",
    f"scheduler's child|spawn|jobs/N/N/job.sh|2|{KILL}|{PROCESS}",
    f"supervisor|fork||5|{KILL}|{PROCESS}",
    "scheduler|create|jobs/N/N/job.sh.new|1|ENOSPC*|process",
]


def test_days_with_a_fault_end_as_one_without() -> None:
    outcomes = trials("process", FAULTS, 3, lambda outcome: None)
    assert [outcome for outcome in outcomes if outcome.broken or not outcome.reached] == []


@pytest.mark.skipif(TMUX is None, reason="tmux is not installed")
def test_a_daemon_killed_as_it_calls_tmux_loses_no_job() -> None:
    outcome = trial("tmux", f"scheduler|spawn|tmux source-file|2|{KILL}|{DAEMON}")
    assert outcome.broken is None, outcome.broken
    assert outcome.reached


@pytest.mark.parametrize("kind", [damage.FLIPPED, "log directory removed while a job runs"])
def test_damaged_state_costs_no_more_than_what_was_damaged(kind: str) -> None:
    with new_machine("process") as machine:
        damage.KINDS[kind][0](machine, random.Random(1))


def test_a_few_rivals_spoil_nothing() -> None:
    crowd, orphans = Result("", ""), Result("", "")
    with new_machine("process") as machine:
        rivals.a_crowd(machine, crowd, clients=8, seconds=1)
    assert "p50/p95/p99" in crowd.note
    with new_machine("process") as machine:
        rivals.orphaned(machine, orphans, rounds=1)
    assert orphans.tried == 1


def test_a_torn_commit_of_ten_thousand_lines_is_all_or_nothing() -> None:
    with new_machine("process") as machine:
        rivals.a_large_commit(machine, Result("", "", tried=rivals.LARGE.index(("scheduler", 50))))


@pytest.mark.parametrize("attempt", [rivals.newer_file, rivals.older_file])
def test_formats_are_refused_or_renewed(attempt: object) -> None:
    with new_machine("process") as machine:
        attempt(machine, Result("", ""))  # type: ignore[operator]


def test_a_gpu_given_twice_would_be_seen() -> None:
    with new_machine("process") as machine:
        (machine.work / "gpus").write_text("1 b 0,1 100\n1 e 0,1 200\n2 b 1 200\n3 b 0 250\n2 e 1 260\n3 e 0 300\n")
        Day(machine).check_gpus()
        (machine.work / "gpus").write_text("1 b 0,1 100\n1 e 0,1 200\n2 b 1 199\n2 e 1 300\n")
        with pytest.raises(Broken, match="GPU 1 given to 2 while 1 has it"):
            Day(machine).check_gpus()


def test_a_page_says_what_was_broken() -> None:
    text = page([Result("a", "b", 3, ["why\nso"], "note"), Result("c", "d", 1)], 90.0)
    assert "| a | 3 | b | **broken 1 times**; note |\n| c | 1 | d | all kept |\n" in text
    assert "- a: why so\n" in text
