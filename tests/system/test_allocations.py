"""srun outside of a job, and salloc: a job that is waited for and attended to, with the steps in it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.machine import Machine, new_machine
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE = os.uname().nodename.partition(".")[0]
ABOUT = 'echo "$SLURM_PROCID of $SLURM_NTASKS: $CUDA_VISIBLE_DEVICES"'


@pytest.fixture(scope="module")
def machine_of_two() -> Iterator[Machine]:
    with new_machine() as found:
        found.start("--simulate-gpus", "2x24G")
        found.await_gpus()  # else nothing says that nine are too many
        yield found


@pytest.fixture
def two(machine_of_two: Machine) -> Iterator[Machine]:
    """A daemon with two GPUs, which other tests use too."""
    with machine_of_two.visit():
        yield machine_of_two


def begun(machine: Machine, name: str, *words: str, terminal: int | None = None) -> subprocess.Popen[bytes]:
    """A program of Slurm's of its own; with `terminal` that is all its streams."""
    machine.slurm("scontrol", "ping")
    program = machine.root / "slurm" / name
    if not program.is_symlink():
        program.symlink_to(machine.bin / "gflowctl")
    nothing, pipe = (subprocess.DEVNULL, subprocess.PIPE) if terminal is None else (terminal, terminal)
    return subprocess.Popen([str(program), *words], cwd=machine.work, env=machine.env, start_new_session=True,
                            stdin=nothing, stdout=pipe, stderr=pipe)  # fmt: skip


def test_srun_queues_a_job_and_runs_its_step_here(two: Machine) -> None:
    together = f"srun: error: {NODE}: tasks 0-1: Exited with exit code 3\n"  # when both have ended within a moment

    def run() -> subprocess.CompletedProcess[str] | None:
        done = two.slurm("srun", "-l", "-n2", "--gpus-per-task=1", "-J", "mine", "sh", "-c", f"{ABOUT}; cat; exit 3",
                         input="typed\n")  # fmt: skip
        return done if done.stderr.splitlines(keepends=True)[-1] == together else None

    done = eventually(run)
    assert done is not None
    lines = ["0: 0 of 2: 0", "0: typed", "1: 1 of 2: 1", "1: typed"]
    assert (done.returncode, sorted(done.stdout.splitlines())) == (3, lines)
    job = two.job(max(two.jobs()))
    assert (job["name"], job["gpus"], job["cpus"], job["exit_code"]) == ("mine", 2, 2, 3)
    for words, said in (
        (("-N2", "true"), "Only allocated 1 nodes asked for 2"),
        (("--jobid=99", "true"), "no job 99"),
        ((f"--jobid={max(two.jobs())}", "true"), f"Unable to confirm allocation for job {max(two.jobs())}: it is fail"),
        (("-G9", "true"), ""),
        (("-n1",), "No command given to execute."),
    ):
        done = two.slurm("srun", *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"srun: error: {said}")


def test_salloc_gives_a_command_what_it_asks_for_and_steps(two: Machine) -> None:
    text = "echo in $SLURM_JOB_ID; srun -n1 --gres=gpu:1 sh -c 'echo $CUDA_VISIBLE_DEVICES'; exit 4"
    done = two.slurm("salloc", "--gres=gpu:2", "-t5", "sh", "-c", text)
    job_id = max(two.jobs())
    assert (done.returncode, done.stdout) == (4, f"in {job_id}\n0\n")
    assert done.stderr.splitlines()[-2:] == [
        f"salloc: Granted job allocation {job_id}", f"salloc: Relinquishing job allocation {job_id}",
    ]  # fmt: skip
    holder = two.slurm("sbatch", "--parsable", "--gres=gpu:2", "--wrap", "exec sleep 600").stdout.strip()
    waiting = begun(two, "salloc", "-G1", "true")
    assert waiting.stderr is not None
    said = [waiting.stderr.readline().decode() for _ in range(2)]
    job_id = int(holder) + 1
    assert said == [f"salloc: Pending job allocation {job_id}\n",
                    f"salloc: job {job_id} queued and waiting for resources\n"]  # fmt: skip
    two.until(int(holder), "running")
    inside = two.slurm(
        "srun", f"--jobid={holder}", "--overlap", "sh", "-c", f"{ABOUT}; echo $SLURM_JOB_ID.$SLURM_STEP_ID"
    )
    assert inside.stdout == f"0 of 1: 0,1\n{holder}.0\n"
    spy = begun(two, "srun", f"--jobid={holder}", "--overlap", "sleep", "601")
    eventually(lambda: any(words.startswith("sleep 601") for words in two.of_job(int(holder)).values()))
    two.ctl("cancel", holder)
    assert spy.communicate(timeout=60)[1].decode() == f"srun: error: {NODE}: task 0: Terminated\n"
    assert spy.returncode == 143
    _, rest = waiting.communicate(timeout=60)
    assert f"salloc: Granted job allocation {job_id}\n" in rest.decode()
    assert waiting.returncode == 0


def test_srun_with_a_terminal_is_an_interactive_shell_and_its_loss_ends_the_job(two: Machine) -> None:
    ours, theirs = pty.openpty()
    step = begun(two, "srun", "--pty", "--gres=gpu:1", "sh", terminal=theirs)
    os.close(theirs)
    with open(ours, "r+b", buffering=0) as terminal:
        said = b""

        def ask(text: bytes, answer: bytes) -> None:
            nonlocal said
            terminal.write(text)
            while answer not in said:
                said += terminal.read(1000)

        ask(b"", b"# " if os.getuid() == 0 else b"$ ")
        ask(b"echo $((40 + 2)) $CUDA_VISIBLE_DEVICES; test -t 0 && echo t''ty\r", b"42 0\r\ntty\r\n")
        step.send_signal(signal.SIGHUP)
        step.wait(60)
    job_id = max(two.jobs())
    assert two.ended(job_id)["state"] == "cancelled"
