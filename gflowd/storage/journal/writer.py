"""Writes the journal of events; only the scheduler does.

Nothing is synced: what a power cut takes away is told again, since what has been told is folded from the file itself. A
line that was not written whole is cut. When the file has grown to the size that is kept, it becomes the older one, and
another begins with a checkpoint. A file that was removed or changed by others is replaced in the same way; what is no
file is set aside.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import orjson

from gflowd import paths
from gflowd.core.errors import Refused
from gflowd.core.events.told_events import ToldEvents, restored
from gflowd.storage.journal import lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowd.core.events.kinds import Event, Id


MOST = 1 << 28  # bytes of a file that are read at a start; more, somebody else has put there
AT_ONCE = 100  # events, so that a file does not outgrow what is kept by much


class Writer:
    """`told`: what the events in the journal have told. `is_lost`: there was no journal from which to know that.

    Ids have a `generation` that is greater than that of any event in the journal.
    """

    def __init__(self, state: paths.State, keep: int, generation: int) -> None:
        self.told = ToldEvents()
        self.is_lost = True
        self._state = state
        self._path, self._older = state.path(lines.CURRENT), state.path(lines.OLDER)
        self._keep = keep
        self._fd = -1
        self._is_torn = False
        self._begin = self._end = 0  # the sizes of the file: with its checkpoint, and as we left it
        self.last: Id | None
        self._fold()
        self._generation = generation if self.last is None else max(generation, self.last[0] + 1)
        self._number = 0

    def begin(self, told: ToldEvents, after: Id | None) -> None:
        """Begins another file, for which all this has been told, the last by the event `after` if that is known. Raises
        OSError or `Refused`.
        """
        self.told, self.last = told, after
        self._begin_anew()

    def write(self, events: Sequence[Event]) -> None:
        """Gives ids to events and appends them. Raises OSError or `Refused`; what was written by then is in `told`."""
        for place in range(0, len(events), AT_ONCE):
            self._write(events[place : place + AT_ONCE])

    def _write(self, events: Sequence[Event]) -> None:
        if self._is_torn:
            os.ftruncate(self._fd, self._end)
            self._is_torn = False
        if not self._is_ours() or self._end - self._begin >= self._keep:
            self._begin_anew()
        numbers = range(self._number + 1, self._number + 1 + len(events))
        written = [
            lines.encode_event((self._generation, number), event, orjson.dumps)
            for number, event in zip(numbers, events, strict=True)
        ]
        data = b"".join(written)
        try:
            paths.write_all(self._fd, data)
        except OSError:
            self._note(events, written, self._cut())
            self._number = numbers[-1]  # lest an id comes twice
            raise
        self._note(events, written, len(data))

    def close(self) -> None:
        """Closes the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _note(self, events: Sequence[Event], written: Sequence[bytes], done: int) -> None:
        """The first `done` bytes are in the file."""
        for event, line in zip(events, written, strict=True):
            done -= len(line)
            if done < 0:
                break
            self._end += len(line)
            self._number += 1
            self.last = self._generation, self._number
            self.told.take(event)

    def _cut(self) -> int:
        """Cuts a line that was not written whole, now or before the next write; how many bytes of whole lines have been
        appended.
        """
        try:
            added = paths.read_range(self._fd, self._end, os.fstat(self._fd).st_size)
        except OSError:
            return 0  # then the file is not as we left it, and the next write begins another
        whole = added.rfind(b"\n") + 1
        if whole < len(added):
            try:
                os.ftruncate(self._fd, self._end + whole)
            except OSError:
                self._is_torn = True
        return whole

    def _fold(self) -> None:
        """Reads what has been told, and cuts a torn end."""
        self.last = None
        current = self._content(self._path)
        first, _, rest = current.partition(b"\n")
        self._begin = len(first) + 1
        if not self._take_checkpoint(first):
            checkpoint, _, older = self._content(self._older).partition(b"\n")
            self._take_checkpoint(checkpoint)
            rest = older + current
        for line in rest.split(b"\n"):
            self._take(line)

    def _content(self, path: str) -> bytes:
        """The whole lines of a file. The current one stays open."""
        flags = os.O_RDWR | os.O_APPEND if path == self._path else os.O_RDONLY
        try:
            fd = self._state.open_told(path, flags)
        except (OSError, Refused):
            if _is_file(path):
                raise
            return b""
        data = paths.read_range(fd, 0, min(os.fstat(fd).st_size, max(MOST, 2 * self._keep)))
        whole = data[: data.rfind(b"\n") + 1]
        if path != self._path:
            os.close(fd)
            return whole
        if len(whole) < os.fstat(fd).st_size:
            os.ftruncate(fd, len(whole))
        self._fd, self._end = fd, len(whole)
        return whole

    def _take_checkpoint(self, line: bytes) -> bool:
        if not lines.is_checkpoint(line):
            return False
        try:
            found = orjson.loads(line)
            self.told = restored(found[lines.CHECKPOINT])
        except (KeyError, TypeError, ValueError, AttributeError):
            return False
        self.is_lost = False
        self.last = lines.after_of(found)
        return True

    def _take(self, line: bytes) -> None:
        if (event_id := lines.id_of(line)) is None:
            return
        self.last = event_id if self.last is None else max(self.last, event_id)
        try:
            self.told.take(orjson.loads(line))
        except (KeyError, TypeError, ValueError):
            pass  # damaged; what it told is told again

    def _is_ours(self) -> bool:
        """Whether the file is there, as we left it."""
        return self._fd >= 0 and paths.is_at(self._fd, self._path) and os.fstat(self._fd).st_size == self._end

    def _begin_anew(self) -> None:
        """Keeps the file, if there is one, as the older one, and begins another."""
        line = lines.encode_checkpoint(self.told.checkpoint(), self.last, orjson.dumps)
        fresh = f"{self._path}.new"
        for path in (fresh, self._path, self._older):
            if os.path.lexists(path) and not _is_file(path):
                os.rename(path, _free(f"{path}.strange"))
        fd = self._state.open_told(fresh, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC)
        try:
            paths.write_all(fd, line)
            if os.path.lexists(self._path):
                os.rename(self._path, self._older)
            os.rename(fresh, self._path)
        except OSError:
            os.close(fd)
            raise
        self.close()
        self._fd, self._begin, self._end = fd, len(line), len(line)
        self.is_lost = False


def _is_file(path: str) -> bool:
    """Whether a plain file is there, no link to one."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _free(path: str) -> str:
    """A name like that which nothing has."""
    while os.path.lexists(path):
        path += "+"
    return path
