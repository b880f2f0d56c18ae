"""How much work the daemon gets through, and what that and a long queue cost, in time and in CPU time.

python benchmarks/throughput.py [jobs N] [chain N] [queue N ...]      all of it without arguments

We adopt what the daemon leaves to init, so that the CPU time of every process is known once it has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import pairwise

from peers.results import exponent
from report import line
from rig import Bench, pss, seconds, ticks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS, LINKS = 1000, 200
SLOTS = (2, 64)  # CPUs that the scheduler gives out: as many as there are, and more than can be busy
SIZES = (1_000, 10_000, 100_000)
BUDGET = {"tmux": (150.0, 15.0), "process": (300.0, 15.0)}  # jobs/s, ms a link
KINDS = ("array", "single")  # one spec for all, or one each
TICKS = 40  # submissions by which a tick is weighed
CALM = 2.0  # seconds without work
PR_SET_CHILD_SUBREAPER = 36


def adopt() -> None:
    """Makes us the parent of whatever is orphaned below us."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def reap() -> float:
    """CPU seconds of all our children that have ended, theirs included."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def workers(bench: Bench) -> dict[str, int]:
    """The pids of the daemon's processes by name."""
    status = json.loads(bench.run("gflowd", "status", "--json"))
    return {"supervisor": status["pid"], **{worker["name"]: worker["pid"] for worker in status["workers"]}}


def cpu(pid: int, *, children: bool = False) -> float:
    """CPU seconds of a process; and those of its children that it has waited for."""
    return ticks(pid, children=children) / os.sysconf("SC_CLK_TCK")


def exact_cpu(pid: int) -> float:
    """CPU milliseconds of a process that has no threads, to the nanosecond."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e6


def throughput(bench: Bench, executor: str, jobs: int, slots: int) -> Iterator[str]:
    """`jobs` jobs that do nothing, all queued beforehand: how many a second, and the CPU time of each process."""
    with bench.daemon(f"many-{executor}-{slots}", GFLOW_EXECUTOR__TYPE=executor, GFLOW_SCHEDULER__CPUS=str(slots)):
        bench.run("gflowctl", "submit", "--wait", "true")  # whatever is done once
        bench.run("gflowctl", "submit", "--hold", "--array", f"1-{jobs}", "true")
        pids = workers(bench)
        time.sleep(1.5)
        before = {name: cpu(pid) for name, pid in pids.items()}
        already = sum(cpu(pid, children=True) for pid in pids.values()) + reap()
        bench.run("gflowctl", "release", "@")
        bench.run("gflowctl", "wait", "@")
        spent = {name: cpu(pid) - before[name] for name, pid in pids.items()}
        found = bench.jobs()[1:]
    everything = reap() - already
    if [job["state"] for job in found] != ["finished"] * jobs:
        raise SystemExit(f"throughput: not all of {jobs} jobs finished")
    took = max(seconds(job["ended_at"]) for job in found) - min(seconds(job["started_at"]) for job in found)
    rate = BUDGET[executor][0]
    yield f"{f'{jobs} jobs on {slots} CPUs, {executor}: per second':<52} {jobs / took:8.1f}      (target: {rate:.0f})"
    yield line("    CPU of all processes per job", 1000 * everything / jobs, "ms", 2000 / rate)
    parts = ", ".join(f"{name} {1000 * each / jobs:.2f}" for name, each in spent.items() if each)
    yield f"    of it, in ms: {parts}, the rest: jobs and tmux"


def chain(bench: Bench, executor: str, links: int) -> Iterator[str]:
    """`links` jobs, each waiting for the one before: from an end to the next end."""
    with bench.daemon(f"chain-{executor}", GFLOW_EXECUTOR__TYPE=executor):
        bench.run("gflowctl", "submit", "--hold", "true")
        for _ in range(links):
            bench.took("gflowctl", "submit", "-d", "@", "true")
        already = sum(cpu(pid, children=True) for pid in workers(bench).values()) + reap()
        bench.run("gflowctl", "release", "1")
        bench.run("gflowctl", "wait", str(links + 1))
        ends = [seconds(job["ended_at"]) for job in bench.jobs()]
    everything = reap() - already
    gaps = sorted(after - earlier for earlier, after in pairwise(ends))
    yield line(f"chain of {links}: a link, {executor}", 1000 * (ends[-1] - ends[0]) / links, "ms", BUDGET[executor][1])
    text = f"    median {1000 * gaps[links // 2]:.1f} ms, CPU of all processes for one link"
    yield f"{text} {1000 * everything / links:.2f} ms"


def queue(bench: Bench, sizes: tuple[int, ...]) -> Iterator[str]:
    """What so many queued jobs cost: memory of all processes, and CPU time of the scheduler for a tick."""
    costs: dict[str, list[tuple[int, float]]] = {"tick": [], "memory": []}
    for kind in KINDS:
        for size in (0, *sizes):
            with bench.daemon(f"queue-{kind}-{size}", GFLOW_SCHEDULER__CPUS="1"):
                bench.run("gflowctl", "submit", "sleep", "600")
                _fill(bench, kind, size)
                pids = workers(bench)
                _calm(pids["scheduler"])
                memory, before = sum(map(pss, pids.values())), exact_cpu(pids["scheduler"])
                for _ in range(TICKS):
                    bench.took("gflowctl", "submit", "true")
                time.sleep(0.2)
                tick = (exact_cpu(pids["scheduler"]) - before) / TICKS
                budget = 80.0 if size == 0 else 250.0
                yield line(f"memory with {size} queued, {kind}", memory, "MB", budget)
                yield f"{f'    scheduler for a submission, {kind}':<52} {tick:8.2f} ms"
                bench.run("gflowctl", "cancel", "1")
                subprocess.run(["gflowctl", "wait", "1"], env=bench.environ, stdout=subprocess.DEVNULL, check=False)
                if size and kind == "single":
                    costs["tick"].append((size, tick))
                    costs["memory"].append((size, memory))
    if len(sizes) > 1:
        for name, points in costs.items():
            if (slope := exponent(points)) is not None:
                yield line(f"growth of {name}: exponent", slope, "", 1.1)


def _fill(bench: Bench, kind: str, size: int) -> None:
    """Queues so many jobs."""
    if kind == "array" and size:
        bench.run("gflowctl", "submit", "--array", f"1-{size}", "true")
    elif size:
        lines = "".join(f'{{"command": ["true", "{number}"]}}\n' for number in range(size))
        subprocess.run(
            ["gflowctl", "submit", "--from", "-"], env=bench.environ, check=True, timeout=300, text=True, input=lines,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip


def _calm(pid: int) -> None:
    """Waits until a process has taken in what it was given."""
    before = -1.0
    while (now := exact_cpu(pid)) - before > 1:
        before = now
        time.sleep(CALM)


def parts(bench: Bench, words: list[str]) -> Iterator[Iterator[str]]:
    """What `words` ask for."""
    wanted: dict[str, list[int]] = {} if words else {"jobs": [JOBS], "chain": [LINKS], "queue": list(SIZES)}
    for word in words:
        if word.isdecimal():
            wanted[next(reversed(wanted))].append(int(word))
        else:
            wanted[word] = []
    executors = ("tmux", "process") if shutil.which("tmux") else ("process",)
    for executor in executors:
        for count in wanted.get("jobs", ()):
            for slots in SLOTS:
                yield throughput(bench, executor, count, slots)
        for count in wanted.get("chain", ()):
            yield chain(bench, executor, count)
    if "queue" in wanted:
        yield queue(bench, tuple(wanted["queue"]))


def main(words: list[str]) -> int:
    root = tempfile.mkdtemp(prefix="gf-thr-")
    adopt()
    try:
        for part in parts(Bench(root), words):
            for text in part:
                print(text, flush=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
