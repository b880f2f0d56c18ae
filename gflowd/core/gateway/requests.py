"""What may be asked of the gateway, and what it answers: heads of messages to values and back.

    commit   {"v": 1, "do": "commit", "once": 32 hex digits, "seen": where, "files": [["env" | "scripts", bytes], ...],
              "records": [[kind, key, value or null], ...]}, the files one behind the other in the tail; and
              "unless": name, where that matters
             {"ok": true, "first": id} | {"again": true}
    view     {"v": 1, "do": "view"}
             {"ok": true, "seen": where}, in the tail the snapshot as the asker may see it, as its file would be
    history  {"v": 1, "do": "history", "query": name, "args": [...]}
             {"ok": true}, in the tail what was found, as JSON; {"ok": true, "is_there": false}: there is no history
    relay    {"v": 1, "do": "relay"}
             {"ok": true}: there is a directory `relays/UID` of the asker's own

Or `{"error": words, "status": exit status}`. `seen`: how far the asker had read the snapshot when it decided, as
`store.Follower.seen` has it, null where it read nothing to decide by. Where something that the request changes was
changed after that, or the snapshot was rewritten, the answer is `again`: read, and decide anew. `once`: the asker's own
word for this request, so that it can be sent a second time when the answer got lost. `unless`: the answer is `again`,
too, where the asker has a job of that name that has not ended. New jobs have provisional ids
(2**40 and up); the first of them became `first` (0 where there are none), the second `first + 1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gflowd.core.gateway.protocol import MOST_RECORDS, Malformed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gflowd.core.errors import GflowError
    from gflowd.core.gateway.asking import File, Record, Seen

ENVIRONMENTS, SCRIPTS = "env", "scripts"
MOST_FILES = 256  # each is written and synced while all others wait
_ONCE = 32  # digits
_HEXADECIMAL = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Commit:
    """Asks for all of these records, or none; kinds, keys and values are judged elsewhere."""

    once: str
    seen: Seen | None
    files: Sequence[File]
    records: Sequence[Record]
    unless: str | None = None


@dataclass(frozen=True, slots=True)
class History:
    """Asks the history."""

    query: str
    args: Sequence[Any]


@dataclass(frozen=True, slots=True)
class View:
    """Asks for the snapshot, as far as the asker may see it."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Asks for a directory of the asker's own for relays."""


Request = Commit | History | View | Relay


def failed(error: GflowError) -> dict[str, Any]:
    """The head of an answer that tells of an error."""
    return {"error": str(error), "status": error.status}


def decode(head: Mapping[str, Any], tail: bytes) -> Request:
    """The request that a message holds. Raises `Malformed`."""
    match head:
        case {
            "v": 1, "do": "commit", "once": str(once), "seen": seen, "files": list(files),
            "records": list(asked), **more,
        }:  # fmt: skip
            unless = more.pop("unless", None)
            if more or not (unless is None or isinstance(unless, str)):
                raise Malformed("there are fields that are not known here")
            if len(once) != _ONCE or not _HEXADECIMAL.issuperset(once):
                raise Malformed("once is not 32 hexadecimal digits")
            return Commit(once, None if seen is None else _seen(seen), _files(files, tail), _records(asked), unless)
        case {"v": 1, "do": "history", "query": str(query), "args": list(args)}:
            _check(head, 4, tail)
            return History(query, args)
        case {"v": 1, "do": "view"}:
            _check(head, 2, tail)
            return View()
        case {"v": 1, "do": "relay"}:
            _check(head, 2, tail)
            return Relay()
        case {"v": 1, "do": _}:
            raise Malformed("there is no such request")
        case _:
            raise Malformed("this version of the protocol is not known here")


def _check(head: Mapping[str, Any], fields: int, tail: bytes = b"") -> None:
    if len(head) != fields:
        raise Malformed("there are fields that are not known here")
    if tail:
        raise Malformed("there are bytes that nobody explains")


def _seen(said: object) -> Seen:
    match said:
        case [int(end), int(line), str(checksum)] if type(end) is type(line) is int and checksum.isascii():
            return end, line, checksum
        case _:
            raise Malformed("seen is not a place in the snapshot")


def _records(asked: list[Any]) -> list[Record]:
    if len(asked) > MOST_RECORDS:
        raise Malformed(f"there are {len(asked)} records; at most {MOST_RECORDS} are taken at once")
    for record in asked:
        match record:
            case [str(), int() | str() as key, _] if type(key) in (int, str):
                pass
            case _:
                raise Malformed("a record is not a kind, a key and a value")
    return [(kind, key, value) for kind, key, value in asked]


def _files(named: list[Any], tail: bytes) -> list[File]:
    if len(named) > MOST_FILES:
        raise Malformed(f"there are {len(named)} files; at most {MOST_FILES} are taken at once")
    files, at = [], 0
    for each in named:
        match each:
            case ["env" | "scripts" as place, int(length)] if type(length) is int and 0 <= length <= len(tail) - at:
                files.append((place, tail[at : at + length]))
                at += length
            case _:
                raise Malformed("a file is not a place and a length within the tail")
    if at != len(tail):
        raise Malformed("there are bytes that nobody explains")
    return files
