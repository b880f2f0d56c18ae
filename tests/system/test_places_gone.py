"""What becomes of a daemon whose directories somebody clears away, and of a tmux server that nobody needs any more."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from support.machine import TMUX, Machine, alive, kill, stopped
from support.waiting import eventually

with_tmux = pytest.mark.skipif(TMUX is None, reason="tmux is not installed")


@pytest.mark.parametrize("again", [False, True])
def test_a_daemon_whose_state_directory_is_gone_ends_with_one_sentence(machine: Machine, again: bool) -> None:
    log = machine.root / "said"
    with log.open("wb") as file:
        daemon = subprocess.Popen([machine.bin / "gflowd", "run"], env=machine.env, cwd=machine.work, stderr=file)
    eventually(lambda: machine.status()["running"])
    assert machine.result("echo", "here") == "here\n"
    with stopped(daemon.pid):
        os.rename(machine.state.root, machine.root / "moved")
        if again:
            Path(machine.state.root).mkdir(mode=0o700)
    assert daemon.wait(60) == 3
    how = "is no longer the directory that gflowd was started with" if again else "is gone"
    assert f"gflowd: {machine.state.root} {how}" in log.read_text()
    eventually(lambda: not machine.processes())
    shutil.rmtree(machine.root / "moved")


def clear_away(place: Path) -> None:
    """At once, though others are at work in it."""
    aside = place.with_suffix(".aside")
    place.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def test_a_runtime_directory_that_is_cleared_away_is_made_again(machine: Machine) -> None:
    run = machine.root / "run"
    machine.env["GFLOW_RUNTIME_DIR"] = str(run)
    machine.start()
    assert machine.result("echo", "one") == "one\n"
    manager = machine.worker("manager")
    clear_away(run)
    machine.gflowd("reload")  # wakes it
    eventually((run / "bell").exists)
    eventually(lambda: machine.pids().get("manager", manager) != manager)
    assert run.stat().st_mode & 0o777 == 0o700
    eventually(lambda: len(machine.pids()) == 7 and all(map(alive, machine.pids().values())))
    assert machine.result("echo", "two") == "two\n"
    assert "manager died" not in machine.daemon_log()


def test_a_runtime_directory_that_another_file_took_ends_the_daemon(machine: Machine) -> None:
    run = machine.root / "run"
    machine.env["GFLOW_RUNTIME_DIR"] = str(run)
    machine.write_config(executor={"type": "process"})
    machine.start()
    supervisor, manager = machine.pids()["supervisor"], machine.worker("manager")
    with stopped(supervisor):
        clear_away(run)
        run.write_text("not a directory")
        kill(manager)
    eventually(lambda: not alive(supervisor))
    assert "cannot be created again" in machine.daemon_log()
    eventually(lambda: not machine.processes())


@with_tmux
def test_the_tmux_server_that_a_stopped_daemon_leaves_ends_with_its_last_job(own_default: Machine) -> None:
    jobs = [own_default.submit("--wrap", f"until [ -e gate{number} ]; do sleep 0.05; done") for number in (1, 2)]
    own_default.until_in(jobs, "running")
    own_default.stop()
    assert own_default.tmux("list-sessions").count("\n") == 2
    (own_default.work / "gate1").touch()
    eventually(lambda: own_default.tmux("list-sessions").count("\n") == 1)
    (own_default.work / "gate2").touch()
    eventually(lambda: not own_default.processes())
    own_default.start()
    assert [own_default.ended(job_id)["state"] for job_id in jobs] == ["finished"] * 2


def schedulers(machine: Machine) -> list[int]:
    """The scheduler's pid, once it is up: one that is killed sooner counts as one that cannot start."""
    workers = machine.status()["workers"]
    return [each["pid"] for each in workers if each["name"] == "scheduler" and each["heartbeat_age"] is not None]


@with_tmux
def test_stop_ends_the_tmux_server_though_the_scheduler_is_down(own_default: Machine) -> None:
    """It is killed so often that its next start is some way off."""
    assert own_default.result("echo", "tmux") == "tmux\n"
    killed: list[int] = []
    for _ in range(5):
        killed.append(eventually(lambda: next((pid for pid in schedulers(own_default) if pid not in killed), 0)))
        kill(killed[-1], signal.SIGKILL)
    own_default.stop()
    assert not own_default.processes()
