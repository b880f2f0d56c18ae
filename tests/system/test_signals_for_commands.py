"""Whom a warning and `cancel --signal` reach: who takes the signal, and nobody beside it."""

from __future__ import annotations

import shutil
import sys
import time
from datetime import datetime

import pytest
from support.machine import Machine
from support.waiting import eventually

# Saves its work when it is told to, and says so; takes the signal in a thread of its own where `wait` is given.
PROGRAM = """
import os, signal, sys, threading, time
def save(*_):
    os.write(1, b"saved\\n")
    open("checkpoint", "a").write("x")
    os._exit(7)
if sys.argv[1:] == ["wait"]:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    threading.Thread(target=lambda: (signal.sigwait({signal.SIGUSR1}), save())).start()
else:
    signal.signal(signal.SIGUSR1, save)
os.write(1, b"ready\\n")
open("ready", "w").close()
while True:
    time.sleep(0.05)
"""
PYTHON = f"{sys.executable} sig.py"
PARENT = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, 'sig.py']) + 1)"
BASH = "bash -c 'set -o pipefail; {} | tee log'"
# The command, and the status that the job ends with.
SHAPES = {
    "behind a tee": (f"{PYTHON} 2>&1 | tee log", 0),
    "behind a tee that fails with it": (BASH.format(PYTHON), 7),
    "in a loop's pipe": (f"while :; do {PYTHON}; exit 9; done | cat | tee log; exit 3", 3),
    "below a parent that knows nothing of it": (f'{sys.executable} -c "{PARENT}"', 8),
    "under a program that waits for it": (f"timeout 1000 {PYTHON}; exit $?", 7),
    "in place of the shell": (f"exec {PYTHON}", 7),
    "beside one that is only in the background": (f"sleep 1000 & {PYTHON}; code=$?; kill $!; exit $code", 7),
    "beside one that ignores it": (f"{PYTHON} | (trap '' USR1; exec cat >rest); exit 6", 6),
    "in a script with a trap on EXIT": (f"bash -c 'trap \"echo bye\" EXIT; {PYTHON} | tee log; exit 4'", 4),
    "that waits for it in a thread": (f"{PYTHON} wait | tee log; exit 5", 5),
}


def running(machine: Machine, text: str, *options: str) -> int:
    (machine.work / "sig.py").write_text(PROGRAM)
    job_id = machine.submit(*options, "--wrap", text)
    eventually((machine.work / "ready").exists)
    machine.until(job_id, "running")
    return job_id


def warn(machine: Machine, job_id: int) -> None:
    """Has the job's time end an hour from now, of which the warning takes 59 minutes: it is due in a second."""
    begun = datetime.fromisoformat(machine.job(job_id)["started_at"]).timestamp()
    machine.ctl("update", "--time", f"{int(time.time() - begun) + 59 * 60 + 2}s", str(job_id))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", ["warning", "cancel --signal"])
def test_the_program_saves_its_work_and_nobody_beside_it_is_hurt(up: Machine, shape: str, way: str) -> None:
    text, status = SHAPES[shape]
    if "bash" in text and shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    if way == "warning":
        job_id = running(up, text, "--time", "2h", "--signal", "USR1@59m")
        warn(up, job_id)
    else:
        job_id = running(up, text)
        up.ctl("cancel", "--signal", "USR1", str(job_id))
    assert up.wait(job_id) == status
    assert (up.work / "checkpoint").read_text() == "x"
    if "tee log" in text:
        assert up.lines("log") == ["ready", "saved"], "the last line passed the pipe"


def test_a_shell_with_a_trap_is_who_takes_it(either: Machine) -> None:
    text = "trap 'echo saved >>checkpoint; exit 6' USR1; sleep 1000 | cat & touch ready; wait"
    job_id = running(either, text)
    either.ctl("cancel", "--signal", "USR1", str(job_id))
    assert either.wait(job_id) == 6
    assert either.lines("checkpoint") == ["saved"]


def test_where_nobody_takes_it_the_command_dies_and_its_script_goes_on(either: Machine) -> None:
    job_id = running(either, "touch ready; sleep 1000; echo $? >>after; exit 2")
    eventually(lambda: any(words.startswith("sleep 1000") for words in either.of_job(job_id).values()))
    either.ctl("cancel", "--signal", "USR1", str(job_id))
    assert either.wait(job_id) == 2
    assert either.lines("after") == ["138"]


def test_a_command_of_its_own_dies_of_what_it_does_not_take(either: Machine) -> None:
    job_id = either.submit("sleep", "1000")
    either.until(job_id, "running")
    eventually(lambda: any(words.startswith("sleep") for words in either.of_job(job_id).values()))
    either.ctl("cancel", "--signal", "USR1", str(job_id))
    assert either.ended(job_id)["reason"] == "Signaled:SIGUSR1"


def test_an_interrupt_ends_a_script_that_waits_as_it_would_at_a_terminal(either: Machine) -> None:
    job_id = running(either, "touch ready; sleep 1000; echo on >>after")
    eventually(lambda: any(words.startswith("sleep 1000") for words in either.of_job(job_id).values()))
    either.ctl("cancel", "--signal", "INT", str(job_id))
    assert either.wait(job_id) == 130
    assert either.lines("after") == []


def test_a_job_can_be_stopped_and_continued_as_a_whole(either: Machine) -> None:
    job_id = running(either, f"{PYTHON} | cat")

    def states() -> set[str]:
        found = set()
        for pid in either.of_job(job_id):
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                found.add(file.read().rpartition(")")[2].split()[0])
        return found

    either.ctl("cancel", "--signal", "STOP", str(job_id))
    eventually(lambda: states() == {"T"})
    either.ctl("cancel", "--signal", "CONT", str(job_id))
    eventually(lambda: "T" not in states())
    either.cancel(job_id)
