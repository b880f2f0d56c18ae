"""Follows the attempts of one cluster: asks what it has, and says of each what is seen.

A cluster that does not answer has said nothing: what was seen last stays, and it is asked again more rarely each time.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gflowd.core.cluster import listing, pending_limit, states
from gflowd.core.cluster.remote_observations import RUNNING, WAITING, Offer, Sight
from gflowd.effects.cluster import attempt_files
from gflowd.effects.cluster.intents import ALONE
from gflowd.workers.cluster_bridge.accounting import Accounting
from gflowd.workers.cluster_bridge.cancelling import WAITS, Cancelling
from gflowd.workers.cluster_bridge.handover import GIVEN, LARGEST_ARRAY, UNSURE, Handover
from gflowd.workers.cluster_bridge.programs import Programs
from gflowd.workers.cluster_bridge.throttling import Throttling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.core.cluster.cluster_settings import Cluster
    from gflowd.core.cluster.listing import Row
    from gflowd.core.execution.observations import Key, LiveJob, Observation
    from gflowd.core.moment import Moment
    from gflowd.effects.cluster.call import Answer, Call
    from gflowd.effects.cluster.intents import Intent, Intents
    from gflowd.effects.cluster.reach import Reach
    from gflowd.paths import State

GOOD_POLLS = 3  # that do not show an attempt before it is believed that the cluster does not have it
MIN_JOB_AGE = 300.0  # seconds for which it remembers what has ended, unless it says otherwise
LATE = 10.0  # seconds after the end by the cluster's word until a missing exit record is given up
LOOK_AGAIN = 0.2  # seconds: for a record that is not there yet
UNREAD = 1.0  # seconds until what could not be read is read again
OFFER_EVERY = 300.0  # seconds
LONGEST_WAIT = 300.0  # seconds between two questions to a cluster that does not answer
CALLS = ("squeue", "sinfo", "scontrol")


@dataclass(slots=True)
class Question:
    """One program that is asked again and again: the call at work, when it began, and when it is due again."""

    due: float = float("-inf")
    began: float = 0.0
    call: Call | None = None


@dataclass(slots=True)
class Watch:
    """What is remembered of one attempt."""

    absent: int = 0  # good polls in a row that did not show it
    seen_at: float | None = None  # monotonic: when it was last shown
    over_at: float | None = None  # monotonic: when it was first shown as over
    sight: Sight | None = None


@dataclass(slots=True)
class Told:
    """What the cluster has said last."""

    rows: dict[str, dict[int, list[Row]]] = field(default_factory=dict)  # by mark and task
    by_id: dict[str, Row] = field(default_factory=dict)
    offer: Offer | None = None
    max_array: int | None = None
    min_age: float = MIN_JOB_AGE


class Mirror:
    """Mutable. `trouble`: why nothing is known of the cluster now."""

    def __init__(self, cluster: Cluster, place: State, reach: Reach, intents: Intents, who: tuple[str, str]) -> None:
        self._cluster = cluster
        self._place = place
        self._reach = reach
        self._programs = Programs(cluster)
        self._handover = Handover(cluster, place, reach, intents, self._programs, who)
        self._cancelling = Cancelling(self._programs, reach)
        self._throttling = Throttling(self._handover, self._programs)
        self._questions = {name: Question() for name in CALLS}
        self._accounting = Accounting(self._programs)
        self._watches: dict[Key, Watch] = {}
        self._told = Told()
        self._failures = 0
        self._look_again: float | None = None
        self._at_once = False
        self.trouble: str | None = None

    @property
    def offer(self) -> Offer | None:
        """What it has, as far as it has said."""
        return self._told.offer

    @property
    def unreachable(self) -> str | None:
        """Why nothing is known of it, or nothing can be handed over."""
        why = self.trouble or self._reach.trouble or self._handover.trouble
        return None if why is None else why.splitlines()[-1]

    def tick(self, jobs: dict[Key, LiveJob], now: Moment) -> dict[Key, Sight]:
        """Goes on with everything; returns what is seen of each attempt."""
        self._reach.turn()
        self._handover.forget_all_but(jobs)
        self._cancelling.forget_all_but(set(jobs))
        self._accounting.forget_all_but(set(jobs))
        self._watches = {key: self._watches.get(key) or Watch() for key in jobs}
        self._hear(now)
        self._look_again = None
        found = {}
        for key, job in jobs.items():
            watch = self._watches[key]
            try:
                watch.sight = self._sight(job, watch, now) or watch.sight
            except OSError:  # of the directory there, which says nothing now
                self._look_again = now.mono + UNREAD
            if watch.sight is not None:
                found[key] = watch.sight
        waiting = [job for job in jobs.values() if job.job is not None and job.why is None and job.key not in found]
        # Before it is known what the cluster has, and how large an array may be, it would refuse for good what fits.
        is_known = self._told.offer is not None and self._told.max_array is not None
        self._at_once = is_known and self._handover.take(waiting, self._told.offer, self._room(), now)
        self._throttling.step(jobs, now)
        self._at_once = self._handover.step(jobs, now) or self._at_once
        if self._cancelling.step(now):
            self._hurry(now)
        self._accounting.ask(now)
        self._ask(now)
        return found

    @property
    def _others(self) -> tuple[Cancelling, Throttling, Accounting]:
        """Those that call the cluster's programs beside us."""
        return self._cancelling, self._throttling, self._accounting

    def _room(self) -> int:
        """How many more may wait there."""
        begun = sum(1 for each in self._watches.values() if each.sight is not None and each.sight.started is not None)
        return pending_limit.left(self._cluster, len(self._handover.of_key) - begun)

    # what the cluster says

    def _hear(self, now: Moment) -> None:
        if self._handover.hear(now):
            self._hurry(now)
        self._accounting.hear(now)
        for name, question in self._questions.items():
            answer = None if question.call is None else question.call.answer(now.mono)
            if answer is None:
                continue
            question.call = None
            if name == "squeue":
                self._hear_squeue(answer, question, now)
            else:
                self._hear_offer(name, answer)
                question.due = now.mono + (OFFER_EVERY if answer.is_good else self._wait())

    def _hear_squeue(self, answer: Answer, question: Question, now: Moment) -> None:
        if not answer.is_good:
            self._fail("squeue", answer)
            question.due = now.mono + self._wait()
            return
        self._failures, self.trouble = 0, None
        question.due = now.mono + self._cluster.poll_interval
        with contextlib.suppress(OSError):  # gflowctl reads there what jobs report, and is to know whether it can
            self._is_directory_there()
        rows: dict[str, dict[int, list[Row]]] = {}
        self._told.by_id = {}
        for row in listing.jobs(answer.said):
            self._told.by_id[row.raw_id] = row
            task = ALONE if row.task is None else row.task
            rows.setdefault(row.mark, {}).setdefault(task, []).append(row)
        self._told.rows = rows
        for key, watch in self._watches.items():
            place = self._handover.of_key.get(key)
            if place is None:
                continue
            intent, task = place
            shown = rows.get(intent.mark, {}).get(task)
            if shown:
                watch.absent, watch.seen_at = 0, now.mono
                self._handover.found(intent, shown[-1].given_id)
            elif self._handover.was_called_before(intent, question.began):
                watch.absent += 1
            if watch.absent and watch.absent < GOOD_POLLS:
                self._hurry(now)

    def _fail(self, name: str, answer: Answer) -> None:
        self._failures += 1
        self.trouble = answer.complaint or f"{name} ended with status {answer.status}"

    def _wait(self) -> float:
        return min(LONGEST_WAIT, self._cluster.poll_interval * 2.0 ** min(self._failures, 16))

    def _hurry(self, now: Moment) -> None:
        """Asks what the cluster has soon: something has been done there, or is missing."""
        if not self._failures:
            question = self._questions["squeue"]
            question.due = min(question.due, max(now.mono, question.began + min(1.0, self._cluster.poll_interval)))

    def _hear_offer(self, name: str, answer: Answer) -> None:
        if not answer.is_good:
            if self._told.offer is None or self._told.max_array is None:
                self._fail(name, answer)
            return
        if not self._handover.of_key:
            self._failures, self.trouble = 0, None
        if name == "sinfo":
            nodes = listing.nodes(answer.said, self._cluster.partition)
            self._told.offer = Offer(nodes, self._told.max_array or LARGEST_ARRAY)
        else:
            self._told.max_array = listing.max_array(answer.said) or LARGEST_ARRAY
            self._told.min_age = listing.min_job_age(answer.said) or MIN_JOB_AGE
            if self._told.offer is not None:
                self._told.offer = Offer(self._told.offer.nodes, self._told.max_array)

    def _ask(self, now: Moment) -> None:
        words = {"squeue": listing.SQUEUE, "scontrol": listing.CONFIG, "sinfo": listing.SINFO}
        for name, question in self._questions.items():
            needed = name != "squeue" or bool(self._handover.of_key) or self.trouble is not None
            if needed and question.call is None and question.due <= now.mono:
                question.call, question.began = self._programs.call(words[name], now.mono), now.mono

    # what is seen

    def _sight(self, job: LiveJob, watch: Watch, now: Moment) -> Sight | None:
        """What is newly seen of an attempt; None where that is nothing."""
        if watch.sight is not None and watch.sight.end is not None:
            return watch.sight
        if (why := self._handover.refused.get(job.key)) is not None:
            return states.refused(why)
        place = self._handover.of_key.get(job.key)
        return self._not_handed_over(job, now) if place is None else self._handed_over(job, watch, *place, now)

    def _handed_over(self, job: LiveJob, watch: Watch, intent: Intent, task: int, now: Moment) -> Sight | None:
        directory = self._place.attempt(*job.key)
        row = self._row(intent, task, directory)
        if job.why is not None:
            if self._handover.stop(job.key):
                return self._not_handed_over(job, now)
            self._stop(job, watch, row, intent.id_of(task) if row is None else row.seen.cluster_id, directory, now)
        why = self._handover.refusals.get(intent.batch)
        if why is not None and (watch.absent if row is None else row.seen.reason == states.REFUSED):
            return states.refused(why)
        if row is not None:
            return self._of_row(row, watch, directory, now)
        if watch.absent >= GOOD_POLLS:
            return self._of_absent(job, watch, intent, intent.id_of(task), directory, now)
        known = intent.id_of(task) if self._handover.state[intent.batch] == GIVEN else None
        is_news = known is not None and (watch.sight is None or watch.sight.cluster_id != known)
        return Sight(WAITING, None, known) if is_news else None

    def _not_handed_over(self, job: LiveJob, now: Moment) -> Sight | None:
        """One that is to stop and that no call was made for never begins; of others there is nothing to be seen."""
        if job.why is None or job.job is None:
            return self._lost(job, now)
        return self._barred(job, now)

    def _barred(self, job: LiveJob, now: Moment) -> Sight | None:
        self._reach.ask("bar", job.key, job.why or "")
        return states.never_began(now.wall)

    def _lost(self, job: LiveJob, now: Moment) -> Sight | None:
        """One that the cluster was given, as the snapshot says, and that we have no intent of."""
        if job.cluster_id is None:
            return None
        found: Observation = self._reach.ask("seen", self._place.attempt(*job.key))
        return self._forgotten(job.key, found, job.cluster_id, now)

    def _row(self, intent: Intent, task: int, directory: str) -> Row | None:
        """The one that counts of those that the cluster shows: which has begun, if one has. After a restore that may
        be one with another mark, beside which ours has ended at once.
        """
        rows = self._told.rows.get(intent.mark, {}).get(task, [])
        if not rows or (len(rows) == 1 and not listing.is_over(rows[0].seen)):
            return rows[0] if rows else None
        real = self._reach.ask("real_id", directory)
        return self._told.by_id.get(real or "", rows[-1])

    def _of_row(self, row: Row, watch: Watch, directory: str, now: Moment) -> Sight | None:
        seen = row.seen
        before = watch.sight
        if before is not None and before.stage == RUNNING and before.started is not None and seen.state == "RUNNING":
            return before
        if listing.is_waiting(seen):
            return states.sight(seen, attempt_files.NOTHING, is_late=False)
        is_late = watch.over_at is not None and now.mono >= watch.over_at + LATE and self._is_directory_there()
        sight = states.sight(seen, self._reach.ask("seen", directory), is_late=is_late)
        if sight is not None and sight.end is None and listing.is_over(seen):
            watch.over_at = watch.over_at or now.mono
            self._look_again = now.mono + LOOK_AGAIN
        return sight

    def _of_absent(
        self, job: LiveJob, watch: Watch, intent: Intent, cluster_id: str | None, directory: str, now: Moment
    ) -> Sight | None:
        """The cluster has forgotten it, or never had it. What has begun is not begun again."""
        if not self._is_directory_there():
            self._look_again = now.mono + UNREAD
            return None
        found: Observation = self._reach.ask("seen", directory)
        was_never_given = self._handover.state[intent.batch] == UNSURE and cluster_id is None
        was_just_seen = watch.seen_at is not None and now.mono - watch.seen_at < self._told.min_age
        if not found.is_recorded and found.started is None and (was_never_given or was_just_seen):
            if job.why is not None:
                return self._barred(job, now)
            self._again(job.key, intent, now)
            return None
        return self._forgotten(job.key, found, cluster_id, now)

    def _forgotten(self, key: Key, found: Observation, cluster_id: str | None, now: Moment) -> Sight | None:
        """The end of what began there: the accounting's word counts, where it has one."""
        if cluster_id is None:
            return states.gone(found, None, now.wall)
        if self._accounting.is_awaited(key, cluster_id, now, has_record=found.is_recorded):
            return None
        seen = self._accounting.seen(cluster_id)
        told = None if seen is None else states.sight(seen, found, is_late=True)
        return states.gone(found, cluster_id, now.wall) if told is None or told.end is None else told

    def _is_directory_there(self) -> bool:
        """Whether what is not in it was not written; one that is not mounted says nothing."""
        there: bool = self._reach.ask("is_there")
        return there

    def _again(self, key: Key, intent: Intent, now: Moment) -> None:
        try:
            self._handover.again(key)
        except OSError:
            self._look_again = now.mono + UNREAD
            return
        for each in (*intent.members.values(), key):
            self._watches[each].absent = 0

    def _stop(
        self, job: LiveJob, watch: Watch, row: Row | None, cluster_id: str | None, directory: str, now: Moment
    ) -> None:
        if row is not None and listing.is_over(row.seen):
            return
        if cluster_id is None:
            return  # a poll will show whether there is one
        was_seen = watch.sight is not None and watch.sight.started is not None
        at_work = was_seen or (row is not None and not listing.is_waiting(row.seen))
        waits = not at_work and (row is None or row.seen.state == WAITS)
        self._cancelling.stop(job, cluster_id, directory, now, waits=waits, at_work=at_work)

    # what is no longer needed there

    def link_again(self, after: int) -> int | None:
        """As `Place.link_again`."""
        done: int | None = self._reach.ask("link_again", after)
        return done

    def sweep(self) -> tuple[list[str], bool]:
        """As `Place.sweep`."""
        live = {job_id for job_id, _ in self._watches}
        found: tuple[list[str], bool] = self._reach.ask("sweep", live)
        return found

    # the loop's

    def descriptors(self) -> Iterator[int]:
        """Of the calls at work: readable when one ends."""
        calls = [
            self._handover.call,
            *(each.call for each in self._others),
            *(q.call for q in self._questions.values()),
        ]
        yield from (call.fd for call in calls if call is not None and call.fd is not None)
        yield from self._reach.descriptors()

    def wakes(self, now: Moment) -> Iterator[float]:
        """When to go on."""
        if self._at_once:
            yield now.mono
        if self._look_again is not None:
            yield self._look_again
        yield from self._reach.wakes(now.mono)
        yield from self._handover.wakes()
        for other in self._others:
            yield from other.wakes()
        for name, question in self._questions.items():
            if question.call is not None:
                yield question.call.deadline
            elif name != "squeue" or self._handover.of_key:
                yield question.due

    def close(self) -> None:
        """Ends the calls that are at work."""
        self._reach.close()
        self._handover.close()
        for other in self._others:
            other.close()
        for question in self._questions.values():
            if question.call is not None:
                question.call.end()
