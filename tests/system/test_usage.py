"""What real processes used: memory and CPU time, in show, JSON, stats and history; and what failed ones said last."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support.machine import Machine
from support.waiting import eventually

from gflowd.storage.store import Store

HUNGRY = """
import time
held = bytearray(b"x") * (200 << 20)
while time.process_time() < 1.0:
    pass
"""
PYTHON = "/usr/bin/env python3"


def test_a_job_that_allocates_and_burns_is_measured(either: Machine) -> None:
    (either.work / "hungry.py").write_text(HUNGRY)

    def ended() -> dict[str, Any] | None:
        """Once it is seen holding them: on a busy machine a sample may come too late."""
        job_id = either.submit("--wrap", f"{PYTHON} hungry.py")
        assert either.wait(job_id) == 0
        job = either.job(job_id)
        return job if (job["used"]["memory_mb"] or 0) >= 200 else None

    job = eventually(ended)
    assert job is not None
    used = job["used"]
    assert used["memory_mb"] < 260
    assert 1.0 <= used["cpu_seconds"] < 10
    assert (used["memory_source"], used["cpu_source"]) == ("samples", "shell")
    assert (used["gpu_percent"], used["gpu_polls"]) == (None, 0)
    shown = either.ctl("show", str(job["id"])).stdout
    assert f" at least {used['memory_mb']}M (seen by sampling)\n" in shown
    assert "of the processes that were waited for)" in shown
    [group] = json.loads(either.ctl("stats", "--json").stdout)["groups"]
    assert group["cpu_hours"] >= 1.0 / 3600
    assert group["peak_memory_mb"] >= 200


def test_each_attempt_is_kept_and_so_is_the_history(machine: Machine) -> None:
    machine.write_config(history={"after": "0s"}, executor={"type": "process"})
    machine.start()
    text = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exit 3"
    job_id = machine.submit("--max-retries", "1", "--wrap", text)
    assert machine.wait(job_id) == 3
    eventually(lambda: not Store(machine.state).read().of("spec"))
    [shown] = json.loads(machine.ctl("show", "--json", str(job_id)).stdout)
    every = [each["used"] for each in (shown, *shown["attempts"])]
    assert [used["cpu_source"] for used in every] == ["shell", "shell"]
    assert all(used["cpu_seconds"] > 0 for used in every)
    assert " of CPU time\n" in machine.ctl("show", str(job_id)).stdout
    [group] = json.loads(machine.ctl("stats", "--json").stdout)["groups"]
    assert group["cpu_hours"] == pytest.approx(sum(used["cpu_seconds"] for used in every) / 3600)


def test_what_no_daemon_has_seen_the_shell_still_tells(own_default: Machine) -> None:
    (own_default.work / "hungry.py").write_text(HUNGRY)
    job_id = own_default.submit("--wrap", f"until [ -e gate ]; do sleep 0.05; done; {PYTHON} hungry.py")
    own_default.until(job_id, "running")
    own_default.stop()
    own_default.open_gate()
    eventually((Path(own_default.attempt(job_id)) / "exit").exists)
    own_default.start()
    used = own_default.ended(job_id)["used"]
    assert (used["cpu_seconds"] >= 1.0, used["cpu_source"]) == (True, "shell")


def test_of_one_that_leaves_no_record_the_samples_stay(own_default: Machine) -> None:
    """After two seconds the looks at it are one second apart, more rare only later, and late on a busy machine."""
    (own_default.work / "hungry.py").write_text(f"{HUNGRY}\nopen('burnt', 'w').close()\ntime.sleep(1000)")
    job_id = own_default.submit("--wrap", f"exec {PYTHON} hungry.py")
    eventually((own_default.work / "burnt").exists)
    since = time.monotonic()
    eventually(lambda: time.monotonic() > since + 6)
    pid = own_default.job(job_id)["pid"]
    os.kill(pid, signal.SIGKILL)
    used = own_default.ended(job_id)["used"]
    assert (used["memory_source"], used["cpu_source"]) == ("samples", "samples")
    assert used["memory_mb"] >= 200
    assert used["cpu_seconds"] >= 0.9
    assert "at least " in own_default.ctl("show", str(job_id)).stdout


TORCH = """\
Traceback (most recent call last):
  File "train.py", line 7, in <module>
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which
"""


@pytest.mark.parametrize("place", ["", "-oout.%j", "-eerr.%j"])
def test_the_last_words_of_a_failed_job_are_shown_and_cuda_is_named(either: Machine, place: str) -> None:
    (either.work / "words").write_text(TORCH)
    job_id = either.submit(*filter(None, [place]), "--wrap", "seq 20; cat words >&2; exit 1")
    assert either.wait(job_id) == 1
    shown = either.ctl("show", str(job_id)).stdout
    assert "CUDA ran out of GPU memory, its output says: torch.OutOfMemoryError: CUDA out of memory. Tried" in shown
    assert " GPU 0 has a total capacity of 79.11 GiB of which\n" in shown
    assert max(len(line) for line in shown.splitlines() if line.startswith("Cause:")) < 190
    assert '\n      File "train.py", line 7, in <module>\n' in shown
    [record] = json.loads(either.ctl("show", "--json", str(job_id)).stdout)
    assert record["cause"] == "cuda_out_of_memory"
    assert record["last_lines"][-1].startswith("torch.OutOfMemoryError")


def test_who_fails_otherwise_has_last_lines_but_no_cause_and_who_finishes_neither(up: Machine) -> None:
    failed = up.submit("--wrap", "printf '10%%\\r20%%\\r\\033[31mred\\033[0m\\nlast\\n\\n'; exit 2")
    fine = up.submit("--wrap", "echo CUDA out of memory")
    up.wait(failed, fine)
    shown = up.ctl("show", str(failed)).stdout
    assert shown.endswith("\n    red\n    last\n")
    assert "Cause:" not in shown
    assert "Last lines" not in up.ctl("show", str(fine)).stdout
