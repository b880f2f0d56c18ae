"""The lines of the journal: an event each, and at the beginning of each file a checkpoint. Knows nothing of files.

`{"id":"17-204",...}` is an event. `{"checkpoint":{...},"after":"17-203"}` has what had been told by then, for the
scheduler, and the id of the last event before it (null: there was none), for those who read.
"""

from __future__ import annotations

from gflowd.core.events import kinds
from gflowd.core.syntax import fast_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from gflowd.core.events.kinds import Event, Id

    Dumps = Callable[[object], bytes]

CURRENT, OLDER = "events.jsonl", "events.1.jsonl"
CHECKPOINT, AFTER = "checkpoint", "after"
_EVENT, _CHECKPOINT = b'{"id":"', b'{"checkpoint":'


def encode_event(event_id: Id, event: Mapping[str, Any], dumps: Dumps = fast_json.dumps) -> bytes:
    """The line of an event. Raises ValueError or TypeError for what JSON or UTF-8 cannot hold."""
    return dumps({"id": kinds.encode_id(event_id), **event}) + b"\n"


def encode_checkpoint(told: Mapping[str, Any], after: Id | None, dumps: Dumps = fast_json.dumps) -> bytes:
    """The line of a checkpoint."""
    return dumps({CHECKPOINT: told, AFTER: None if after is None else kinds.encode_id(after)}) + b"\n"


def is_checkpoint(line: bytes) -> bool:
    """Whether a line begins as one."""
    return line.startswith(_CHECKPOINT)


def id_of(line: bytes) -> Id | None:
    """The id of the event in a line, which is not parsed further; None if it has none."""
    if not line.startswith(_EVENT):
        return None
    try:
        return kinds.decode_id(line[len(_EVENT) : line.index(b'"', len(_EVENT))].decode("ascii"))
    except ValueError:
        return None


def decode(line: bytes) -> Event | None:
    """The JSON object of a line, an event or a checkpoint; None for a damaged line."""
    try:
        found = fast_json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def after_of(checkpoint: Mapping[str, Any]) -> Id | None:
    """The id of the last event before a checkpoint."""
    try:
        return kinds.decode_id(checkpoint[AFTER])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
