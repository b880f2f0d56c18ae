"""What doctor finds of a daemon that runs: each condition is made, found, and gone when its remedy was followed."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
from support.machine import GATE, TMUX, Machine, kill, stopped
from support.waiting import eventually

needs_tmux = pytest.mark.skipif(TMUX is None, reason="tmux is not installed")


def found(machine: Machine) -> dict[str, str]:
    """What is not ok, with its remedy."""
    shown = json.loads(machine.ctl("doctor", "--json", check=False).stdout)
    return {
        each["text"]: each["remedy"] for each in shown if each["level"] != "ok" and "tmux is not" not in each["text"]
    }


def remedy(machine: Machine, part: str) -> str:
    """The remedy of the one finding that has `part` in its text."""
    (said,) = eventually(lambda: [said for text, said in found(machine).items() if part in text])
    return said


def test_a_stopped_daemon(own_default: Machine) -> None:
    pid = own_default.pids()["supervisor"]
    with stopped(pid):
        assert remedy(own_default, "gflowd is stopped") == f"kill -CONT {pid}"
    eventually(lambda: not found(own_default))


def test_a_worker_that_keeps_ending(own_default: Machine) -> None:
    for _ in range(3):
        pid = eventually(lambda: own_default.pids().get("reservation_timer"))
        kill(pid)
        eventually(lambda was=pid: own_default.pids().get("reservation_timer") not in (None, was))
    assert own_default.state.log in remedy(own_default, "worker reservation_timer")


def test_a_doorbell_that_is_gone(own_default: Machine) -> None:
    with stopped(own_default.pids()["supervisor"]):  # which makes it again as soon as it sees that
        (Path(own_default.state.default_run()) / "bell").unlink()
        assert remedy(own_default, "which wakes gflowd") == "gflowd restart"
    own_default.gflowd("restart")
    eventually(lambda: not found(own_default))


def test_a_runtime_directory_that_is_gone(own_default: Machine) -> None:
    with stopped(own_default.pids()["supervisor"]):
        shutil.rmtree(own_default.state.default_run())
        assert remedy(own_default, "is gone while gflowd runs") == "gflowd restart"
    own_default.gflowd("restart")
    eventually(lambda: not found(own_default))


def test_a_configuration_changed_since(own_default: Machine) -> None:
    own_default.write_config(executor={"grace": 3})
    assert remedy(own_default, "was changed since") == "gflowd reload"
    own_default.gflowd("reload")
    eventually(lambda: not found(own_default))


def test_an_observed_world_of_another_daemon(own_default: Machine) -> None:
    with stopped(own_default.pids()["scheduler"]):  # which writes it again whenever there is news
        Path(own_default.state.observed).unlink(missing_ok=True)
        assert "the disk is full" in remedy(own_default, "was not written by the running gflowd")


@needs_tmux
def test_a_tmux_socket_that_is_gone(own_default: Machine) -> None:
    job_id = own_default.submit("--wrap", f"echo said; {GATE}")
    own_default.until(job_id, "running")
    Path(own_default.tmux_socket).unlink()
    words = remedy(own_default, f"job {job_id} cannot be attached to").split()
    assert words[:2] == ["kill", "-USR1"]
    kill(int(words[2]), signal.SIGUSR1)
    eventually(lambda: not found(own_default))
    own_default.open_gate()
    assert own_default.wait(job_id) == 0
    assert own_default.log(job_id) == b"said\n"


@needs_tmux
def test_a_tmux_server_that_does_not_answer(own_default: Machine) -> None:
    job_id = own_default.submit("--wrap", GATE)
    own_default.until(job_id, "running")
    pid = int(own_default.tmux("display-message", "-p", "#{pid}"))
    with stopped(pid):
        assert "kill -CONT" in remedy(own_default, "did not answer")
    own_default.open_gate()
    assert own_default.wait(job_id) == 0


@needs_tmux
def test_a_session_that_nobody_needs(own_default: Machine) -> None:
    own_default.wait(own_default.submit("true"))
    eventually(lambda: "gflow-1" not in own_default.tmux("list-sessions", "-F", "#S").split())
    own_default.tmux("new-session", "-d", "-s", "gflow-1", "sleep 1000")
    assert remedy(own_default, "left terminal sessions") == "gflowctl close-sessions --all"
    own_default.ctl("close-sessions", "--all")
    eventually(lambda: not found(own_default))
