"""How late an idle daemon is at the edges of reservations, by `make bench`.

A start is hit when the daemon has told the world: `observed.json` then says that the GPU is reserved, and its time, on
the disk or in it, whichever is later, is held against the reservation's. An end is hit when a job begins that waited
for it; the first job of a daemon, which takes longer to launch, is over by then. Both are read afterwards: nobody polls
while an edge is near.
"""

from __future__ import annotations

import json
import os
import pwd
import statistics
import time
from datetime import datetime

from report import line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import Bench

ROUNDS = 6
AHEAD, LENGTH = "1.8s", "2s"
QUIET = 0.5  # seconds after an edge in which nobody looks
REST = 2.2  # seconds between rounds: observed.json is written once a second at most
BUDGET = 50  # milliseconds


def rows(bench: Bench) -> Iterator[str]:
    """The lines of the report."""
    starts, ends, sleeps = [], [], []
    with bench.daemon("edges", GFLOW_EXECUTOR__TYPE="process"):
        path = os.path.join(bench.environ["GFLOW_STATE_DIR"], "observed.json")
        while _state(path) != "idle":
            time.sleep(0.1)
        bench.run("gflowctl", "wait", bench.run("gflowctl", "submit", "--parsable", "-g", "4", "true").strip())
        for _ in range(ROUNDS):
            time.sleep(REST)
            start, end = _reserve(bench)
            time.sleep(start + QUIET - time.time())
            sleeps.append(time.time() - start - QUIET)
            while _state(path) != "reserved":
                time.sleep(0.1)
            starts.append(_told_at(path) - start)
            job = bench.run("gflowctl", "submit", "--parsable", "-g", "4", "true").strip()
            bench.run("gflowctl", "wait", job)
            began = json.loads(bench.run("gflowctl", "queue", "--json", job))[0]["started_at"]
            ends.append(datetime.fromisoformat(began).timestamp() - end)
    yield f"(a mere sleep was at most {max(sleeps) * 1000:.1f} ms late meanwhile)"
    for what, late in (("start", starts), ("end", ends)):
        yield line(f"reservation's {what}, median of {ROUNDS}", statistics.median(late) * 1000, "ms", BUDGET)
        yield line(f"reservation's {what}, the latest", max(late) * 1000, "ms", BUDGET)


def _reserve(bench: Bench) -> tuple[float, float]:
    """When a new reservation of GPU 0 for somebody else begins and ends."""
    other = next(entry.pw_name for entry in pwd.getpwall() if entry.pw_uid != os.getuid())
    words = ("--user", other, "--gpu-list", "0", "--start", f"now+{AHEAD}", "--for", LENGTH, "--json")
    window = json.loads(bench.run("gflowctl", "reserve", "create", *words))["window"]
    return datetime.fromisoformat(window["start"]).timestamp(), datetime.fromisoformat(window["end"]).timestamp()


def _state(path: str) -> str | None:
    """What the daemon says of GPU 0; None before it says anything."""
    try:
        with open(path, "rb") as file:
            return next((gpu["state"] for gpu in json.load(file)["gpus"]), None)
    except FileNotFoundError:
        return None


def _told_at(path: str) -> float:
    """The file's own time is that of a clock tick, so up to four milliseconds early."""
    with open(path, "rb") as file:
        return max(float(json.load(file)["at"]), os.fstat(file.fileno()).st_mtime)
