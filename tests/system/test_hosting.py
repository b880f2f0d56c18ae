"""Starting, stopping, reloading: one daemon per state directory, which bears what is done to its files."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from support.machine import GATE, Machine, alive, kill, stopped
from support.waiting import eventually


def test_a_second_daemon_is_refused_naming_the_first(own_default: Machine) -> None:
    pid = own_default.pids()["supervisor"]
    for words in (("start",), ("run",)):
        said = own_default.refused(1, *words, program="gflowd")
        assert f"pid {pid}" in said
        assert os.uname().nodename in said
    assert own_default.pids()["supervisor"] == pid


def test_of_many_started_at_once_one_runs(machine: Machine) -> None:
    words = [str(machine.bin / "gflowd"), "start"]
    started = [
        subprocess.Popen(
            words, env=machine.env, cwd=machine.work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    said = [each.communicate(timeout=60) for each in started]
    assert sorted(each.returncode for each in started) == [0] + [1] * 7, said
    pid = machine.pids()["supervisor"]
    for out, err in said:
        assert out == f"gflowd started (pid {pid})\n" or "already running (pid " in err
    assert machine.result("echo", "one") == "one\n"


def test_another_state_directory_has_a_daemon_of_its_own(own_default: Machine) -> None:
    other = {**own_default.env, "GFLOW_STATE_DIR": str(own_default.root / "other")}
    own_default.gflowd("start", env=other)
    try:
        assert own_default.ctl("submit", "--wait", "true", env=other).stdout == "Submitted batch job 1\n"
        assert own_default.jobs() == {}
    finally:
        own_default.gflowd("stop", env=other)


def test_the_daemon_leaves_the_terminal_and_the_directory(machine: Machine) -> None:
    """Its starter's pipes are closed at once, and the directory can go."""
    place = machine.work / "here"
    place.mkdir()
    done = machine.run("sh", "-c", "gflowd start | cat", cwd=place)
    assert "gflowd started" in done.stdout
    shutil.rmtree(place)
    for pid in machine.pids().values():
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"


def test_run_stays_in_the_foreground_until_it_is_told_to_end(machine: Machine) -> None:
    words = [str(machine.bin / "gflowd"), "run"]
    with subprocess.Popen(words, env=machine.env, cwd=machine.work, stderr=subprocess.PIPE, text=True) as daemon:
        eventually(lambda: machine.status()["ready"])
        assert machine.status()["hosting"] == "foreground"
        assert machine.result("echo", "hello") == "hello\n"
        pids = machine.pids()
        daemon.terminate()
        assert daemon.wait(timeout=60) == 0
        assert "Traceback" not in daemon.stderr.read()
    assert not any(map(alive, pids.values()))


@pytest.mark.parametrize("left", ["file", "directory", "link"])
def test_what_stands_in_place_of_the_doorbell_is_replaced(machine: Machine, left: str) -> None:
    machine.start()
    machine.stop()
    bell = Path(machine.state.default_run()) / "bell"
    bell.unlink()
    if left == "file":
        bell.write_text("se")
    elif left == "directory":
        bell.mkdir()
    else:
        bell.symlink_to(machine.work / "elsewhere")
    machine.start()
    assert stat.S_ISFIFO(bell.lstat().st_mode)
    assert machine.result("echo", "heard") == "heard\n"


def test_stale_files_of_a_killed_daemon_do_no_harm(machine: Machine) -> None:
    machine.start()
    pids = machine.pids()
    kill(pids["supervisor"])
    eventually(lambda: not any(map(alive, pids.values())))
    assert Path(machine.state.daemon_lock).exists()
    assert machine.status()["running"] is False
    machine.start()
    assert machine.result("echo", "hello") == "hello\n"


def test_a_runtime_directory_deleted_under_the_daemon_loses_no_job(own: Machine) -> None:
    running = own.submit("--wrap", f"echo $GFLOW_JOB_ID >>ran; {GATE}; exit 3")
    own.until(running, "running")
    with stopped(own.pids()["supervisor"]):  # which makes it again as soon as it sees that
        shutil.rmtree(own.state.default_run())
    queued = own.submit("--executor", "process", "--wrap", "echo $GFLOW_JOB_ID >>ran")
    own.gflowd("restart")
    assert own.wait(queued) == 0
    own.open_gate()
    assert own.wait(running) == 3
    assert own.result("echo", "well") == "well\n"
    own.ran_exactly_once([running, queued])
    assert sum("start-server" in words for words in own.processes().values()) <= 1


def test_reload_changes_settings_and_touches_no_job(own: Machine) -> None:
    running = own.submit("--wrap", f"echo $GFLOW_JOB_ID >>ran; {GATE}; exit 3")
    job = own.until(running, "running")
    supervisor = own.pids()["supervisor"]
    own.refused(1, "submit", "-c", "9", "true")
    own.write_config(scheduler={"cpus": 12}, gpu={"simulate": "2x4G"})
    own.gflowd("reload")
    eventually(lambda: len(own.status()["gpus"]) == 2)
    eventually(lambda: own.ctl("submit", "-c", "9", "true", check=False).returncode == 0)
    assert own.result("-g", "2", "--wrap", "echo $CUDA_VISIBLE_DEVICES") == "0,1\n"
    assert own.pids()["supervisor"] == supervisor
    now = own.job(running)
    assert (now["state"], now["pid"], now["started_at"]) == ("running", job["pid"], job["started_at"])
    own.open_gate()
    assert own.wait(running) == 3
    own.ran_exactly_once([running])


def test_a_wrong_configuration_is_refused_with_file_line_and_key(own_default: Machine) -> None:
    pids = own_default.pids()
    good = own_default.config_file.read_text()
    own_default.config_file.write_text(good + "[gpu]\npoll_intervall = 3\n")
    for verb in ("reload", "restart"):
        said = own_default.refused(1, verb, program="gflowd")
        assert str(own_default.config_file) in said
        assert "poll_intervall" in said
        assert "line" in said or f":{good.count(chr(10)) + 2}" in said
    assert own_default.pids() == pids
    own_default.config_file.write_text(good)
    own_default.gflowd("reload")
    assert own_default.result("echo", "well") == "well\n"


def test_a_wrong_configuration_is_kept_out_by_a_plain_hangup_too(own_default: Machine) -> None:
    own_default.config_file.write_text("[scheduler]\ncpus = 'many'\n")
    kill(own_default.pids()["supervisor"], 1)
    eventually(lambda: "configuration kept" in own_default.daemon_log())
    own_default.write_config()
    assert own_default.result("-c", "8", "echo", "well") == "well\n"


def test_restart_keeps_jobs_and_options(own: Machine) -> None:
    own.gflowd("restart", "--simulate-gpus", "2")
    running = own.submit("-g", "1", "--wrap", f"echo $GFLOW_JOB_ID >>ran; {GATE}; exit 3")
    queued = own.submit("-g", "2", "--wrap", "echo $GFLOW_JOB_ID >>ran")
    own.until(running, "running")
    before = own.pids()
    own.gflowd("restart")
    after = own.pids()
    assert before["supervisor"] != after["supervisor"]
    assert not any(map(alive, before.values()))
    eventually(lambda: len(own.status()["gpus"]) == 2)
    assert own.job(running)["state"] == "running"
    assert own.job(queued)["state"] == "queued"
    own.open_gate()
    assert own.wait(running, queued) == 3
    own.ran_exactly_once([running, queued])


@pytest.mark.parametrize(
    "option", [("--gpus", "x"), ("--simulate-gpus", "many"), ("--gpu-poll-interval", "0"), ("--no",)]
)
def test_a_wrong_option_of_the_daemon_is_a_usage_error(machine: Machine, option: tuple[str, ...]) -> None:
    machine.refused(2, "start", *option, program="gflowd")
    assert machine.status()["running"] is False


def test_a_state_directory_open_to_others_is_refused(machine: Machine) -> None:
    place = Path(machine.state.root)
    place.mkdir()
    place.chmod(0o755)
    for program, words in (("gflowd", ("start",)), ("gflowctl", ("submit", "true")), ("gflowctl", ("queue",))):
        assert f"chmod 700 {place}" in machine.refused(1, *words, program=program)
    place.chmod(0o700)
    machine.start()


def test_without_tmux_jobs_run_as_plain_processes(machine: Machine) -> None:
    tools = machine.root / "tools"
    tools.mkdir()
    for name in ("sh", "cat", "sleep"):
        (tools / name).symlink_to(shutil.which(name))
    env = {**machine.env, "PATH": f"{machine.bin}:{tools}"}
    machine.gflowd("start", env=env)
    eventually(lambda: machine.status()["executor"])
    assert machine.status()["executor"] == "process"
    assert machine.result("--wrap", "echo plain") == "plain\n"
    assert "tmux is not installed" in machine.ctl("doctor", check=False, env=env).stdout


def test_one_executor_can_be_chosen_for_one_job(own_default: Machine) -> None:
    for executor in ("process", "tmux"):
        if executor == "process" or shutil.which("tmux"):
            job_id = own_default.submit("--executor", executor, "--wrap", "test -t 1 && echo terminal || echo file")
            assert own_default.wait(job_id) == 0
            assert own_default.log(job_id).decode() == ("terminal\n" if executor == "tmux" else "file\n")
