"""What the srun of a job does, by running it."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from gflowd.core.slurm import srun

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Step = Callable[..., subprocess.CompletedProcess[str]]

SHELLS = [found for name in ("dash", "bash") if (found := shutil.which(name))]
JOB = {"SLURM_JOB_ID": "42", "SLURM_JOB_NAME": "a b", "PATH": "/usr/bin:/bin"}


@pytest.fixture(params=SHELLS)
def step(request: pytest.FixtureRequest, tmp_path: Path) -> Step:
    program = tmp_path / "srun"
    program.write_bytes(srun.script())

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([request.param, str(program), *words], cwd=tmp_path, env=JOB, capture_output=True,
                              text=True, check=False, timeout=60)  # fmt: skip

    return run


@pytest.mark.parametrize(
    "options",
    [
        "", "--", "-n1", "-n 1 -N 1 -c 4", "--ntasks=1 --nodes=1-1 --ntasks-per-node 1", "--mpi=pmix", "--mpi pmix",
        "-l -u --label", "-lun1", "-lu -K -K1 -k", "--exclusive --exact --overlap", "--exclusive=user", "--nice",
        "--gres gpu:1 --gpus=1 -G 1 --cpu-bind none --cpus-per-task=4 --mem-per-cpu 1G", "-W 5 --wait=5 -t 10",
        "--jobid=42 --pty --unbuffered", "--export=ALL", "-o all", "-J step -p debug -A lab -D /", "--share",
        "--kill-on-bad-exit --kill-on-bad-exit=1", "-T1 -r 0 -X -E",
    ],
)  # fmt: skip
def test_the_command_is_run_once_whatever_only_matters_to_several(step: Step, options: str) -> None:
    done = step(*options.split(), "echo", "-n", "1", "--", "two  words")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 -- two  words", "")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("-n 4", "--ntasks=4: gflow starts a job's command once, on one machine"),
        ("--ntasks=2", "--ntasks=2: gflow starts"),
        ("-N2", "--nodes=2: gflow starts"),
        ("--tasks-per-node=8", "--tasks-per-node=8: gflow starts"),
        ("--multi-prog", "--multi-prog: not under gflow"),
        ("--container=x", "--container: not under gflow"),
        ("--jobid=7", "--jobid=7: not this job"),
        ("--export=NONE", "--export=NONE: gflow gives a step the variables of its job"),
        ("--export=ALL,a-b=1", "--export: a-b is not a variable name"),
        ("--colour=red", "--colour=red: not an option of srun"),
        ("-y", "-y: not an option of srun"),
    ],
)
def test_what_would_change_the_result_is_refused(step: Step, options: str, said: str) -> None:
    done = step(*options.split(), "echo")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"srun: {said}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["-n1"], ["-n"], ["--mem"]])
def test_without_a_command_there_is_nothing_to_run(step: Step, words: list[str]) -> None:
    done = step(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("srun: ")


def test_the_command_s_exit_status_is_its_own(step: Step) -> None:
    assert step("sh", "-c", "exit 7").returncode == 7
    assert step("sh", "-c", "kill -9 $$").returncode == -9


def test_a_step_knows_that_it_is_the_only_task(step: Step) -> None:
    said = step("--export=ALL,A=1 2,PATH", "sh", "-c", "echo $SLURM_PROCID $SLURM_NTASKS $SLURM_STEP_ID $A")
    assert said.stdout == "0 1 0 1 2\n"


def test_its_files_have_the_names_that_srun_would_give_them(step: Step, tmp_path: Path) -> None:
    step("-o", "%x-%j.%J-%A_%a-%t%n%s-%%-%q.txt", "sh", "-c", "echo out; echo err >&2")
    assert (tmp_path / "a b-42.42.0-42_0-000-%-%q.txt").read_text() == "out\nerr\n"
    (tmp_path / "in").write_text("typed\n")
    done = step("-i", "in", "-e", "err.txt", "sh", "-c", "cat; echo err >&2")
    assert (done.stdout, done.stderr, (tmp_path / "err.txt").read_text()) == ("typed\n", "", "err\n")
    assert step("-o", "none", "echo", "lost").stdout == ""


def test_it_runs_where_it_is_told_to(step: Step, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    assert step("--chdir=sub", "pwd").stdout == f"{tmp_path}/sub\n"
    assert step("--chdir=no-such", "pwd").returncode == 1


def test_it_says_what_it_is(step: Step) -> None:
    assert step("--version").stdout == "srun of gflow\n"
    assert step("-h").stdout.startswith("Usage: srun ")
