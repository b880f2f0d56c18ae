"""Looking at jobs from outside: wait, follow, attach, info, doctor, and pipes that are closed or full."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import time
from contextlib import suppress

import pytest
from support import descriptors
from support.machine import GATE, TMUX, Machine
from support.waiting import eventually

needs_tmux = pytest.mark.skipif(TMUX is None, reason="tmux is not installed")


def test_submit_and_follow_shows_the_output_and_hands_on_the_status(either: Machine) -> None:
    done = either.ctl("submit", "--follow", "--", "sh", "-c", "echo one; sleep 0.3; echo two; exit 4", check=False)
    assert done.returncode == 4
    assert done.stdout == f"Submitted batch job {max(either.jobs())}\none\ntwo\n"


def test_log_follow_shows_output_as_it_comes_until_the_end(either: Machine) -> None:
    job_id = either.submit("--wrap", f"echo first; {GATE}; seq 1 5000; printf last")
    with either.begin("log", "-f", str(job_id)) as following:
        assert following.stdout.readline() == b"first\n"
        assert following.poll() is None
        either.open_gate()
        rest = following.stdout.read()
        assert following.wait(timeout=60) == 0
    assert rest == b"".join(b"%d\n" % n for n in range(1, 5001)) + b"last"


def test_log_follow_waits_for_a_job_that_has_not_started(machine: Machine) -> None:
    job_id = machine.submit("--hold", "echo", "hello")
    machine.start()
    with machine.begin("log", "-f", str(job_id)) as following:
        machine.ctl("release", str(job_id))
        assert following.communicate(timeout=60)[0] == b"hello\n"
        assert following.returncode == 0


def test_log_shows_first_and_last_lines(up: Machine) -> None:
    up.result("seq", "1", "100")
    assert up.ctl("log", "--first", "2", "@").stdout == "1\n2\n"
    assert up.ctl("log", "--last", "2", "@").stdout == "99\n100\n"


@needs_tmux
def test_attach_shows_the_jobs_terminal(machine: Machine) -> None:
    machine.write_config(executor={"type": "tmux"})
    machine.start()
    job_id = machine.submit("--wrap", f"echo hello from the job; {GATE}; exit 3")
    machine.until(job_id, "running")
    seen = b""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(machine.work)
        os.execve(machine.bin / "gflowctl", ["gflowctl", "attach", str(job_id)], {**machine.env, "TERM": "xterm"})
    try:
        deadline = time.monotonic() + 60
        while b"hello from the job" not in seen and time.monotonic() < deadline:
            if select.select([fd], [], [], 0.2)[0]:
                seen += os.read(fd, 65536)
        assert b"hello from the job" in seen
        with suppress(OSError):  # how a terminal without a program reads
            while time.monotonic() < deadline:
                os.write(fd, b"\x02d")  # detach; lost while tmux still sets the terminal up
                while select.select([fd], [], [], 0.5)[0]:
                    os.read(fd, 65536)
    finally:
        os.close(fd)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert machine.job(job_id)["state"] == "running"
    machine.open_gate()
    assert machine.wait(job_id) == 3


def test_attach_says_why_there_is_nothing_to_attach_to(up: Machine) -> None:
    plain = up.submit("--executor", "process", "--wrap", GATE)
    up.until(plain, "running")
    assert "no terminal" in up.refused(1, "attach", str(plain))
    up.open_gate()
    up.wait(plain)
    assert "finished" in up.refused(1, "attach", str(plain))


@needs_tmux
def test_close_sessions_ends_leftovers_and_never_a_live_job(machine: Machine) -> None:
    machine.write_config(executor={"type": "tmux"})
    machine.start()
    ended, live = machine.submit("true"), machine.submit("--wrap", GATE)
    machine.wait(ended)
    machine.until(live, "running")
    eventually(lambda: f"gflow-{ended}" not in machine.tmux("list-sessions", "-F", "#S").split())
    machine.tmux("new-session", "-d", "-s", f"gflow-{ended}", "sleep 1000")
    assert "not ended" in machine.refused(1, "close-sessions", str(live))
    assert machine.ctl("close-sessions", "--all").stdout == f"Closed the session of job {ended}\n"
    assert machine.tmux("list-sessions", "-F", "#S").split() == [f"gflow-{live}"]
    machine.open_gate()
    assert machine.wait(live) == 0


def test_info_and_status_tell_of_the_machine(machine: Machine) -> None:
    assert "has never run here" in machine.ctl("info").stdout
    machine.start("--simulate-gpus", "2x24G")
    job_id = machine.submit("-g", "1", "-c", "3", "--wrap", GATE)
    machine.until(job_id, "running")
    found = eventually(
        lambda: [i for i in [json.loads(machine.ctl("info", "--json").stdout)] if i["cpus"]["used"] == 3]
    )[0]
    assert found["cpus"]["total"] == 8
    assert [gpu["state"] for gpu in found["gpus"]] == ["busy", "idle"]
    assert found["gpus"][0]["jobs"] == [job_id]
    status = machine.status()
    assert {worker["name"] for worker in status["workers"]} == set(machine.pids()) - {"supervisor"}
    assert (status["hosting"], status["ready"]) == ("detached", True)
    machine.open_gate()
    machine.wait(job_id)


def test_doctor_finds_nothing_wrong_with_a_healthy_installation(machine: Machine) -> None:
    assert "gflowd is not running" in machine.ctl("doctor", check=False).stdout
    machine.start()
    out = machine.ctl("doctor").stdout
    assert "FAIL" not in out
    assert "gflowd is running" in out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_are_printed_and_are_valid(machine: Machine, shell: str) -> None:
    for program in ("gflowctl", "gflowd"):
        text = machine.run(program, "completion", shell, env=machine.env).stdout
        assert program in text
        if shutil.which(shell):
            done = subprocess.run([shell, "-n"], input=text, text=True, capture_output=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A long queue without a daemon."""
    found = Machine(tmp_path_factory.mktemp("many"))
    from gflowd.core.job import codec
    from gflowd.storage.store import Store

    found.submit("-n", "x" * 200, "true")
    store = Store(found.state)
    spec = codec.decode_spec(store.read().of("spec")[1])
    with store.commit() as commit:
        for _ in range(2000):
            commit.put("spec", commit.allocate(), codec.encode(spec))
    return found


READERS = ["queue -a", "queue --json", "show 1-2000", "info", "--help", "submit --help", "completion bash", "doctor"]


@pytest.mark.parametrize("words", READERS)
def test_a_closed_pipe_is_no_error(many: Machine, words: str) -> None:
    done = many.run("bash", "-c", f"gflowctl {words} | head -n 1 >/dev/null; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == ("0\n", "")
    done = many.run("sh", "-c", f"gflowctl {words} >&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("words", READERS)
def test_a_full_device_is_told_of(many: Machine, words: str) -> None:
    done = many.run("sh", "-c", f"gflowctl {words} >/dev/full")
    assert done.returncode == 3
    assert done.stderr.startswith("gflowctl: ")
    assert done.stderr.count("\n") == 1


def test_submit_with_nowhere_to_print_says_that_the_job_is_queued(machine: Machine) -> None:
    done = machine.run("sh", "-c", "gflowctl submit true >/dev/full")
    assert done.returncode == 3
    assert "job 1 is queued" in done.stderr
    assert set(machine.jobs()) == {1}
    done = machine.run("sh", "-c", "gflowctl submit true >&- 2>&-")
    assert done.returncode == 0
    assert set(machine.jobs()) == {1, 2}


def test_an_interrupted_wait_leaves_the_job_alone(up: Machine) -> None:
    job_id = up.submit("--wrap", GATE)
    with up.begin("wait", str(job_id)) as waiting:
        eventually(lambda: up.job(job_id)["state"] == "running")
        eventually(lambda: up.state.snapshot in descriptors.opened(waiting.pid))  # not while it is still importing
        waiting.send_signal(2)
        assert waiting.wait(timeout=60) == 130
        assert b"Traceback" not in waiting.stderr.read()
    assert up.job(job_id)["state"] == "running"
    up.open_gate()
    assert up.wait(job_id) == 0


def test_wait_sees_the_end_even_when_the_daemon_is_restarted_meanwhile(own: Machine) -> None:
    job_id = own.submit("--wrap", f"{GATE}; exit 6")
    own.until(job_id, "running")
    with own.begin("wait", str(job_id)) as waiting:
        own.gflowd("restart")
        own.open_gate()
        assert waiting.wait(timeout=60) == 6


def test_at_means_the_last_submission(up: Machine) -> None:
    up.submit("true")
    up.submit("--wrap", "exit 4")
    assert up.ctl("wait", "@~1").returncode == 0
    assert up.ctl("wait", "@", check=False).returncode == 4


def test_sixty_four_submit_at_once(up: Machine) -> None:
    ids = up.submit_all("--", "sh", "-c", "echo $GFLOW_JOB_ID >>ran", count=64, at_once=64)
    assert ids == list(range(ids[0], ids[0] + 64))
    assert up.wait(*ids) == 0
    up.ran_exactly_once(ids)
