"""Cuts the middle out of a job's log while the job and its children go on writing: they only append."""

from __future__ import annotations

import ctypes
import os
import stat

from gflowd.core.execution import log_trimming
from gflowd.effects import files

PIECE = 1 << 20  # bytes copied at a time
FARTHEST_BEHIND = 1 << 28  # bytes: a writer that is this far ahead of us is no longer followed
COLLAPSE_RANGE = 0x08  # fallocate(2)
OPEN = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def size(directory: str) -> int | None:
    """The log's size in bytes; None while there is no plain file of that name."""
    try:
        found = os.lstat(os.path.join(directory, "log"))
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def trim(directory: str, limit: int) -> int:
    """Cuts the log back if it exceeds `limit` bytes; returns how many bytes were removed. Raises OSError."""
    fd = os.open(os.path.join(directory, "log"), OPEN)
    try:
        found = os.fstat(fd)
        piece = log_trimming.piece(found.st_size, limit) if stat.S_ISREG(found.st_mode) else None
        if piece is None:
            return 0
        begin, end = piece
        before = mark(directory)
        missing = end - begin + (before.missing if before else 0)
        line = log_trimming.line(missing, limit)
        _overwrite(directory, begin - len(line), line)
        try:
            _collapse(fd, begin, end - begin)
        except OSError:  # not on this file system
            missing += _copy_down(directory, fd, begin, end)
        after = log_trimming.Mark(begin - len(line), begin, missing)
        files.replace(os.path.join(directory, "log.cut"), log_trimming.encode(after))
        return end - begin
    finally:
        os.close(fd)


def mark(directory: str) -> log_trimming.Mark | None:
    """What has been cut out of the log so far; None if nothing was."""
    fd = files.open_to_read(os.path.join(directory, "log.cut"))
    if fd is None:
        return None
    try:
        return log_trimming.decode(os.read(fd, 100))
    finally:
        os.close(fd)


def _overwrite(directory: str, at: int, line: bytes) -> None:
    """Uses a separate descriptor: pwrite(2) on an appending one writes at the end."""
    fd = os.open(os.path.join(directory, "log"), OPEN & ~os.O_APPEND)
    try:
        os.pwrite(fd, line, at)
    finally:
        os.close(fd)


def _collapse(fd: int, begin: int, length: int) -> None:
    """Removes a piece of the file in one step, so that no byte written meanwhile is lost or out of order."""
    fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
    if fallocate(fd, COLLAPSE_RANGE, begin, length):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _copy_down(directory: str, fd: int, begin: int, end: int) -> int:
    """Copies what is after `end` to `begin`, and truncates the log there; returns how many bytes of those
    written meanwhile are known to be lost. Those of the last instant are lost without being counted.
    """
    at, enough = end, end + FARTHEST_BEHIND + os.fstat(fd).st_size
    writing = os.open(os.path.join(directory, "log"), OPEN & ~os.O_APPEND)  # as above
    try:
        while at < enough and (piece := os.pread(fd, PIECE, at)):
            at += os.pwrite(writing, piece, begin + at - end)
    finally:
        os.close(writing)
    lost = os.fstat(fd).st_size - at
    os.ftruncate(fd, begin + at - end)
    return lost
