"""A gateway within the test: its clients are sockets of the test, and it works when it is told to."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any

from support.specs import SPEC as SPEC_VALUE
from support.waiting import PATIENCE

from gflowd.core.errors import Refused
from gflowd.core.gateway import asking
from gflowd.core.gateway.protocol import Reader
from gflowd.core.job import arrays, codec
from gflowd.core.job.records import SPEC, WISH
from gflowd.effects.gateway.kept_files import Keeper
from gflowd.effects.gateway.peers import Asker, Peers
from gflowd.paths import Shared, State, content_name
from gflowd.workers.gateway.group_commit import GroupCommit
from gflowd.workers.gateway.history_answers import HistoryAnswers
from gflowd.workers.gateway.server import Limits, Server, listen
from gflowd.workers.gateway.visible_snapshot import VisibleSnapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowd.core.gateway.asking import Record
    from gflowd.core.gateway.protocol import Message
    from gflowd.core.gateway.requests import Commit
    from gflowd.storage.record_log import Fold, Key

NEW = 1 << 40  # the id of the first new job in a request
ENVIRONMENT = b"A=1\0"
FILES = (("env", ENVIRONMENT),)


class EasyAdmission:
    """Lets everybody submit, and do as they like with jobs of their own; knows no rule but these."""

    def __init__(self) -> None:
        self.fold: Fold | None = None
        self.followed: list[Sequence[Key] | None] = []

    def follow(self, fold: Fold, keys: Sequence[Key] | None) -> None:
        self.fold = fold
        self.followed.append(keys)

    def begin_round(self) -> None:
        pass

    def check(self, asker: Asker) -> None:
        if asker.name == "stranger":
            raise Refused("stranger may not submit jobs here")

    def admitted(self, request: Commit, asker: Asker, next_id: int) -> list[Record]:
        assert self.fold is not None
        made: list[Record] = []
        for kind, key, value in request.records:
            if value == "crash":
                raise KeyError("crash")
            assert isinstance(key, int)
            if kind == SPEC and key >= NEW:
                own = {"user": asker.name, "uid": asker.uid, "once": request.once, "submitted_at": time.time()}
                made.append((kind, key - NEW + next_id, {**value, **own}))
                continue
            spec = self.fold.of(SPEC).get(key)
            if kind != WISH or spec is None:
                raise Refused(f"no job {key}")
            if spec["uid"] != asker.uid:
                raise Refused(f"job {key} belongs to {spec['user']}")
            made.append((kind, key, value))
        return made

    def spec_of(self, job_id: int) -> int:
        return job_id

    def has_unended(self, asker: Asker, name: str) -> bool:
        assert self.fold is not None
        return any((spec["name"], spec["user"]) == (name, asker.name) for spec in self.fold.of(SPEC).values())

    def size(self, spec: Any) -> int:
        return 1 if spec.get("family") is None else arrays.size(arrays.from_json(spec["family"]))


class NamedPeers(Peers):
    """Those who connect are whom the test says they are."""

    def __init__(self) -> None:
        super().__init__()
        self.coming: Asker | None = None

    def asker(self, connection: socket.socket) -> Asker:
        return self.coming or super().asker(connection)


class Gate:
    """A gateway with a directory of its own."""

    def __init__(self, state: State, run: str, limits: Limits | None = None, *, private: bool = False) -> None:
        self.path = os.path.join(run, "gate.sock")
        self.state = state
        state.share(Shared(self.path, state.path("spool"), private_jobs=private))
        self.peers, self.admission, self.bell = NamedPeers(), EasyAdmission(), os.path.join(run, "bell")
        keeper = Keeper(self.state, 1 << 20, 1 << 16)
        self.group_commit = GroupCommit(self.state, self.bell, keeper, self.admission)
        self.history = HistoryAnswers(self.state.history, self.may_see_all)
        self.listener = listen(self.path)
        self.server = Server(
            self.listener,
            self.group_commit,
            VisibleSnapshot(self.group_commit, self.may_see_all),
            self.history,
            self.peers,
            limits or Limits(),
        )
        self.private = private
        self.mono = 1000.0

    def may_see_all(self, asker: Asker) -> bool:
        return not self.private or asker.name == "root"

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(PATIENCE)
        client.connect(self.path)
        return client

    def begin(self, request: bytes) -> socket.socket:
        """Sends a request; one that is longer than what the kernel keeps while the gateway works."""
        client, left = self.connect(), memoryview(request)
        client.setblocking(False)
        while left:
            try:
                left = left[client.send(left) :]
            except BlockingIOError:
                self.work(1)
            except BrokenPipeError:
                break
        client.settimeout(PATIENCE)
        return client

    def work(self, rounds: int = 3) -> float | None:
        due = None
        for _ in range(rounds):
            due = self.server.serve(self.mono)
        return due

    def ask(self, *requests: bytes) -> list[Message]:
        clients = [self.begin(request) for request in requests]
        self.work()
        return [answer(client) for client in clients]

    def close(self) -> None:
        self.server.close()
        self.group_commit.close()
        self.listener.close()


def answer(client: socket.socket) -> Message:
    """The whole answer; the connection is closed."""
    reader = Reader()
    with client:
        while data := client.recv(1 << 16):
            if (message := reader.feed(data)) is not None:
                return message
    raise EOFError


def new_once() -> str:
    return os.urandom(16).hex()


def submission(once: str | None = None, count: int = 1, files: Sequence[asking.File] = FILES, **fields: Any) -> bytes:
    """A request for new jobs."""
    spec = {**codec.encode(SPEC_VALUE), "env": content_name(ENVIRONMENT), **fields}
    return asking.commit(once or new_once(), None, files, [("spec", NEW + at, spec) for at in range(count)])
