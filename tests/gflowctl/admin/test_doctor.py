"""What doctor finds without a daemon: each trouble is made, found, explained, and gone when its remedy was followed."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.ports import held_address

from gflowctl.admin import checks
from gflowctl.context import Context
from gflowd.daemon.instance import Instance
from gflowd.workers.board import Pulse, Pulses

if TYPE_CHECKING:
    from support.ctl import Ctl


def bad(ctl: Ctl) -> list[str]:
    """The findings that are not ok, but for the daemon that does not run."""
    found = json.loads(ctl.run("doctor", "--json").stdout)
    shown = [f"{each['level']} {each['text']}: {each['remedy']}" for each in found if each["level"] != "ok"]
    return [line for line in shown if "gflowd is not running" not in line and "tmux is not" not in line]


@pytest.fixture
def used(ctl: Ctl) -> Ctl:
    ctl.submit("true")
    ctl.run_job(1)
    ctl.end_job(1)
    ctl.submit("true")
    assert bad(ctl) == []
    return ctl


@pytest.mark.parametrize("name", ["snapshot.jsonl", "env", "observed.json"])
def test_a_file_open_to_others_is_named_once_with_its_chmod(used: Ctl, name: str) -> None:
    used.observe()
    path = used.state.path(name)
    if name == "env":
        path = used.state.environment(os.listdir(path)[0])
    os.chmod(path, 0o640)
    (line,) = [line for line in bad(used) if path in line]
    assert line.startswith("FAIL ")
    remedy = line.partition("close it: ")[2].rstrip(": ")
    assert remedy == f"chmod 600 {path}"
    subprocess.run(remedy.split(), check=True)
    assert not [line for line in bad(used) if path in line]


def test_a_link_in_place_of_a_file_is_found(used: Ctl) -> None:
    Path(used.state.options).symlink_to("/etc/passwd")
    assert f"FAIL {used.state.options} is a symbolic link" in bad(used)[0]


def test_who_keeps_the_lock_is_named(used: Ctl) -> None:
    with open(used.state.snapshot_lock, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "locked by a process of unknown pid" in bad(used)[0]
        file.write("4242\n")
        file.flush()
        assert "locked by pid 4242" in bad(used)[0]


def test_a_queue_of_another_machine_is_told_of(used: Ctl) -> None:
    with used.store.commit() as commit:
        commit.put("header", 0, {"format": 1, "machine": "elsewhere"})
    (line,) = bad(used)
    assert "last used on another machine (elsewhere)" in line
    assert line.endswith("gflowd start --adopt")


@pytest.mark.parametrize(("hours", "says"), [(5, "5.0 h behind"), (-24 * 400, "400 days after")])
def test_a_clock_far_from_the_records_is_told_of(ctl: Ctl, hours: float, says: str) -> None:
    ctl.submit("true")
    with ctl.store.commit() as commit:
        spec = ctl.store.read().of("spec")[1]
        commit.put("spec", 1, {**spec, "submitted_at": time.time() + hours * 3600})
    assert says in bad(ctl)[0]


def test_metrics_that_cannot_be_given_are_told_of(used: Ctl, tmp_path: Path) -> None:
    with held_address() as (host, port):
        address = f"{host}:{port}"
        used.env |= {"GFLOW_METRICS__LISTEN": address, "GFLOW_METRICS__TEXTFILE": f"{tmp_path}/none/x.prom"}
        with socket.create_server((host, port)):
            file, listens = bad(used)
        assert file.startswith(f"WARN metrics cannot be written to {tmp_path}/none/x.prom: ")
        assert (
            listens == f"WARN metrics: another program listens on {address}: choose another port for [metrics] listen"
        )
        used.env["GFLOW_METRICS__TEXTFILE"] = f"{tmp_path}/x.prom"
        assert bad(used) == []
    (tmp_path / "prometheus_client.py").write_text("raise ImportError")
    used.env["PYTHONPATH"] = str(tmp_path)
    assert any("[metrics] needs gflow[metrics]: " in line for line in bad(used))


def test_a_drained_machine_is_told_of(used: Ctl) -> None:
    used.ok("drain", "--reason", "new disks")
    (line,) = bad(used)
    assert "new disks" in line
    assert line.endswith("gflowctl resume")
    used.ok("resume")
    assert bad(used) == []


def test_jobs_without_their_environment_are_named(used: Ctl) -> None:
    for name in os.listdir(used.state.path("env")):
        os.unlink(used.state.environment(name))
    (line,) = bad(used)
    assert "the environment or script of job 2 is gone" in line


def test_directories_of_unknown_jobs_are_named(used: Ctl) -> None:
    for job_id in (7, 8, 40):
        os.makedirs(used.state.attempt(job_id, 1))
    (line,) = bad(used)
    assert "of unknown jobs: 7-8,40" in line
    Path(used.state.path("history.db")).touch(mode=0o600)  # which may know them: only ids not given yet are strange
    with used.store.commit() as commit:
        commit.allocate(10)
        commit.put("setting", "drain", None)
    (line,) = bad(used)
    assert "of unknown jobs: 40" in line


def test_what_a_restore_left_is_named(used: Ctl) -> None:
    used.ok("backup", "b.tar")
    used.run("restore", "--force", "b.tar")
    os.mkdir(used.state.path("restore.new"))
    first, second = bad(used)
    assert "was replaced by gflowctl restore" in first
    assert "restore that was killed" in second


def test_a_setting_without_effect_is_told_of(used: Ctl) -> None:
    config = used.home / ".config/gflow/gflow.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[daemon]\nhost = "0.0.0.0"\n')
    assert "daemon.host has no effect here" in bad(used)[0]
    config.write_text("[gpu]\npol_interval = 3\n")
    assert "line 2" in bad(used)[0]


def test_an_unreadable_snapshot_is_one_finding(used: Ctl) -> None:
    Path(used.state.snapshot).write_bytes(b"nonsense\n" * 50)
    (line,) = bad(used)
    assert "gflowctl restore" in line


def test_records_that_make_no_sense_are_a_finding(used: Ctl) -> None:
    with used.store.commit() as commit:
        commit.put("spec", 2, ["no", "spec"])
    (line,) = bad(used)
    assert "the record spec 2 makes no sense: a list is not an object" in line


def test_of_very_many_records_that_make_no_sense_some_are_named(used: Ctl) -> None:
    with used.store.commit() as commit:
        for number in range(150):
            commit.put("wish", 1000 + number, {"held": True})
    lines = bad(used)
    assert len(lines) == 101
    assert "50 more records make no sense" in lines[-1]


def test_a_worker_is_silent_since_its_last_heartbeat_or_if_it_had_none_since_its_start(up: Ctl) -> None:
    pulses = Pulses(["beats", "fresh", "coming", "silent", "mute"])
    Instance(up.state, "foreground").sign(pulses.fd)
    now = time.monotonic()
    pulses.set(Pulse("beats", 11, beat=now, started=now - 1000))
    pulses.set(Pulse("fresh", 12, started=now))
    pulses.set(Pulse("silent", 13, beat=now - 1000, started=now - 2000))
    pulses.set(Pulse("mute", 14, started=now - 1000))
    found = [line for line in bad(up) if "worker" in line]
    assert [line.partition(" for 1")[0] for line in found] == [
        "WARN worker silent (pid 13) has not responded", "WARN worker mute (pid 14) has not responded",
    ]  # fmt: skip


def test_missing_packages_are_named(used: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "NEEDED", ("json", "no_such_package"))
    (finding,) = checks.packages(Context({}))
    assert finding.remedy.endswith("-m pip install no_such_package")


def test_packages_are_anothers_only_where_they_lie_in_a_directory_of_pythonpath() -> None:
    found = importlib.util.find_spec("filelock")
    assert found is not None
    place = Path(str(found.origin)).parents[1]
    for above in (place.parent, place.parents[2]):  # e.g. a project that has its virtual environment within
        assert list(checks.packages(Context({"PYTHONPATH": str(above)}))) == []
    lines = [finding.text for finding in checks.packages(Context({"PYTHONPATH": f"/no/such:{place}/"}))]
    assert f"the package filelock comes from PYTHONPATH: {found.origin}" in lines


def test_the_file_system_of_a_place_is_known_by_its_nearest_mount() -> None:
    assert checks.filesystem("/proc/self") == "proc"
    assert checks.filesystem("/") == checks.filesystem("/no/such/place") != ""
