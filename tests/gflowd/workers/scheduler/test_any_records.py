"""Sound records spoilt at random, with any others: the scheduler ticks on, and can be started again."""

from __future__ import annotations

import copy
import json
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import stage

from gflowd.core.gpu.device import Gpu
from gflowd.core.job.records import LARGEST_ID
from gflowd.core.moment import Moment
from gflowd.storage.record_log import Fold, sealed
from gflowd.storage.store import Store
from gflowd.workers.board_slots import Slots
from gflowd.workers.scheduler import worker
from gflowd.workers.scheduler.launching.launcher import Launcher

if TYPE_CHECKING:
    from gflowd.workers.base import Wiring

SPEC: dict[str, Any] = {
    "command": ["true"], "name": "x", "user": "ada", "cwd": "/tmp", "env": "0" * 32, "submitted_at": 1.7e9,
}  # fmt: skip
WAITS = {"dependencies": [{"kind": "afterok", "id": 1, "delay": 1.0}, {"kind": "singleton", "id": None}]}
ARRAY = {"ranges": [[0, 3, 1]], "max_concurrent": 1, "max_failures": 1}
SWEEP = {"axes": [{"names": ["a"], "rows": [["1"], ["2"]]}], "edits": [["a", [[0, 0, 1]], "9"]]}
RUN = {"executor": "process", "launched_at": 1.7e9, "gpu_ids": [0], "gpu_uuids": ["GPU-0"]}
STARTED = {"at": 1.7e9, "mono": 5.0, "identity": {"boot": "b", "pid": 1 << 30, "start": 1}}
ENDED = {"is": "ended", "ended_at": 1.7e9, "run": RUN, "started_at": 1.6e9, "state": "failed", "exit_code": 3}
RESERVATION = {"user": "ada", "start": 1.7e9, "duration": 3600.0, "created_at": 1.0, "created_by": "ada", "gpus": 1}
OF_JOBS: list[tuple[str, Any]] = [
    ("wish", {"held": True, "begin_at": 1.7e9, "top_at": 1.0, "released_at": 1.0}),
    ("wish", {"cancelled_at": 1.0, "cancelled_by": "ada", "requeued": 1}),
    ("wish", {"requeued": 2}),
    ("phase", {"is": "queued", "attempt": 2, "begin_at": 5.0, "since": 6.0}),
    ("phase", {"is": "starting", "run": RUN}),
    ("phase", {"is": "running", "run": RUN, "started": STARTED}),
    ("phase", {"is": "stopping", "run": RUN, "started": STARTED, "why": "TimeLimit", "since_at": 1.0, "since_mono": 1.0,
               "since_boot": "b"}),
    ("phase", {**ENDED, "reason": "DependencyFailed:x", "lingers": True}),
    ("phase", {**ENDED, "reason": "DependencyFailed:3"}),
    ("limit", {"max_concurrent": 2}),
    ("promise", {"since": 1.0, "at": 2e9, "by": [[1, 2.0]], "was": 3.0, "cause": "x", "estimate": 4.0}),
]  # fmt: skip
SPECS: list[Any] = [
    SPEC,
    {**SPEC, "gpus": 1, "time_limit": 60.0, "priority": 5},
    {**SPEC, "gpus": 1, "shared": True, "gpu_memory_mb": 10, "gpu_type": "M", "begin_at": 1.0, "grace": 3.0},
    {**SPEC, "needs": WAITS, "retry": {"max_retries": 2, "on": ["failure", 3], "delay": 1.0, "factor": 2.0}},
    {**SPEC, "family": ARRAY, "early_signal": {"number": 10, "before": 5.0}},
    {**SPEC, "family": SWEEP, "name_template": "{a}-{index}"},
]
OTHERS: list[tuple[str, int | str, Any]] = [
    ("attempt", "1.1", ENDED),
    ("usage", "ada", {"usage": 5.0, "at": 1.7e9}),
    ("runs", "0 ada x", {"user": "ada", "gpus": 0, "name": "x", "runs": [[1.0, 2.0]]}),
    ("quota", "user:ada", {"max_running_jobs": 1, "max_running_gpus": None, "max_queued_jobs": 3}),
    ("reservation", 1, {**RESERVATION, "repeat": "weekly"}),
    ("reservation", 2, {**RESERVATION, "start": 9e9, "gpus": 0, "gpu_list": [0, 7]}),
    ("setting", "drain", {"at": 1.0, "by": "ada", "reason": "r"}),
    ("setting", "gpus.allow", {"gpus": [0]}),
    ("setting", "gpus.drained", {"GPU-0": {"reason": "x", "at": 1.0, "by": "ada"}}),
    ("setting", "gpus.ignored", [{"gpu": "GPU-0", "pid": 5, "start": 6, "boot": "b"}]),
    ("setting", "gpus.resumed", {"GPU-0": {"at": 1.0, "boot": "b", "ecc": 1}}),
    ("scheduler", 0, {"generation": 999, "pid": 1}),
    ("header", 0, {"format": 1, "machine": "m"}),
]
ODD = [
    None, True, 0, -1, 2, 255, 10**6, 10**9, 10**15, 2**63, 10**30, -1.0, 1e-9, 2.5e11, 1e15, 1e300, float("nan"),
    float("inf"), "", "x", "tmux", "finished", "all", "daily", "../x", "a" * 300, "\0", "\ud800", "%", "{", "{a}",
    "\x1b[31m", [], [0], ["a"], [[0, 1, 1]], {}, {"a": 1}, [None],
]  # fmt: skip
GPUS = tuple(Gpu(index=index, uuid=f"GPU-{index}", model="M", memory_mb=80) for index in range(2))


def spoilt(dice: random.Random, value: Any) -> Any:
    """The value with another thing in one or two of its places."""
    value = copy.deepcopy(value)
    for _ in range(dice.choice([1, 1, 2])):
        places = list(_places(value))
        if not places or dice.random() < 0.04:
            return dice.choice(ODD)
        inside, place = dice.choice(places)
        how, before = dice.random(), inside[place]
        if how < 0.15:
            del inside[place]
        elif how < 0.25 and isinstance(inside, dict):
            inside["later"] = dice.choice(ODD)
        elif how < 0.4 and type(before) in (int, float):
            inside[place] = dice.choice([-before, before + 1, before * 1000])
        else:
            inside[place] = dice.choice(ODD)
    return value


def _places(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        for place in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, place
            yield from _places(value[place])


def put_some(dice: random.Random, store: Store) -> None:
    for _ in range(dice.randrange(1, 12)):
        with store.commit() as commit:
            known = commit.next_id
        kind, key, value = dice.choice(OTHERS)
        if dice.random() < 0.7:
            kind, value = dice.choice(OF_JOBS)
            key = dice.randrange(1, known + 1)
        if dice.random() < 0.4:
            kind, key, value = "spec", known, dice.choice(SPECS)
        count = 4 if kind == "spec" and "family" in value else kind == "spec"
        value = spoilt(dice, value) if dice.random() < 0.7 else value
        if dice.random() < 0.05:
            kind, key, value = dice.choice([(kind, -1, value), (kind, "x", value), (kind, key, None), ("zzz", 1, {})])
        with open(store.path, "ab") as file:  # what JSON cannot hold, too
            file.write(sealed(json.dumps([0, known + count, kind, key, value], separators=(",", ":")).encode()))


def started(_self: Launcher, _jobs: object) -> None:
    """No job is run here."""


@pytest.mark.parametrize("seed", range(12))
def test_the_scheduler_goes_on_whatever_the_records_say(wiring: Wiring, seed: int) -> None:
    dice, store = random.Random(seed), Store(wiring.state)
    history_after = dice.choice([0.0, 1e12])
    config = replace(wiring.config, executor="process", history_after=history_after, promise_after=0.0)
    put_some(dice, store)
    now = Moment(time.time(), time.monotonic(), stage.BOOT)
    for _ in range(2):
        with mock.patch.object(Launcher, "launch", started):
            scheduler = worker.open(replace(wiring, config=config))
            for _ in range(10):
                put_some(dice, store)
                step = dice.choice([1.0, 100.0, 1e5])
                now = replace(now, wall=now.wall + step, mono=now.mono + step)
                known, unknown = stage.polled(now.mono, GPUS), stage.polled(now.mono, None, "gone")
                scheduler.tick(now, dice.choice([Slots(), known, unknown]))
                if dice.random() < 0.2:
                    with store.commit() as commit:
                        commit.rewrite(commit.fold())
            scheduler.close()
    fold = store.read()
    assert fold.dropped == []
    assert fold.aside
    assert fold.next_id <= LARGEST_ID
    assert isinstance(fold, Fold)
