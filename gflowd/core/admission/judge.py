"""A request for changes: all of its records are right and become the records that are written, or none are.

Who asks and when is as the caller knows it, whatever the records say. New jobs have provisional ids, and get real ones.
"""

from __future__ import annotations

from gflowd.core.accounting.quotas import Quotas
from gflowd.core.admission import dependency_cycles, machine_settings, rights, submissions, updates, wish_changes
from gflowd.core.admission.criteria import Criteria, nothing_past
from gflowd.core.admission.dependency_targets import Overlaid
from gflowd.core.admission.known_jobs import KnownJobs, weight
from gflowd.core.errors import Refused
from gflowd.core.job import array_task, arrays, codec, record_rules
from gflowd.core.job.field_rules import brief
from gflowd.core.job.model import Wish
from gflowd.core.job.records import LARGEST_ID, LIMIT, PROVISIONAL, QUOTA, RESERVATION, SETTING, SPEC, WISH
from gflowd.core.planning import reservations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from gflowd.core.admission.criteria import Past
    from gflowd.core.admission.known_jobs import Records
    from gflowd.core.admission.policy import Policy
    from gflowd.core.admission.requester import Requester
    from gflowd.core.job.dependencies import Needs
    from gflowd.core.job.model import Spec
    from gflowd.core.request.validation import Limits

    Record = tuple[str, int | str, Any]  # kind, id, value; None as value removes it

MOST_PAST = 1000  # jobs in the history that are looked up for one request
KINDS = (SPEC, WISH, LIMIT, RESERVATION, QUOTA, SETTING)  # all others are the daemon's alone
REMOVABLE = (WISH, LIMIT, RESERVATION, QUOTA, SETTING)
_PARTS = 3


def judge(  # noqa: PLR0913, PLR0917 -- all that a request is judged by
    asked: Sequence[Record],
    records: Records | KnownJobs,
    requester: Requester,
    policy: Policy,
    limits: Limits,
    next_id: int,
    now: float,
    once: str | None = None,
    past: Past = nothing_past,
) -> list[Record]:
    """What is to be written for the request `asked` by `requester`, in its order. Raises `Refused`; changes nothing.

    `records`: those of the snapshot, or their `KnownJobs`, if the caller keeps one; `past` finds those of the history;
    `next_id`: the first free one. Values in `asked` are as JSON has them, and may be anything.
    """
    known = records if isinstance(records, KnownJobs) else KnownJobs(records)
    return _Request(asked, known, Criteria(requester, policy, limits, now, _sparing(past)), next_id, once).judged()


def _sparing(past: Past) -> Past:
    """Asks the history for each job once, and for so many only: all others wait meanwhile."""
    found: dict[int, tuple[int, Mapping[str, Any]] | None] = {}

    def look(job_id: int) -> tuple[int, Mapping[str, Any]] | None:
        if job_id not in found:
            if len(found) >= MOST_PAST:
                raise Refused(f"a request can wait for at most {MOST_PAST} jobs that have left the queue")
            found[job_id] = past(job_id)
        return found[job_id]

    return look


class _Request:
    """One request. `new` and `changed`: the specs of jobs that are new and of others, by their real ids."""

    def __init__(
        self, asked: Sequence[Record], known: KnownJobs, criteria: Criteria, next_id: int, once: str | None
    ) -> None:
        self.asked = asked
        self.once = once
        self.known = known
        self.criteria = criteria
        self.requester = criteria.requester
        self.offset = next_id - PROVISIONAL
        self.free = next_id  # the id of the next new job
        self.first: int | None = None  # of all new jobs
        self.new: dict[int, Spec] = {}
        self.changed: dict[int, Spec] = {}
        self._made: dict[int, Any] = {}  # the records of both
        self._with_new: KnownJobs | None = None
        self.quotas = Quotas(criteria.policy.quotas, known.records.of(QUOTA))

    def judged(self) -> list[Record]:
        taken = [self._taken(record) for record in self.asked]
        if len({(kind, key) for kind, key, _ in taken}) < len(taken):
            raise Refused("a record is in the request twice")
        for kind, key, value in taken:
            if kind == SPEC and key not in self.known.records.of(SPEC):
                self._note_new(key, value)
        if self.new:
            self._judge_new()
        for kind, key, value in taken:
            if kind == SPEC and key not in self.new:
                self.changed[int(key)] = self._changed(int(key), value)
        self._refuse_cycles()
        self._made = {job_id: codec.encode(spec) for job_id, spec in (*self.new.items(), *self.changed.items())}
        submissions.check_weight(self._more_bytes(), self.known, self.requester)
        of_kind: dict[str, Callable[[Any, Any], Any]] = {
            SPEC: self._spec, WISH: self._wish, LIMIT: self._limit,
            RESERVATION: self._reservation, QUOTA: self._quota, SETTING: self._setting,
        }  # fmt: skip
        return [(kind, key, of_kind[kind](key, value)) for kind, key, value in taken]

    def _taken(self, record: Any) -> Record:
        """A record of a right form, with a real id."""
        if type(record) not in (list, tuple) or len(record) != _PARTS:
            raise Refused("what is asked for is no record: its kind, its id and its value")
        kind, key, value = record
        if kind not in KINDS:
            raise Refused(f"records of the kind {brief(kind)} are gflowd's alone")
        if type(key) not in (int, str):
            raise Refused(f"{kind}: {brief(key)} is no id")
        if value is None and kind not in REMOVABLE:
            raise Refused(f"records of the kind {kind} cannot be removed")
        value = self._stamped(kind, value)
        wrong = _wrong(kind, key, value)
        if wrong is not None:
            raise Refused(f"{kind} {brief(key)}: {wrong}")
        if kind == SPEC and key < PROVISIONAL and key not in self.known.records.of(SPEC):
            raise Refused(f"no job {key}")
        return kind, self._real_key(kind, key), value

    def _stamped(self, kind: str, value: Any) -> Any:
        """With the fields that any client may leave out or say anything of."""
        if isinstance(value, dict) and kind == SPEC:
            requester = self.requester
            stamps = {
                "user": requester.name,
                "uid": requester.uid,
                "submitted_at": self.criteria.now,
                "once": self.once,
            }
            return {**value, **stamps}
        return value

    def _real(self, job_id: int) -> int:
        return job_id + self.offset if job_id >= PROVISIONAL else job_id

    def _real_key(self, kind: str, key: int | str) -> int | str:
        if isinstance(key, str) or key < PROVISIONAL:
            return key
        if kind == RESERVATION:
            return 1 + max(self.known.records.of(RESERVATION), default=0)
        return self._real(key)

    def _decoded(self, value: Mapping[str, Any]) -> Spec:
        """With real ids wherever it names jobs."""
        spec = codec.decode_spec(value)
        changes: dict[str, Any] = {
            name: self._real(job_id)
            for name in ("batch", "redone_from")
            if (job_id := getattr(spec, name)) is not None and job_id >= PROVISIONAL
        }
        if spec.needs is not None and any(job_id >= PROVISIONAL for job_id in spec.needs.ids):
            named = (each if each.id is None else each.replace(id=self._real(each.id))
                     for each in spec.needs.dependencies)  # fmt: skip
            changes["needs"] = spec.needs.replace(dependencies=tuple(named))
        return spec.replace(**changes) if changes else spec

    # New jobs

    def _note_new(self, job_id: int | str, value: Mapping[str, Any]) -> None:
        if job_id != self.free:
            raise Refused("the ids of new jobs do not follow each other")
        spec = self._decoded(value)
        self.new[self.free] = spec
        self.first = self.free if self.first is None else self.first
        self.free += _size(spec)
        if self.free > PROVISIONAL:
            raise Refused("there are not so many ids")

    def _judge_new(self) -> None:
        rights.check_submit(self.requester, self.criteria.policy)
        for job_id, spec in self.new.items():
            if spec.batch not in (None, self.first):
                raise Refused("a batch is named by the first of its jobs")
            if spec.redone_from is not None and self._is_new(spec.redone_from):
                raise Refused("a new job cannot repeat another new one")
            self.new[job_id] = submissions.judged(spec, self._knowing(spec.needs), self.criteria)
        numbers = [(spec, _size(spec)) for spec in self.new.values()]
        submissions.check_numbers(numbers, self.known, self.quotas, self.criteria)

    def _is_new(self, job_id: int) -> bool:
        return self.first is not None and self.first <= job_id

    def _knowing(self, needs: Needs | None) -> KnownJobs:
        """What knows the jobs that are waited for."""
        if needs is None or not any(map(self._is_new, needs.ids)):
            return self.known
        if self._with_new is None:
            self._with_new = self._laid_over(self.new)
        return self._with_new

    def _laid_over(self, specs: Mapping[int, Spec]) -> KnownJobs:
        encoded = {job_id: codec.encode(spec) for job_id, spec in specs.items()}
        return KnownJobs(Overlaid(self.known.records, encoded))

    def _refuse_cycles(self) -> None:
        """A circle is closed by a job that waits for other ones now, or has another name. No older job waits for a new
        one, unless that is changed at the same time; so it takes a new job that waits for a later one.
        """
        closing = [job_id for job_id, spec in self.changed.items() if self._is_linked_anew(job_id, spec)]
        for job_id, spec in self.new.items():
            if spec.needs is not None and (closing or any(each >= job_id for each in spec.needs.ids)):
                closing.append(job_id)
        if closing:
            dependency_cycles.refuse_any(self._laid_over({**self.new, **self.changed}), closing)

    def _more_bytes(self) -> int:
        """By how many the specs take more than before."""
        of, made = self.known.records.of(SPEC), self._made
        new = sum(weight(made[job_id], _size(spec)) for job_id, spec in self.new.items())
        return new + sum(weight(made[job_id], 1) - weight(of[job_id], 1) for job_id in self.changed)

    def _is_linked_anew(self, job_id: int, spec: Spec) -> bool:
        before = codec.decode_spec(self.known.records.of(SPEC)[job_id])
        return (before.needs, before.name) != (spec.needs, spec.name)

    def _changed(self, job_id: int, value: Mapping[str, Any]) -> Spec:
        raw = self.known.records.of(SPEC)[job_id]
        rights.check_owner(self.requester, raw, job_id)
        wanted = self._decoded(value)
        try:
            made = updates.judged(job_id, wanted, self.known, self.criteria, self._knowing(wanted.needs))
            updates.check_quota(self.quotas, codec.decode_spec(raw), made)
        except Refused as error:
            raise Refused(f"job {job_id}: {error}") from None
        return made

    # Each kind

    def _spec(self, job_id: Any, _: Any) -> Any:
        return self._made[job_id]

    def _wish(self, job_id: Any, value: Any) -> Any:
        wanted = codec.decode_wish(value or {})
        if self.first is not None and self.first <= job_id < self.free:
            if wanted != Wish(held=wanted.held):
                raise Refused("a new job can only be held")
            return value and codec.encode(wanted)
        if not self.known.knows(job_id):
            raise Refused(f"no job {job_id}")
        rights.check_owner(self.requester, self.known.records.of(SPEC)[self.known.spec_of(job_id)], job_id)
        job = self.known.job(job_id)
        if wish_changes.asks_to_be_first(job, wanted):
            rights.check_operator(self.requester, rights.TOP)
        try:
            made = wish_changes.judged(job, wanted, self.requester.name, self.criteria.now)
        except Refused as error:
            raise Refused(f"job {array_task.label(job)} {error}") from None
        return None if made == Wish() else codec.encode(made)

    def _limit(self, array_id: Any, value: Any) -> Any:
        raw = self.known.records.of(SPEC).get(array_id)
        if raw is None:
            raise Refused(f"no job {array_id}")
        rights.check_owner(self.requester, raw, array_id)
        if raw.get("family") is None:
            raise Refused(f"job {array_id} is not an array or sweep")
        if value is not None and value.get("max_concurrent") is None:
            raise Refused("a limit needs a number of jobs")
        return value

    def _reservation(self, number: Any, value: Any) -> Any:
        found = self.known.records.of(RESERVATION)
        old = reservations.decode_all({number: found[number]})[0] if number in found else None
        if value is None:
            if old is None:
                raise Refused(f"no reservation {number}")
            rights.check_reserve(self.requester, self.criteria.policy, self.requester.name)
            machine_settings.check_removal(old, self.criteria.now)
            return None
        wanted = reservations.decode_all({number: value})[0]
        if old is not None:
            return reservations.encode(machine_settings.changed_reservation(old, wanted, self.criteria))
        if number != 1 + max(found, default=0):
            raise Refused(f"no reservation {number}")
        made = machine_settings.new_reservation(wanted, found, self.criteria)
        return reservations.encode(made)

    def _quota(self, owner: Any, value: Any) -> Any:
        rights.check_operator(self.requester, rights.QUOTA)
        machine_settings.check_quota(owner, value, self.criteria.limits)
        return value

    def _setting(self, name: Any, value: Any) -> Any:
        rights.check_operator(self.requester, rights.SETTING)
        return machine_settings.stamped(
            name, value, self.known.records.of(SETTING).get(name), self.requester, self.criteria.now
        )


def _size(spec: Spec) -> int:
    return 1 if spec.family is None else arrays.size(spec.family)


def _wrong(kind: str, key: Any, value: Any) -> str | None:
    """What is wrong with the form of a record; None where it is right."""
    if value is None:
        return None if record_rules.is_key(kind, key) else "there is no such id"
    wrong = record_rules.fault(kind, key, LARGEST_ID + 1, value)
    if wrong is not None:
        return wrong
    unknown = record_rules.stranger(kind, key, value)
    return None if unknown is None else f"this version does not know the field {brief(unknown)}"
