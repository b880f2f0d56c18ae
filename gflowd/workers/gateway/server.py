"""The gateway's sockets: takes connections, one request each, and answers. Never waits for anybody.

What one user can take of it is bounded: connections, bytes, time. Beyond that a connection is accepted and told to try
again, so that it cannot stand in the way of others in the kernel's queue.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from gflowd.core.errors import BadUsage, GflowError, SystemFailed, TryAgain
from gflowd.core.gateway import protocol, requests
from gflowd.core.gateway.protocol import Malformed, Reader
from gflowd.effects.gateway import kept_files
from gflowd.workers.gateway.group_commit import Asked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.effects.gateway.peers import Asker, Peers
    from gflowd.workers.gateway.group_commit import GroupCommit
    from gflowd.workers.gateway.history_answers import HistoryAnswers
    from gflowd.workers.gateway.visible_snapshot import VisibleSnapshot

MODE = 0o666  # of the socket: who connects is known by the kernel's word
BACKLOG = 256  # those who connect all the time would fill a longer line, in which others then wait
DEADLINE = 5.0  # seconds from a connection to the last byte of its request
ANSWER = 30.0  # seconds for the asker to take the answer
AT_ONCE = 512  # connections that are accepted before requests are looked at
FREE = 256 << 10  # bytes of any request that are taken without asking what its user has sent before
FEW_FILES = 8  # that come with a request; each is synced
FIRST_PART, PART = 16 << 10, 256 << 10  # bytes that are read at a time; most requests are short
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
BUSY = "gflowd's gateway has too much to do; try again"
TOO_MANY = "you have too many requests under way; try again"


@dataclass(frozen=True, slots=True)
class Limits:
    """What all, and what one user, may have at a time."""

    connections: int = 256
    of_user: int = 16
    bytes: int = 128 << 20
    bytes_of_user: int = 16 << 20


class _Connection:
    """One of them: who asks, what was read, and then what is still to be sent."""

    __slots__ = ("answer", "asker", "events", "fd", "promised", "reader", "request", "socket", "until")

    def __init__(self, connection: socket.socket, asker: Asker, until: float) -> None:
        self.socket = connection
        self.fd = connection.fileno()
        self.events = 0  # of the socket that wake us
        self.asker = asker
        self.until = until  # monotonic
        self.reader: Reader | None = Reader(protocol.HEAD_LIMIT, protocol.TAIL_LIMIT, orjson.loads)
        self.request: requests.Request | None = None  # that waits for its turn
        self.answer: memoryview | None = None
        self.promised = 0  # bytes, of what its user may have


class Server:
    """Mutable: the connections and what they may still take."""

    def __init__(
        self,
        listener: socket.socket,
        group_commit: GroupCommit,
        visible: VisibleSnapshot,
        history: HistoryAnswers,
        peers: Peers,
        limits: Limits,
    ) -> None:
        self.group_commit = group_commit
        self.limits = limits
        self._listener, self._visible, self._history, self._peers = listener, visible, history, peers
        self._connections: dict[int, _Connection] = {}  # by descriptor
        self._of_user: Counter[int] = Counter()
        self._bytes: Counter[int] = Counter()  # promised, by user
        self._all_bytes = 0
        self._mono = 0.0  # of this round
        self._look_at = float("inf")  # monotonic: when some deadline may be over
        self._heavy: list[_Connection] = []  # whose requests are long: one in each round
        self._spare = _nothing()  # a descriptor that makes room for another
        listener.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(listener, select.EPOLLIN)

    @property
    def descriptor(self) -> int:
        """It is readable when there is something to do."""
        return self._epoll.fileno()

    def has_more(self) -> bool:
        """Whether something has come since the last round."""
        return bool(select.select([self._epoll], [], [], 0)[0])

    @property
    def is_idle(self) -> bool:
        """Whether nobody is connected or waits for an answer."""
        return not self._connections and self._history.is_idle

    def serve(self, mono: float) -> float | None:
        """One round: reads what has come, and answers all requests that are whole. Returns when to call it again though
        `descriptor` is not readable; monotonic.
        """
        self._mono = mono
        ready: list[_Connection] = []
        readable = [fd for fd, _ in self._epoll.poll(0)]
        for fd in filter(self._history.knows, readable):
            self._epoll.unregister(fd)  # before it is closed: a process that answers may have it too
            self._history.ended(fd)
        for fd in readable:
            if fd == self._listener.fileno():
                ready += self._accept()
            elif (connection := self._connections.get(fd)) is not None:
                if connection.answer is not None:
                    self._send(connection)
                elif self._has_whole(connection):
                    ready.append(connection)
        self._heavy += [each for each in ready if _is_heavy(each)]
        ready = [each for each in ready if not _is_heavy(each)]
        self._answer(ready + self._heavy[:1])
        del self._heavy[:1]
        if mono >= self._look_at:
            self._expire(mono)
        return mono if self._heavy else (self._look_at if self._connections else None)

    def close(self) -> None:
        """Hangs up on all. The listener stays open."""
        for connection in [*self._connections.values()]:
            self._drop(connection)
        self._history.close()
        self._epoll.close()
        if self._spare is not None:
            os.close(self._spare)

    # coming

    def _accept(self) -> Iterator[_Connection]:
        """Those of them whose requests are whole already. Somebody who connects and hangs up, very often, costs little
        more than that.
        """
        for _ in range(AT_ONCE):
            try:
                found, _ = self._listener.accept()
            except OSError as error:
                if error.errno not in NO_DESCRIPTOR or not self._turn_away():
                    return
                continue
            found.setblocking(False)
            try:
                asker = self._peers.asker(found)
                self._check_room(asker)
            except GflowError as error:
                _tell(found, protocol.encode(requests.failed(error)))
                continue
            except OSError:
                found.close()
                continue
            connection = _Connection(found, asker, self._mono + DEADLINE)
            self._connections[connection.fd] = connection
            self._of_user[asker.uid] += 1
            self._look_at = min(self._look_at, self._mono + DEADLINE)
            if self._has_whole(connection):
                yield connection
            elif connection.reader is not None and connection.fd in self._connections:
                self._await(connection, select.EPOLLIN)

    def _turn_away(self) -> bool:
        """Tells somebody for whom there is no descriptor to try again: else they would wait, and we would be called
        without end. False if that cannot be.
        """
        if self._spare is None:
            self._spare = _nothing()
            return False
        os.close(self._spare)
        try:
            found, _ = self._listener.accept()
            _tell(found, protocol.encode(requests.failed(TryAgain(BUSY))))
        except OSError:
            return False
        finally:
            self._spare = _nothing()
        return True

    def _check_room(self, asker: Asker) -> None:
        if self._of_user[asker.uid] >= self.limits.of_user:
            raise TryAgain(TOO_MANY)
        if len(self._connections) >= self.limits.connections:
            raise TryAgain(BUSY)

    def _has_whole(self, connection: _Connection) -> bool:
        """Reads on; whether the request is whole now."""
        reader = connection.reader
        if reader is None:  # its answer is being made
            return False
        try:
            data = connection.socket.recv(FIRST_PART if not reader.held else min(PART, reader.wanted))
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return False
        try:
            knew = reader.whole is not None
            message = reader.feed(data)
            if message is not None:
                connection.request = requests.decode(*message)
                connection.reader = None
                self._await(connection, 0)
                return True
            if not knew and reader.whole is not None and reader.whole > FREE:
                self._promise(connection, reader.whole)
        except Malformed as error:
            self._finish(connection, requests.failed(BadUsage(str(error))))
        except GflowError as error:
            self._finish(connection, requests.failed(error))
        return False

    def _promise(self, connection: _Connection, size: int) -> None:
        """Raises `TryAgain` if its user, or all, would have too much."""
        uid = connection.asker.uid
        if self._bytes[uid] + size > self.limits.bytes_of_user:
            raise TryAgain(TOO_MANY)
        if self._all_bytes + size > self.limits.bytes:
            raise TryAgain(BUSY)
        self._take(connection, size)

    def _take(self, connection: _Connection, size: int) -> None:
        connection.promised += size
        self._bytes[connection.asker.uid] += size
        self._all_bytes += size

    # answering

    def _answer(self, ready: list[_Connection]) -> None:
        commits: list[tuple[_Connection, Asked]] = []
        for connection in ready:
            request, connection.request = connection.request, None
            if isinstance(request, requests.Commit):
                commits.append((connection, Asked(connection.asker, request)))
                continue
            try:
                self._answer_other(connection, request)
            except GflowError as error:
                self._finish(connection, requests.failed(error))
        if commits:
            self.group_commit.run([asked for _, asked in commits])
            for connection, asked in commits:
                assert asked.answer is not None
                self._finish(connection, asked.answer)

    def _answer_other(self, connection: _Connection, request: requests.Request | None) -> None:
        if isinstance(request, requests.View):
            head, tail = self._visible.of(connection.asker)
            self._finish(connection, head, tail)
        elif isinstance(request, requests.History):
            pidfd = self._history.ask(connection.socket, connection.asker, request)
            self._epoll.register(pidfd, select.EPOLLIN)
            self._drop(connection)
        else:
            kept_files.relays(self.group_commit.state, connection.asker.uid)
            self._finish(connection, {"ok": True})

    def _finish(self, connection: _Connection, head: dict[str, Any], tail: bytes = b"") -> None:
        """Sends an answer, as far as it is taken at once."""
        connection.reader = None
        answer = protocol.encode(head, tail)
        if len(answer) > FREE:
            self._take(connection, len(answer))
        connection.answer, connection.until = memoryview(answer), self._mono + ANSWER
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        assert connection.answer is not None
        try:
            sent = connection.socket.send(connection.answer)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(connection)
            return
        connection.answer = connection.answer[sent:]
        if not connection.answer:
            self._drop(connection)
            return
        self._await(connection, select.EPOLLOUT)

    def _await(self, connection: _Connection, events: int) -> None:
        """Is woken by these of its socket from now on, if any."""
        before, connection.events = connection.events, events
        if before == events:
            return
        if not before:
            self._epoll.register(connection.fd, events)
        elif events:
            self._epoll.modify(connection.fd, events)
        else:
            self._epoll.unregister(connection.fd)

    # going

    def _expire(self, mono: float) -> None:
        for connection in [*self._connections.values()]:
            if mono >= connection.until and connection.request is None:
                self._drop(connection)
        self._look_at = min((each.until for each in self._connections.values()), default=float("inf"))

    def _drop(self, connection: _Connection) -> None:
        """Forgets a connection, and hangs up unless another process has it too."""
        uid = connection.asker.uid
        del self._connections[connection.fd]
        _count_down(self._of_user, uid, 1)
        if connection.promised:
            _count_down(self._bytes, uid, connection.promised)
            self._all_bytes -= connection.promised
        self._await(connection, 0)
        connection.socket.close()


def _is_heavy(connection: _Connection) -> bool:
    """Whether its request takes long, so that there is only one of these in a round."""
    request = connection.request
    return connection.promised > 0 or (isinstance(request, requests.Commit) and len(request.files) > FEW_FILES)


def _count_down(counted: Counter[int], uid: int, by: int) -> None:
    counted[uid] -= by
    if counted[uid] <= 0:
        del counted[uid]


def _nothing() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _tell(connection: socket.socket, answer: bytes) -> None:
    """Answers somebody whose request is not read, and hangs up."""
    with contextlib.suppress(OSError):
        connection.send(answer)
    connection.close()


def listen(path: str) -> socket.socket:
    """The gate, in place of the one that a killed gateway has left. Raises `SystemFailed`."""
    fresh = f"{path}.new.{os.getpid()}"
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_answered(path):
            raise SystemFailed(f"{path}: another gateway answers there")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        made.bind(fresh)
        os.chmod(fresh, MODE)
        made.listen(BACKLOG)
        os.rename(fresh, path)
    except OSError as error:
        made.close()
        raise SystemFailed(f"{path}: {error.strerror or error}") from error
    except GflowError:
        made.close()
        raise
    return made


def _is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) in (0, errno.EAGAIN)
