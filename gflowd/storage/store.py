"""The snapshot's file: read without a lock, followed incrementally, changed by commits under the lock.

Readers (`Store.read`, `Follower`) ignore a commit whose closing line is missing. Writers (`Store.commit`) cut such a
tail, and append complete commits. `record_log` knows the format of a line.
"""

from __future__ import annotations

import os
import time

from gflowd import paths
from gflowd.core.errors import GflowError, Refused, SystemFailed
from gflowd.core.job.records import HEADER, QUOTA, SPEC
from gflowd.core.syntax import fast_json
from gflowd.storage.lock import Lock
from gflowd.storage.record_log import (
    FORMAT,
    Fold,
    closes,
    encode_line,
    header_record,
    is_torn,
    next_id_in,
    next_id_of,
    sealed,
    sound_body,
    stdlib_dumps,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, Self

    from gflowd.storage.record_log import Dumps, Key

    Seen = tuple[int, int, str]  # how far a file was read: bytes, where its last line begins, the checksum of that

HEAD = 4096  # bytes: the header is within
TAIL = 65536  # bytes: a plain submission reads no more than this to find the next id
PART = 1 << 18  # bytes
WORTH_COMPACTING = 1 << 20  # bytes
MARKED = (QUOTA,)  # kinds whose presence the header shows, so that a plain submission need not fold
SHORTEST_LINE = 20  # bytes, and no line gives out more than one id unless its fellows say so too


class Store:
    """The snapshot of one state directory. `notes` collects messages for the user (a damaged tail). `judged`: as
    for `Fold`; `polls`: as for `Lock`.
    """

    def __init__(
        self,
        state: paths.State,
        lock_timeout: float = 10.0,
        dumps: Dumps = stdlib_dumps,
        *,
        judged: bool = True,
        polls: bool = False,
    ) -> None:
        self.state = state
        self.path = state.snapshot
        self.lock_timeout = lock_timeout
        self.dumps = dumps
        self.judged = judged
        self.polls = polls
        self.notes: list[str] = []
        self.timed: Callable[[float], None] | None = None  # is told how many seconds each sync of a commit took

    def read(self) -> Fold:
        """The current snapshot, read without the lock; empty if there is none yet.

        Raises `SystemFailed` if nothing of it can be read, `Refused` for a format newer than ours.
        """
        follower = Follower(self)
        try:
            follower.catch_up()
        finally:
            follower.close()
        return follower.fold

    def read_some(self, ids: Sequence[int]) -> Fold | None:
        """As `read`, but only some jobs and the arrays, at a tenth of the cost; None if not possible."""
        from gflowd.storage import record_search

        if self.state.is_closed:
            return None
        try:
            fd = self.state.open_told(self.path, os.O_RDONLY)
        except OSError:
            return None
        try:
            size = os.fstat(fd).st_size
            header = header_record(os.pread(fd, HEAD, 0))
            if header is None or _last_line(fd, size) is None:
                return None
            self.check_header(header[4])
            bodies = record_search.sift(_parts(fd, size), ids)
        finally:
            os.close(fd)
        fold = Fold(judged=self.judged)
        fold.take(bodies or [])
        return None if bodies is None or fold.dropped else fold

    def fold(self, data: bytes) -> tuple[Fold, int]:
        """The folded content of the whole file, and how many bytes of it are complete commits. Raises as `read`."""
        header = header_record(data[:HEAD])
        if header is not None:
            self.check_header(header[4])
        fold = Fold(judged=self.judged)
        taken, _ = fold.feed(data)
        if header is None and not fold.lines:
            raise SystemFailed(f"{self.path}: nothing readable; gflowctl restore FILE restores a backup")
        if header is None and not fold.dropped:
            fold.dropped.append("the header")
        return fold, taken

    def commit(self, instead: Fold | None = None, known: int = 0) -> Commit:
        """`with store.commit() as commit:` holds the lock; what was put is written if the block ends without an error.

        A snapshot that is gone or completely unreadable is rewritten from `instead`, if given; so is one
        that is damaged before the end of the first `known` bytes, which `instead` was folded from.
        """
        return Commit(self, instead, known)

    def check_header(self, header: object) -> None:
        """Raises `Refused` if `header` (the value of the header record) is of a newer gflow."""
        if not isinstance(header, dict) or not isinstance(header.get("format"), int):
            raise SystemFailed(f"{self.path}: unreadable; gflowctl restore FILE restores a backup")
        if header["format"] > FORMAT:
            raise Refused(f"{self.path} was written by a newer gflow (format {header['format']}, ours is {FORMAT})")

    def first_free_id(self) -> int:
        """One above the greatest id that has a directory, is in the history, or was in use when gflowd last looked."""
        try:
            names = os.listdir(self.state.jobs)
        except OSError:
            names = []
        past = self._greatest_past_id(), self._greatest_observed_id()
        return 1 + max([*past, *(int(name) for name in names if name.isdecimal())])

    def _greatest_observed_id(self) -> int:
        from gflowd.storage import observed_reader

        try:
            return (observed_reader.read(self.state).next_id or 1) - 1
        except GflowError:
            return 0

    def _greatest_past_id(self) -> int:
        if not os.path.exists(self.state.history):
            return 0
        from gflowd.storage.history import History, HistoryFailed

        try:
            history = History(self.state.history)
            try:
                return history.greatest_id()
            finally:
                history.close()
        except HistoryFailed as error:
            self.notes.append(str(error))
            return 0


class Follower:
    """Follows the snapshot incrementally. `fold` is as of the last successful `catch_up`.

    It remembers the checksum of the last line that it read. If that line has changed (a writer whose sync failed takes
    its lines back; a person edits the file), it reads the whole file again.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.fold = Fold(judged=store.judged)
        self.offset = 0
        self._fd = -1
        self._mark = b""
        self._mark_at = 0
        self._mtime = 0  # nanoseconds: when the file was last written to, as of the last look
        self._told: Seen | None = None  # how far what we were told goes, where the file is closed to us
        self._stamp: tuple[int, int, int] | None = None  # of the file when we asked

    def catch_up(self) -> list[Key] | None:
        """Folds what was added; the keys that it touched, or None if the whole file was read again (`fold` is then
        another object). Raises `SystemFailed` or `Refused` as `Store.read`, and if the file is gone, keeping `fold`.
        """
        if self.store.state.is_closed:
            return self._take_told()
        try:
            whole = self._reopen_if_replaced()
            if self._fd < 0:
                return []
            keys = None if whole else self._take_added()
            if keys is None:
                self._take_whole()
        except OSError as error:
            raise _failed(self.store.path, error) from error
        return keys

    @property
    def seen(self) -> Seen:
        """How far it has read, in words that tell this file from one that was rewritten meanwhile."""
        return self._told or (self.offset, self._mark_at, self._mark[:8].decode("ascii", "replace"))

    def has_seen(self, seen: Seen) -> bool:
        """Whether another reader's `seen` is of this file, as far as can be told, and no further than our own."""
        end, line, checksum = seen
        if end == self.offset:
            return seen == self.seen
        if not 0 <= line < end < self.offset:
            return False
        try:
            return os.pread(self._fd, 8, line) == checksum.encode() and os.pread(self._fd, 1, end - 1) == b"\n"
        except OSError as error:
            raise _failed(self.store.path, error) from error

    def take_own(self, data: bytes, loads: Callable[[bytes], Any] = fast_json.loads) -> list[Key]:
        """Whole commits that the same process is about to append, under the lock, to what is read by now; the keys that
        they touch. It knows that they make sense. Call `confirm` once they are written, or `forget` if they are not.
        """
        keys = self.fold.take_own(data, loads)
        self._settle(self.offset, data)
        return keys

    def confirm(self) -> None:
        """What was taken in is written, and nothing else: the lock is still held."""
        try:
            self._mtime = os.fstat(self._fd).st_mtime_ns
        except OSError as error:
            raise _failed(self.store.path, error) from error

    def forget(self) -> None:
        """The next `catch_up` reads the whole file again."""
        self.close()
        self.offset = 0

    def rebase(self, size: int) -> None:
        """The file was rewritten from `fold`: follow the new one from its end. Call it before the lock is freed."""
        self.close()
        self._fd = _open(self.store.state, os.O_RDONLY)
        self._mtime = os.fstat(self._fd).st_mtime_ns
        begin = max(0, size - TAIL)
        self._settle(begin, paths.read_range(self._fd, begin, size))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _take_told(self) -> list[Key] | None:
        """As `catch_up`, but of what the gateway lets us see."""
        from gflowd.storage import gateway_client

        try:
            found = os.stat(self.store.path)
        except OSError:
            if self._told is None:
                return []
            raise SystemFailed(f"{self.store.path} is gone; root can restore a backup: gflowctl restore FILE") from None
        stamp = found.st_ino, found.st_size, found.st_mtime_ns
        if stamp == self._stamp:
            return []
        assert self.store.state.shared is not None
        told, data = gateway_client.view(self.store.state.shared.gate)
        self.fold, _ = self.store.fold(data)
        self._told, self._stamp = told, stamp
        return None

    def _take_added(self) -> list[Key] | None:
        """The keys of what was added; None if this is no longer the file that was read, or is not clearly valid."""
        found = os.fstat(self._fd)
        size = found.st_size
        if not 0 < self.offset <= size:
            return None
        is_marked = os.pread(self._fd, len(self._mark), self._mark_at) == self._mark
        mtime, self._mtime = self._mtime, found.st_mtime_ns
        if size == self.offset:
            return [] if is_marked and mtime == found.st_mtime_ns else self._look_again()
        if not is_marked:
            return None
        data = paths.read_range(self._fd, self.offset, size)
        dropped = len(self.fold.dropped)
        taken, keys = self.fold.feed(data, self.offset)
        if len(self.fold.dropped) > dropped:
            return None
        self._settle(self.offset, data[:taken])
        return keys

    def _look_again(self) -> list[Key] | None:
        """The file was written to, and is as long as before. If what was read is damaged now, our memory is the
        better copy: it stays, with `dropped` for the repair of the file.
        """
        fold, taken = self.store.fold(paths.read_range(self._fd, 0, self.offset))
        if not fold.dropped and taken == self.offset:
            return None
        self.fold.dropped = fold.dropped or [f"the end, from byte {taken}"]
        return []

    def _take_whole(self) -> None:
        """Reads twice if a line is damaged: a writer may have replaced a torn end while we read across it."""
        for _ in range(2):
            found = os.fstat(self._fd)
            self._mtime = found.st_mtime_ns
            data = paths.read_range(self._fd, 0, found.st_size)
            fold, taken = self.store.fold(data)
            if not fold.dropped:
                break
        self.fold = fold
        self._settle(0, data[:taken])

    def _settle(self, begin: int, data: bytes) -> None:
        """Continues after `data`, which ends a commit and begins at byte `begin`."""
        if data:
            line = data.rfind(b"\n", 0, -1) + 1
            self._mark, self._mark_at = data[line : line + 9], begin + line
            self.offset = begin + len(data)

    def _reopen_if_replaced(self) -> bool:
        try:
            now = os.stat(self.store.path, follow_symlinks=False)
        except FileNotFoundError:
            if self.offset:
                raise SystemFailed(f"{self.store.path} is gone; gflowctl restore FILE restores a backup") from None
            return False
        if self._fd >= 0:
            mine = os.fstat(self._fd)
            if (mine.st_dev, mine.st_ino) == (now.st_dev, now.st_ino):
                return False
            self.close()
        self._fd = _open(self.store.state, os.O_RDONLY)
        return True


class Commit:
    """One all-or-nothing change, made under the lock. `next_id` is the next job id to be given."""

    def __init__(self, store: Store, instead: Fold | None = None, known: int = 0) -> None:
        self.store = store
        self.next_id = 1
        self._instead = instead
        self._known = known
        self._lock = Lock(store.state.snapshot_lock, store.lock_timeout, polls=store.polls)
        self._file = SnapshotFile(store.state, store.timed)
        self._records: list[tuple[Key, Any]] = []
        self._groups: list[bytes] = []  # whole ones, that come before the records
        self._kinds: set[str] = set()  # in these

    def __enter__(self) -> Self:
        try:
            self._lock.acquire()
            try:
                self._open()
            except BaseException:
                self._release()
                raise
        except OSError as error:
            raise _failed(self.store.path, error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and (self._records or self._groups):
                self._write()
        finally:
            self._release()

    def allocate(self, count: int = 1) -> int:
        """The first of `count` consecutive new job ids."""
        first = self.next_id
        self.next_id += count
        return first

    def put(self, kind: str, key: int | str, value: Any) -> None:
        """Adds a record to the commit; None as value removes it. JSON types only."""
        self._records.append(((kind, key), value))

    def put_group(self, records: Sequence[tuple[str, int | str, Any]]) -> bytes:
        """Adds records that are a change by themselves: all of them or none, whatever becomes of what else is put.
        Returns their lines, which are written and synced with all others. Raises ValueError or TypeError, and adds
        none, for what JSON or UTF-8 cannot hold.
        """
        data = self._encoded([((kind, key), value) for kind, key, value in records])
        self._groups.append(data)
        self._kinds.update(kind for kind, _, _ in records)
        return data

    def write_groups(self) -> None:
        """Writes and syncs what was put as groups now, while the lock is held."""
        try:
            if self._groups:
                self._write()
        finally:
            self._groups = []

    def fold(self) -> Fold:
        """Everything in the snapshot, read under the lock."""
        return self.store.read()

    def may_have(self, kind: str) -> bool:
        """Whether there may be records of one of the kinds in `MARKED`; reads only the header."""
        return may_have(self._file.header(), kind)

    def unless(self, name: str) -> None:
        """That there is no job of that name is decided here, under the lock, and stays so."""

    def rewrite(self, fold: Fold) -> int:
        """Replaces the file by the live records of `fold`; returns the new size in bytes.

        `fold` must be of this commit: `Commit.fold`, or a follower that caught up under this lock. Once it has raised
        `SystemFailed`, nothing more can be committed under this lock.
        """
        coming = {*self._kinds, *(kind for (kind, _), _ in self._records)}
        marks = {"has": has} if (has := [each for each in MARKED if each in coming or fold.records.get(each)]) else {}
        header = {name: value for name, value in fold.of(HEADER).get(0, {}).items() if name != "has"}
        fold.of(HEADER)[0] = {**_header(), **header, "format": FORMAT, **marks}
        fold.aside.pop((HEADER, 0), None)
        lines = [
            encode_line(0, self.next_id, (kind, key), value, self.store.dumps)
            for kind in sorted(fold.records, key=lambda kind: kind != HEADER)
            for key, value in fold.records[kind].items()
        ]
        if fold.aside:  # after what holds for their ids; the last line is the one that the next writer goes by
            lines += [*map(sealed, (body for body, _ in fold.aside.values())), lines[0]]
        self._file.replace(b"".join(lines))
        fold.lines, fold.dropped, fold.next_id = len(lines), [], self.next_id
        return self._file.end

    def repair(self, fold: Fold, tail: bytes = b"") -> int:
        """Sets the damaged file aside and rewrites it from `fold` and from the valid lines in `tail`, the bytes after
        the last whole commit. Returns the new size in bytes.

        Skips every id that a lost line at the end may have allocated. A line lost before that needs none of this: each
        later line carries the next id.
        """
        kept = self._file.set_aside()
        fold.salvage(tail)
        highest = max(fold.of(SPEC), default=0)
        self.next_id = max(self.next_id, fold.next_id, highest + 1, self.store.first_free_id(), next_id_in(tail))
        self.next_id += len(tail) // SHORTEST_LINE
        size = self.rewrite(fold)
        self.store.notes.append(f"the snapshot was damaged; it is kept as {kept}, and its readable records are in use")
        return size

    def _open(self) -> None:
        if not os.path.lexists(self.store.path):
            self._create()
            if self._instead is not None:
                self.next_id = max(self._instead.next_id, self.store.first_free_id())
                self.rewrite(self._instead)
                self.store.notes.append("the snapshot was gone; it was written again from memory")
                return
        self._file.open()
        header, closing = self._file.header(), self._file.last_line()
        written = FORMAT
        if header is not None:
            self.store.check_header(header[4])
            written = header[4]["format"]
        if written < FORMAT:
            paths.replace_file(f"{self.store.path}.format-{written}", self._file.read(), durable=True)
        if header is None or closing is None:
            self._mend()
        else:
            self.next_id = int(closing.split(b",", 2)[1])
        if written < FORMAT:
            self._renew()

    def _renew(self) -> None:
        """Rewrites the file: with another header, or in our format instead of an older one."""
        fold = self.fold()
        if fold.dropped:
            self.repair(fold)
        else:
            self.rewrite(fold)

    def _create(self) -> None:
        """Creates the first snapshot; refuses if traces of its jobs show that one was removed."""
        first = self.store.first_free_id()
        if first > 1 and self._instead is None:
            raise SystemFailed(
                f"{self.store.path} is gone; a running gflowd restores it, gflowctl restore FILE restores a backup"
            )
        self.store.state.replace_told(self.store.path, encode_line(0, first, (HEADER, 0), _header()), durable=True)

    def _mend(self) -> None:
        """Cuts a commit without its end; repairs a damaged file."""
        data = self._file.read()
        try:
            fold, taken = self.store.fold(data)
        except SystemFailed:
            if self._instead is None:
                raise
            self.repair(self._instead, data)
            return
        tail = data[taken:]
        if self._instead is not None and taken < self._known <= len(data):
            self.repair(self._instead, data[self._known :])
            return
        if header_record(data[:HEAD]) is None or not is_torn(tail):
            self.repair(fold, tail)
            return
        self._file.cut(taken)
        self.next_id = max(fold.next_id, next_id_in(tail))
        if self.next_id > fold.next_id:  # the writer that lost this tail may have returned its ids
            self._file.append(self._encoded([((HEADER, 0), fold.of(HEADER).get(0) or _header())]))

    def _write(self) -> None:
        """Appends; the first record of a kind in `MARKED` needs the file rewritten before, to have it in the header."""
        kinds = {*self._kinds, *(kind for (kind, _), _ in self._records)}
        if not all(kind not in MARKED or self.may_have(kind) for kind in kinds):
            self._renew()
        self._file.append(b"".join([*self._groups, self._encoded(self._records)]))

    def _encoded(self, records: list[tuple[Key, Any]]) -> bytes:
        """The lines of one change."""
        last = len(records) - 1
        return b"".join(
            encode_line(int(place < last), self.next_id, key, value, self.store.dumps)
            for place, (key, value) in enumerate(records)
        )

    def _release(self) -> None:
        self._file.close()
        self._lock.release()


class SnapshotFile:
    """The file itself, open for writing under the lock: bytes in, bytes out. `end` is where its last commit ends.

    Raises `SystemFailed` with the file's name, but for `open`, `read` and `cut` also OSError.
    """

    def __init__(self, state: paths.State, timed: Callable[[float], None] | None = None) -> None:
        self.path = state.snapshot
        self._state = state
        self.end = 0
        self._timed = timed
        self._fd = -1

    def open(self) -> None:
        """Opens the file as it is now; for whole commits, as far as one knows."""
        self._fd = _open(self._state, os.O_RDWR | os.O_APPEND)
        self.end = os.fstat(self._fd).st_size

    def close(self) -> None:
        """Closes the file; does nothing when it is closed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self) -> bytes:
        """All of it."""
        return paths.read_range(self._fd, 0, os.fstat(self._fd).st_size)

    def header(self) -> list[Any] | None:
        """The header's record; None if the first line is not a sound one."""
        try:
            return header_record(os.pread(self._fd, HEAD, 0))
        except OSError as error:
            raise _failed(self.path, error) from error

    def last_line(self) -> bytes | None:
        """As `_last_line`."""
        return _last_line(self._fd, self.end)

    def append(self, data: bytes) -> None:
        """Writes and syncs whole commits; what failed is taken back."""
        try:
            paths.write_all(self._fd, data)
            began = time.monotonic()
            os.fdatasync(self._fd)
            if self._timed is not None:
                self._timed(time.monotonic() - began)
        except OSError as error:
            try:
                os.ftruncate(self._fd, self.end)
            except OSError:
                pass  # a tail without its closing line is ignored by readers and cut by the next writer
            raise _failed(self.path, error) from error
        self.end += len(data)

    def cut(self, end: int) -> None:
        """Drops what is behind the byte `end`."""
        os.ftruncate(self._fd, end)
        self.end = end

    def replace(self, data: bytes) -> None:
        """Puts another file with `data` in its place, durably. After a failure it is closed."""
        self.close()
        try:
            self._clear_leftovers()
            self._state.replace_told(self.path, data, durable=True)
        except OSError as error:
            raise _failed(self.path, error) from error
        self._fd = _open(self._state, os.O_RDWR | os.O_APPEND)
        self.end = len(data)

    def set_aside(self) -> str:
        """Keeps a copy of the current file, one for each content; returns its name."""
        kept = f"{self.path}.corrupt-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
        try:
            data = self.read()
            others = [name for name in self._beside(".corrupt-") if ".new." not in name]
            for name in others:
                if os.path.getsize(name) == len(data) and paths.read_private(name) == data:
                    return name
            if kept in others:
                kept = f"{kept}-{len(others)}"
            paths.replace_file(kept, data, durable=True)
        except OSError as error:
            raise _failed(kept, error) from error
        return kept

    def _beside(self, ending: str) -> list[str]:
        """The files next to the snapshot whose names begin with its own and `ending`."""
        directory, own = os.path.split(self.path)
        return [os.path.join(directory, name) for name in os.listdir(directory) if name.startswith(own + ending)]

    def _clear_leftovers(self) -> None:
        """Removes half-written files of killed writers; no other process writes such a file while we hold the lock."""
        for name in self._beside("."):
            if ".new." in os.path.basename(name):
                os.unlink(name)


def may_have(header: list[Any] | None, kind: str) -> bool:
    """Whether a snapshot with this header record may have records of one of the kinds in `MARKED`."""
    marks = () if header is None else header[4].get("has", ())
    return header is None or not isinstance(marks, (list, tuple)) or kind in marks


def _header() -> dict[str, Any]:
    return {"format": FORMAT, "machine": paths.machine()}


def _failed(path: str, error: OSError) -> GflowError:
    return SystemFailed(f"{path}: {error.strerror}")


def _open(state: paths.State, flags: int) -> int:
    try:
        return state.open_told(state.snapshot, flags)
    except OSError as error:
        raise _failed(state.snapshot, error) from error


def _parts(fd: int, end: int) -> Iterator[bytes]:
    """The file as it was when it had `end` bytes, in parts small enough to stay in a processor's cache."""
    return (paths.read_range(fd, at, min(at + PART, end)) for at in range(0, end, PART))


def _last_line(fd: int, size: int) -> bytes | None:
    """The JSON of the last line when it is sound, whole and closes a commit; else None."""
    reach = TAIL
    while True:
        begin = max(0, size - reach)
        data = paths.read_range(fd, begin, size)
        start = data.rfind(b"\n", 0, -1) + 1
        if start or begin == 0:
            break
        reach *= 16
    body = sound_body(data[start:-1]) if data.endswith(b"\n") else None
    return body if body is not None and closes(body) and next_id_of(body) else None
