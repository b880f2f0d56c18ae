"""Metrics of a real daemon: scraped, in a file, printed; switched on and off; exact over kills and archiving."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from support.machine import Machine, kill
from support.waiting import eventually

parser = pytest.importorskip("prometheus_client.openmetrics.parser")

Samples = dict[str, float]


def samples(text: str) -> Samples:
    """By name and the values of the labels, in order of their names."""
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(machine: Machine) -> Samples:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(60)
        client.connect(str(machine.root / "m.sock"))
        client.send(b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text\r\n\r\n")
        found = b""
        while part := client.recv(65536):
            found += part
    head, _, body = found.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK"), found
    return samples(body)


def printed(machine: Machine, *words: str) -> Samples:
    return samples(machine.ctl("metrics", *words).stdout)


def jobs(found: Samples) -> Samples:
    return {name: value for name, value in found.items() if name.startswith(("gflow_attempts", "gflow_jobs_submitted"))}


def workers(machine: Machine) -> dict[str, Any]:
    return {each["name"]: each for each in machine.status()["workers"]}


def test_counters_are_exact_whoever_is_killed_and_wherever_jobs_are(machine: Machine) -> None:
    machine.write_config(
        gpu={"simulate": "2x24G"},
        history={"after": 0.2},
        metrics={"listen": str(machine.root / "m.sock"), "names": "jobs"},
    )
    machine.start()
    machine.ctl("submit", "-a", "1-3", "--wait", "true")
    failed = machine.submit("--max-retries", "1", "--gpus", "1", "--wrap", "sleep 0.05; false")
    machine.wait(failed)
    held = machine.submit("-H", "true")
    runs = machine.submit("--gpus", "2", "-n", "train", "sleep", "1000")
    machine.until(runs, "running")
    expected = {
        "gflow_attempts_ended_total  finished": 3.0, "gflow_attempts_ended_total NonZeroExit failed": 2.0,
        "gflow_jobs_submitted_total": 6.0,
    }  # fmt: skip
    eventually(lambda: workers(machine)["metrics_updater"]["heartbeat_age"] is not None)
    eventually(lambda: not (set(range(1, failed + 1)) & live_ids(machine)), news=machine.news)  # in the history
    found = scrape(machine)
    assert jobs(found) == jobs(printed(machine)) == expected
    assert found["gflow_jobs held"] == found["gflow_jobs running"] == found["gflow_jobs_waiting JobHeldUser"] == 1
    assert found["gflow_job_run_seconds_count failed"] == 2
    assert found["gflow_job_wait_seconds_count"] == 4, "of the second attempt nobody waits"
    assert 0 < found["gflow_job_gpu_seconds_total"] < 100
    eventually(lambda: printed(machine).get("gflow_gpus_allocated") == 2, news=machine.news)
    eventually(lambda: scrape(machine).get("gflow_gpu_state 0 busy") == 1, news=machine.news)
    assert any(name.startswith(f"gflow_job_info {runs} train ") for name in found)
    eventually(lambda: scrape(machine).get("gflow_commit_seconds_count", 0) >= 3, news=machine.news)
    for name in ("scheduler", "metrics_updater"):
        before = workers(machine)[name]["pid"]
        kill(before)
        eventually(lambda name=name, before=before: workers(machine)[name]["pid"] not in (None, before))
        eventually(lambda name=name: workers(machine)[name]["heartbeat_age"] is not None)
    assert jobs(scrape(machine)) == expected
    assert printed(machine)["gflow_worker_restarts_total scheduler"] == 1
    machine.stop()
    down = printed(machine)
    assert (down["gflow_up"], jobs(down)) == (0, expected)
    assert "gflow_gpus" not in down
    machine.ctl("cancel", f"{held},{runs}")
    machine.start()
    machine.wait(held, runs)
    cancelled = {"gflow_attempts_ended_total CancelledByUser cancelled": 2.0}
    assert jobs(printed(machine)) == expected | cancelled
    machine.stop()


def live_ids(machine: Machine) -> set[int]:
    from gflowd.storage.store import Store

    return set(Store(machine.state).read().of("spec"))


def test_they_are_switched_on_and_off_and_what_is_wrong_is_told(machine: Machine) -> None:
    machine.start()
    assert "metrics_updater" not in workers(machine)
    assert printed(machine)["gflow_up"] == 1
    assert "gflow_worker_up metrics_updater" not in printed(machine)
    path = machine.root / "gflow.prom"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        machine.write_config(metrics={"textfile": str(path), "listen": address})
        machine.gflowd("reload")
        told = f"[metrics] listen: {address}: Address already in use"
        eventually(lambda: workers(machine).get("metrics_updater", {}).get("trouble") == told, news=machine.news)
        assert f"trouble   metrics_updater: {told}\n" in machine.gflowd("status").stdout
        assert f"metrics_updater: {told}" in machine.ctl("doctor", check=False).stdout
        eventually(lambda: printed(machine).get("gflow_trouble metrics_updater") == 1, news=machine.news)
        assert f'why="{told.removeprefix("[metrics] listen: ")}"' in machine.daemon_log()
        machine.ctl("submit", "--wait", "true")
        eventually(lambda: 'gflow_attempts_ended_total{reason="",state="finished"} 1.0\n' in path.read_text())
        assert path.stat().st_mode & 0o777 == 0o644
    machine.config.pop("metrics")
    machine.write_config()
    machine.gflowd("reload")
    eventually(lambda: "metrics_updater" not in workers(machine))
    assert "\ngflow_up 0.0\n" in path.read_text()
    assert machine.ctl("submit", "--wait", "true").returncode == 0
    machine.stop()


def test_without_the_package_the_command_to_install_it_is_told(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "prometheus_client.py").write_text("raise ImportError")
    env = {**machine.env, "PYTHONPATH": os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))}
    said = machine.refused(3, "metrics", env=env)
    assert said.startswith("gflowctl metrics needs gflow[metrics]: ")
    assert "prometheus-client" in said
