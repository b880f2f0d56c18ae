"""The zombie detector of a daemon for many users: the state of each live job by its control group, which no user can
forge, and by what the user's processes leave, which only concerns that job.

An attempt lives while its group has processes, and is complete when it has left its exit record and the group has none:
who writes its log and copies its output is in it, too. The group tells at once when its last process ends. Each attempt
has a bell of its own, which is heard a few times a second at most.
"""

from __future__ import annotations

import contextlib
import os
import select
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd import log
from gflowd.core.execution.observations import Observation, Observations
from gflowd.core.job.model import Started
from gflowd.effects.attempt import jobdir
from gflowd.effects.kernel import cgroups, processes
from gflowd.effects.shared_mode import attempt_directory, user_files
from gflowd.workers import attempt_processes
from gflowd.workers.base import Turn
from gflowd.workers.zombie_detector.relay_watch import RelayWatch

if TYPE_CHECKING:
    from gflowd.core.execution.observations import Key, LiveJob
    from gflowd.core.job.model import Identity
    from gflowd.core.moment import Moment
    from gflowd.workers.base import Wiring
    from gflowd.workers.board_slots import Slots

BEGINS_WITHIN = 0.02  # seconds: when to check whether an attempt has begun; then after as long again
LONGEST_LOOK = 1.0  # seconds
STRAYS_AFTER = 2.0  # seconds after the exit record: who keeps a job, as its tmux server, has ended by then
HEARD_EVERY = 0.25  # seconds between two times that a bell is heard

NOT_BEGUN = Observation()


@dataclass(slots=True)
class Watch:
    """What we remember about one attempt between checks."""

    since: float  # monotonic: when we first checked
    seen: Observation = NOT_BEGUN
    started: Started | None = None
    recorded: float | None = None  # monotonic: when we first saw its exit record
    events: int | None = None  # of its group
    bell: int | None = None
    deaf_until: float = 0.0  # monotonic
    look_at: float = 0.0  # monotonic: when to look again though nothing tells


class GroupDetector:
    """Decision: an observation of each live attempt that has begun, or should have, as of the zombie detector."""

    def __init__(self, wiring: Wiring) -> None:
        self._state = wiring.state
        self._config = wiring.config
        self._log = log.get("zombie_detector")
        self._groups = attempt_processes.groups_of(wiring.state, wiring.config)
        self._relays = RelayWatch(wiring.state)
        self._watches: dict[Key, Watch] = {}
        self._poll = select.epoll()
        self._keys: dict[int, Key] = {}  # by the descriptors that are polled
        self._told = Observations()

    def tick(self, now: Moment, slots: Slots) -> Turn:
        """Checks the live jobs that something tells of, and those that are due."""
        jobs = () if slots.agenda is None else slots.agenda.live
        self._forget_all_but({job.key for job in jobs})
        self._listen_again(now)
        told = self._hear(now)
        observations: dict[Key, Observation] = {}
        for job in jobs:
            watch = self._watches.get(job.key)
            if watch is None:
                watch = self._watches[job.key] = Watch(now.mono)
            if not watch.seen.complete and (job.key in told or now.mono >= watch.look_at):
                watch.seen = self._look(job, watch, now)
                if watch.seen.complete:
                    self._let_alone(watch)
            if watch.seen is not NOT_BEGUN or now.mono - watch.since >= self._config.start_grace:
                observations[job.key] = watch.seen
        for job in jobs:
            seen = observations.get(job.key)
            if job.relay is not None and seen is not None and seen.started is not None and not seen.complete:
                observations[job.key] = self._relays.with_its_end(seen, job)
        if not observations.items() <= self._told.of_attempts.items():
            self._told = Observations(observations)
        return Turn(self._told, None, self._wake_at(now), (self._poll.fileno(), *self._relays.watched()))

    def close(self) -> None:
        """Closes what is watched."""
        self._forget_all_but(set())
        self._poll.close()

    def _look(self, job: LiveJob, watch: Watch, now: Moment) -> Observation:
        watch.look_at = now.mono + self._config.zombie_interval
        if watch.started is None:
            found = self._begun(job, watch, now)
            if found is not None:
                return found
        self._attend(job, watch)
        assert watch.started is not None
        own, read = self._state.own_attempt(*job.key), user_files.reader(attempt_processes.owner_of(job))
        lives = self._groups.is_populated(job.key)  # before the record, so that no end is missed in between
        record = jobdir.exit_record(own, read)
        if record is None:
            return Observation(started=watch.started, lives=lives)
        if watch.recorded is None:
            watch.recorded = now.mono
        strays_at = watch.recorded + STRAYS_AFTER
        if lives:
            soon = watch.look_at if watch.events is not None else now.mono + BEGINS_WITHIN
            watch.look_at = min(soon, strays_at) if now.mono < strays_at else soon
        strays, used = lives and now.mono >= strays_at, None if lives else jobdir.noted(own, read)
        seen = Observation(started=watch.started, lives=lives, strays=strays, complete=not lives, used=used)
        return record.added_to(seen)

    def _begun(self, job: LiveJob, watch: Watch, now: Moment) -> Observation | None:
        """The observation of an attempt that has not begun; None for one that has, whose `started` is then known."""
        if job.started is not None:  # it began before we ran
            watch.started = job.started
            return None
        uid = attempt_processes.owner_of(job)
        begun = attempt_directory.beginning(self._state, job.key, uid, self._groups)
        if begun is None and now.mono - watch.since >= self._config.start_grace:
            self._bar(job, uid)
            begun = attempt_directory.beginning(self._state, job.key, uid, self._groups)
        if begun is None:
            self._attend(job, watch)
            waited = now.mono - watch.since
            watch.look_at = now.mono + min(max(BEGINS_WITHIN, waited), LONGEST_LOOK)
            return NOT_BEGUN
        if begun.identity is None:
            return Observation(barred=True, trouble=begun.why)
        watch.started = self._started(job, begun.at, begun.identity, now)
        return None

    def _started(self, job: LiveJob, at: float, identity: Identity, now: Moment) -> Started:
        """When its script is gone, it began no later than its group: what the file says may be forged."""
        mono = processes.started_mono(identity.start) if identity.boot == now.boot else 0.0
        made_at = None if processes.lives(identity, now.boot) else self._groups.made_at(job.key)
        if made_at is not None:
            at, mono = min(at, made_at), min(mono, now.mono - (now.wall - made_at))
        return Started(at=at, mono=mono, identity=identity)

    def _bar(self, job: LiveJob, uid: int) -> None:
        with contextlib.suppress(OSError):
            if attempt_directory.bar(self._state, job.key, "", uid, self._groups):
                self._log.warning("never began", job=job.id, attempt=job.attempt)

    def _wake_at(self, now: Moment) -> float:
        """When something is due."""
        dues = [now.mono + self._config.zombie_interval]
        for watch in self._watches.values():
            if not watch.seen.complete:
                dues.append(watch.look_at)
            if watch.bell is not None and watch.deaf_until > now.mono:
                dues.append(watch.deaf_until)
        return min(dues)

    # what tells of a change

    def _attend(self, job: LiveJob, watch: Watch) -> None:
        """Listens to an attempt's group and bell, as far as they are there."""
        if watch.events is None and (events := self._groups.watch(job.key)) is not None:
            cgroups.reread(events)
            watch.events = events
            self._add(events, job.key, select.EPOLLPRI)
        if watch.bell is None and (bell := attempt_directory.listen(self._state, job.key)) is not None:
            watch.bell = bell
            self._add(bell, job.key, select.EPOLLIN)

    def _add(self, descriptor: int, key: Key, what: int) -> None:
        self._keys[descriptor] = key
        self._poll.register(descriptor, what)

    def _hear(self, now: Moment) -> set[Key]:
        """The attempts whose group or bell has told something. A bell that has rung is not heard for a while."""
        told = set()
        for descriptor, _ in self._poll.poll(0):
            key = self._keys[descriptor]
            watch = self._watches[key]
            told.add(key)
            if descriptor == watch.bell:
                attempt_directory.hear(descriptor)
                self._poll.unregister(descriptor)
                watch.deaf_until = now.mono + HEARD_EVERY
            elif not cgroups.reread(descriptor):
                self._drop(watch, "events")  # it stays without processes, or is gone
        return told

    def _listen_again(self, now: Moment) -> None:
        for watch in self._watches.values():
            if 0.0 < watch.deaf_until <= now.mono and watch.bell is not None:
                self._poll.register(watch.bell, select.EPOLLIN)
                watch.deaf_until = 0.0

    def _forget_all_but(self, keys: set[Key]) -> None:
        for key in self._watches.keys() - keys:
            watch = self._watches.pop(key)
            self._let_alone(watch)
        self._relays.forget_all_but(keys)

    def _let_alone(self, watch: Watch) -> None:
        self._drop(watch, "events")
        self._drop(watch, "bell")

    def _drop(self, watch: Watch, name: str) -> None:
        descriptor = getattr(watch, name)
        if descriptor is not None:
            del self._keys[descriptor]
            setattr(watch, name, None)
            with contextlib.suppress(FileNotFoundError):  # a bell that is not heard for the moment
                self._poll.unregister(descriptor)
            os.close(descriptor)
