"""Hands attempts over: an intent on disk, the files that the nodes need, then sbatch, one call at a time.

Of an intent whose call had no good answer, and of every one from before this process, it is not known whether the
cluster has it: it is not handed over again before good polls have shown that it is not there.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

from gflowd import log
from gflowd.core.cluster import batches, sbatch_errors, submission
from gflowd.core.cluster.array_throttles import HELD
from gflowd.core.errors import GflowError
from gflowd.effects.cluster.intents import ALONE, Intent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gflowd.core.cluster.batches import Batch
    from gflowd.core.cluster.cluster_settings import Cluster
    from gflowd.core.cluster.remote_observations import Offer
    from gflowd.core.execution.observations import Key, LiveJob
    from gflowd.core.moment import Moment
    from gflowd.effects.cluster.call import Call
    from gflowd.effects.cluster.intents import Intents
    from gflowd.effects.cluster.reach import Reach
    from gflowd.paths import State
    from gflowd.workers.cluster_bridge.programs import Programs

AT_A_TIME = 50  # directories that are written in one tick
NEW, CALLED, UNSURE, GIVEN = "new", "called", "unsure", "given"  # how far an intent is
RETRY = 5.0  # seconds after what a disk or a controller has refused for now; doubled each time
LONGEST_RETRY = 300.0
LARGEST_ARRAY = 1000  # elements, unless the cluster says otherwise


class Handover:
    """The intents of one cluster and how far each is. Mutable.

    `refused`: what the cluster will never take, and why; `trouble`: why nothing can be handed over now.
    """

    def __init__(
        self, cluster: Cluster, place: State, reach: Reach, intents: Intents, programs: Programs, who: tuple[str, str]
    ) -> None:
        self._cluster = cluster
        self._place = place
        self._reach = reach
        self._kept = intents
        self._programs = programs
        self._who = who
        self._log = log.get("cluster_bridge")
        self._queue: deque[Intent] = deque()
        self._call: Call | None = None
        self._calling: Intent | None = None
        self._wait_until, self._failures = float("-inf"), 0
        self._prepared: set[Key] = set()
        self._called_at: dict[str, float] = {}  # when the last call for an intent ended, by batch (monotonic)
        self.state: dict[str, str] = {}  # by batch
        self.intents: dict[str, Intent] = {}
        self.of_key: dict[Key, tuple[Intent, int]] = {}
        self.refused: dict[Key, str] = {}
        self.refusals: dict[str, str] = {}  # by batch: to be believed once a poll has shown nothing else
        self.trouble: str | None = None
        for intent in sorted(intents.load(), key=lambda each: each.batch.count(".")):  # those handed over again last
            if intent.cluster == cluster.name:
                self._add(intent, GIVEN if intent.cluster_id is not None else UNSURE)

    def _add(self, intent: Intent, state: str) -> None:
        self.intents[intent.batch], self.state[intent.batch] = intent, state
        for task, key in intent.members.items():
            earlier, its_task = self.of_key.get(key, (intent, task))
            if earlier is not intent:  # which it has left
                del earlier.members[its_task]
            self.of_key[key] = intent, task

    # what is to be handed over

    def take(self, jobs: Iterable[LiveJob], offer: Offer | None, room: int, now: Moment) -> bool:
        """Makes intents of attempts that have none, as many as there is `room` for; returns whether more are to come
        at once.
        """
        waiting = [job for job in jobs if job.key not in self.of_key and job.key not in self.refused]
        if not waiting or room <= 0 or now.mono < self._wait_until:
            return False
        free: dict[int, int] = {}
        waiting = [job for job in waiting if self._free(job, free) != 0]
        found = batches.batches(waiting[:room], LARGEST_ARRAY if offer is None else offer.max_array)
        for batch in found[:AT_A_TIME]:
            self._take(batch, offer, free, now)
        return len(found) > AT_A_TIME

    def _free(self, live: LiveJob, known: dict[int, int]) -> int | None:
        """How many more of its array may run at a time, with those that the cluster has; None: any number. As far as
        that is not `known` yet.
        """
        array_id = None if live.job is None else live.job.array_id
        if array_id is None or live.throttle is None:
            return None
        if array_id not in known:
            there = sum(len(each.members) for each in self.intents.values() if each.array_id == array_id)
            known[array_id] = max(0, live.throttle - there)
        return known[array_id]

    def _take(self, batch: Batch, offer: Offer | None, free: dict[int, int], now: Moment) -> None:
        array_id = batch.first.array_id
        share = None if array_id is None else free.get(array_id)
        if share == 0:  # the batch before it has what was free
            return
        intent = Intent(
            batch=batch.name,
            cluster=self._cluster.name,
            mark=submission.mark(*self._who, batch.name),
            words=submission.words(batch.first, self._cluster, offer, now.wall),
            throttle=share if batch.tasks else None,
            array_id=array_id,
            script=os.path.join(self._place.root, "batches", f"{batch.name}.sh"),
            members=dict(batch.tasks) or {ALONE: batch.keys[0]},
        )
        if array_id is not None and share is not None:
            free[array_id] = max(0, share - len(batch.keys))
        self._add(intent, NEW)
        self._queue.append(intent)

    def again(self, key: Key) -> None:
        """An attempt is not there, and never began: it goes again, with its batch if the cluster never had that. Raises
        OSError.
        """
        intent, task = self.of_key[key]
        before = None
        if self.state[intent.batch] == GIVEN and len(intent.members) > 1:
            before = intent
            batch = f"{key[0]}.{key[1]}.{intent.batch}"
            mark = submission.mark(*self._who, batch)
            intent = Intent(
                batch, self._cluster.name, mark, intent.words, intent.script, {task: key}, array_id=intent.array_id
            )  # the script has all
        intent.cluster_id = None
        self._add(intent, NEW)
        if before is not None:
            self._kept.save(intent, durable=True)
            self._kept.save(before, durable=False)
        self._queue.append(intent)
        self._log.warning("not found on the cluster, so it is handed over again", job=key[0], attempt=key[1])

    def step(self, live: dict[Key, LiveJob], now: Moment) -> bool:
        """Writes some of what the next intent needs, or calls sbatch for it; returns whether there is more to do at
        once.
        """
        if self._call is not None or not self._queue or now.mono < self._wait_until:
            return False
        intent = self._queue[0]
        if not intent.members or intent.batch not in self.intents:
            self._queue.popleft()
            return True
        try:
            missing = [key for key in intent.members.values() if key not in self._prepared]
            self._prepare(missing[:AT_A_TIME], live)
            if len(missing) > AT_A_TIME:
                return True
            if intent.members:
                self._begin(intent, live, now)
        except OSError as error:
            self._fail(f"{error.filename or self._cluster.directory}: {error.strerror}", now)
        return bool(self._queue)

    def _prepare(self, keys: list[Key], live: dict[Key, LiveJob]) -> None:
        if not self._reach.ask("is_shared_there"):
            raise FileNotFoundError(2, "there is no such directory", self._cluster.directory)
        for key in keys:
            job = live[key].job
            try:
                if job is not None and job.run is not None:
                    self._reach.ask("prepare", job, job.run)
                self._prepared.add(key)
            except GflowError as error:
                self.refused[key] = str(error)
                self.drop(key)

    def _begin(self, intent: Intent, live: dict[Key, LiveJob], now: Moment) -> None:
        first = next((job for key in intent.members.values() if (job := live[key].job) is not None), None)
        if first is not None and os.path.basename(intent.script) == f"{intent.batch}.sh":
            directories = {max(task, 0): self._place.attempt(*key) for task, key in intent.members.items()}
            self._reach.ask("write_script", intent.script, submission.script(directories, first.spec))
        self._kept.save(intent, durable=True)  # not before: one that is found later may have been called
        self._queue.popleft()
        self.state[intent.batch], self._calling = CALLED, intent
        array = [] if ALONE in intent.members else [f"--array={_ranges(intent.members, intent.throttle)}"]
        array += ["--hold"] if intent.throttle == HELD else []
        words = ["sbatch", *intent.words, *array, f"--comment={intent.mark}", intent.script]
        self._call = self._programs.call(words, now.mono)

    # sbatch

    @property
    def call(self) -> Call | None:
        """The one at work."""
        return self._call

    def hear(self, now: Moment) -> bool:
        """Takes sbatch's answer, if there is one; returns whether the cluster should be asked what it has."""
        answer = None if self._call is None else self._call.answer(now.mono)
        intent = self._calling
        if answer is None or intent is None:
            return False
        self._call = self._calling = None
        self._called_at[intent.batch] = now.mono
        given = answer.said.strip().partition(";")[0]
        if answer.is_good and given.isdecimal():
            self.found(intent, given)
            self.refusals.pop(intent.batch, None)
            self._failures, self.trouble = 0, None
            return False
        self.state[intent.batch] = UNSURE
        others = any(state == GIVEN for state in self.state.values())
        why = sbatch_errors.permanent(answer.status, answer.complaint, has_others=others)
        if why is not None:
            self.refusals[intent.batch] = why
        else:
            self._fail(answer.complaint or f"sbatch ended with status {answer.status}", now)
        return True

    def found(self, intent: Intent, cluster_id: str) -> None:
        """The cluster has it, under that id."""
        if intent.cluster_id != cluster_id or self.state[intent.batch] != GIVEN:
            intent.cluster_id, self.state[intent.batch] = cluster_id, GIVEN
            self._kept.save(intent, durable=False)

    def of_arrays(self) -> Iterable[list[Intent]]:
        """The batches of each array, those that the cluster was given first come first."""
        found: dict[int, list[Intent]] = {}
        for intent in self.intents.values():
            if intent.array_id is not None and intent.members:
                found.setdefault(intent.array_id, []).append(intent)
        for same in found.values():
            same.sort(key=_given_at)
        return found.values()

    def throttled(self, intent: Intent, throttle: int | None) -> None:
        """The cluster was told how many of a batch may run at a time."""
        intent.throttle = throttle
        if self.intents.get(intent.batch) is intent:
            self._kept.save(intent, durable=False)

    def was_called_before(self, intent: Intent, mono: float) -> bool:
        """Whether a poll that began then would have shown what its last call has brought about."""
        return self.state[intent.batch] in (UNSURE, GIVEN) and self._called_at.get(intent.batch, mono - 1) < mono

    def _fail(self, why: str, now: Moment) -> None:
        if self.trouble is None:
            self._log.warning("cannot hand over", cluster=self._cluster.name, why=why)
        self._failures += 1
        self.trouble = why
        self._wait_until = now.mono + min(LONGEST_RETRY, RETRY * 2.0 ** min(self._failures - 1, 10))

    # what is over

    def stop(self, key: Key) -> bool:
        """Takes back an attempt that no call was made for; False if one was."""
        intent, _ = self.of_key[key]
        if self.state[intent.batch] != NEW:
            return False
        self.drop(key)
        return True

    def drop(self, key: Key) -> None:
        """Nothing more is to be known of an attempt."""
        self._prepared.discard(key)
        if key not in self.of_key:
            return
        intent, task = self.of_key.pop(key)
        del intent.members[task]
        if not intent.members:
            self._kept.drop(intent)
            del self.intents[intent.batch], self.state[intent.batch]
            self.refusals.pop(intent.batch, None)
            self._called_at.pop(intent.batch, None)

    def forget_all_but(self, keys: Iterable[Key]) -> None:
        """Nothing more is to be known of others."""
        for key in self.of_key.keys() - set(keys):
            self.drop(key)
        self.refused = {key: why for key, why in self.refused.items() if key in keys}

    def wakes(self) -> Iterator[float]:
        """When to go on though no call ends."""
        if self._call is not None:
            yield self._call.deadline
        elif self._queue:
            yield self._wait_until

    def close(self) -> None:
        """Ends a call that is at work: whether the cluster has taken it is found by the mark."""
        if self._call is not None:
            self._call.end()


def _given_at(intent: Intent) -> tuple[float, list[int]]:
    given = intent.cluster_id or ""
    return float(given) if given.isdecimal() else float("inf"), [int(each) for each in intent.batch.split(".")]


def _ranges(tasks: Iterable[int], throttle: int | None) -> str:
    parts: list[list[int]] = []
    for task in sorted(tasks):
        if parts and parts[-1][1] == task - 1:
            parts[-1][1] = task
        else:
            parts.append([task, task])
    text = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
    return text if throttle in (None, HELD) else f"{text}%{throttle}"
