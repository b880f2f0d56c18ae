"""The metrics and their values; docs/metrics.md has the table of all."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gflowd.core.accounting.ended_totals import Tally
from gflowd.core.metrics import catalogue, metric_values
from gflowd.core.metrics.duration_meter import BOUNDS, Meters
from gflowd.core.metrics.metric_values import Daemon, Histogram, Process, Seen, Values
from gflowd.core.metrics.unended_jobs import LiveJob, Standing
from gflowd.effects.metrics import exposition

ROOT = Path(__file__).parents[4]
PAGE, EXAMPLES = ROOT / "docs/metrics.md", ROOT / "examples/metrics"
GIB = 1 << 30


def whole() -> Values:
    """A machine of which everything is known."""
    tally, meters, standing = Tally(), Meters(), Standing(oldest=100.0)
    spec = {"user": "ada", "project": 'p"\n\\', "submitted_at": 1.0}
    run = {"started_at": 3.5, "ended_at": 10.0, "run": {"gpu_ids": [0, 1]}}
    tally.job(spec, None, {"is": "ended", "state": "failed", "reason": "NonZeroExit", **run})
    for seconds in (0.0005, 0.003, 9.0):
        meters.commit.note(seconds)
    standing.states.update({("ada", "", "running"): 1, ("bob", "p", "queued"): 3})
    standing.waiting["Resources"] = 3
    standing.live.append(LiveJob(7, "train é", "ada", "", "running", 2, 50.0))
    standing.live.append(LiveJob(8, "there", "ada", "", "starting", 0, None, "hpc"))
    standing.live.append(LiveJob(9, "there", "ada", "", "running", 4, 60.0, "hpc"))
    gpu = {
        "index": 0, "uuid": "GPU-1", "model": "A100", "memory_mb": 1024, "used_mb": 512, "utilisation": 75,
        "temperature": 61, "state": "busy", "jobs": [7], "ecc": 2,
    }  # fmt: skip
    other = {"index": 1, "model": "S", "memory_mb": 2048, "state": "idle", "simulated": True}
    seen = Seen(
        at=99.0, capacity={"gpus": 2, "cpus": 8, "memory_mb": 1024}, used={"cpus": 3, "memory_mb": 512},
        gpus=[gpu, other], meters=meters.fields(), troubles={"scheduler": None, "gpus": "no driver"},
    )  # fmt: skip
    processes = [Process("scheduler", True, 98.0, 1), Process("manager", False, None, 0)]
    return Values(Daemon("0.1.0", 5.0, processes), seen, standing, tally, snapshot=10, history=None)


def samples(values: Values, names: str = "jobs") -> dict[str, Any]:
    return {
        f"{family.metric.name}{list(labels) or ''}": value
        for family in metric_values.families(values, names)
        for labels, value in family.samples
    }


def test_each_metric_has_its_value_in_base_units() -> None:
    found = samples(whole())
    for name, value in {
        "gflow_up": 1, "gflow_build['0.1.0']": 1, "gflow_start_timestamp_seconds": 5,
        "gflow_worker_up['manager']": 0, "gflow_worker_heartbeat_timestamp_seconds['scheduler']": 98,
        "gflow_worker_restarts['scheduler']": 1, "gflow_trouble['gpus']": 1, "gflow_trouble['scheduler']": 0,
        "gflow_snapshot_size_bytes": 10, "gflow_jobs['queued']": 3, "gflow_jobs['running']": 1, "gflow_jobs['held']": 0,
        "gflow_jobs_waiting['Resources']": 3, "gflow_jobs_oldest_timestamp_seconds": 100, "gflow_jobs_submitted": 5,
        "gflow_attempts_ended['failed', 'NonZeroExit']": 1, "gflow_job_gpu_seconds": 13, "gflow_gpus": 2,
        "gflow_gpus_allocated": 1, "gflow_cpus": 8, "gflow_cpus_allocated": 3, "gflow_memory_bytes": GIB,
        "gflow_memory_allocated_bytes": GIB / 2, "gflow_gpu['0', 'GPU-1', 'A100', 'false']": 1,
        "gflow_gpu['1', '', 'S', 'true']": 1, "gflow_gpu_state['0', 'busy']": 1, "gflow_gpu_state['0', 'idle']": 0,
        "gflow_gpu_jobs['0']": 1, "gflow_gpu_utilization_ratio['0']": 0.75, "gflow_gpu_memory_bytes['1']": 2 * GIB,
        "gflow_gpu_memory_used_bytes['0']": GIB / 2, "gflow_gpu_temperature_celsius['0']": 61,
        "gflow_gpu_memory_errors['0']": 2, "gflow_user_jobs['bob', 'p', 'queued']": 3, "gflow_user_gpus['ada', '']": 6,
        "gflow_user_gpus['bob', 'p']": 0, "gflow_job['7', 'train é', 'ada', '', 'running']": 1,
        "gflow_cluster_jobs['hpc', 'starting']": 1, "gflow_cluster_jobs['hpc', 'running']": 1,
        "gflow_cluster_gpus['hpc']": 4, "gflow_job_gpus['9']": 4, "gflow_job_gpus['8']": 0,
        "gflow_job_gpus['7']": 2, "gflow_job_start_timestamp_seconds['7']": 50,
    }.items():  # fmt: skip
        assert found.pop(name) == value, name
    assert found["gflow_job_wait_seconds"].counts[:3] == (0, 1, 1)
    assert found["gflow_job_run_seconds['failed']"].total == 6.5
    assert found["gflow_commit_seconds"] == Histogram(BOUNDS, (1, 1, 2, *[2] * 9, 3), 9.0035)


def test_what_is_not_known_is_left_out_and_so_is_whose_it_is() -> None:
    found = samples(Values())
    assert found == {"gflow_up": 0.0, **dict.fromkeys([name for name in found if name.startswith("gflow_jobs[")], 0)}
    down = samples(Values(None, whole().seen, whole().standing, whole().tally))
    assert "gflow_gpus" not in down, "nobody looks at them"
    assert down["gflow_jobs_submitted"] == 5
    assert "gflow_gpus" not in samples(Values(Daemon("1", None)))
    unpolled = Seen(1.0, {"gpus": None}, {}, [], {}, {})
    assert "gflow_gpus_allocated" not in samples(Values(Daemon("1", None), unpolled))
    for names, without in (("none", ("user", "project", "name", "job")), ("users", ("name", "job"))):
        given = metric_values.families(whole(), names)
        assert not {label for family in given for label in family.metric.labels} & set(without)
        assert len(given) < len(metric_values.families(whole(), "jobs"))


def test_the_clients_own_parser_reads_every_one_as_it_is() -> None:
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    given = metric_values.families(whole(), "jobs")
    assert {family.metric.name for family in given} == {*catalogue.BY_NAME} - {"gflow_history_size_bytes"}
    read = {
        family.name: family for family in parser.text_string_to_metric_families(exposition.text(given, "x").decode())
    }
    assert [*read] == [family.metric.name for family in given]
    for metric, _ in given:
        told = read[metric.name]
        assert (told.type, told.unit, told.documentation) == (metric.kind, metric.unit, metric.about)
        for sample in told.samples:
            assert sample.name.startswith(metric.sample)
            assert {*sample.labels} - {"le"} == {*metric.labels}
    labels = {key: value for sample in read["gflow_user_gpu_seconds"].samples for key, value in sample.labels.items()}
    assert labels == {"user": "ada", "project": 'p"\n\\'}
    older = pytest.importorskip("prometheus_client.parser")
    text = exposition.text(given, "x", plain=True).decode()
    plain = {sample.name for family in older.text_string_to_metric_families(text) for sample in family.samples}
    assert {"gflow_attempts_ended_total", "gflow_gpu_info", "gflow_commit_seconds_bucket"} <= plain


def test_names_are_as_prometheus_has_them() -> None:
    for metric in catalogue.METRICS:
        assert re.fullmatch(r"gflow_[a-z_]+", metric.name)
        assert metric.name.endswith(metric.unit)
        assert metric.about.endswith(".")
        assert len(metric.about) < 120


def test_the_examples_ask_for_metrics_that_there_are() -> None:
    known = {each.sample for each in catalogue.METRICS if each.kind != catalogue.HISTOGRAM}
    parts = ("bucket", "count", "sum")
    known |= {f"{each.name}_{part}" for each in catalogue.METRICS if each.kind == catalogue.HISTOGRAM for part in parts}
    board = json.loads((EXAMPLES / "dashboard.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = re.findall(r"expr: (.*?)\n +(?:for|labels):", (EXAMPLES / "gflow.rules.yml").read_text(), re.DOTALL)
    assert len(rules) == 5
    for query in (*queries, *rules):
        asked = re.findall(r"\bgflow_\w+", query)
        assert asked
        assert {*asked} <= known, query
    assert [panel["id"] for panel in board["panels"]] == list(range(1, len(board["panels"]) + 1))


def test_the_page_has_the_table_of_all_metrics() -> None:
    rows = re.findall(r"(?m)^\| `(gflow_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", PAGE.read_text())
    assert rows == [
        (each.sample, each.kind, ", ".join(each.labels) or "-", "-" if each.names == "none" else each.names, each.about)
        for each in catalogue.METRICS
    ]
