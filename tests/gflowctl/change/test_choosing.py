"""Commands that change jobs, or wait for them, choose them by the same options."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest
from support.ctl import private_ctl

from gflowd.core.job.model import Identity, Run, Started, Suspended
from gflowd.effects import proc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ctl import Ctl

COMMANDS = ("cancel", "hold", "release", "suspend", "unsuspend", "requeue", "redo", "wait")


@pytest.fixture
def eight(ctl: Ctl, made_once: Ctl) -> Ctl:
    """1 and 2 queued, 3 held, 4 and 5 running, 6 suspended, 7 finished, 8 failed; the even ones are named b."""
    shutil.copytree(made_once.state.root, ctl.state.root, dirs_exist_ok=True, symlinks=True)
    return ctl


@pytest.fixture(scope="module")
def made_once() -> Iterator[Ctl]:
    with private_ctl() as made:
        yield _with_eight(made)


def _with_eight(ctl: Ctl) -> Ctl:
    for job_id in range(1, 9):
        ctl.submit("-n", "ba"[job_id % 2], *(["--hold"] if job_id == 3 else []), "true")
    ctl.run_job(4)
    ctl.run_job(5)
    ctl.run_job(6)
    ctl.ok("suspend", "6")
    run, mono = Run(executor="process", launched_at=1.0), time.monotonic()
    started = Started(at=time.time(), mono=mono, identity=Identity(proc.boot_id(), 4242, 7))
    ctl.set_phase(6, Suspended(run=run, started=started, since_at=time.time(), since_mono=mono, since_boot="b"))
    ctl.end_job(7)
    ctl.end_job(8, "failed", exit_code=3)
    return ctl


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("hold --all", "Held jobs 1-2"),
        ("hold --name b", "Held job 2"),
        ("hold --name a,b --state queued", "Held jobs 1-2"),
        ("hold --state queued,running", "Held jobs 1-2"),
        ("release --all", "Released job 3"),
        ("release --state H", "Released job 3"),
        ("release --all --at now+1h", "Released job 3"),
        ("release --state queued --at now+1h", "Released jobs 1-2"),
        ("suspend --all", "Suspended jobs 4-5"),
        ("suspend --name b", "Suspended job 4"),
        ("suspend --state suspended --release-cpus", "Suspended job 6"),
        ("requeue --all", "Requeued jobs 4-6"),
        ("requeue --state failed", "Requeued job 8"),
        ("requeue --name a --state running,finished", "Requeued jobs 5,7"),
        ("redo --all", "Submitted batch jobs 9-10"),
        ("redo --state failed", "Submitted batch job 9"),
        ("redo --select-name a", "Submitted batch job 9"),
        ("redo --select-name a --state queued,finished --name again", "Submitted batch jobs 9-10"),
        ("cancel --state suspended", "Stopping job 6"),
    ],
)
def test_jobs_are_chosen_by_what_the_command_is_for(eight: Ctl, words: str, said: str) -> None:
    assert eight.ok(*words.split()) == f"{said}\n"


def test_a_suspension_that_has_only_been_asked_for_is_taken_back(eight: Ctl) -> None:
    eight.ok("suspend", "--name", "b")
    assert eight.ok("unsuspend", "--all") == "Unsuspended jobs 4,6\n"


def test_redo_names_the_new_job_by_name_and_the_old_by_select_name(eight: Ctl) -> None:
    eight.ok("redo", "--select-name", "b", "--name", "again")
    assert [(job["name"], job["redone_from"]) for job in eight.jobs("9")] == [("again", 8)]


def test_users_count_too(eight: Ctl) -> None:
    me = eight.jobs("1")[0]["user"]
    assert eight.ok("hold", "--user", f"nobody-here,{me}") == "Held jobs 1-2\n"
    assert eight.ok("redo", "--user", me) == "Submitted batch jobs 9-10\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_choice_that_meets_no_job_says_so_and_is_no_error(eight: Ctl, command: str) -> None:
    name = "--select-name" if command == "redo" else "--name"
    done = eight.run(command, name, "x", "--user", "ada")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(f"gflowctl: no job to {command} matches")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_without_any_job_nothing_is_made(ctl: Ctl, command: str) -> None:
    done = ctl.run(command, "--all")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"gflowctl: no job to {command}\n")
    assert ctl.home.parent.joinpath("state").exists() is False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("hold --state running", "queued or held"),
        ("release --state R,finished", "held"),
        ("release --state queued", "held"),
        ("suspend --state PD", "starting, running or suspended"),
        ("unsuspend --state failed", "starting, running or suspended"),
        ("requeue --state queued", "starting, running, suspended, stopping, finished, failed, cancelled or timeout"),
        ("wait --state finished", "queued, held, starting, running, suspended or stopping"),
        ("cancel --state finished", "queued, held, starting, running, suspended or stopping"),
        ("cancel --signal USR1 --state queued", "running, suspended or stopping"),
    ],
)
def test_a_state_in_which_the_command_makes_no_sense_is_refused(eight: Ctl, words: str, said: str) -> None:
    before = eight.store.read().lines
    assert eight.fails(1, *words.split()).endswith(f" is for jobs that are {said}")
    assert eight.store.read().lines == before


@pytest.mark.parametrize("command", COMMANDS)
def test_jobs_are_either_named_or_chosen(eight: Ctl, command: str) -> None:
    assert "choose them with --all" in eight.fails(2, command)
    assert "choose them with --all" in eight.fails(2, command, "1", "--all")
    name = "--select-name" if command == "redo" else "--name"
    assert eight.fails(2, command, "--all", name, ",") == f"{name}: no name given"
    eight.fails(2, command, "--state", "odd")


def test_what_is_already_so_is_told_only_where_nothing_changes(eight: Ctl) -> None:
    assert eight.ok("hold", "--all") == "Held jobs 1-2\n"
    done = eight.run("hold", "--all")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "gflowctl: each of 1-3 is already held\n")


def test_elements_of_arrays_are_chosen_by_their_own_names(ctl: Ctl) -> None:
    ctl.ok("submit", "--array", "1-4", "--name-template", "n{index}", "true")
    assert ctl.ok("hold", "--name", "n2,n3") == "Held jobs 1_[2-3]\n"


def test_waiting_until_jobs_run(eight: Ctl) -> None:
    assert eight.run("wait", "4-7", "--for", "running").returncode == 0
    waiting = eight.start("wait", "1,4", "--for", "running")
    eight.waits(waiting)
    eight.run_job(1)
    assert (waiting.wait(60), waiting.communicate()) == (0, (b"", b""))
    assert eight.fails(75, "wait", "2", "--for", "running", "--timeout", "0.1s") == "job 2 did not run within 0.1 s"


def test_a_job_that_ends_without_having_run_gives_its_status(eight: Ctl) -> None:
    eight.ok("cancel", "2")
    assert eight.run("wait", "2,4", "--for", "running").returncode == 130
    assert eight.run("wait", "2,4", "--for", "running", "--any").returncode == 0
    assert eight.run("wait", "2", "--for", "running", "--any").returncode == 130
    assert eight.run("wait", "8", "--for", "running").returncode == 0, "it has run, whatever came of it"
    assert eight.run("wait", "8", "--for", "ended").returncode == 3


def test_waiting_for_jobs_by_name(eight: Ctl) -> None:
    waiting = eight.start("wait", "--name", "a", "--state", "running,queued")
    eight.waits(waiting)
    for job_id in (1, 5):
        eight.end_job(job_id, "failed", exit_code=job_id)
    assert waiting.wait(60) == 5
    waiting.communicate()
