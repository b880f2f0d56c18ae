"""Users ask the gateway for whatever they like: the scheduler that has to live with what it lets pass, its planner and
its archiver never stumble over that, every job is found exactly once, and what is refused changes nothing.

As `core.queue.test_judged_requests`, with the workers themselves on a snapshot and a history. Time is the test's; no
job is really run.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import stage
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from support import depth
from support.made_up_requests import LEAST, PLACES, REQUESTERS, Requests

from gflowd.config import loader
from gflowd.core.admission.known_jobs import KnownJobs
from gflowd.core.execution.observations import Key, Observation, Observations
from gflowd.core.gateway.requests import Commit
from gflowd.core.gpu.device import Gpu
from gflowd.core.job import codec
from gflowd.core.job.model import Identity, Started
from gflowd.core.job.records import PHASE, PROVISIONAL, SPEC, is_live
from gflowd.core.moment import Moment
from gflowd.effects.gateway.kept_files import Keeper
from gflowd.effects.gateway.peers import Asker, Peers
from gflowd.paths import Runtime, State
from gflowd.storage.history import History
from gflowd.storage.store import Store
from gflowd.workers.base import Wiring
from gflowd.workers.board import Pulses
from gflowd.workers.board_slots import GPU_POLLER, ZOMBIE_DETECTOR, Post, Slots
from gflowd.workers.gateway import admission
from gflowd.workers.gateway.group_commit import Asked, GroupCommit
from gflowd.workers.scheduler import worker
from gflowd.workers.scheduler.launching.launcher import Launcher

if TYPE_CHECKING:
    from gflowd.core.admission.requester import Requester

GPUS = tuple(Gpu(index=index, uuid=f"GPU-{index}", model="M", memory_mb=80, simulated=True) for index in range(3))
TICKS = 3  # after each change: what one commits, the next may act upon


class AnyFiles(Keeper):
    """Environments and scripts are no matter here: all are there."""

    def has(self, uid: int, place: str, name: str) -> bool:
        return True


def launched(_self: Launcher, _jobs: object) -> None:
    """No job is run here."""


class Machine(Requests):
    @initialize()
    def open(self) -> None:
        self.root = tempfile.mkdtemp(prefix="gfa-")
        self.state = State(os.path.join(self.root, "state"))
        self.state.prepare()
        self.wall, self.once = 100.0, 0
        self.seen: dict[Key, Observation] = {}
        self.patches = [
            mock.patch.object(Launcher, "launch", launched),
            mock.patch.object(admission, "time", SimpleNamespace(time=self.now)),
        ]
        for each in self.patches:
            each.start()
        self.pipe, self.pulses = os.pipe2(os.O_NONBLOCK), Pulses(["x"])
        config = replace(
            loader.load(None, {"HOME": "/nonexistent"}, {}), cpus=4, memory_mb=1000, history_after=100.0,
            executor="process", promise_after=0.0, tmp=self.root, shared_operators=("op",), shared_reserve="everyone",
            shared_max_jobs_per_user=12, shared_notify_urls=True,
        )  # fmt: skip
        self.wiring = Wiring(
            state=self.state, runtime=Runtime(os.path.join(self.root, "run")), config=config, address="", key=b"",
            pulses=self.pulses, supervisor=os.getppid(), wake=self.pipe[0], complaints=self.pipe[1], to_stderr=False,
        )  # fmt: skip
        self.store = Store(self.state)
        with self.store.commit():
            pass
        admits = admission.Admission(self.state, config, Peers())
        self.group_commit = GroupCommit(
            self.state, self.wiring.runtime.bell, AnyFiles(self.state, 1 << 20, 1 << 16), admits
        )
        self.scheduler = worker.open(self.wiring)
        self.ticks()
        for requester in REQUESTERS:
            jobs = [LEAST, {**LEAST, "gpus": 1, "time_limit": 60}, {**LEAST, "family": {"ranges": [[0, 2, 1]]}}]
            assert self.ask(requester, [("spec", PROVISIONAL + place, spec) for place, spec in enumerate(jobs)])

    @rule(delay=st.sampled_from([1.0, 30.0, 500.0, 1e5]))
    def time_passes(self, delay: float) -> None:
        self.wall += delay
        self.ticks()

    @rule(place=PLACES, status=st.sampled_from([0, 1]))
    def end(self, place: int, status: int) -> None:
        running = sorted(key for key, each in self.seen.items() if each.status is None)
        if running:
            self._end(running[place % len(running)], status)
            self.ticks()

    @rule()
    def start_again(self) -> None:
        self.scheduler.close()
        self.scheduler = worker.open(self.wiring)
        self.ticks()

    def known(self) -> KnownJobs:
        return KnownJobs(self.store.read())

    def now(self) -> float:
        return self.wall

    def last_id(self) -> int:
        return self.store.read().next_id - 1

    def ask(self, requester: Requester, asked: list[Any]) -> bool:
        self.once += 1
        asker = Asker(requester.uid, requester.name, frozenset({requester.uid}))
        one = Asked(asker, Commit(f"{self.once:032x}", None, (), asked))
        before = self._bytes()
        self.group_commit.run([one])
        assert one.answer is not None
        granted = "ok" in one.answer
        assert granted or one.answer["status"] == 1, one.answer
        assert granted or self._bytes() == before
        self.ticks()
        return granted

    def ticks(self) -> None:
        """What the scheduler does of itself, until it has nothing to do now."""
        for _ in range(TICKS):
            now = Moment(self.wall, self.wall, stage.BOOT)
            polled = stage.polled(self.wall, GPUS).posts[GPU_POLLER]
            slots = Slots({GPU_POLLER: polled, ZOMBIE_DETECTOR: Post(Observations(dict(self.seen)))})
            self.scheduler.tick(now, slots)
            assert self.scheduler._trouble is None
            assert self.scheduler._state._archiver.history._trouble is None
            self._look()

    def _look(self) -> None:
        """What begins, and what ends since it was told to."""
        there: dict[Key, Any] = {}
        for job_id, raw in self.store.read().of(PHASE).items():
            if is_live(raw):
                phase = codec.decode_phase(raw)
                there[job_id, phase.run.attempt] = phase  # type: ignore[union-attr]
        self.seen = {key: each for key, each in self.seen.items() if key in there}
        for key, raw in there.items():
            if key not in self.seen:
                identity = Identity(stage.BOOT, 1 << 30, 1)
                started = Started(at=self.wall, mono=self.wall, identity=identity)
                self.seen[key] = Observation(started=started, lives=True)
            elif type(raw).__name__ == "Stopping":
                self._end(key, 137)

    def _end(self, key: Key, status: int) -> None:
        self.seen[key] = self.seen[key].replace(lives=False, status=status, ended_at=self.wall, complete=True)

    def _bytes(self) -> bytes:
        with open(self.state.snapshot, "rb") as file:
            return file.read()

    def _check_ids(self) -> None:
        """Every job is in the snapshot or in the history."""
        known = self.known()
        ids = [job_id for key in known.records.of(SPEC) for job_id in known.ids_of(key)]
        if os.path.exists(self.state.history):
            history = History(self.state.history)
            ids += [first + place for first, size in history.rows("SELECT id, size FROM spec") for place in range(size)]
            history.close()
        assert sorted(ids) == [*range(1, self.last_id() + 1)]

    def teardown(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        try:
            for _ in range(5):
                self.time_passes(1e6)
                for key in [key for key, each in self.seen.items() if each.status is None]:
                    self._end(key, 0)
                self.ticks()
            self._check_ids()
            self.start_again()
        finally:
            self.scheduler.close()
            self.group_commit.close()
            for each in self.patches:
                each.stop()
            for fd in (*self.pipe, self.pulses.fd):
                os.close(fd)
            shutil.rmtree(self.root)


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=depth.examples(100),
    stateful_step_count=40,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
