"""Rows of the page that are held by tests which stand elsewhere: each is run, and what came of it is counted."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

from outcome import Result

ROOT = Path(__file__).parent.parent.parent
HELD = "the job and what it left behind end, by themselves or as asked; the daemon is the same, and other jobs go on"
VANDALS, STOPPING, MAIN = (f"tests/system/test_{name}.py" for name in ("vandal_jobs", "stopping", "main_job"))
LOGS, VANISHED, HOSTING = (f"tests/system/test_{name}.py" for name in ("log_limit", "vanished", "hosting"))
# Fault, promise, tests; each runs with tmux and with plain processes where that makes a difference.
ROWS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("a job that forks without end", HELD, (
        f"{VANDALS}::test_a_job_that_never_stops_forking_is_ended",
        f"{VANDALS}::test_what_a_forking_job_leaves_behind_is_ended_too",
        f"{STOPPING}::test_a_fork_bomb_of_modest_size_is_ended",
    )),
    ("a job that ignores INT and TERM", HELD, (
        f"{STOPPING}::test_what_ignores_its_signals_is_killed",
        f"{STOPPING}::test_what_traps_its_signals_gets_each_once_and_then_is_killed",
    )),
    ("a job that daemonises itself or closes its descriptors, in five ways", HELD, (
        f"{STOPPING}::test_cancel_reaches_the_whole_tree",
        f"{STOPPING}::test_strays_are_ended_and_the_state_is_the_commands",
    )),
    ("a job that kills or stops its own shell", HELD, (
        f"{VANDALS}::test_a_job_that_kills_or_stops_its_own_shell_can_be_cancelled",
    )),
    ("a job that fills its log at full speed", "the log stays small, and its start and end are readable", (LOGS,)),
    ("a job that spoils its own records", "it ends; no other file or job is touched", (
        f"{VANDALS}::test_a_job_that_spoils_its_own_records_ends_and_hurts_nobody",
    )),
    ("a job that removes the directory it works in", "it ends as it should", (
        f"{MAIN}::test_a_job_that_removes_its_own_directory_ends_as_it_should",
    )),
    ("200 jobs that end immediately", "each runs once", (
        f"{MAIN}::test_many_jobs_of_no_length_each_run_exactly_once",
    )),
    ("tmux server killed with 50 jobs in it", "jobs that die fail, jobs that live on are tracked; none runs twice", (
        f"{VANISHED}::test_a_tmux_server_killed_under_many_jobs_costs_none_its_true_end",
    )),
    ("tmux server, session or process of a job killed, stopped or renamed",
     "the truth is reported, and no other job is affected", (
        f"{VANISHED}",
    )),
    ("pid of a job reused by another process while the daemon is down, in a pid namespace",
     "the other process is never signalled; the job ends by its exit record, or as a zombie", (
        "tests/system/test_pid_reuse.py",
    )),
    ("runtime directory deleted under the daemon", "no job is lost", (
        f"{HOSTING}::test_a_runtime_directory_deleted_under_the_daemon_loses_no_job",
    )),
)  # fmt: skip


def try_all() -> list[Result]:
    """Every row; `tried` counts the tests that ran."""
    return [_row(Result(fault, promised), tests) for fault, promised, tests in ROWS]


def _row(result: Result, tests: tuple[str, ...]) -> Result:
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        without = ("-p", "no:cacheprovider", "-p", "no:libtmux")  # plugins
        words = ["-m", "pytest", "-q", *without, f"--junitxml={report.name}", *tests]
        done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
        try:
            cases = list(ET.parse(report.name).iter("testcase"))
        except ET.ParseError:
            cases = []
    skipped = [why.get("message", "") for case in cases for why in case.findall("skipped")]
    result.tried = len(cases) - len(skipped)
    result.broken = [f"{case.get('name')}: {why.get('message')}" for case in cases for why in case if why.tag in BAD]
    if done.returncode and not result.broken:
        result.broken.append(done.stdout[-500:] + done.stderr[-500:])
    if skipped:
        result.note = f"{len(skipped)} not tried: {skipped[0]}"
    return result


BAD = ("failure", "error")
