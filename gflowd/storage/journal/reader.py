"""Reads the journal of events, and follows it: over the renaming of the file, its loss, and restarts of the daemon."""

from __future__ import annotations

import os

from gflowd import paths
from gflowd.core.errors import Refused, SystemFailed
from gflowd.storage.journal import lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowd.core.events.kinds import Event, Id


PART = 1 << 26  # bytes that are read at a time; no line is so long


class Reader:
    """The events after the one with the id `after`, or all that are kept. Each `read` goes on where the last stopped.

    `last`: the id of the last event that was read, to go on from in another process. `lost`: whether there were events
    between two that are no longer kept; whoever acts on it sets it back. Needs no lock and no daemon.
    """

    def __init__(self, state: paths.State, after: Id | None = None) -> None:
        self.last = after
        self.lost = False
        self._state = state
        self._current, self._older = state.path(lines.CURRENT), state.path(lines.OLDER)
        self._fd = -1
        self._offset = 0
        self._done: tuple[int, int] | None = None  # the last file that was read to its end
        self._is_gap = False  # whether it is not known what came before the next event

    def read(self) -> list[Event]:
        """What is new. Raises `Refused` for a file that is not private, `SystemFailed` for one that cannot be read."""
        found: list[Event] = []
        try:
            while self._fd >= 0 or self._open():
                found += self._rest()
                if paths.is_at(self._fd, self._current):
                    break
                found += self._rest()  # what was written before it was renamed
                self._finish()
        except OSError as error:
            raise SystemFailed(f"{error.filename or self._current}: {error.strerror}") from error
        return found

    def skip(self) -> None:
        """Goes to the end: only later events are read."""
        self.read()
        self.lost = False

    def close(self) -> None:
        """Closes the file; also done when nobody has the reader any more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    __del__ = close

    def _open(self) -> bool:
        """Opens the file after the last one: the older one, unless it was that."""
        if self._state.is_closed:
            raise Refused("jobs are private on this machine ([shared] private_jobs): only root reads the events of all")
        for path in (self._older, self._current):
            try:
                fd = self._state.open_told(path, os.O_RDONLY)
            except FileNotFoundError:
                continue
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) == self._done and path == self._older:
                os.close(fd)
                continue
            self._fd, self._offset = fd, 0
            return True
        return False

    def _finish(self) -> None:
        found = os.fstat(self._fd)
        self._done = found.st_dev, found.st_ino
        self.close()

    def _rest(self) -> list[Event]:
        size = os.fstat(self._fd).st_size
        if size < self._offset:  # somebody has cut it
            self._offset = 0
        found: list[Event] = []
        while self._offset < size:
            data = paths.read_range(self._fd, self._offset, min(size, self._offset + PART))
            end = data.rfind(b"\n") + 1
            if not end and len(data) == PART:
                end = PART  # no line of ours
            if not end:
                break
            self._offset += end
            found += (event for line in data[:end].split(b"\n") if line and (event := self._take(line)) is not None)
        return found

    def _take(self, line: bytes) -> Event | None:
        event_id = lines.id_of(line)
        if event_id is None:
            self._note_gap(line)
            return None
        if self.last is not None and event_id <= self.last:
            self._is_gap = False
            return None
        self.lost |= self._is_gap and self.last is not None
        self._is_gap = False
        self.last = event_id
        event = lines.decode(line)
        return event if event is not None and "kind" in event else None

    def _note_gap(self, line: bytes) -> None:
        """A file begins: whether it goes on where the last one ended."""
        if self.last is not None and lines.is_checkpoint(line):
            after = lines.after_of(lines.decode(line) or {})
            self._is_gap = after is None or after > self.last
