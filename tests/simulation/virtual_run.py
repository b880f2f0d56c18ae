"""A whole daemon, its machine and its users in virtual time, judged at every step.

with VirtualRun(seed, gpus=4) as run:
    first = run.submit(gpus=4, takes=60.0)
    run.go(30.0)
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache
from random import Random
from types import SimpleNamespace
from typing import Any, Self

import inside
import orjson
from judge import Judge
from ledger import Ledger, Line
from order_rules import OrderRules
from people import People
from rest_rules import RestRules
from startable import Machine
from starvation import Starvation
from verdicts import RULES, Verdicts
from virtual_clock import Clock
from virtual_daemon import Daemon
from virtual_effects import Processes
from virtual_gpus import Card, Driver
from virtual_jobs import Fate, Jobs, Key

from gflowd.config import loader
from gflowd.paths import Runtime, State
from gflowd.storage.store import Store
from gflowd.workers.board import Pulses

PLACE = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
FOR_EVER = 1e12  # seconds


@cache
def defaults() -> loader.Config:
    """The configuration without a file."""
    return loader.load(None, {"HOME": "/nonexistent"}, {})


class VirtualRun:
    """`takes` says for how long jobs run that were not given a fate of their own."""

    def __init__(
        self,
        seed: int = 0,
        *,
        gpus: int = 4,
        cpus: int = 16,
        memory_mb: int = 64_000,
        rules: Collection[str] = RULES,
        replay: str | None = None,
        look: Callable[[Random], float] = lambda dice: 0.02 * dice.random(),
        delay: float = 0.002,
        fate: Callable[[Key], Fate] = lambda key: Fate(60.0),
        **settings: Any,
    ) -> None:
        self.dice = Random(seed)
        self.clock = Clock(self.dice)
        self.fates: dict[int, Fate] = {}  # by job
        self.cards = [Card(index, "Virtual A" if index % 4 < 3 else "Virtual B", 24_000) for index in range(gpus)]
        self.machine = Machine(gpus, cpus, memory_mb)
        self.jobs = Jobs(self.clock, self.dice, lambda key: self.fates.get(key[0]) or fate(key))
        self.driver = Driver(self.clock, self.jobs, self.cards)
        self.verdicts = Verdicts(replay or f"seed {seed}", rules)
        self.moved_at = 0.0  # when a job last went on
        self._root = tempfile.mkdtemp(prefix="gf-", dir=PLACE)
        self._state = State(self._root)
        self._seen = Processes(self.jobs, self.clock)
        chosen = {
            "cpus": cpus,
            "memory_mb": memory_mb,
            "executor": "process",
            "history_after": FOR_EVER,
            "log_keep": None,
            "notify_enabled": False,
        }
        self._config = replace(defaults(), **{**chosen, **settings})
        self._pulses = Pulses(["scheduler"])
        wiring = SimpleNamespace(
            state=self._state, runtime=Runtime(self._root), config=self._config, supervisor=1, pulses=self._pulses
        )
        self.daemon = Daemon(self.clock, self.dice, wiring, self.driver, lambda: look(self.dice), delay)
        self.ledger = Ledger(self._state.snapshot)
        self.people = People(Store(self._state), self.ledger, self.clock, self.daemon.ring)
        ruled = self.ledger, self.machine, self.clock, self.verdicts
        self._judge = Judge(self.ledger, self.machine, self.cards, self.jobs, self.clock, self.verdicts)
        self._order, self._rest = OrderRules(*ruled), RestRules(*ruled)
        self._starvation = Starvation(*ruled, fair_share=self._config.fair_share_enabled)
        self._virtual = inside.virtual(self.clock, self.jobs, self._seen, self.daemon)

    def __enter__(self) -> Self:
        self.jobs.rings = lambda: self.daemon.ring(b"e")
        self.jobs.dies = lambda pid: self.daemon.readable(self._seen.pidfds_of(pid))
        self.daemon.begins = self._before_tick
        self.daemon.checked = self._after_tick
        self._virtual.__enter__()
        try:
            self.daemon.start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *what: object) -> None:
        self.daemon.close()
        self._virtual.__exit__(*what)  # type: ignore[arg-type]
        self.ledger.close()
        os.close(self._pulses.fd)
        shutil.rmtree(self._root, ignore_errors=True)

    def submit(self, takes: float | None = None, **fields: Any) -> int:
        """A job that takes so long, unless it is stopped."""
        job_id = self.people.submit(**fields)
        if takes is not None:
            self.fates[job_id] = Fate(takes)
        return job_id

    def go(self, seconds: float) -> None:
        """Lets time pass."""
        self.clock.run(self.clock.now + seconds)

    def go_until(self, what: Callable[[], bool], most: float) -> None:
        """Lets time pass until something is so, at most `most` seconds."""
        limit = self.clock.now + most
        while not what() and (at := self.clock.next_at()) is not None and at <= limit:
            self.clock.step()

    def started_at(self, job_id: int) -> float | None:
        """When the last attempt at a job was begun, in seconds since the run began."""
        attempts = [each for each in self.jobs.attempts.values() if each.key[0] == job_id]
        return max((each.launched for each in attempts), default=None)

    def judge_rest(self) -> None:
        """Judges the queue, if nothing is on its way."""
        if not self.daemon.is_quiet():
            return
        self._before_tick()
        self._judge.check_limits()
        try:
            with open(self._state.observed, "rb") as file:
                observed = orjson.loads(file.read())
        except FileNotFoundError:
            observed = {}
        self._rest.check(inside.seen_gpus(self.daemon.board), self._order.told, observed)

    def _before_tick(self) -> None:
        self._judge.read(self._ahead)
        self._order.forget(self._judge.changed)

    def _after_tick(self) -> None:
        slots = self.daemon.board
        self._judge.read(self._ahead)
        self._order.forget(self._judge.changed)
        told = inside.promises(self.ledger.of("promise"))
        if self._judge.starts:
            self._order.check(self._judge.starts, inside.seen_gpus(slots), told)
            self._starvation.check(self._judge.starts, self._order.told)
        if self.daemon.scheduler is not None:
            self._order.note_promises(told)

    def _ahead(self, lines: list[Line]) -> None:
        self.moved_at = self.clock.now
        self._order.ahead(lines)
        for kind, key, value in lines:
            if kind == "phase" and value and value["is"] == "ended" and value.get("started_at") is not None:
                job = self.ledger.jobs.get(key)
                if job is not None and job.limit is None:
                    self._starvation.note_end(job.user, value["ended_at"] - value["started_at"])
