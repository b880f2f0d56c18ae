"""How the history holds up: moving many ended jobs there beside a daemon at work.

python benchmarks/history.py move ELEMENTS JOBS     in a state directory of its own, with a real daemon
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gflowd.paths import State
from gflowd.storage.history import Entry, History, Sheet
from gflowd.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

PART = 20_000  # rows written at a time


def spec(number: int, **more: object) -> dict[str, Any]:
    return {
        "command": ["python", "train.py", "--seed", str(number)], "cwd": "/", "env": "0" * 32,
        "name": f"job{number % 100}", "submitted_at": 1.7e9 + number, "user": f"user{number % 5}", "gpus": 1, **more,
    }  # fmt: skip


def end(number: int) -> dict[str, Any]:
    at = 1.7e9 + number
    run = {"executor": "process", "launched_at": at + 60, "gpu_ids": [number % 4]}
    state = {"state": "finished", "exit_code": 0} if number % 10 else {"state": "failed", "exit_code": 1}
    return {"is": "ended", "ended_at": at + 3660, "started_at": at + 60, "run": run, **state}


@contextmanager
def state_directory() -> Iterator[State]:
    state = State(tempfile.mkdtemp(prefix="gf-bench-"))
    os.environ["GFLOW_STATE_DIR"] = state.root
    yield state
    shutil.rmtree(state.root, ignore_errors=True)


def run(*words: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def move(elements: int, singles: int) -> None:
    os.environ["GFLOW_HISTORY__AFTER"] = "0"
    with state_directory() as state:
        state.prepare()
        with Store(state).commit() as commit:
            commit.put("spec", commit.allocate(elements), spec(0, family={"ranges": [[1, elements, 1]]}))
            for number in range(1, elements + 1):
                commit.put("phase", number, end(number))
            for number in range(elements + 1, elements + singles + 1):
                commit.put("spec", commit.allocate(), spec(number))
                commit.put("phase", number, end(number))
        begun = time.perf_counter()
        waits: list[float] = []
        run("gflowd", "start")
        while Store(state).read().of("phase").keys() - {elements + singles + 1 + n for n in range(len(waits))}:
            waits.append(run("gflowctl", "submit", "--wait", "--", "true"))
        took = time.perf_counter() - begun
        run("gflowd", "stop")
        size = os.path.getsize(state.history) >> 20
        print(f"moved {elements} elements and {singles} jobs in {took:.1f} s; the history has {size} MB")
        print(f"meanwhile submit --wait took {max(waits):.2f} s at the most, {min(waits):.2f} s at the least")


def fill(state: State, rows: int) -> str:
    """Gives a state directory a history of so many jobs; says how large it is."""
    state.prepare()
    with Store(state).commit() as commit:
        commit.allocate(rows)
        commit.put("setting", "none", {})
    history, begun = History(state.history, write=True), time.perf_counter()
    for first in range(1, rows + 1, PART):
        part = range(first, min(first + PART, rows + 1))
        sheets = [Sheet(number, 1, 1.7e9 + number + 3660, spec(number), None) for number in part]
        history.write([(number, Entry(number, end(number), None, ())) for number in part], sheets)
    history.close()
    size = os.path.getsize(state.history) >> 20
    return f"{rows} jobs in the history, {size} MB, written in {time.perf_counter() - begun:.1f} s"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["move", elements, jobs]:
            move(int(elements), int(jobs))
        case _:
            sys.exit(__doc__)
