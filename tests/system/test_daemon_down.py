"""gflowctl without a daemon, and what the daemon makes of what happened while it was away."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import datetime

from support.machine import GATE, ROOT, Machine, stopped
from support.waiting import eventually

from gflowd.effects import doorbell


def test_what_was_submitted_without_a_daemon_runs_when_it_comes(machine: Machine) -> None:
    done = machine.ctl("submit", "--", "sh", "-c", "echo hello; exit 6")
    assert done.stdout == "Submitted batch job 1\n"
    job = machine.job(1)
    assert (job["state"], job["reason"]) == ("queued", "DaemonDown")
    machine.start()
    assert machine.wait(1) == 6
    assert machine.log(1) == b"hello\n"


def test_wishes_of_the_time_without_a_daemon_hold(machine: Machine) -> None:
    unwanted, held, wanted = (machine.submit("--wrap", "echo $GFLOW_JOB_ID >>ran") for _ in range(3))
    machine.ctl("cancel", str(unwanted))
    machine.ctl("hold", str(held))
    assert machine.wait(unwanted) == 130
    assert (machine.job(unwanted)["state"], machine.job(held)["state"]) == ("cancelled", "held")
    machine.start()
    machine.wait(wanted)
    assert (machine.job(unwanted)["state"], machine.job(unwanted)["reason"]) == ("cancelled", "CancelledByUser")
    assert machine.job(held)["state"] == "held"
    machine.ctl("release", str(held))
    machine.wait(held)
    machine.ran_exactly_once([held, wanted])


def test_cron_finds_the_same_state_and_the_same_daemon(machine: Machine) -> None:
    """Nothing but HOME and PATH; the daemon was started from a full session with a runtime directory of its own."""
    bare = {"HOME": str(machine.home), "PATH": "/usr/bin:/bin"}
    session = {name: value for name, value in machine.env.items() if not name.startswith("GFLOW_S")}
    session |= {"GFLOW_RUNTIME_DIR": str(machine.root / "r"), "XDG_RUNTIME_DIR": str(machine.work)}
    job_id = machine.submit("--wrap", "echo $PATH; pwd", env=bare)
    home_state = machine.home / ".local/state/gflow"
    assert home_state.is_dir()
    machine.gflowd("start", env=session)
    try:
        assert machine.ctl("wait", str(job_id), env=bare).returncode == 0
        assert machine.ctl("log", str(job_id), env=session).stdout == f"/usr/bin:/bin\n{machine.work}\n"
        eventually((home_state / "observed.json").exists)
        seen = json.loads((home_state / "observed.json").read_text())
        status = json.loads(machine.gflowd("status", "--json", env=session).stdout)
        bell = os.open(f"{seen['runtime_dir']}/bell", os.O_RDWR | os.O_NONBLOCK)
        with stopped(status["pid"]):
            doorbell.listen(bell)
            machine.ctl("submit", "true", env=bare)
            assert doorbell.SUBMISSION in doorbell.listen(bell), "the bell was not found"
        os.close(bell)
        assert machine.ctl("submit", "--wait", "true", env=bare).returncode == 0
        words = [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); from gflowctl.main import main; sys.exit(main())",
        ]
        assert "running" in machine.run(*words, "info", env=bare, cwd="/").stdout
    finally:
        machine.gflowd("stop", env=bare)
    assert machine.processes() == {}


def test_a_job_that_ended_without_the_daemon_tells_the_truth(own: Machine) -> None:
    text = f"echo begin; {GATE}; seq 1 2000; date +%s.%N; exit 9"
    job_id = own.submit("--", "sh", "-c", text)
    own.until(job_id, "running")
    own.stop()
    assert own.job(job_id)["state"] == "running"
    own.open_gate()
    path = own.attempt(job_id) / "exit"
    eventually(lambda: path.exists() and path.read_text() == "9\n")  # it is made first, then written
    record = path.stat().st_mtime
    eventually(lambda: time.time() > record + 0.5)
    returned = time.time()
    own.start()
    job = own.ended(job_id)
    assert (job["state"], job["exit_code"], job["reason"]) == ("failed", 9, "NonZeroExit")
    lines = own.log(job_id).decode().splitlines()
    assert lines[:-1] == ["begin", *map(str, range(1, 2001))]
    ended_at = datetime.fromisoformat(job["ended_at"]).timestamp()
    assert float(lines[-1]) - 0.02 <= ended_at < returned
    assert abs(ended_at - record) < 0.02
    assert own.wait(job_id) == 9


def test_a_job_that_still_runs_is_found_again(own: Machine) -> None:
    job_id = own.submit("--wrap", f"echo $GFLOW_JOB_ID >>ran; {GATE}; exit 3")
    before = own.until(job_id, "running")
    for _ in range(2):
        own.stop()
        own.start()
    own.wait(own.submit("true"))
    after = own.job(job_id)
    for field in ("state", "pid", "started_at", "gpu_ids", "attempt"):
        assert after[field] == before[field]
    own.open_gate()
    assert own.wait(job_id) == 3
    own.ran_exactly_once([job_id])


def test_a_time_limit_that_passed_without_the_daemon_is_applied_at_once(own_default: Machine) -> None:
    job_id = own_default.submit("-t", "1h", "--grace", "1s", "sleep", "100")
    begun = datetime.fromisoformat(own_default.until(job_id, "running")["started_at"]).timestamp()
    own_default.stop()
    own_default.ctl("update", str(job_id), "-t", "1s")
    eventually(lambda: time.time() > begun + 1)
    own_default.start()
    assert own_default.wait(job_id) == 124
    assert own_default.job(job_id)["state"] == "timeout"


def test_a_running_job_can_be_cancelled_without_the_daemon(own_default: Machine) -> None:
    job_id = own_default.submit("sleep", "100")
    own_default.until(job_id, "running")
    own_default.stop()
    assert "Stopping" in own_default.ctl("cancel", str(job_id)).stdout
    own_default.start()
    assert own_default.wait(job_id) == 130


def test_the_daemon_stops_while_a_job_runs_and_leaves_it_alone(own: Machine) -> None:
    job_id = own.submit("--wrap", f"trap 'echo signalled >>got' INT TERM HUP; {GATE}")
    pid = own.until(job_id, "running")["pid"]
    own.stop()
    ours = own.processes()
    assert pid in ours
    assert not any("gflowd" in words and "tmux" not in words for words in ours.values()), ours
    own.open_gate()
    eventually((own.attempt(job_id) / "exit").exists)
    own.start()
    assert own.wait(job_id) == 0
    assert own.lines("got") == []


def test_stop_leaves_nothing_when_no_job_runs(own: Machine) -> None:
    assert own.result("echo", "hello") == "hello\n"
    assert "gflowd stopped" in own.gflowd("stop").stdout
    assert own.processes() == {}
    assert own.gflowd("stop").stdout == "gflowd is not running\n"
    assert own.status()["running"] is False
    assert "not running" in own.gflowd("status", check=False).stdout
