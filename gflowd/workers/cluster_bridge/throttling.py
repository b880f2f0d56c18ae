"""Keeps the limits of arrays on a cluster: Slurm keeps one for each array of its own, of which a limited one of gflow's
may be several, and the limit may be changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core.cluster import array_throttles
from gflowd.effects.cluster.intents import ALONE
from gflowd.workers.cluster_bridge.handover import GIVEN, NEW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.core.execution.observations import Key, LiveJob
    from gflowd.core.moment import Moment
    from gflowd.effects.cluster.call import Call
    from gflowd.effects.cluster.intents import Intent
    from gflowd.workers.cluster_bridge.handover import Handover
    from gflowd.workers.cluster_bridge.programs import Programs

AGAIN, LONGEST = 5.0, 300.0  # seconds until a batch is told again what the cluster did not take; doubled each time


class Throttling:
    """Of one cluster. Mutable: remembers what it is being told, and when again."""

    def __init__(self, handover: Handover, programs: Programs) -> None:
        self._handover = handover
        self._programs = programs
        self._wanted: dict[str, int | None] = {}  # by batch
        self._telling: tuple[Intent, int | None] | None = None
        self._orders: list[tuple[str, ...]] = []  # that are left for it
        self._call: Call | None = None
        self._again: dict[str, tuple[float, float]] = {}  # by batch: when, and the wait after that
        # Of what was told before this process, or without a good answer, it is not known whether it was heard.
        self._unsure = {name for name, intent in handover.intents.items() if intent.throttle is not None}

    @property
    def call(self) -> Call | None:
        """The one at work."""
        return self._call

    def step(self, live: dict[Key, LiveJob], now: Moment) -> None:
        """Takes an answer, and tells the cluster of one share that has changed."""
        self._hear(now)
        self._compare(live)
        if self._call is not None:
            return
        if self._telling is None:
            due = (name for name in self._wanted if self._again.get(name, (now.mono, 0.0))[0] <= now.mono)
            name = next(due, None)
            if name is None:
                return
            intent, share = self._handover.intents[name], self._wanted[name]
            told, alone = intent.throttle, ALONE in intent.members
            self._telling = intent, share
            self._unsure.add(name)
            if share == array_throttles.HELD:  # known before it is so: what may be held has to be released
                self._handover.throttled(intent, share)
            self._orders = list(array_throttles.orders(intent.cluster_id or "", told, share, alone=alone))
        self._call = self._programs.call(self._orders.pop(0), now.mono)

    def _hear(self, now: Moment) -> None:
        answer = None if self._call is None else self._call.answer(now.mono)
        if answer is None or self._telling is None:
            return
        self._call = None
        intent, share = self._telling
        if not array_throttles.is_told(answer.status, answer.complaint):
            wait = self._again.get(intent.batch, (0.0, AGAIN))[1]
            self._again[intent.batch] = now.mono + wait, min(LONGEST, wait * 2)
            self._telling, self._orders = None, []
        elif not self._orders:
            self._handover.throttled(intent, share)
            self._again.pop(intent.batch, None)
            self._unsure.discard(intent.batch)
            self._telling = None

    def _compare(self, live: dict[Key, LiveJob]) -> None:
        self._wanted = {}
        for batches in self._handover.of_arrays():
            limit = next(
                (job.throttle for each in batches for key in each.members.values() if (job := live.get(key))), None
            )
            sizes = [len(each.members) for each in batches]
            for intent, size, share in zip(batches, sizes, array_throttles.shares(limit, sizes), strict=True):
                self._note(intent, size, share)
        self._again = {name: when for name, when in self._again.items() if name in self._wanted}
        self._unsure &= self._handover.intents.keys()

    def _note(self, intent: Intent, size: int, share: int | None) -> None:
        if ALONE in intent.members and share != array_throttles.HELD:
            share = None
        state = self._handover.state[intent.batch]
        if state == NEW:
            intent.throttle = share
        elif state == GIVEN and not (
            array_throttles.is_kept(size, intent.throttle, share) and intent.batch not in self._unsure
        ):
            self._wanted[intent.batch] = share

    def wakes(self) -> Iterator[float]:
        """When to go on."""
        if self._call is not None:
            yield self._call.deadline
        yield from (self._again[name][0] for name in self._wanted if name in self._again)

    def close(self) -> None:
        """Ends the call that is at work."""
        if self._call is not None:
            self._call.end()
