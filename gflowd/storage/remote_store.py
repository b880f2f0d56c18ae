"""Changes of the queue of many users: decided here by what the snapshot says, judged and written by the gateway."""

from __future__ import annotations

import os
import time

from gflowd.core.errors import Refused, TryAgain
from gflowd.core.gateway import asking, protocol
from gflowd.core.job.records import PROVISIONAL
from gflowd.storage import gateway_client
from gflowd.storage.record_log import header_record
from gflowd.storage.store import HEAD, Follower, may_have

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from gflowd.core.gateway.asking import File, Record
    from gflowd.storage.record_log import Fold
    from gflowd.storage.store import Seen, Store

    T = TypeVar("T")


class RemoteCommit:
    """What is decided is written by the gateway; to those who decide it is as a `Commit`. New jobs have provisional
    ids. `seen`: how far the snapshot was read; None where nobody asked what is in it; `condition`: as `unless` has it.
    """

    def __init__(self, store: Store) -> None:
        self.next_id = PROVISIONAL
        self.records: list[Record] = []
        self.seen: Seen | None = None
        self.condition: str | None = None
        self._store = store

    def allocate(self, count: int = 1) -> int:
        """The first of `count` consecutive new job ids."""
        first = self.next_id
        self.next_id += count
        return first

    def put(self, kind: str, key: int | str, value: Any) -> None:
        """Adds a record; None as value removes it. JSON types only."""
        self.records.append((kind, key, value))

    def unless(self, name: str) -> None:
        """What is put is written only where we have no job of that name that has not ended; else it is decided anew."""
        self.condition = name

    def fold(self) -> Fold:
        """Everything in the snapshot as it is now."""
        follower = Follower(self._store)
        try:
            follower.catch_up()
            self.seen = self.seen or follower.seen
        finally:
            follower.close()
        return follower.fold

    def may_have(self, kind: str) -> bool:
        """Whether there may be records of one of the kinds in `MARKED`; reads only the header."""
        try:
            fd = self._store.state.open_told(self._store.path, os.O_RDONLY)
        except OSError:
            return os.path.exists(self._store.path)
        try:
            return may_have(header_record(os.pread(fd, HEAD, 0)), kind)
        finally:
            os.close(fd)


def change(store: Store, place: str, decide: Callable[[Any], T], files: Sequence[File] = ()) -> tuple[T, int]:
    """The result of `decide`, which is given a `RemoteCommit`, and what is to be added to provisional ids in it, once
    the gateway at `place` has written what was put. `decide` is called again where what it saw has changed. Raises what
    it raises, and as `gateway_client.ask`.
    """
    deadline = time.monotonic() + store.lock_timeout
    while True:
        commit = RemoteCommit(store)
        result = decide(commit)
        if not commit.records:
            return result, 0
        request = asking.commit(os.urandom(16).hex(), commit.seen, files, commit.records, commit.condition)
        _check_size(request, len(commit.records))
        answer, _ = gateway_client.ask(place, request, store.lock_timeout)
        if not answer.get("again"):
            return result, answer["first"] - PROVISIONAL if commit.next_id > PROVISIONAL else 0
        if time.monotonic() > deadline:
            raise TryAgain("the queue kept changing meanwhile; try again")


def _check_size(request: bytes, records: int) -> None:
    head, tail = (int.from_bytes(request[at : at + 4], "big") for at in (4, 8))
    if head > protocol.HEAD_LIMIT or tail > protocol.TAIL_LIMIT or records > protocol.MOST_RECORDS:
        size = (head + tail) / (1 << 20)
        raise Refused(
            f"that is too much at once for gflowd's gateway (records: {records}, {size:.1f}M); do it in parts"
        )
