"""scancel: which jobs it cancels, and what it says of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl


@pytest.fixture
def some(ctl: Ctl) -> Ctl:
    """1 and 2 queued, 3 held, 4 running, 5 finished, 6 to 9 an array."""
    ctl.submit("-n", "a", "true")
    ctl.submit("-n", "b", "-P", "ml", "true")
    ctl.submit("-n", "a", "--hold", "true")
    ctl.submit("-n", "c", "true")
    ctl.run_job(4)
    ctl.submit("true")
    ctl.end_job(5, exit_code=0)
    ctl.ok("submit", "-n", "arr", "--array", "1-4", "true")
    return ctl


def cancelled(ctl: Ctl) -> list[int]:
    return [int(job_id) for job_id, wish in sorted(ctl.store.read().of("wish").items()) if wish.get("cancelled_at")]


MEANT = {
    "1 2": [1, 2],
    "1,2": [1, 2],
    "4": [4],
    "6": [6, 7, 8, 9],
    "6_3 6_[1-2]": [6, 7, 8],
    "6_*": [6, 7, 8, 9],
    "6_[1-3%2]": [6, 7, 8],
    "-n a": [1, 3],
    "--jobname=arr 6_1 1": [6],
    "--me -t PD": [1, 2, 3, 6, 7, 8, 9],
    "-u USER -t running --ctld": [4],
    "-A ml": [2],
    "--me -p other": [],
    "--me -q normal -p gflow -t R": [4],
    "--me --wckey=x": [],
    "--me -w localhost,nohost": [],
    "-s KILL 1 --quiet": [1],
    "-t suspended -M all": [],
}


def test_the_jobs_that_are_meant(some: Ctl) -> None:
    for words, ids in MEANT.items():
        done = some.slurm("scancel", *words.replace("USER", _user()).split())
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), words
        assert cancelled(some) == ids, words
        with some.store.commit() as commit:
            for job_id in ids:
                commit.put("wish", job_id, {"held": True} if job_id == 3 else None)


def _user() -> str:
    import os
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def test_what_cannot_be_cancelled_is_told_as_slurm_tells_it(some: Ctl) -> None:
    told = {
        (): (1, "error: No job identification provided"),
        ("99", "1"): (1, "error: Kill job error on job id 99: Invalid job id specified"),
        ("6_9",): (1, "error: Kill job error on job id 6_9: Invalid job id specified"),
        ("5",): (0, ""),
        ("-Q", "99"): (1, ""),
        ("x1",): (1, "error: Invalid job id: x1"),
        ("1.0",): (1, "error: 1.0: gflow cancels jobs, not single steps"),
        ("-s", "NOPE", "1"): (1, "error: Unknown job signal: NOPE"),
        ("-s", "USR1", "2"): (1, "error: Kill job error on job id 2: Job is pending execution"),
        ("-s", "USR1", "5"): (1, "error: Kill job error on job id 5: Job/step already completing or completed"),
        ("-s", "USR1", "98"): (1, "error: Kill job error on job id 98: Invalid job id specified"),
        ("-s", "USR1", "--me"): (0, ""),
        ("-u", "nobody-at-all"): (1, "error: Invalid user name: nobody-at-all"),
        ("-t", "DONE"): (1, "error: Invalid job state specified: DONE; valid are PENDING, RUNNING and SUSPENDED"),
        ("-M", "far", "1"): (1, "error: No cluster 'far' known; the only one is gflow"),
        ("-v", "2"): (0, "Terminating job 2"),
        ("-vs", "USR1", "4"): (0, "Signal SIGUSR1 to no process of job 4"),
        ("-v", "--me", "-n", "nothing"): (0, "No active jobs match ALL job filters"),
    }
    for words, (status, said) in told.items():
        done = some.slurm("scancel", *words)
        assert (done.returncode, done.stderr) == (status, f"scancel: {said}\n" if said else ""), words
    assert cancelled(some) == [1, 2], "also beside a job that is unknown"


@pytest.mark.parametrize("program", ["scancel", "squeue", "sacct"])
def test_a_number_of_thousands_of_digits_is_no_user(some: Ctl, program: str) -> None:
    assert "Invalid user" in some.slurm(program, "-u", "9" * 5000).stderr


def test_it_asks_first_and_heeds_variables(some: Ctl) -> None:
    done = some.slurm("scancel", "-i", "1", "2", "5", input="n\ny\n")
    question = "Cancel job_id={} name={} partition=gflow [y/n]? "
    assert (done.returncode, done.stdout) == (0, question.format(1, "a") + question.format(2, "b"))
    assert cancelled(some) == [2]
    some.env |= {"SCANCEL_NAME": "c", "SCANCEL_VERBOSE": "1"}
    assert some.slurm("scancel", "--me").stderr == "scancel: Terminating job 4\n"
    assert cancelled(some) == [2, 4]
