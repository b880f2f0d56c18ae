"""Which jobs block a `singleton`: those with the same user and name. An index that the scheduler keeps."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    Owner = tuple[str, str]  # user and name


class Singletons:
    """The queued and live jobs of each user and name, for `singleton`. Mutable."""

    def __init__(self) -> None:
        self._owner: dict[int, Owner] = {}
        self._live: dict[Owner, set[int]] = {}
        self._queued: dict[Owner, list[int]] = {}  # a heap; stale ids are removed when met

    def queue(self, job_id: int, owner: Owner) -> None:
        """A job is queued: for the first time, again, or under another name."""
        self.leave(job_id)
        self._owner[job_id] = owner
        heappush(self._queued.setdefault(owner, []), job_id)

    def start(self, job_id: int, owner: Owner) -> None:
        """A job has resources."""
        self.leave(job_id)
        self._owner[job_id] = owner
        self._live.setdefault(owner, set()).add(job_id)

    def leave(self, job_id: int) -> None:
        """A job has ended, or is gone."""
        owner = self._owner.pop(job_id, None)
        if owner is None:
            return
        live = self._live.get(owner, set())
        live.discard(job_id)
        if not live:
            self._live.pop(owner, None)
        if self._first(owner) is None:
            self._queued.pop(owner, None)

    def is_alone(self, job_id: int, owner: Owner) -> bool:
        """Whether no other job of `owner` is live, and none was queued before `job_id`."""
        first = self._first(owner)
        return self._live.get(owner, set()) <= {job_id} and (first is None or first >= job_id)

    def queued(self, user: str, name: str) -> Iterator[int]:
        """The queued jobs of a user and name."""
        owner = user, name
        live = self._live.get(owner, set())
        return (each for each in self._queued.get(owner, ()) if self._owner.get(each) == owner and each not in live)

    def _first(self, owner: Owner) -> int | None:
        heap, live = self._queued.get(owner, []), self._live.get(owner, set())
        while heap and (self._owner.get(heap[0]) != owner or heap[0] in live):
            heappop(heap)
        return heap[0] if heap else None
