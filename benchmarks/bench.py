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
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import contextmanager
from itertools import pairwise

import edges
import planner
from report import line

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from gflowd.core.job import codec  # noqa: E402 -- the tree that we stand in, installed or not
from gflowd.core.job.model import Spec  # noqa: E402
from gflowd.paths import State  # noqa: E402
from gflowd.storage.store import Store  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

ROUNDS = 31
SEQUENCE = 20  # jobs one after the other
BATCH = 200  # jobs at once
IDLE = 10.0  # seconds
ENTRIES = {"gflowctl": ("gflowctl.__main__", "program"), "gflowd": ("gflowd.main", "main")}  # as in setup.cfg
STUB = (
    "#!{python}\nimport sys\nfrom {module} import {function}\nif __name__ == '__main__':\n    sys.exit({function}())\n"
)


class Bench:
    """A plain environment in `root`, and state directories beside it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.python = os.path.join(root, "env", "bin", "python3")
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(("GFLOW_", "PYTHON"))}
        self.environ["PATH"] = f"{root}/env/bin:{self.environ.get('PATH', os.defpath)}"
        self._make_environment()

    def _make_environment(self) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", f"{self.root}/env"], check=True)
        places = {"base": f"{self.root}/env", "platbase": f"{self.root}/env"}
        with open(os.path.join(sysconfig.get_path("purelib", vars=places), "bench.pth"), "w", encoding="utf-8") as file:
            file.write(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
        for program, (module, function) in ENTRIES.items():
            path = os.path.join(self.root, "env", "bin", program)
            with open(path, "w", encoding="utf-8") as file:
                file.write(STUB.format(python=self.python, module=module, function=function))
            os.chmod(path, 0o700)

    def use(self, name: str, **settings: str) -> State:
        """Makes a state directory of that name the one in use, with settings as GFLOW_ variables."""
        kept = {key: value for key, value in self.environ.items() if not key.startswith("GFLOW_")}
        state = State(os.path.join(self.root, name))
        self.environ = {**kept, "GFLOW_STATE_DIR": state.root, **settings}
        return state

    def run(self, *words: str) -> str:
        done = subprocess.run(words, env=self.environ, text=True, stdout=subprocess.PIPE, check=True, timeout=120)
        return done.stdout

    @contextmanager
    def daemon(self, name: str, **settings: str) -> Iterator[None]:
        """A daemon of that state directory, for as long as the block runs."""
        self.use(name, **settings)
        try:
            self.run("gflowd", "start", "--simulate-gpus", "4")
            yield
        except BaseException:  # cut short: no job is to outlive us
            subprocess.run(["gflowctl", "cancel", "--all"], env=self.environ, stdout=subprocess.DEVNULL, check=False)
            time.sleep(1)
            raise
        finally:
            subprocess.run(["gflowd", "stop"], env=self.environ, stdout=subprocess.DEVNULL, check=False)

    def took(self, *words: str) -> float:
        """Seconds that a command takes, its output thrown away."""
        path = os.path.join(self.root, "env", "bin", words[0])
        begun = time.perf_counter()
        null = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        status = os.waitpid(os.posix_spawn(path, [path, *words[1:]], self.environ, file_actions=null), 0)[1]
        spent = time.perf_counter() - begun
        if status:
            raise SystemExit(f"bench: {' '.join(words)} failed")
        return spent

    def jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("gflowctl", "queue", "--all", "--json"))
        return found


def seconds(rfc3339: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(rfc3339).timestamp()


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


def ticks(pid: int, *, children: bool = False) -> int:
    """Clock ticks of CPU time that a process has used; and those of its children that it has waited for."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return sum(map(int, fields[11 : 15 if children else 13]))


def pss(pid: int) -> float:
    """Megabytes of memory, shared pages divided among those that share them."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(int(row.split()[1]) for row in file if row.startswith("Pss:")) / 1000


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
