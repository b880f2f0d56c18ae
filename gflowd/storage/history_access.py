"""What has left the snapshot for the history, as all may ask for it: the file itself, or through the gateway of many
users, who may not open it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gflowd.core.errors import SystemFailed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from typing import Any, Protocol

    from gflowd.core.accounting.ended_totals import Tally
    from gflowd.core.accounting.statistics import Account
    from gflowd.paths import State
    from gflowd.storage.history_queries import Choice, Record

    class Past(Protocol):
        """The questions of `history_queries`, and `tally` of `History`. Each raises `GflowError` where it cannot be
        answered.
        """

        def count(self) -> int: ...
        def within(self, first: int, last: int) -> list[int]: ...
        def last_of(self, user: str, count: int) -> list[int]: ...
        def because_of(self, ids: Sequence[int]) -> list[int]: ...
        def chosen(self, choice: Choice, known: Collection[int]) -> list[int]: ...
        def records(self, spec_ids: Sequence[int]) -> Iterable[Record]: ...
        def accounts(self, choice: Choice, known: Collection[int]) -> Iterator[Account]: ...
        def tally(self, spec_ids: Iterable[int]) -> tuple[Tally, set[int]]: ...
        def close(self) -> None: ...


def of(state: State) -> Past:
    """That of a state directory. Raises FileNotFoundError where there is none yet, `GflowError` where it cannot be
    opened.
    """
    if state.shared is None or os.geteuid() == 0:
        return InFile(state.history)
    if not os.path.exists(state.history):
        raise FileNotFoundError(state.history)
    return ThroughGateway(state.shared.gate)


class InFile:
    """The file."""

    def __init__(self, path: str) -> None:
        from gflowd.storage import history_queries
        from gflowd.storage.history import History

        self._queries = history_queries
        self._history = History(path)
        self.tally = self._history.tally
        self.close = self._history.close

    def count(self) -> int:
        return self._queries.count(self._history)

    def within(self, first: int, last: int) -> list[int]:
        return self._queries.within(self._history, first, last)

    def last_of(self, user: str, count: int) -> list[int]:
        return self._queries.last_of(self._history, user, count)

    def because_of(self, ids: Sequence[int]) -> list[int]:
        return self._queries.because_of(self._history, ids)

    def chosen(self, choice: Choice, known: Collection[int]) -> list[int]:
        return self._queries.chosen(self._history, choice, known)

    def records(self, spec_ids: Sequence[int]) -> Iterable[Record]:
        return self._queries.records(self._history, spec_ids)

    def accounts(self, choice: Choice, known: Collection[int]) -> Iterator[Account]:
        return self._queries.accounts(self._history, choice, known)


class ThroughGateway:
    """What the gateway at `gate` says of it."""

    def __init__(self, gate: str) -> None:
        self._gate = gate

    def count(self) -> int:
        return int(self._ask("count"))

    def within(self, first: int, last: int) -> list[int]:
        return list(self._ask("within", first, last))

    def last_of(self, user: str, count: int) -> list[int]:
        return list(self._ask("last_of", user, count))

    def because_of(self, ids: Sequence[int]) -> list[int]:
        return list(self._ask("because_of", list(ids)))

    def chosen(self, choice: Choice, known: Collection[int]) -> list[int]:
        return list(self._ask("chosen", _fields(choice), list(known)))

    def records(self, spec_ids: Sequence[int]) -> Iterable[Record]:
        return [(kind, key, value) for kind, key, value in self._ask("records", list(spec_ids))]

    def accounts(self, choice: Choice, known: Collection[int]) -> Iterator[Account]:
        from gflowd.core.accounting.statistics import Account, Use

        for user, project, state, submitted_at, ended_at, spans, used, due_at in self._ask(
            "accounts", _fields(choice), list(known)
        ):
            every = tuple((begin, end, tuple(gpus)) for begin, end, gpus in spans)
            uses = tuple(Use(*each) for each in used)
            yield Account(user, project, state, submitted_at, ended_at, every, uses, due_at)

    def tally(self, spec_ids: Iterable[int]) -> tuple[Tally, set[int]]:
        from gflowd.core.accounting.ended_totals import Group, Tally

        numbers, there = self._ask("tally", list(spec_ids))
        return Tally({Group(*group): each for group, each in numbers}), set(there)

    def close(self) -> None:
        pass  # it is asked anew each time

    def _ask(self, query: str, *args: object) -> Any:
        from gflowd.core.gateway import asking
        from gflowd.core.syntax import fast_json
        from gflowd.storage import gateway_client

        answer, tail = gateway_client.ask(self._gate, asking.history(query, *args))
        if answer.get("is_there", True):
            return fast_json.loads(tail)
        raise SystemFailed("the history is gone")


def _fields(choice: Choice) -> dict[str, Any]:
    given = choice._asdict().items()
    return {name: value if isinstance(value, int | float | None) else list(value) for name, value in given}
