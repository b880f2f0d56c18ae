"""Speaks with the gateway as an attacker does: any bytes, in any order, as any user."""

from __future__ import annotations

import base64
import json
import uuid
from typing import TYPE_CHECKING, Any

from gflowd.core.gateway import protocol
from gflowd.paths import SYSTEM_GATE
from gflowd.storage.store import Follower, Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from support.shared_machine import Person, SharedMachine

    Answer = dict[str, Any] | None  # None: the gateway hung up without a word

PROVISIONAL = 1 << 40  # the id of the first new job in a request
# Sends each text of bytes on a connection of its own, one after the other, and prints the heads of the answers.
SENDER = f"""
import base64, json, socket
from gflowd.core.gateway.protocol import Reader
answers = []
for text in json.load(sys.stdin):
    with socket.socket(socket.AF_UNIX) as gate:
        gate.settimeout(60)
        gate.connect({SYSTEM_GATE!r})
        try:
            gate.sendall(base64.b64decode(text))
            gate.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        reader, found = Reader(), None
        try:
            while found is None and (part := gate.recv(1 << 16)):
                found = reader.feed(part)
        except OSError:
            pass
        answers.append(found and found[0])
print(json.dumps(answers))
"""


def send(person: Person, *texts: bytes, under: Sequence[str] = ()) -> list[Answer]:
    """What the gateway answers to each text, sent by that person; `under`: words before the program's."""
    done = person.python(SENDER, input=json.dumps([base64.b64encode(text).decode() for text in texts]), under=under)
    assert done.returncode == 0, done
    found: list[Answer] = json.loads(done.stdout)
    return found


def request(
    records: Sequence[Sequence[Any]], files: Sequence[tuple[str, bytes]] = (), seen: object = None, **more: object
) -> bytes:
    """A request for these records."""
    named = [[place, len(content)] for place, content in files]
    asked = {"v": 1, "do": "commit", "once": uuid.uuid4().hex, "seen": seen, "files": named, "records": records, **more}
    return protocol.encode(asked, b"".join(content for _, content in files))


class Queue:
    """The queue as root sees it, from outside of the machine."""

    def __init__(self, machine: SharedMachine) -> None:
        self._follower = Follower(Store(machine.state))

    def seen(self) -> list[object]:
        """How far whoever read all of it now has seen."""
        self._follower.catch_up()
        return list(self._follower.seen)

    def records(self, kind: str) -> Mapping[Any, Any]:
        """All there are of a kind."""
        self._follower.catch_up()
        found: Mapping[Any, Any] = self._follower.fold.of(kind)
        return dict(found)

    def ask(self, person: Person, *batches: Sequence[Sequence[Any]]) -> list[Answer]:
        """What is answered to requests for records, each made by somebody who has read the whole queue."""
        answers = send(person, *(request(batch, seen=self.seen()) for batch in batches))
        for number, batch in enumerate(batches):
            while answers[number] == {"again": True}:  # the daemon has written something meanwhile
                (answers[number],) = send(person, request(batch, seen=self.seen()))
        return answers


def new(spec: Mapping[str, Any], **changes: Any) -> list[Any]:
    """The record of a new job like that one, but for what changes."""
    return ["spec", PROVISIONAL, {**spec, **changes}]
