"""Tells monitoring systems how gflow does: writes a file for node_exporter every five seconds and soon after each
change, and answers whoever asks for metrics. Decides nothing.

It reads what gflowctl reads, without a lock, and so it follows the snapshot itself: the scheduler would have to count
all jobs for it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from typing import TYPE_CHECKING

from gflowd import __version__, log
from gflowd.core.errors import GflowError, SystemFailed
from gflowd.core.metrics import metric_values
from gflowd.core.metrics.metric_values import Daemon, Process, Values
from gflowd.effects import proc
from gflowd.effects.metrics import exposition
from gflowd.effects.metrics.scrape_socket import ScrapeSocket
from gflowd.paths import replace_file
from gflowd.storage.metrics_input import Readings
from gflowd.workers import WORKERS, board, wanted
from gflowd.workers.base import Turn
from gflowd.workers.board_slots import Service

if TYPE_CHECKING:
    from gflowd.core.moment import Moment
    from gflowd.workers.base import Wiring
    from gflowd.workers.board_slots import Slots

INTERVAL = 5.0  # seconds between two writings of the file
SOON = 1.0  # seconds after which a change is written
SHARE = 100  # the file is written so seldom that this takes no more of the time than its hundredth part
RETRY = 10.0  # seconds until another try to listen, or to find the package
WHAT = "[metrics]"
BEGINNING = b"# HELP gflow_"  # of the file


def open(wiring: Wiring) -> MetricsUpdater:  # noqa: A001 -- the workers' protocol
    """The worker."""
    return MetricsUpdater(wiring)


class MetricsUpdater:
    """Decision: its trouble. All that it knows is read again by its successor."""

    def __init__(self, wiring: Wiring) -> None:
        config = wiring.config
        self._wiring = wiring
        self._log = log.get("metrics_updater")
        self._names, self._file, self._address = config.metrics_names, config.metrics_textfile, config.metrics_listen
        self._readings = Readings(wiring.state)
        self._processes = (board.MANAGER, *(row.name for row in wanted(config, WORKERS)))
        self._started_at = _started_at(wiring.supervisor)
        self._socket: ScrapeSocket | None = None
        self._listen_at = 0.0  # monotonic, as all that follows
        self._written_at = float("-inf")
        self._cost = 0.0  # seconds
        self._stamps: object = None  # of what was last written
        self._troubles: dict[str, str] = {}  # by what is configured
        self._lacking: str | None = ""
        self._lacking_at = float("-inf")

    def tick(self, now: Moment, slots: Slots) -> Turn:  # noqa: ARG002 -- the workers' protocol
        """Writes, if it is time, and answers."""
        if self._lacking is not None and not self._finds_package(now.mono):
            return Turn(Service(self._lacking), None, now.mono + RETRY)
        wakes: list[float | None] = [self._write(now.mono)] if self._file is not None else []
        if self._address is not None:
            wakes.append(self._serve(now.mono))
        said = "; ".join(f"{WHAT} {setting}: {why}" for setting, why in sorted(self._troubles.items()))
        wake_at = min((at for at in wakes if at is not None), default=None)
        sockets = () if self._socket is None else self._socket.descriptors
        return Turn(Service(said or None), None, wake_at, sockets, deaf_until=now.mono + SOON)

    def close(self) -> None:
        """Stops listening. The file says that the daemon is down, or soon that it is up again."""
        if self._file is not None and self._lacking is None:
            with contextlib.suppress(GflowError, OSError):
                replace_public(self._file, self._text(plain=True, up=False))
        if self._socket is not None:
            self._socket.close()
        self._readings.close()

    def _finds_package(self, mono: float) -> bool:
        """Looks now and then for the package that writes the text."""
        if mono < self._lacking_at + RETRY:
            return False
        before, self._lacking_at = self._lacking, mono
        self._lacking = exposition.lacking(WHAT)
        if self._lacking is not None and self._lacking != before:
            self._log.error("no metrics", why=self._lacking)
        return self._lacking is None

    def _write(self, mono: float) -> float:
        """Writes the file, if it is time; when it will be."""
        assert self._file is not None
        stamps = self._readings.stamps()
        least = max(SOON, self._cost * SHARE)
        due = self._written_at + (least if stamps != self._stamps else max(INTERVAL, least))
        if mono < due:
            return due
        began = time.monotonic()
        try:
            replace_public(self._file, self._text(plain=True))
        except OSError as error:
            self._note("textfile", f"{self._file}: {error.strerror}")
        except GflowError as error:
            self._note("textfile", str(error))
        else:
            self._note("textfile", None)
        self._written_at, self._stamps, self._cost = mono, stamps, time.monotonic() - began
        return mono + max(INTERVAL, self._cost * SHARE)

    def _serve(self, mono: float) -> float | None:
        """Answers whoever asks; when to look again though nobody does."""
        if self._socket is None:
            if mono < self._listen_at:
                return self._listen_at
            assert self._address is not None
            try:
                self._socket = ScrapeSocket(self._address)
            except SystemFailed as error:
                self._note("listen", str(error))
                self._listen_at = mono + RETRY
                return self._listen_at
            self._note("listen", None)
        return self._socket.serve(self._respond, mono)

    def _respond(self, accept: str) -> tuple[int, str, bytes]:
        plain = exposition.WANTED_BY not in accept
        try:
            text = self._text(plain=plain)
        except GflowError as error:
            self._note("listen", str(error))
            return 503, exposition.PLAIN, f"{error}\n".encode()
        self._note("listen", None)
        return 200, exposition.PLAIN if plain else exposition.OPENMETRICS, text

    def _text(self, *, plain: bool, up: bool = True) -> bytes:
        found = metric_values.families(self._values(up=up), self._names)
        text = exposition.text(found, WHAT, plain=plain)
        self._note("history", self._readings.trouble)
        return text

    def _values(self, *, up: bool) -> Values:
        wall, mono = time.time(), time.monotonic()
        if not up:
            return self._readings.values(None, None, wall)
        pulses = map(self._wiring.pulses.get, self._processes)
        processes = [
            Process(pulse.name, bool(pulse.pid), wall - mono + pulse.beat if pulse.beat else None, pulse.restarts)
            for pulse in pulses
        ]
        daemon = Daemon(__version__, self._started_at, processes)
        return self._readings.values(daemon, self._wiring.supervisor, wall)

    def _note(self, setting: str, why: str | None) -> None:
        """Says once what is wrong, and that it is well again."""
        if why is None:
            if self._troubles.pop(setting, None) is not None:
                self._log.info("metrics are well again", setting=setting)
        elif self._troubles.get(setting) != why:
            self._troubles[setting] = why
            self._log.error("metrics", setting=setting, why=why)


def replace_public(path: str, content: bytes) -> None:
    """Replaces a file that everybody may read, by a rename. Raises OSError; `SystemFailed` for what is no file, or has
    anything but our metrics.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        found = None
    if found is not None and not stat.S_ISREG(found.st_mode):
        raise SystemFailed(f"{path} is not a plain file")
    if found is not None and found.st_size and not _has_metrics(path):
        raise SystemFailed(f"{path} is not a file of gflow's metrics; it stays as it is")
    before = os.umask(0o022)
    try:
        replace_file(path, content, durable=False, mode=0o644)
    finally:
        os.umask(before)


def _has_metrics(path: str) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(fd, len(BEGINNING)) == BEGINNING
    finally:
        os.close(fd)


def _started_at(pid: int) -> float | None:
    ticks = proc.start_ticks(pid)
    since = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return round(time.time() - since, 2) if ticks else None
