"""kill -9 of the scheduler within the writes of SQLite, which `crashing` does not see: strace injects the signal."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
from typing import TYPE_CHECKING

from damage import expect
from day import PATIENCE, FaultyMachine
from outcome import Result
from support.machine import alive, kill
from support.waiting import eventually

from gflowd.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

STRACE = shutil.which("strace")
CALLS = "pwrite64,fdatasync,fsync,ftruncate,unlink"
# What a round submits; each waits for the round's gate, so that all end, and leave, under the eyes of strace.
ROUND = (
    ((), "exit 3", 1), ((), "exit 0", 1), (("--array", "1-3"), "exit 0", 3),
    (("--max-retries", "1"), "[ $GFLOW_ATTEMPT = 2 ]", 1),
)  # fmt: skip


class NotAllowed(Exception):
    """No tracing here; `str()` says why."""


class Archive:
    """The history of `machine`, whose jobs leave as soon as they have ended, and all that were ever submitted."""

    def __init__(self, machine: FaultyMachine) -> None:
        self.machine = machine
        self.codes: dict[int, int] = {}
        self.rounds = 0
        machine.write_config(history={"after": "0s"}, scheduler={"cpus": 16})
        machine.start()

    def round(self, *inject: str) -> tuple[list[str], bool]:
        """Jobs all end and leave as strace looks on; the calls on the history that it saw, and whether it killed."""
        gate = f"gate{self.rounds}"
        self.rounds += 1
        ids = []
        for words, end, count in ROUND:
            text = f"until [ -e {gate} ]; do sleep 0.02; done; {end}"
            done = self.machine.ctl("submit", "--parsable", *words, "--wrap", text)
            first = int(done.stdout.partition("-")[0])
            ids += range(first, first + count)
            self.codes |= dict.fromkeys(range(first, first + count), 3 if end == "exit 3" else 0)
        self.machine.until_in(ids, "running")
        return self.watched(inject, lambda: self.machine.open_gate(gate), lambda: self.have_left(ids))

    def watched(
        self, inject: tuple[str, ...], begin: Callable[[], object], over: Callable[[], object]
    ) -> tuple[list[str], bool]:
        """The same for whatever `begin` sets off."""
        pid, seen = self.machine.worker("scheduler"), self.machine.root / "strace"
        files = [f"{self.machine.state.history}{ending}" for ending in ("", "-wal", "-shm", "-journal")]
        paths = [word for file in files for word in ("-P", file)]
        words = [str(STRACE), "-o", str(seen), f"-etrace={CALLS}", *inject, *paths, "-p", str(pid)]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            if "attached" not in (said := strace.stderr.readline()):
                raise NotAllowed(said.strip())
            begin()
            eventually(lambda: not alive(pid) or over(), within=PATIENCE)
            if alive(pid):  # else it ends by itself, once it has told how
                strace.send_signal(signal.SIGTERM)
        lines = seen.read_text().splitlines()
        return [line for line in lines if "(" in line], any("killed by SIGKILL" in line for line in lines)

    def have_left(self, ids: list[int]) -> bool:
        return Store(self.machine.state).read().of("phase").keys().isdisjoint(ids)

    def look(self) -> None:
        """Every job is shown, once, with its real end where it has ended."""
        shown = json.loads(self.machine.ctl("queue", "--json", "-a").stdout)
        ids = sorted(job["id"] for job in shown)
        expect(ids == sorted(self.codes), "lost or twice", set(self.codes) ^ set(ids), len(ids))
        ends = {job["id"]: job["exit_code"] for job in shown if job["state"] in ("finished", "failed")}
        expect(all(self.codes[job_id] == code for job_id, code in ends.items()), ends)

    def check(self) -> None:
        """All have left, and SQLite finds nothing wrong."""
        self.look()
        with sqlite3.connect(f"file:{self.machine.state.history}?mode=ro", uri=True) as history:
            expect(history.execute("PRAGMA integrity_check").fetchall() == [("ok",)], "the history is damaged")
            expect([each for (each,) in history.execute("SELECT id FROM job ORDER BY id")] == sorted(self.codes))
            attempts = history.execute("SELECT count(*) FROM attempt").fetchone()[0]
            expect(attempts == self.rounds, "attempts", attempts)
        history.close()
        expect(not [name for name in os.listdir(self.machine.state.root) if "corrupt" in name], "set aside")


def killed_within(machine: FaultyMachine, result: Result, points: int, seed: int) -> None:
    """`points` of the calls that a round makes are each the last of a daemon; then those of closing the history are."""
    archive = Archive(machine)
    calls, _ = archive.round()
    expect(len(calls) > 10, "strace sees next to nothing", calls)
    chosen = random.Random(seed).sample(range(1, len(calls) + 1), min(points, len(calls)))
    for number in sorted(chosen):
        _, killed = archive.round(f"-einject={CALLS}:signal=KILL:when={number}")
        result.tried += killed
        kill(machine.pids()["supervisor"])
        eventually(lambda: not machine.is_up())
        archive.look()
        machine.start()
        eventually(lambda: archive.have_left(list(archive.codes)), within=PATIENCE)
        archive.check()
    for number in range(1, points + 1):
        inject = (f"-einject={CALLS}:signal=KILL:when={number}",)
        _, killed = archive.watched(inject, machine.stop, lambda: not machine.is_up())
        machine.start()
        archive.check()
        if not killed:
            break
        result.tried += 1
    jobs = sum(count for *_, count in ROUND)
    result.note = f"{len(archive.codes)} jobs; {len(calls)} calls of SQLite's for {jobs} of them"


def try_all(new_machine: Callable[[], FaultyMachine], points: int, seed: int) -> list[Result]:
    """One row."""
    result = Result(
        "kill -9 within the writes of SQLite, while ended jobs move to the history",
        "every job is in the snapshot or in the history, and shown once; the history is intact",
    )
    if STRACE is None:
        result.note = "not tried: strace is not installed"
        return [result]
    try:
        with new_machine() as machine:  # type: ignore[attr-defined]
            killed_within(machine, result, points, seed)
    except NotAllowed as why:
        result.note = f"not tried: {why}"
    except Exception as why:
        result.broken.append(repr(why))
    return [result]
