"""The snapshot as each user may see it, in the form of its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from gflowd.core.gateway import redaction
from gflowd.core.job.records import ATTEMPT, HEADER, PHASE, SPEC
from gflowd.storage.record_log import FORMAT, encode_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from gflowd.effects.gateway.peers import Asker
    from gflowd.storage.record_log import Fold, Key
    from gflowd.workers.gateway.group_commit import GroupCommit

REDACTED = {SPEC: redaction.spec, PHASE: redaction.end, ATTEMPT: redaction.end}
Lines = dict[Any, tuple[Any, bytes]]  # by id: the value, and its line


class VisibleSnapshot:
    """Mutable: the lines that were made, each for as long as its record stays the same. `may_see_all`: whether somebody
    is shown everything.
    """

    def __init__(self, group_commit: GroupCommit, may_see_all: Callable[[Asker], bool]) -> None:
        self._group_commit = group_commit
        self._may_see_all = may_see_all
        self._lines: dict[tuple[str, bool], Lines] = {}  # by kind, and whether they are redacted

    def of(self, asker: Asker) -> tuple[dict[str, Any], bytes]:
        """The head and the tail of the answer. Raises `GflowError`."""
        fold = self._group_commit.look()
        sees_all = self._may_see_all(asker)
        parts = [_line(fold, (HEADER, 0), fold.of(HEADER).get(0, {"format": FORMAT}))]
        for kind, records in [*fold.records.items()]:
            if kind == HEADER:
                continue
            whole = self._of_kind(fold, kind, records)
            if kind not in REDACTED or sees_all:
                parts += whole
                continue
            hidden = self._of_kind(fold, kind, records, redacted=True)
            parts += [
                line if line == other or self._owner(fold, key) == asker.uid else other
                for key, line, other in zip(records, whole, hidden, strict=True)
            ]
        return {"ok": True, "seen": list(self._group_commit.follower.seen)}, b"".join(parts)

    def _owner(self, fold: Fold, key: int | str) -> object:
        """Whose job a record of this key is about."""
        job_id = key if isinstance(key, int) else int(key.partition(".")[0])
        return fold.of(SPEC).get(self._group_commit.admission.spec_of(job_id), {}).get("uid")

    def _of_kind(self, fold: Fold, kind: str, records: dict[Any, Any], *, redacted: bool = False) -> list[bytes]:
        before = self._lines.get((kind, redacted), {})
        now: Lines = {}
        for key, value in records.items():
            known = before.get(key)
            if known is None or known[0] is not value:
                known = value, _line(fold, (kind, key), REDACTED[kind](value) if redacted else value)
            now[key] = known
        self._lines[kind, redacted] = now
        return [line for _, line in now.values()]


def _line(fold: Fold, key: Key, value: Any) -> bytes:
    return encode_line(0, fold.next_id, key, value, orjson.dumps)
