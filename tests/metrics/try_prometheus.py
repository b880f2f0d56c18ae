#!/usr/bin/env python3
"""Lets a real Prometheus scrape a real gflowd: by the configuration in docs/metrics.md, with the alert rules and the
queries of the dashboard in examples/metrics. The directory of prometheus and promtool is the argument.

Exit status 0: all was well.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples/metrics"
RULES = EXAMPLES / "gflow.rules.yml"
PATIENCE = 90.0  # seconds
EMPTY_HERE = ("temperature", "utilization", "user_")  # in queries: simulated GPUs have none, names are not asked for


class Failed(Exception):
    """What was not as it should be."""


def main(programs: Path) -> None:
    promtool = programs / "promtool"
    run(promtool, "check", "rules", RULES)
    run(promtool, "test", "rules", ROOT / "tests/metrics/rules_test.yml")
    with tempfile.TemporaryDirectory(prefix="gf-") as name, ExitStack() as stack:
        place, port, other = Path(name), free_port(), free_port()
        gflow = Gflow(place, port)
        stack.callback(gflow.stop)
        gflow.run("gflowd", "start")
        gflow.run("gflowctl", "submit", "--gpus", "1", "--wait", "true")
        gflow.run("gflowctl", "submit", "-H", "true")
        for words in (("sleep", "1000"), ("true",)):
            gflow.run("gflowctl", "submit", "--gpus", "2", "--", *words)
        stack.callback(gflow.run, "gflowctl", "cancel", "--all")
        plain = gflow.run("gflowctl", "metrics", "--plain", "--names", "jobs")
        linted = subprocess.run(
            [promtool, "check", "metrics"], input=plain, capture_output=True, text=True, check=False
        )
        if linted.returncode:
            raise Failed(f"promtool check metrics: {linted.stderr}")
        config = place / "prometheus.yml"
        config.write_text(configuration(port))
        run(promtool, "check", "config", config)
        server = subprocess.Popen(
            [
                programs / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={place / 'data'}",
                f"--web.listen-address=127.0.0.1:{other}", "--log.level=error",
            ]
        )  # fmt: skip
        stack.callback(end, server)
        prometheus = Prometheus(other)
        scraped(prometheus)
        print(f"{asked(prometheus)} queries of the dashboard and the alerts ran")


def configuration(port: int) -> str:
    """That of the page, with our port, often enough for a test, and with the rules."""
    page = (ROOT / "docs/metrics.md").read_text()
    (block,) = re.findall(r"```yaml\n(scrape_configs:.*?)```", page, re.DOTALL)
    assert "127.0.0.1:9421" in block
    head = f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{RULES}']\n"
    return head + str(block).replace("127.0.0.1:9421", f"127.0.0.1:{port}")


def scraped(prometheus: Prometheus) -> None:
    """Two scrapes at least, of every metric that there is here, with what it is."""
    until_so(lambda: value(prometheus, "count_over_time(gflow_up[1m])") >= 2, "gflow_up was not scraped")
    for query, expected in (
        ("up", 1), ("gflow_up", 1), ("gflow_jobs_submitted_total", 4), ("gflow_gpus", 2),
        ('gflow_attempts_ended_total{state="finished"}', 1), ('gflow_jobs{state="held"}', 1),
    ):  # fmt: skip
        found = value(prometheus, query)
        if found != expected:
            raise Failed(f"{query} is {found}, not {expected}")
    told = prometheus.get("metadata", metric="gflow_job_wait_seconds")["gflow_job_wait_seconds"][0]
    if (told["type"], told["unit"]) != ("histogram", "seconds"):
        raise Failed(f"Prometheus takes gflow_job_wait_seconds for {told}")
    until_so(lambda: bool(prometheus.get("rules")["groups"]), "no rules")
    health = {rule["name"]: rule["health"] for group in prometheus.get("rules")["groups"] for rule in group["rules"]}
    if len(health) != 5 or set(health.values()) - {"ok", "unknown"}:
        raise Failed(f"rules: {health}")


def asked(prometheus: Prometheus) -> int:
    """Runs every query, and counts them."""
    board = json.loads((EXAMPLES / "dashboard.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    for query in queries:
        found = prometheus.get("query", query=query)["result"]
        is_rate = "[" in query or "histogram" in query  # of two seconds' samples there may be none yet
        if not found and not is_rate and not any(word in query for word in EMPTY_HERE) and "== 1" not in query:
            raise Failed(f"no result: {query}")
    rules = [rule["query"] for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    for query in rules:
        prometheus.get("query", query=query)
    return len(queries) + len(rules)


class Gflow:
    """A gflow of its own, whose metrics can be scraped."""

    def __init__(self, place: Path, port: int) -> None:
        config = place / "gflow.toml"
        config.write_text(f'[gpu]\nsimulate = "2x24G"\n[history]\nafter = 1\n[metrics]\nlisten = "127.0.0.1:{port}"\n')
        self._env = {
            **os.environ, "GFLOW_STATE_DIR": str(place / "state"), "GFLOW_CONFIG": str(config),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        }  # fmt: skip

    def run(self, program: str, *words: str) -> str:
        return run(sys.executable, "-m", program, *words, env=self._env)

    def stop(self) -> None:
        self.run("gflowd", "stop")


class Prometheus:
    """Its interface."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def get(self, what: str, **words: str) -> Any:
        with urllib.request.urlopen(f"{self._url}/{what}?{urllib.parse.urlencode(words)}", timeout=30) as answer:
            found = json.load(answer)
        if found["status"] != "success":
            raise Failed(f"{what} {words}: {found}")
        return found["data"]


def value(prometheus: Prometheus, query: str) -> float:
    """The only value of a query, -1 if there is none."""
    found = prometheus.get("query", query=query)["result"]
    return float(found[0]["value"][1]) if len(found) == 1 else -1.0


def until_so(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise Failed(otherwise)


def run(*words: object, **settings: Any) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, timeout=120, **settings)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}")
    return done.stdout


def end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    server.wait(30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Failed as failed:
        sys.exit(f"metrics-test: {failed}")
