"""Answers questions to the history, each in a process of its own: one may take seconds, and the gateway waits for
nobody.
"""

from __future__ import annotations

import contextlib
import os
import signal
from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson

from gflowd.core.errors import BadUsage, GflowError, TryAgain
from gflowd.core.gateway import protocol, requests
from gflowd.core.job.records import SPEC
from gflowd.storage import history_queries
from gflowd.storage.history import History
from gflowd.storage.history_queries import Choice
from gflowd.workers import base
from gflowd.workers.gateway.visible_snapshot import REDACTED

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from gflowd.effects.gateway.peers import Asker

MOST, MOST_OF_USER = 16, 4  # that are answered at a time
WITHIN = 60  # seconds
LAST = 1 << 20  # no descriptor is above
NO_ROOM = "gflowd's gateway cannot start the process that reads the history ({}); try again"
BUSY = "gflowd's gateway answers many questions to the history now; try again"


class HistoryAnswers:
    """Mutable: the processes that answer. `path`: of the history; `may_see_all`: whether somebody is told all."""

    def __init__(self, path: str, may_see_all: Callable[[Asker], bool]) -> None:
        self._path = path
        self._may_see_all = may_see_all
        self._children: dict[int, tuple[int, int]] = {}  # by the descriptor of the process: pid, uid
        self._of_user: Counter[int] = Counter()

    @property
    def is_idle(self) -> bool:
        """Whether no process answers."""
        return not self._children

    def ask(self, connection: socket.socket, asker: Asker, request: requests.History) -> int:
        """Lets a process answer; what becomes readable when it has ended. Raises `TryAgain`."""
        if len(self._children) >= MOST or self._of_user[asker.uid] >= MOST_OF_USER:
            raise TryAgain(BUSY)
        try:
            pid = os.fork()
        except OSError as error:
            raise TryAgain(NO_ROOM.format(error.strerror)) from None
        if pid == 0:
            self._answer(connection, asker, request)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TryAgain(NO_ROOM.format(error.strerror)) from None
        self._children[pidfd] = pid, asker.uid
        self._of_user[asker.uid] += 1
        return pidfd

    def knows(self, pidfd: int) -> bool:
        """Whether that is one of these processes."""
        return pidfd in self._children

    def ended(self, pidfd: int) -> None:
        """The process has."""
        pid, uid = self._children.pop(pidfd)
        self._of_user[uid] -= 1
        os.waitpid(pid, 0)
        os.close(pidfd)

    def close(self) -> None:
        """Ends them all."""
        for pidfd in [*self._children]:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            self.ended(pidfd)

    def _answer(self, connection: socket.socket, asker: Asker, request: requests.History) -> None:
        """The whole life of the process."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)
            signal.alarm(WITHIN)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            base.become("gateway")  # which ends with its parent
            os.setpriority(os.PRIO_PROCESS, 0, max(0, os.getpriority(os.PRIO_PROCESS, 0)))
            fd = connection.fileno()
            os.closerange(3, fd)  # all others', and the gate
            os.closerange(fd + 1, LAST)
            answer = self._found(asker, request)
            connection.setblocking(True)
            connection.sendall(answer)
            status = 0
        finally:
            os._exit(status)

    def _found(self, asker: Asker, request: requests.History) -> bytes:
        try:
            history = History(self._path)
        except FileNotFoundError:
            return protocol.encode({"ok": True, "is_there": False})
        except GflowError as error:
            return protocol.encode(requests.failed(error))
        try:
            found = _asked(history, request.query, request.args)
            if request.query == "records" and not self._may_see_all(asker):
                found = _redacted(found, asker)
            return protocol.encode({"ok": True}, orjson.dumps(found, default=list))
        except GflowError as error:
            return protocol.encode(requests.failed(error))
        except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
            return protocol.encode(requests.failed(BadUsage(f"history {request.query}: {error}")))
        finally:
            with contextlib.suppress(GflowError):
                history.close()


def _redacted(records: list[history_queries.Record], asker: Asker) -> list[history_queries.Record]:
    """The specs are there, and the ids of an array's jobs follow that of its spec."""
    owners = {int(key): value.get("uid") for kind, key, value in records if kind == SPEC}
    firsts = sorted(owners)

    def is_own(key: int | str) -> bool:
        place = bisect_right(firsts, int(str(key).partition(".")[0]))
        return place > 0 and owners[firsts[place - 1]] == asker.uid

    return [
        (kind, key, value if kind not in REDACTED or is_own(key) else REDACTED[kind](value))
        for kind, key, value in records
    ]


_QUERIES: dict[str, Callable[..., Any]] = {
    "count": history_queries.count,
    "greatest_id": History.greatest_id,
    "within": lambda history, first, last: history_queries.within(history, _id(first), _id(last)),
    "last_of": lambda history, user, count: history_queries.last_of(history, str(user), _id(count)),
    "because_of": lambda history, ids: history_queries.because_of(history, _ids(ids)),
    "chosen": lambda history, choice, known: history_queries.chosen(history, Choice(**choice), {*_ids(known)}),
    "records": lambda history, ids: list(history_queries.records(history, _ids(ids))),
    "accounts": lambda history, choice, known: list(
        history_queries.accounts(history, Choice(**choice), {*_ids(known)})
    ),
    "tally": lambda history, ids: _tally(history, _ids(ids)),
}


def _asked(history: History, query: str, args: Sequence[Any]) -> Any:
    """What is found, as JSON has it. Raises for arguments that are none of the query's."""
    if query not in _QUERIES:
        raise BadUsage(f"the history has no query {query!r}")
    return _QUERIES[query](history, *args)


def _tally(history: History, ids: list[int]) -> list[Any]:
    tally, there = history.tally(ids)
    return [[[list(group), numbers] for group, numbers in tally.numbers.items()], sorted(there)]


def _id(word: object) -> int:
    if type(word) is not int:
        raise TypeError("a whole number is wanted")
    return word


def _ids(words: list[Any]) -> list[int]:
    return [_id(word) for word in words]
