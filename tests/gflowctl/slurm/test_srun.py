"""Steps by the real srun, of a job that is no more than its variables and its directory."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.ctl import Ctl
from support.machine import alive
from support.waiting import eventually

from gflowd.core.slurm import site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., subprocess.CompletedProcess[str]]

NODE = site.node(os.uname().nodename)
SAYS = 'echo "$SLURM_STEP_ID: $CUDA_VISIBLE_DEVICES"'


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Ctl:
    """Job 5: 4 tasks, each with 1 CPU, and 2 GPUs."""
    place = tmp_path_factory.mktemp("srun")
    (place / "home").mkdir()
    found = Ctl(place / "state", place / "home")
    attempt = place / "state" / "jobs" / "5" / "1"
    attempt.mkdir(parents=True)
    for each in (attempt, attempt.parent, attempt.parent.parent, place / "state"):
        each.chmod(0o700)
    found.env |= {
        "GFLOW_JOB_ID": "5", "GFLOW_ATTEMPT": "1", "GFLOW_STATE_DIR": str(place / "state"), "GFLOW_JOB_CPUS": "4",
        "GFLOW_JOB_GPUS": "0,GPU-1", "CUDA_VISIBLE_DEVICES": "7", "SLURM_JOB_GPUS": "0,1", "SLURM_JOB_ID": "5",
        "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "name", "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    found.usual = dict(found.env)
    return found


@pytest.fixture
def srun(job: Ctl) -> Run:
    def run(*words: str, **settings: object) -> subprocess.CompletedProcess[str]:
        if "input" not in settings:
            settings["stdin"] = subprocess.DEVNULL
        return job.slurm("srun", *words, **settings)

    return run


@pytest.fixture
def begun(job: Ctl) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts one as a program of its own, and ends it."""
    started: list[subprocess.Popen[str]] = []

    def begin(*words: str) -> subprocess.Popen[str]:
        program = [sys.executable, "-m", "gflowctl.slurm", "srun", *words]
        started.append(subprocess.Popen(program, cwd=job.home, env=job.env, text=True, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE))  # fmt: skip
        return started[-1]

    yield begin
    for each in started:
        if each.poll() is None:
            each.kill()
        each.communicate()


def entries(job: Ctl) -> list[str]:
    return sorted(path.name for path in Path(job.env["GFLOW_STATE_DIR"], "jobs/5/1/steps").iterdir())


def test_each_task_is_a_process_that_knows_its_place(srun: Run) -> None:
    done = srun("-l", "sh", "-c", "echo $SLURM_PROCID $SLURM_LOCALID $SLURM_NTASKS $SLURM_GTIDS; printf end")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert sorted(lines) == sorted(
        f"{task}: {text}" for task in range(4) for text in (f"{task} {task} 4 0,1,2,3", "end")
    )
    for task in range(4):
        assert [line for line in lines if line.startswith(f"{task}:")][1] == f"{task}: end"
    text = '[ "$SLURM_TASK_PID" = $$ ]; echo $? $SLURM_STEP_ID $SLURM_STEPID $SLURM_STEP_NUM_TASKS $SLURM_STEP_NODELIST'
    first, second = (srun("-n1", "sh", "-c", text).stdout.split() for _ in range(2))
    assert (first[0], first[3:]) == ("0", ["1", NODE])
    assert int(second[1]) == int(second[2]) == int(first[1]) + 1


def test_a_step_sees_the_gpus_that_it_asks_for(srun: Run) -> None:
    text = "echo $CUDA_VISIBLE_DEVICES $SLURM_STEP_GPUS"
    for words, found in (
        (("-n1",), ["0,GPU-1 0,1"]),
        (("-n1", "--gres=gpu:1"), ["0 0"]),
        (("-n1", "--gres=none"), [""]),
        (("-n2", "--gpus-per-task=1"), ["0 0", "GPU-1 1"]),
    ):
        assert sorted(srun(*words, "sh", "-c", text).stdout.splitlines()) == found, words


def test_there_are_no_steps_of_what_is_no_running_job(srun: Run, job: Ctl) -> None:
    over = Path(job.env["GFLOW_STATE_DIR"], "jobs", "5", "2")
    over.mkdir(0o700)
    (over / "exit").write_text("0\n")
    for name, word, why in (
        ("GFLOW_JOB_ID", "99", "Invalid job id specified"), ("GFLOW_JOB_ID", "x", "Invalid job id specified"),
        ("GFLOW_ATTEMPT", "²", "Invalid job id specified"), ("GFLOW_ATTEMPT", "9" * 30, "Invalid job id specified"),
        ("GFLOW_ATTEMPT", "2", "Job/step already completing or completed"),
    ):  # fmt: skip
        done = srun("true", env={**job.env, name: word})
        assert done.returncode == 1
        assert done.stderr.endswith(f": {why}\n"), done.stderr
        assert done.stderr.startswith("srun: error: Unable to confirm allocation for job ")
    assert not Path(job.env["GFLOW_STATE_DIR"], "jobs", "99").exists()
    assert list(over.iterdir()) == [over / "exit"]


def test_how_tasks_end_is_told_and_the_greatest_is_the_status(srun: Run, job: Ctl) -> None:
    done = srun("-n2", "sh", "-c", "exit $((SLURM_PROCID + 3))")
    assert done.returncode == 4
    assert sorted(done.stderr.splitlines()) == [
        f"srun: error: {NODE}: task {task}: Exited with exit code {task + 3}" for task in (0, 1)
    ]
    together = (137, f"srun: error: {NODE}: tasks 0-1: Killed\n")  # when both have ended within a moment
    eventually(lambda: (done := srun("-n2", "sh", "-c", "kill -9 $$")) and (done.returncode, done.stderr) == together)
    done = srun("-n2", "sh", "-c", "[ $SLURM_PROCID = 0 ] && kill $$; exit 3")
    assert done.returncode == 143
    done = srun("-n2", "no-such-program")
    assert done.returncode == 2
    assert done.stderr.startswith("srun: error: execve(): no-such-program: No such file or directory\n")
    (job.home / "bare").write_text("")
    assert srun("-n1", "./bare").returncode == 13
    for words in (("-K",), ("-W1",)):
        done = srun(*words, "-n2", "sh", "-c", "[ $SLURM_PROCID = 0 ] && exit 3; exec sleep 60")
        assert done.returncode == (143 if words == ("-K",) else 137)
        assert "srun: Terminating StepId=5." in done.stderr
    done = srun("-n1", "-t", "0:01", "sleep", "60")
    assert done.returncode == 143
    assert "DUE TO TIME LIMIT" in done.stderr


def test_what_can_never_be_is_refused_at_once(srun: Run) -> None:
    for words, said in (
        (("-n5", "true"), "Unable to create step for job 5: More processors requested than permitted"),
        (("-G3", "true"), "Unable to create step for job 5: the step asks for 3 GPUs"),
        (("-n1",), "No command given to execute."),
        (("--mpi=pmix", "true"), "--mpi=pmix: gflow's srun has no PMI"),
        (("-D", "/no-such", "true"), "couldn't chdir to `/no-such'"),
        (("-i", "no-such", "true"), "Could not open stdin file no-such: No such file or directory"),
        (("-o", "/proc/x/y", "true"), "Could not open stdout file /proc/x/y: "),
        (("-w", "elsewhere", "true"), "Unable to create step for job 5: elsewhere: not a node of it"),
        (("--multi-prog", "no-such"), "no-such: No such file"),
        (("--export=1", "true"), "--export: "),
    ):
        done = srun(*words)
        assert (done.returncode, done.stdout) == (1, ""), words
        assert done.stderr.startswith(f"srun: error: {said}"), words
        assert done.stderr.count("\n") == 1, words
    assert srun("--mpi=list").stdout.split()[-1] == "none"


def test_input_reaches_all_tasks_or_one(srun: Run, job: Ctl) -> None:
    long = "x" * 200_000 + "\nlast"
    assert srun("-l", "wc", "-c", input=long).stdout.split().count(str(len(long))) == 4
    assert srun("-l", "-i2", "cat", input="hi\n").stdout == "2: hi\n"
    assert srun("-n1", "cat", input="a").stdout == "a"
    done = srun("-n2", "sh", "-c", "[ $SLURM_PROCID = 0 ] || cat", input=long)
    assert (done.returncode, done.stdout) == (0, long)
    (job.home / "in.1").write_text("one\n")
    (job.home / "in.0").write_text("zero\n")
    assert sorted(srun("-n2", "-l", "-i", "in.%t", "cat").stdout.splitlines()) == ["0: zero", "1: one"]
    assert srun("-n2", "-l", "-i", "none", "cat", input="x").stdout == ""


def test_output_goes_to_files_as_their_names_say(srun: Run, job: Ctl) -> None:
    text = "echo out $SLURM_PROCID; echo err >&2"
    assert srun("-n2", "-o", "new/%x.%j.%t", "sh", "-c", text).stdout == ""
    assert (job.home / "new" / "name.5.1").read_text() == "out 1\nerr\n"
    srun("-n2", "-l", "-o", "one", "-e", "e-%2t", "sh", "-c", text)
    assert sorted((job.home / "one").read_text().splitlines()) == ["0: out 0", "1: out 1"]
    assert (job.home / "e-01").read_text() == "1: err\n"
    srun("-n1", "-o", "one", "--open-mode=append", "sh", "-c", text)
    assert (job.home / "one").read_text().splitlines()[2:] == ["out 0", "err"]
    assert srun("-n1", "-o", "none", "sh", "-c", text).stderr == ""
    assert srun("-n2", "-o1", "sh", "-c", text).stdout == "out 1\n"
    lines = srun("-n4", "seq", "20000").stdout.split("\n")
    assert (len(lines), lines.count("19999"), lines.count("1")) == (80001, 4, 4)
    assert srun("-n2", "-u", "printf", "x").stdout == "xx"
    for _ in range(2):
        srun("-n1", "-o", "s-%J", "true")
    assert len(list(job.home.glob("s-5.*"))) == 2


def test_it_runs_where_and_with_what_it_is_told_to(srun: Run, job: Ctl) -> None:
    (job.home / "sub").mkdir()
    assert srun("-n1", "-D", "sub", "sh", "-c", "echo $PWD").stdout == f"{job.home}/sub\n"
    found = srun("-n1", "--export=NONE", "env").stdout
    assert "SLURM_PROCID=0" in found
    assert "PATH=" not in found
    (job.home / "roles").write_text("0 echo first %t\n* echo other %t %o\n")
    said = srun("-l", "-n3", "--multi-prog", "roles").stdout
    assert sorted(said.splitlines()) == ["0: first 0", "1: other 1 1", "2: other 2 2"]


def test_steps_side_by_side_share_out_the_gpus_and_wait_for_them(
    job: Ctl, begun: Callable[..., subprocess.Popen[str]], srun: Run
) -> None:
    gate = job.home / "gate"
    os.mkfifo(gate)
    wait = f"{SAYS}; read -r x <{gate}"
    first = begun("-n1", "--gres=gpu:1", "sh", "-c", wait)
    assert first.stdout is not None
    one = first.stdout.readline().split()
    assert srun("-n1", "--gres=gpu:1", "sh", "-c", SAYS).stdout.split()[1] == "GPU-1"
    assert srun("-n1", "--overlap", "sh", "-c", SAYS).stdout.split()[1] == "GPU-1,0"
    assert srun("-n1", "--gres=none", "-c4", "true").returncode == 0
    done = srun("-n1", "-I", "true")
    assert (done.returncode, done.stderr) == (
        1,
        "srun: error: Unable to create step for job 5: Requested nodes are busy\n",
    )
    both = begun("-n1", "sh", "-c", SAYS)
    assert both.stderr is not None
    said = both.stderr.readline()
    assert said == "srun: Job 5 step creation temporarily disabled, retrying (Requested nodes are busy)\n"
    late = begun("-n1", "--gres=gpu:1", "sh", "-c", SAYS)
    assert late.stderr is not None
    assert "temporarily disabled" in late.stderr.readline()
    late.send_signal(signal.SIGINT)
    assert late.wait(60) == 1
    assert late.stderr.read() == "srun: Cancelled pending step for job 5\n"
    gate.write_text("\n")
    out, said = both.communicate(timeout=60)
    number, gpus = out.split()
    assert (one[1], gpus) == ("0", "0,GPU-1")
    assert said == f"srun: Step created for StepId=5.{number.rstrip(':')}\n"
    assert first.wait(60) == 0
    assert entries(job) == ["lock"]


def test_a_step_leaves_nothing_behind_even_if_it_is_killed(
    begun: Callable[..., subprocess.Popen[str]], srun: Run
) -> None:
    step = begun("-n1", "bash", "-mc", "trap '' TERM HUP INT; sleep 600 & echo $$ $!; wait")
    assert step.stdout is not None
    pids = [int(word) for word in step.stdout.readline().split()]
    step.kill()
    assert srun("-n1", "sh", "-c", SAYS, timeout=60).stdout.split()[1] == "0,GPU-1"
    assert not any(map(alive, pids))
    step = begun("-n1", "sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!")
    out, _ = step.communicate(timeout=60)
    eventually(lambda: not alive(int(out)))


def test_a_task_may_have_a_terminal(job: Ctl) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (33, 99))
    program = [sys.executable, "-m", "gflowctl.slurm", "srun", "-n2", "--pty", "sh", "-c"]
    text = "stty size; read x; echo got $x; exit 7"
    with subprocess.Popen([*program, text], cwd=job.home, env=job.env, stdin=theirs, stdout=theirs) as step:
        os.close(theirs)
        with open(ours, "r+b", buffering=0) as terminal:
            said = b""
            while b"\n" not in said:
                said += terminal.read(1000)
            terminal.write(b"it\r")
            while b"got it\r\n" not in said:
                said += terminal.read(1000)
            assert step.wait(60) == 7
    assert said.startswith(b"33 99\r\nit\r\ngot it")


def test_signals_are_passed_on(begun: Callable[..., subprocess.Popen[str]]) -> None:
    text = 'trap "echo int; exit 9" INT; trap "echo term; exit 8" TERM; trap "echo usr1" USR1; '
    text += "echo ready; while :; do sleep 0.05; done"
    step = begun("-n1", "sh", "-c", text)
    assert step.stdout is not None
    assert step.stdout.readline() == "ready\n"
    for number, said in ((signal.SIGUSR1, "usr1\n"), (signal.SIGTERM, "term\n")):
        step.send_signal(number)
        assert step.stdout.readline() == said
    assert "srun: forcing job termination\n" in step.communicate(timeout=60)[1]
    assert step.returncode == 8
    step = begun("-n1", "sh", "-c", text)
    assert step.stdout is not None
    assert step.stderr is not None
    assert step.stdout.readline() == "ready\n"
    asks = "srun: interrupt (one more within 1 sec to abort)\n"
    step.send_signal(signal.SIGINT)
    said = step.stderr.readline()
    assert said == asks
    while said == asks:  # each time that a busy machine took longer
        assert step.stderr.readline().endswith("task 0: running\n")
        step.send_signal(signal.SIGINT)
        said = step.stderr.readline()
    assert said.startswith("srun: sending Ctrl-C to StepId=5.")
    assert (step.wait(60), step.stdout.read()) == (9, "int\n")
