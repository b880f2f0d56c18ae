"""Group commit: all requests of a round are judged under one lock, each by what the ones before it made of the queue,
written and synced at once, and answered after that. Each is a change by itself, all of it or nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from gflowd import log
from gflowd.core.errors import GflowError, Refused, SystemFailed
from gflowd.core.gateway import requests
from gflowd.core.job.records import ANSWERED, LIMIT, PHASE, SPEC, WISH
from gflowd.effects import doorbell
from gflowd.storage.store import Follower, Store
from gflowd.workers.gateway.answers import Answers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gflowd.core.gateway.asking import Record
    from gflowd.core.gateway.requests import Commit
    from gflowd.effects.gateway.kept_files import Keeper
    from gflowd.effects.gateway.peers import Asker
    from gflowd.paths import State
    from gflowd.storage.record_log import Fold, Key
    from gflowd.storage.store import Commit as Writing
    from gflowd.workers.gateway.answers import Once

PATIENCE = 5.0  # seconds to wait for the snapshot's lock
OF_JOBS = (SPEC, WISH, PHASE, LIMIT)
DIGITS = 32  # of a file's name
Answer = dict[str, Any]  # the head of one
AGAIN: Answer = {"again": True}


class Admits(Protocol):
    """Judges requests by what is in the snapshot."""

    def follow(self, fold: Fold, keys: Sequence[Key] | None) -> None:
        """The snapshot, in which these records have changed; None: it is another one."""

    def begin_round(self) -> None:
        """A round begins."""

    def check(self, asker: Asker) -> None:
        """Raises `Refused` for who may have no jobs."""

    def admitted(self, request: Commit, asker: Asker, next_id: int) -> list[Record]:
        """What is to be written. Raises `Refused`."""

    def spec_of(self, job_id: int) -> int:
        """The id under which the spec of a job is kept, if there is such a job."""

    def has_unended(self, asker: Asker, name: str) -> bool:
        """Whether they have a job of that name that has not ended."""

    def size(self, spec: Any) -> int:
        """How many ids the record of a spec takes."""


@dataclass(slots=True)
class Asked:
    """A request, whose it is, and its answer."""

    asker: Asker
    request: Commit
    answer: Answer | None = None


class GroupCommit:
    """Mutable: what was read of the snapshot, where each record was changed since, and which requests were answered."""

    def __init__(self, state: State, bell: str, keeper: Keeper, admission: Admits) -> None:
        self.state = state
        self.store = Store(state, PATIENCE, dumps=orjson.dumps)
        self.follower = Follower(self.store)
        self.admission = admission
        self.keeper = keeper
        self._bell = bell
        self._log = log.get("gateway")
        self._floor = 0  # bytes of the file that were there when we first read it
        self._changed: dict[Key, int] = {}  # how long the file was after the last change that was seen
        self._answers = Answers()
        self._answered: dict[Once, int] = {}  # likewise by specs, while these are there: the first job that was made
        self._unwritten: set[Once] = set()  # answered in this round

    def run(self, asked: Sequence[Asked]) -> None:
        """Answers all of them."""
        self._unwritten.clear()
        for each in asked:
            if each.request.files:
                try:
                    self._keep(each)
                except GflowError as error:
                    each.answer = requests.failed(error)
        kinds = b""
        try:
            self.keeper.settle()
            kinds = self._commit([each for each in asked if each.answer is None])
        except GflowError as error:
            self._log.warning("nothing written", why=str(error))
            self.follower.forget()
            for each in asked:
                if each.answer is None or (each.asker.uid, each.request.once) in self._unwritten:
                    each.answer = requests.failed(error)
        if kinds:
            doorbell.ring(self._bell, kinds)

    def look(self) -> Fold:
        """The snapshot as it is now. Raises `GflowError`."""
        self._catch_up()
        return self.follower.fold

    def close(self) -> None:
        """Closes the snapshot."""
        self.follower.close()

    def _keep(self, asked: Asked) -> None:
        self.admission.check(asked.asker)
        for place, content in asked.request.files:
            self.keeper.keep(asked.asker.uid, place, content)

    def _commit(self, asked: Sequence[Asked]) -> bytes:
        """Whom the changes concern, as rings."""
        if not asked:
            return b""
        rings = b""
        with self.store.commit() as commit:
            self._catch_up()
            self.admission.begin_round()
            for each in asked:
                try:
                    rings += self._judge(each, commit)
                except GflowError as error:
                    each.answer = requests.failed(error)
            commit.write_groups()
            self.follower.confirm()
        return bytes({*rings})

    def _judge(self, asked: Asked, commit: Writing) -> bytes:
        request, asker = asked.request, asked.asker
        once = asker.uid, request.once
        first = self._answers.first(once)
        if first is None:
            first = self._answered.get(once)
        if first is not None:
            asked.answer = _done(first)
            return b""
        unless = request.unless
        if not self._is_fresh(request) or (unless is not None and self.admission.has_unended(asker, unless)):
            asked.answer = AGAIN
            return b""
        made = self._judged(asked, commit.next_id)
        self._check_files(made)
        before, next_id = commit.next_id, commit.next_id
        for kind, key, value in made:
            if kind == SPEC and isinstance(key, int) and key >= before:
                next_id = max(next_id, key + self.admission.size(value))
        commit.next_id = next_id
        first = before if next_id > before else 0
        try:
            data = commit.put_group([*made, *self._answers.records(once, first, time.time())])
        except (ValueError, TypeError):
            commit.next_id = before
            raise Refused("there is something in the request that cannot be kept") from None
        self._unwritten.add(once)
        self._note(self.follower.take_own(data, orjson.loads))
        asked.answer = _done(first)
        return b"".join({doorbell.SUBMISSION if kind == SPEC else doorbell.WISH for kind, _, _ in made})

    def _judged(self, asked: Asked, next_id: int) -> list[Record]:
        try:
            return self.admission.admitted(asked.request, asked.asker, next_id)
        except GflowError:
            raise
        except Exception as error:  # one user's request must not end what all others need
            self._log.exception("request", user=asked.asker.name, error=repr(error))
            raise SystemFailed(f"gflowd's gateway could not judge the request: {error!r}") from error

    def _is_fresh(self, request: Commit) -> bool:
        """Whether nothing that the request changes has changed since the asker read it."""
        seen = request.seen
        if seen is None:
            return True
        named = [each for kind, key, _ in request.records for each in self._named(kind, key)]
        if not named:
            return True
        if seen[0] < self._floor or not self.follower.has_seen(seen):
            return False
        return all(self._changed.get(each, 0) <= seen[0] for each in named)

    def _named(self, kind: str, key: int | str) -> list[Key]:
        """The records that a change of this one must have been decided by."""
        if kind not in OF_JOBS or not isinstance(key, int):
            return [(kind, key)]
        if key >= self.follower.fold.next_id:
            return []
        spec_id = self.admission.spec_of(key)
        return [(each, job_id) for job_id in {key, spec_id} for each in OF_JOBS]

    def _check_files(self, made: Iterable[Record]) -> None:
        """Raises `Refused` for a spec whose files are not its user's, or not there."""
        for kind, _, value in made:
            if kind != SPEC:
                continue
            for place, name in ((requests.ENVIRONMENTS, value["env"]), (requests.SCRIPTS, value.get("script"))):
                if name is None:
                    continue
                is_name = len(name) == DIGITS and name.isalnum() and name.isascii()
                if not is_name or not self.keeper.has(value["uid"], place, name):
                    what = "environment" if place == requests.ENVIRONMENTS else "script"
                    raise Refused(f"the job's {what} is not kept here; submit it again")

    def _catch_up(self) -> None:
        keys = self.follower.catch_up()
        if keys is None:
            self._floor = self.follower.offset
            self._changed.clear()
            self._answered.clear()
            self.admission.follow(self.follower.fold, None)
            self._note_answers(self.follower.fold.of(SPEC))
            self._answers.follow(self.follower.fold.of(ANSWERED))
        elif keys:
            self._note(keys)

    def _note(self, keys: Sequence[Key]) -> None:
        at = self.follower.offset
        self._changed.update(dict.fromkeys(keys, at))
        self.admission.follow(self.follower.fold, keys)
        specs = [key for kind, key in keys if kind == SPEC and isinstance(key, int)]
        if specs:
            self._note_answers(specs)
        for kind, key in keys:
            if kind == ANSWERED:
                self._answers.note(str(key), self.follower.fold.of(ANSWERED).get(key))

    def _note_answers(self, spec_ids: Iterable[int]) -> None:
        """Of several jobs of one request the first."""
        of = self.follower.fold.of(SPEC)
        for spec_id in spec_ids:
            spec = of.get(spec_id)
            if spec is not None and (once := spec.get("once")) is not None:
                key = spec["uid"], once
                self._answered[key] = min(spec_id, self._answered.get(key, spec_id))


def _done(first: int) -> Answer:
    return {"ok": True, "first": first}
