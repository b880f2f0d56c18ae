"""The daemon's log: one line per event, `2026-11-22T17:25:00.123Z info scheduler started job=42 gpus=0,1`, in UTC.

Several processes write to it, each line as a whole; no problem with the log stops the daemon.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
import traceback
from typing import TYPE_CHECKING

from gflowd.paths import is_at, open_private, private_directory

if TYPE_CHECKING:
    from gflowd.paths import State

ROTATE_AT = 5 << 20  # bytes
ROTATED_KEPT = 3

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_NAMES = {number: name for name, number in _LEVELS.items()}
_PLAIN = re.compile(r"[\w./:@%+,*?~^\[\](){}<>!#$&|;-]+", re.ASCII)
_UNSEEN = re.compile("[\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb]")
_ROOT = logging.getLogger("gflow")
_ROOT.propagate = False
_ROOT.addHandler(logging.NullHandler())  # else events before `setup` would go to stderr, unformatted


class Log:
    """The log of one part of the daemon: `log.info("started", job=42)`. Fields keep their order."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    @property
    def is_debug(self) -> bool:
        """Whether `debug` writes anything."""
        return self._logger.isEnabledFor(logging.DEBUG)

    def debug(self, event: str, **fields: object) -> None:
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._write(logging.ERROR, event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """An error with the traceback of the exception being handled, quoted into the one line."""
        self._write(logging.ERROR, event, {**fields, "traceback": traceback.format_exc()})

    def _write(self, level: int, event: str, fields: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "", extra={"gflow_event": event, "gflow_fields": fields})


def get(name: str) -> Log:
    """The log of a part of the daemon: a process (`scheduler`) or something within it (`tmux`)."""
    return Log(logging.getLogger(f"gflow.{name}"))


def setup(state: State, process_name: str, level: str, *, stderr: bool) -> None:
    """Sends this process's events of `level` and above to the state directory's log, and to stderr if asked.

    To be called again in each forked process with its own name, and whenever the level changes.
    """
    for handler in list(_ROOT.handlers):
        _ROOT.removeHandler(handler)
        handler.close()
    try:
        private_directory(os.path.dirname(state.log))
    except Exception as error:
        _complain(f"no log: {error}")
    _ROOT.addHandler(_LogFile(state.log, process_name))
    if stderr:
        _ROOT.addHandler(_Stderr(process_name))
    _ROOT.setLevel(_LEVELS[level])


def rotate(path: str, size: int = ROTATE_AT, keep: int = ROTATED_KEPT) -> bool:
    """Renames a log of more than `size` bytes to `path.1`, `path.1` to `path.2` and so on, `keep` of them.

    The next line of each process makes and finds a new file. Only the supervisor calls this. Never raises.
    """
    try:
        if os.stat(path, follow_symlinks=False).st_size <= size:
            return False
        for number in range(keep, 1, -1):
            if os.path.lexists(f"{path}.{number - 1}"):
                os.rename(f"{path}.{number - 1}", f"{path}.{number}")
        os.rename(path, f"{path}.1")
    except OSError:
        return False
    return True


def line(moment: float, level: str, source: str, event: str, fields: dict[str, object]) -> str:
    """One event as text without a line end. `moment` is in seconds since the epoch."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    words = [f"{stamp}.{int(moment % 1 * 1000):03}Z", level, source, _shown(event)]
    words += [f"{name}={_shown(value)}" for name, value in fields.items()]
    return " ".join(words)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.3f}"
    if isinstance(value, (tuple, list, set, frozenset)):
        value = ",".join(str(part) for part in value)
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


class _Handler(logging.Handler):
    def __init__(self, process_name: str) -> None:
        super().__init__()
        self.process_name = process_name

    def format(self, record: logging.LogRecord) -> str:
        part = record.name.removeprefix("gflow.")
        source = part if part == self.process_name else f"{self.process_name}.{part}"
        level = _NAMES.get(record.levelno, "info")
        event = getattr(record, "gflow_event", record.getMessage())
        return line(record.created, level, source, event, getattr(record, "gflow_fields", {}))


class _LogFile(_Handler):
    """Appends whole lines to a file that others append to and that the supervisor may rename at any time."""

    def __init__(self, path: str, process_name: str) -> None:
        super().__init__(process_name)
        self.path = path
        self._fd = -1
        self._torn = False  # a full disk took the end of the last line

    def emit(self, record: logging.LogRecord) -> None:
        try:
            data = self.format(record).encode(errors="backslashreplace") + b"\n"
            self._reopen_if_renamed()
            data = b"\n" + data if self._torn else data
            self._torn = 0 <= os.write(self._fd, data) < len(data)
        except Exception:  # a full disk, a directory removed: the daemon goes on without this line
            return

    def _reopen_if_renamed(self) -> None:
        if self._fd >= 0:
            if is_at(self._fd, self.path):
                return
            os.close(self._fd)
            self._fd, self._torn = -1, False
        self._fd = open_private(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        super().close()


class _Stderr(_Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            _complain(self.format(record))
        except Exception:  # a field that cannot be shown must not stop the daemon
            _complain(f"{self.process_name}: an event that cannot be shown")


def _complain(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # closed, broken, or never there
        pass
