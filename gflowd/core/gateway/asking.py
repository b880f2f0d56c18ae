"""What gflowctl asks the gateway, as messages, and what its answers mean. `requests` has the forms."""

from __future__ import annotations

from gflowd.core.errors import BadUsage, GflowError, Refused, SystemFailed, TryAgain
from gflowd.core.gateway import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    Record = tuple[str, int | str, Any]  # kind, key, value; None as value removes it
    File = tuple[str, bytes]  # "env" or "scripts", the content
    Seen = tuple[int, int, str]  # as in `storage.store`

VERSION = 1
_ERRORS: tuple[type[GflowError], ...] = (Refused, BadUsage, SystemFailed, TryAgain)


def commit(
    once: str, seen: Seen | None, files: Sequence[File], records: Iterable[Record], unless: str | None = None
) -> bytes:
    """Asks for all of these records, or none; `files` are kept before. `once`: 32 hexadecimal digits, new for each
    request but the same when it is sent again; `seen`: how far the snapshot was read; `unless`: the name of a job that
    the asker must not have.
    """
    named = [[place, len(content)] for place, content in files]
    asked: dict[str, Any] = {
        "once": once, "seen": seen and list(seen), "files": named, "records": [list(record) for record in records]
    }  # fmt: skip
    if unless is not None:
        asked["unless"] = unless
    return _message("commit", asked, b"".join([content for _, content in files]))


def history(query: str, *args: object) -> bytes:
    """Asks the history: a query by its name."""
    return _message("history", {"query": query, "args": list(args)})


def view() -> bytes:
    """Asks for the snapshot, as far as the asker may see it."""
    return _message("view", {})


def relay() -> bytes:
    """Asks for a directory of the asker's own for relays."""
    return _message("relay", {})


def _message(do: str, asked: Mapping[str, Any], tail: bytes = b"") -> bytes:
    return protocol.encode({"v": VERSION, "do": do, **asked}, tail)


def check(answer: Mapping[str, Any]) -> None:
    """Raises the error that the head of an answer tells of, if it does."""
    if "error" in answer:
        status = answer.get("status")
        raise next((kind for kind in _ERRORS if kind.status == status), GflowError)(str(answer["error"]))
