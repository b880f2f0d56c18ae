"""A selection of what `make soak` does: some seconds of it in every run of the tests."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import archiving
import chaos
import clocks
import damage
import held
import pytest
import random_calls
import rivals
from crashing import DAEMON, KILL, PROCESS, TORN
from day import Broken, Day
from outcome import SYSTEMD, Result, kept, page
from points import new_machine, trial, trials
from support import depth
from support.machine import ROOT, TMUX

SNAPSHOT = "scheduler|write|snapshot.jsonl"
FAULTS = [
    f"{SNAPSHOT}|2|{TORN}|{DAEMON}",
    f"scheduler|rename|jobs/N/N/job.sh.new|1|{KILL}|{DAEMON}",
    f"scheduler|spawn|jobs/N/N/job.sh|2|{KILL}|{PROCESS}",
    f"supervisor|fork||5|{KILL}|{PROCESS}",
    "scheduler|create|jobs/N/N/job.sh.new|1|ENOSPC*|process",
    f"scheduler|write|events.jsonl|3|{TORN}|{PROCESS}",
]


def test_days_with_a_fault_end_as_one_without() -> None:
    outcomes = trials("process", depth.some(FAULTS, 3), 3, lambda outcome: None)
    assert [outcome for outcome in outcomes if outcome.broken or not outcome.reached] == []


@pytest.mark.skipif(TMUX is None, reason="tmux is not installed")
def test_a_daemon_killed_as_it_calls_tmux_loses_no_job() -> None:
    outcome = trial("tmux", f"scheduler|spawn|tmux source-file|2|{KILL}|{DAEMON}")
    assert outcome.broken is None, outcome.broken
    assert outcome.reached


@pytest.mark.parametrize(
    "kind",
    [damage.FLIPPED, "snapshot written over in place under the daemon", "log directory removed while a job runs"],
)
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


def test_processes_killed_and_hung_at_random_cost_no_job_and_run_none_twice() -> None:
    result = Result("", "")
    executors = ("tmux", "process") if TMUX else ("process",)
    with new_machine(executors[0]) as machine:
        chaos.under_load(
            machine, result, seconds=depth.number(15, 6), executors=executors, seed=random.randrange(1 << 32)
        )
    assert result.tried


@pytest.mark.skipif(archiving.STRACE is None, reason="strace is not installed")
def test_a_daemon_killed_within_sqlites_writes_loses_no_job_on_its_way_to_the_history() -> None:
    result = Result("", "")
    try:
        with new_machine("process") as machine:
            archiving.killed_within(machine, result, points=2, seed=random.randrange(1 << 32))
    except archiving.NotAllowed as why:
        pytest.skip(str(why))
    assert result.tried


@pytest.mark.skipif(clocks.COMPILER is None, reason="no C compiler")
def test_a_clock_that_is_set_moves_no_limit_and_every_begin_time_and_window() -> None:
    with new_machine("process") as machine:
        clocks.limits(machine, Result("", ""), seconds=4)
    with new_machine("process") as machine:
        clocks.edges(machine, Result("", ""))


def test_the_tests_that_hold_a_row_of_the_page_are_there() -> None:
    named = [test for _, _, tests in held.ROWS for test in tests]
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:libtmux", "--collect-only", *named]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


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


def test_a_new_page_keeps_what_the_trials_of_systemd_wrote() -> None:
    assert f"\nHEADING = {json.dumps(SYSTEMD)}\n" in (ROOT / "packaging/test-systemd").read_text()
    assert kept(f"old\n| a | b |\n{SYSTEMD}\ntext\n") == f"{SYSTEMD}\ntext\n"
    assert kept("old\n") == ""
    assert kept((ROOT / "docs/reliability.md").read_text()).count("| logout with") == 2


def test_random_calls_end_as_they_may() -> None:
    tally = random_calls.run(depth.number(60, 40), seed=random.randrange(1_000_000), together=30)
    assert tally.faults == []
    assert tally.calls == sum(tally.statuses.values()) + tally.cut_short
    assert len(tally.statuses) > 1, "some are done, some refused"


def test_a_call_that_ends_as_it_must_not_is_found() -> None:
    judge = random_calls.judge
    assert judge(["queue"], 0, b"", b"") is None
    assert judge(["queue"], 3, b"", b"gflowctl: internal error: TypeError") == "shows where it broke"
    assert judge(["queue"], 1, b"", b"Traceback (most recent call last)") == "shows where it broke"
    assert judge(["queue"], -11, b"", b"") == "ends with -11"
    assert judge(["queue"], 1, b"", b"") == "fails without a word"
    assert judge(["queue"], 1, b"", b"gflowctl: one\ntwo\n") == "says more than one line"
    assert judge(["queue", "--json"], 0, b"[", b"") == "writes no JSON"
    assert judge(["queue", "--json"], 0, b"{}\n{}\n", b"") is None
