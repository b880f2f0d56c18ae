"""The thread that reads for the screen, so that no key waits for a file. Tells the screen what it finds."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gflowctl.monitor.job_filter import SORTED, Choice
from gflowctl.monitor.log_tail import LogTail
from gflowctl.monitor.reader import Reader
from gflowd.core.errors import GflowError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gflowctl.context import Context
    from gflowctl.monitor.log_tail import Log
    from gflowctl.monitor.screen_contents import Details, Picture

LOOK = 0.25  # seconds between two looks at the files
PICTURE = 1.0  # seconds between two pictures when only time passes
BUSY, LONGEST_REST = 10, 2.0  # between two pictures it rests for so many times as long as one takes; seconds


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the screen is to show: the jobs, their order, and of the job `job_id` its details or its log."""

    choice: Choice = field(default_factory=Choice)
    sort: str = SORTED
    job_id: int | None = None
    shows_log: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no new picture."""

    text: str


class Feed:
    """Reads until it is stopped. `tell` is called in its thread, with a `Picture`, `Details`, a `Log`, a `Trouble`, or
    the exception that nobody foresaw.
    """

    def __init__(
        self, context: Context, wanted: Wanted, tell: Callable[[Picture | Details | Log | Trouble | Exception], object]
    ) -> None:
        self._reader = Reader(context)
        self._state = context.state
        self._wanted = wanted
        self._tell = tell
        self._bell = threading.Event()
        self._stops = False
        self._is_paused = False
        self._shown: Wanted | None = None
        self._is_first = True
        self._last, self._took = 0.0, 0.0  # when the last picture was made, and how long that took
        self._tail: LogTail | None = None
        self._thread = threading.Thread(target=self._run, name="gflow-feed", daemon=True)

    def start(self) -> None:
        """Begins to read."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stops = True
        self._bell.set()
        self._thread.join()

    def want(self, wanted: Wanted) -> None:
        """Something else is to be shown."""
        self._wanted = wanted
        self._bell.set()

    def again(self) -> None:
        """Looks at once, since something was changed."""
        self._took = 0.0
        self._bell.set()

    def pause(self, *, on: bool) -> None:
        """Reads nothing while nobody looks."""
        self._is_paused = on
        self._bell.set()

    def _run(self) -> None:
        try:
            while not self._stops:
                self._bell.clear()
                if not self._is_paused:
                    self._look()
                self._bell.wait(LOOK)
        except Exception as error:
            self._tell(error)

    def _look(self) -> None:
        wanted, before = self._wanted, self._shown
        try:
            if self._is_first and (wanted.choice, wanted.sort) == (Choice(), SORTED):
                self._tell(self._reader.glance())
            self._is_first = False
            if self._is_due(wanted, before):
                began = time.monotonic()
                picture = self._reader.read(wanted.choice, wanted.sort)
                self._last = time.monotonic()
                self._took = self._last - began
                self._tell(picture)
                is_new = True
            else:
                is_new = before is None or wanted.job_id != before.job_id or wanted.shows_log != before.shows_log
            self._shown = wanted
            self._more(wanted, is_new=is_new)
        except GflowError as error:
            self._shown = None  # whatever is found next is news
            self._tell(Trouble(str(error)))

    def _is_due(self, wanted: Wanted, before: Wanted | None) -> bool:
        if before is None or wanted.choice != before.choice or wanted.sort != before.sort:
            return True
        rested = time.monotonic() - self._last
        if rested < min(self._took * BUSY, LONGEST_REST):
            return False
        return self._reader.changed() or (rested >= PICTURE and self._reader.moves)

    def _more(self, wanted: Wanted, *, is_new: bool) -> None:
        """The details or the log of one job."""
        if wanted.job_id is None:
            self._tail = None
        elif not wanted.shows_log:
            self._tail = None
            if is_new and (details := self._reader.details(wanted.job_id)) is not None:
                self._tell(details)
        elif (job := self._reader.job(wanted.job_id)) is not None:
            if self._tail is None or not self._tail.is_of(self._state, job):
                self._tail = LogTail(self._state, job)
            if (log := self._tail.read()) is not None:
                self._tell(log)
