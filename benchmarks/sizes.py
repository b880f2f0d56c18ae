"""What a long queue and a long history cost gflowctl: every command beside the same on a thousandth of them.

python benchmarks/sizes.py [QUEUED ENDED]      100000 and 1000000 if nothing is said; some minutes
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time

from history import fill, spec
from report import line
from rig import Bench

from gflowd.storage.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUED, ENDED = 100_000, 1_000_000
SHARE = 1000
ROUNDS = 5
TWICE = 2.0  # how much more a command may take that does not list or sum up


def rows(bench: Bench, queued: int, ended: int) -> Iterator[str]:
    """A line for each command: how long it takes, and against the small state directory."""
    for name, part in (("small", SHARE), ("large", 1)):
        state = bench.use(name)
        yield f"{name}: {fill(state, ended // part)}"
        with Store(state).commit() as commit:
            commit.put("setting", "drain", {"at": time.time(), "by": "us", "reason": "measured"})
            for number in range(queued // part):
                commit.put("spec", commit.allocate(), spec(number))
    few, many = ({"waiting": ended // part + queued // part // 2, "ended": ended // part // 2} for part in (SHARE, 1))
    plain = [("submit", "true"), ("show", "{waiting}"), ("show", "{ended}"), ("submit", "-d", "{ended}", "true")]
    for words in plain:
        small, large = _both(bench, words, few, many)
        yield f"{_said(words):<52} {1000 * large:8.0f} ms"
        yield line("    against the small one", large / small, "x", TWICE)
    yield f"{'bare interpreter':<52} {1000 * bench.took('python3', '-c', 'pass'):8.0f} ms"
    longer = [("queue",), ("queue", "--limit", "10"), ("queue", "--all", "--limit", "10"), ("stats", "--all-users")]
    for words in longer:
        small, large = _both(bench, words, few, many)
        yield f"{_said(words):<52} {1000 * large:8.0f} ms    {large / small:8.2f} x the small one"


def _both(bench: Bench, words: tuple[str, ...], few: dict[str, int], many: dict[str, int]) -> tuple[float, float]:
    """The median seconds of a command on the small and on the large state directory, in turns."""
    took: tuple[list[float], list[float]] = [], []
    for _ in range(ROUNDS):
        for name, ids, found in zip(("small", "large"), (few, many), took, strict=True):
            bench.use(name)
            found.append(bench.took("gflowctl", *(word.format(**ids) for word in words)))
    return statistics.median(took[0]), statistics.median(took[1])


def _said(words: tuple[str, ...]) -> str:
    return " ".join(words).replace("{waiting}", "JOB (queued)").replace("{ended}", "JOB (in the history)")


def main() -> int:
    queued, ended = map(int, sys.argv[1:3]) if len(sys.argv) > 1 else (QUEUED, ENDED)
    root = tempfile.mkdtemp(prefix="gflow-bench-")
    try:
        print(f"{queued} queued jobs, {ended} in the history, on {os.cpu_count()} processors")
        for text in rows(Bench(root), queued, ended):
            print(text, flush=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
