"""The kernel gives a job's pid to a stranger while the daemon is away: done for real, in a pid namespace of its own."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from support.machine import GATE, ROOT, TMUX, Machine, new_machine
from support.machine import end as kill_all
from support.waiting import PATIENCE, eventually

NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
EXECUTORS = [pytest.param("tmux", marks=pytest.mark.skipif(TMUX is None, reason="tmux is not installed")), "process"]


@pytest.fixture(scope="module")
def namespace() -> Iterator[subprocess.Popen[str]]:
    """`main` below, in a pid namespace of its own."""
    try:
        subprocess.run([*NAMESPACE, "true"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a pid namespace is not to be had here")
    # The first process of a namespace has to bury the dead; a shell that waits does.
    words = [*NAMESPACE, "sh", "-c", '"$@"; exit $?', "sh", sys.executable, __file__]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            yield process
            process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 0


@pytest.mark.parametrize("way", ["zombie", "recorded", "cancelled", "overdue"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_stranger_who_was_given_a_jobs_pid_is_left_alone_and_the_job_ends_truly(
    namespace: subprocess.Popen[str], executor: str, way: str
) -> None:
    assert namespace.stdin is not None
    assert namespace.stdout is not None
    print(executor, way, file=namespace.stdin, flush=True)
    assert select.select([namespace.stdout], [], [], 2 * PATIENCE)[0], "it takes too long"
    assert json.loads(namespace.stdout.readline()) == ""


def inside(machine: Machine, way: str) -> None:
    """What happens in the namespace."""
    machine.start()
    job_id = machine.submit("--grace", "1s", "-t", "1h", "--wrap", f"{GATE}; exit 5")
    pid = machine.until(job_id, "running")["pid"]
    eventually(lambda: machine.of_job(job_id))
    machine.stop()
    end(machine, job_id, pid, way)
    with stranger(pid) as unknown:
        try:
            machine.start()
            job = machine.ended(job_id)
            vanished = "failed", "Zombie"
            said = {
                "zombie": [vanished],
                "recorded": [("failed", "NonZeroExit")],
                "overdue": [vanished, ("timeout", "TimeLimit")],  # whichever worker looks first
            }
            found = job["state"], job["reason"]
            assert found in said.get(way, [found]), job
            assert job["exit_code"] == (5 if way == "recorded" else None), job
            assert machine.result("echo", "next") == "next\n"
            assert unknown.poll() is None
            assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
        finally:
            unknown.kill()


def end(machine: Machine, job_id: int, pid: int, way: str) -> None:
    """Ends the job, so that its pid is free; with its exit record where that is the way."""
    if way == "cancelled":
        machine.ctl("cancel", str(job_id))
    if way == "overdue":
        machine.ctl("update", str(job_id), "-t", "1s")
        begun = datetime.fromisoformat(machine.job(job_id)["started_at"]).timestamp()
        eventually(lambda: time.time() > begun + 1)
    if way == "recorded":
        machine.open_gate()
    else:
        kill_all(pid, *machine.of_job(job_id))  # its shell first: it would record the end
    eventually(lambda: not Path(f"/proc/{pid}").exists())


def stranger(pid: int) -> subprocess.Popen[bytes]:
    """A process with that very pid, which any signal of ours would end."""
    for _ in range(1000):
        LAST_PID.write_text(str(pid - 1))
        process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        if process.pid == pid:
            return process
        process.kill()
        process.wait()
    raise AssertionError(f"pid {pid} was never given")


def main() -> None:
    """For each line of the input, which names an executor and a way: what goes wrong, or nothing, as a line of JSON."""
    for line in sys.stdin:
        executor, way = line.split()
        wrong = ""
        try:
            with new_machine() as machine:
                machine.write_config(executor={"type": executor})
                inside(machine, way)
        except BaseException:
            wrong = traceback.format_exc()
        print(json.dumps(wrong), flush=True)


if __name__ == "__main__":
    main()
