"""scontrol changes jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl

BUSY = (
    "scontrol: error: job 3: --cpus cannot be changed while the job is running; "
    "only time, signal, quiet-limit and comment can\n"
)
UNKNOWN = "Invalid job id specified for job {}\n"


@pytest.fixture
def some(ctl: Ctl) -> Ctl:
    """1 queued, 2 held, 3 running, 4 finished, 5 to 8 an array, 9 with a time limit."""
    (ctl.home / "job.sh").write_text("#!/bin/sh\n#SBATCH -J script\necho\n")
    ctl.ok("submit", "job.sh", "a")
    ctl.submit("--hold", "-n", "b", "true")
    ctl.submit("-n", "c", "true")
    ctl.run_job(3)
    ctl.submit("true")
    ctl.end_job(4, exit_code=0)
    ctl.ok("submit", "-n", "arr", "--array", "1-4", "true")
    ctl.ok("submit", "-t", "60", "--wrap", "echo a b")
    return ctl


def test_jobs_are_held_released_requeued_and_suspended(some: Ctl) -> None:
    done = {
        "hold 1,5_2": (0, ""),
        "uhold jobname=script": (0, ""),
        "hold 3": (1, "scontrol: error: job 3 is running; only queued jobs can be held\n"),
        "hold 77 1": (1, UNKNOWN.format(77)),
        "release JobId=2": (0, ""),
        "rel 5_*": (0, ""),
        "suspend 3": (0, ""),
        "suspend 1": (1, "scontrol: error: job 1 is held; only running jobs can be suspended\n"),
        "resume 1": (1, "scontrol: error: job 1 is not suspended (held)\n"),
        "resume 3": (0, ""),
        "req 3": (0, ""),
        "requeuehold state=SpecialExit 4": (0, ""),
        "requeue 9": (1, "scontrol: error: job 9 is queued; only a job that has started can be requeued\n"),
        "requeue x": (1, UNKNOWN.format("x")),
        "top 9": (0, ""),
        "top": (1, "scontrol: error: too few arguments\n"),
        "hold jobname=nobody": (1, "scontrol: error: Invalid job id specified for job nobody\n"),
    }
    for words, (status, said) in done.items():
        ended = some.slurm("scontrol", *words.split())
        assert (ended.returncode, ended.stdout, ended.stderr) == (status, "", said), words
    wishes = some.store.read().of("wish")
    held = [job_id for job_id, wish in sorted(wishes.items()) if wish.get("held")]
    assert held == [1, 4]
    assert [wishes[job_id].get("requeued") for job_id in (3, 4)] == [1, 1]
    assert wishes[9]["top_at"]


def test_jobs_are_updated(some: Ctl) -> None:
    done = {
        "update JobId=1 TimeLimit=10 JobName=new NumCPUs=3 Partition=p": (0, "scontrol: partition=p has no effect\n"),
        "update job 9 TimeLimit+=30": (0, ""),
        "update JobId=1 TimeLimit=-60": (0, ""),
        "update JobId=5 ArrayTaskThrottle=2 Dependency=afterok:1": (0, ""),
        "update JobName=b Priority=0 Comment=x": (0, ""),
        "update JobId=77,2 Nice=3": (1, UNKNOWN.format(77)),
        "update JobId=2 TimeLimit=+5": (1, "scontrol: error: job 2 has no time limit to change\n"),
        "update JobId=3 NumCPUs=2": (1, BUSY),
        "update JobId=1 Priority=x": (
            1,
            "scontrol: error: -p/--priority: 'x' is not a priority (0 to 255, higher first)\n",
        ),
        "update NodeName=x State=DRAIN": (1, "scontrol: error: gflow has one node for all jobs; see gflowctl drain\n"),
        "update JobId=3 Priority=0": (1, "scontrol: error: job 3 is running; only queued jobs can be held\n"),
    }
    for words, (status, said) in done.items():
        ended = some.slurm("scontrol", *words.split())
        assert (ended.returncode, ended.stdout, ended.stderr) == (status, "", said), words
    first, second = some.spec(1), some.spec(2)
    assert (first.name, first.cpus, first.time_limit) == ("new", 3, 1)
    assert (second.comment, second.priority) == ("x", 7)
    assert some.spec(9).time_limit == 90 * 60
    assert some.spec(5).family.max_concurrent == 2


def test_a_script_is_written_as_it_was_submitted(some: Ctl) -> None:
    (some.home / "job.sh").write_text("changed")
    done = some.slurm("scontrol", "write", "batch_script", "1")
    assert (done.returncode, done.stdout) == (0, "batch script for job 1 written to slurm-1.sh\n")
    assert (some.home / "slurm-1.sh").read_text() == "#!/bin/sh\n#SBATCH -J script\necho\n"
    assert some.slurm("scontrol", "write", "batch", "1", "-").stdout.endswith("echo\n")
    assert some.slurm("scontrol", "write", "batch_script", "9", "-").stdout.endswith("\necho a b\n")
    told = {
        "batch_script 77": "job script retrieval failed: Invalid job id specified",
        "batch_script 2": "job script retrieval failed: job 2 has no batch script",
        "batch_script 1 /nonexistent/x": "failed to open file `/nonexistent/x`: No such file or directory",
        "config": "invalid arguments: scontrol write batch_script JOBID [FILE|-]",
    }
    for words, said in told.items():
        done = some.slurm("scontrol", "write", *words.split())
        assert (done.returncode, done.stderr) == (1, f"scontrol: error: {said}\n")
