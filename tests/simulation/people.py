"""What people do by gflowctl, written to the snapshot as gflowctl writes it, and rung for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ledger import ENDED, QUEUED, Ledger, Seen
from virtual_clock import Clock

from gflowd.core.job import arrays, codec
from gflowd.core.job.model import Spec, Wish
from gflowd.core.job.records import RESERVATION
from gflowd.core.planning import reservations
from gflowd.effects import doorbell
from gflowd.storage.store import Store


class People:
    """Each method is a subcommand. What a subcommand would refuse is passed over."""

    def __init__(self, store: Store, ledger: Ledger, clock: Clock, ring: Callable[[bytes], None]) -> None:
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._ring = ring
        self._reservations = 0

    def submit(self, *, held: bool = False, **fields: Any) -> int:
        """The id of a new job, or of the first of an array."""
        asked = {
            "command": ("x",),
            "name": "x",
            "user": "ada",
            "cwd": "/",
            "env": "e",
            "submitted_at": self._clock.wall,
        }
        spec = Spec(**{**asked, **fields})
        count = 1 if spec.family is None else arrays.size(spec.family)
        with self._store.commit() as commit:
            first = commit.allocate(count)
            commit.put("spec", first, codec.encode(spec))
            for job_id in range(first, first + count) if held else ():
                commit.put("wish", job_id, codec.encode(Wish(held=True)))
        self._ring(doorbell.SUBMISSION)
        return first

    def cancel(self, job: Seen) -> None:
        if job.is_ != ENDED:
            self._wish(job, cancelled_by=job.user, cancelled_at=self._clock.wall, requeued=0)

    def hold(self, job: Seen) -> None:
        if job.is_ == QUEUED:
            self._wish(job, held=True)

    def release(self, job: Seen, at: float | None = None) -> None:
        if job.is_ == QUEUED:
            self._wish(job, held=False, **({} if at is None else {"begin_at": at}))

    def requeue(self, job: Seen) -> None:
        wanted: dict[str, Any] = {"cancelled_by": None, "cancelled_at": None}
        if job.is_ != QUEUED:
            wanted["requeued"] = max(job.wish.get("requeued", 0), job.attempt)
        self._wish(job, **wanted)

    def top(self, job: Seen) -> None:
        if job.is_ == QUEUED:
            self._wish(job, top_at=self._clock.wall)

    def update(self, job: Seen, **fields: Any) -> None:
        """New values of a job's own spec; arrays are left alone."""
        if job.array_id is None and job.is_ != ENDED:
            spec = codec.decode_spec(job.spec).replace(**fields)
            self._put("spec", job.id, codec.encode(spec))

    def limit(self, array_id: int, most: int) -> None:
        self._put("limit", array_id, {"max_concurrent": most})

    def set_quota(self, owner: str, quota: dict[str, int] | None) -> None:
        if quota is not None or owner in self._ledger.of("quota"):
            self._put("quota", owner, quota)

    def drain(self) -> None:
        self._put("setting", "drain", {"at": self._clock.wall, "by": "ada", "reason": None})

    def resume(self) -> None:
        if "drain" in self._ledger.of("setting"):
            self._put("setting", "drain", None)

    def reserve(self, user: str, start: float, duration: float, gpus: int, repeat: str | None = None) -> int:
        """The id of a new reservation of `gpus` GPUs, whichever these are."""
        self._reservations += 1
        made = reservations.Reservation(
            id=self._reservations,
            user=user,
            gpus=gpus,
            start=start,
            duration=duration,
            repeat=repeat,
            created_at=self._clock.wall,
            created_by=user,
        )
        self._put(RESERVATION, made.id, reservations.encode(made))
        return made.id

    def cancel_reservation(self, number: int) -> None:
        raw = self._ledger.of(RESERVATION).get(number)
        if raw is not None and "cancelled_at" not in raw:
            self._put(RESERVATION, number, {**raw, "cancelled_at": self._clock.wall})

    def _wish(self, job: Seen, **changes: Any) -> None:
        wish = codec.decode_wish(job.wish).replace(**changes)
        self._put("wish", job.id, None if wish == Wish() else codec.encode(wish))

    def _put(self, kind: str, key: int | str, value: Any) -> None:
        with self._store.commit() as commit:
            commit.put(kind, key, value)
        self._ring(doorbell.WISH)
