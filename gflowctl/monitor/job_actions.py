"""What the screen can do to jobs. Says in a sentence what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gflowd.core.syntax import ranges
from gflowd.core.syntax.plurals import count, noun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowctl.api import Queue
    from gflowctl.api.values import Changes as Done


class Changes(Protocol):
    """Each changes jobs, named as on the command line, and returns what it has to say. Raises `GflowError`."""

    def cancel(self, words: Sequence[str]) -> str: ...

    def hold(self, words: Sequence[str]) -> str: ...

    def release(self, words: Sequence[str]) -> str: ...

    def redo(self, words: Sequence[str]) -> str: ...


class ByApi:
    """By `gflowctl.api`."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def cancel(self, words: Sequence[str]) -> str:
        done = self._queue.cancel(words)
        also = []
        if done.cascaded:
            also.append(f"{count(len(done.cascaded), 'job')} cancelled with {noun(len(done.jobs), 'it', 'them')}")
        if done.stuck:
            also.append(f"{count(len(done.stuck), 'job')} can never run now")
        return _said("cancelled", done, also)

    def hold(self, words: Sequence[str]) -> str:
        return _said("held", self._queue.hold(words))

    def release(self, words: Sequence[str]) -> str:
        return _said("released", self._queue.release(words))

    def redo(self, words: Sequence[str]) -> str:
        new = self._queue.redo(words).ids
        return f"queued as {noun(len(new), 'job')} {ranges.fold(new)}"


def _said(what: str, done: Done, also: Sequence[str] = ()) -> str:
    """`3 jobs cancelled; job 4 has already ended (failed)`."""
    changed = [f"{count(len(done.jobs), 'job')} {what}"] if done.jobs else []
    return "; ".join([*changed, *also, *done.notes])
