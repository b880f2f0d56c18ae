#!/usr/bin/env python3
"""How fast gflow is here, against its budgets; run by `make bench`.

Start-up times are multiples of a bare interpreter's (`python3 -c pass`), measured in turns so that a busy moment hits
all alike. Both run in a plain environment made for the purpose: an editable install would slow the bare interpreter
and so flatter the ratio. Latencies come from the jobs' own times. A missed budget is shown, not punished.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from itertools import pairwise

import edges
import planner
from report import line
from rig import Bench, pss, seconds, ticks

from gflowd.core.job import codec
from gflowd.core.job.model import Spec
from gflowd.storage.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 31
SEQUENCE = 20  # jobs one after the other
BATCH = 200  # jobs at once
IDLE = 10.0  # seconds


def start_up(bench: Bench) -> Iterator[str]:
    """How long gflowctl takes, against a bare interpreter."""
    full = bench.use("full")
    full.prepare()
    with Store(full).commit() as commit:
        for _ in range(1000):
            spec = Spec(
                command=("python", "train.py", "--epochs", "90"), name="train", user="ada", cwd="/home/ada/work",
                env="0" * 32, submitted_at=time.time(), gpus=1,
            )  # fmt: skip
            commit.put("spec", commit.allocate(), codec.encode(spec))
    for words in (("submit", "true"), ("queue",)):
        bench.took("gflowctl", *words)  # compiles what is not compiled yet
    bare, submit, queue = [], [], []
    for _ in range(ROUNDS):
        bare.append(bench.took("python3", "-c", "pass"))
        bench.use("empty")
        submit.append(bench.took("gflowctl", "submit", "true"))
        bench.use("full")
        queue.append(bench.took("gflowctl", "queue"))
    unit = statistics.median(bare)
    yield f"(bare interpreter: {unit * 1000:.1f} ms, median of {ROUNDS}, as the others)"
    yield line("gflowctl submit / bare interpreter", statistics.median(submit) / unit, "x", 3)
    yield line("gflowctl queue with 1,000 jobs / bare interpreter", statistics.median(queue) / unit, "x", 6)


def latencies(bench: Bench, executor: str) -> Iterator[str]:
    """From submission to start, and from an end to the next start, on one CPU slot."""
    with bench.daemon(f"one-{executor}", GFLOW_SCHEDULER__CPUS="1", GFLOW_EXECUTOR__TYPE=executor):
        for _ in range(SEQUENCE):
            bench.run("gflowctl", "wait", bench.run("gflowctl", "submit", "--parsable", "true").strip())
        waited = [seconds(job["started_at"]) - seconds(job["submitted_at"]) for job in bench.jobs()]
        bench.run("gflowctl", "submit", "sleep", "3")  # while the others are queued behind it
        for _ in range(SEQUENCE):
            bench.run("gflowctl", "submit", "true")
        bench.run("gflowctl", "wait", f"{SEQUENCE + 1}-{2 * SEQUENCE + 1}")
        queued = bench.jobs()[SEQUENCE:]
        gaps = [seconds(after["started_at"]) - seconds(before["ended_at"]) for before, after in pairwise(queued)]
        yield line(f"submit to start, {executor}", statistics.median(waited) * 1000, "ms", 50)
        yield line(f"end to next start, {executor}", statistics.median(gaps) * 1000, "ms", 50)


def batch(bench: Bench, executor: str) -> Iterator[str]:
    """Many small jobs, on as many CPU slots as there are cores."""
    with bench.daemon(f"many-{executor}", GFLOW_EXECUTOR__TYPE=executor):
        for _ in range(BATCH):
            bench.took("gflowctl", "submit", "true")
        last = time.time()
        bench.run("gflowctl", "wait", f"1-{BATCH}")
        jobs = bench.jobs()
        if sorted({job["state"] for job in jobs}) != ["finished"] or len(jobs) != BATCH:
            raise SystemExit(f"bench: not all of {BATCH} jobs finished")
        done = max(seconds(job["ended_at"]) for job in jobs)
        yield line(f"{BATCH} jobs: last submission to all done, {executor}", max(0.0, done - last), "s", 5)


def idle(bench: Bench) -> Iterator[str]:
    """What the daemon costs while it has nothing to do."""
    with bench.daemon("idle"):
        time.sleep(1)
        status = json.loads(bench.run("gflowd", "status", "--json"))
        pids = [status["pid"], *(worker["pid"] for worker in status["workers"])]
        before = sum(map(ticks, pids))
        time.sleep(IDLE)
        share = (sum(map(ticks, pids)) - before) / os.sysconf("SC_CLK_TCK") / IDLE
        yield line(f"idle daemon: share of a core, {IDLE:.0f} s", share * 100, "%", 0.2)
        yield line("idle daemon: memory (PSS) of all its processes", sum(map(pss, pids)), "MB", 80)


def main() -> int:
    root = tempfile.mkdtemp(prefix="gflow-bench-")
    try:
        bench = Bench(root)
        print(f"{'':<52} {'measured':>13} {'budget':>13}")
        executors = ("tmux", "process") if shutil.which("tmux") else ("process",)
        parts = [start_up(bench), idle(bench), edges.rows(bench), planner.rows()]
        parts += [part for executor in executors for part in (latencies(bench, executor), batch(bench, executor))]
        for part in parts:
            for text in part:
                print(text, flush=True)
        if len(executors) == 1:
            print("tmux is not installed: its lines are missing")
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
