"""Which live attempts have written no output for longer than they may, as the sizes of their log and output files tell.
A part of the timeout enforcer.

Looks when an attempt could be over its limit, and takes the last change of its files for when it wrote last; so that is
known also to one that was not there then. Time that it was suspended does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd import log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowd.core.execution.observations import Key, LiveJob
    from gflowd.core.moment import Moment
    from gflowd.workers.attempt_processes import Attempts

SOON = 1.0  # seconds between two looks at one that has been warned: it may write again


@dataclass(slots=True)
class _Heard:
    """An attempt at the last look: the sizes of its files, and times that count from its start, without pauses: of the
    look, of its last output, and of the warning, if it is warned; `over`: it was quiet for its grace after that.
    """

    sizes: tuple[int, ...]
    looked: float
    wrote: float
    warned: float | None = None
    over: bool = False

    def due(self, job: LiveJob) -> float:
        """When to look again, on the same clock."""
        assert job.quiet_limit is not None
        if self.warned is None:
            return self.wrote + job.quiet_limit
        return min(self.looked + SOON, max(self.warned + job.grace, self.looked))


class QuietWatch:
    """Remembers when each attempt with a limit wrote last."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._log = log.get("timeout_enforcer")
        self._heard: dict[Key, _Heard] = {}

    def tick(self, jobs: Iterable[LiveJob], now: Moment) -> tuple[tuple[Key, ...], tuple[Key, ...], float | None]:
        """The attempts that are quiet for too long, those that were not heard after that either, and the monotonic time
        of the next look.
        """
        watched = {job.key: job for job in jobs if _is_limited(job, now)}
        self._heard = {key: heard for key, heard in self._heard.items() if key in watched}
        for key, job in watched.items():
            heard = self._heard.get(key)
            if not job.suspended and (heard is None or (not heard.over and _ran(job, now) >= heard.due(job))):
                self._heard[key] = self._listen(job, heard, now)
        quiet = tuple(sorted(key for key, heard in self._heard.items() if heard.warned is not None))
        over = tuple(sorted(key for key, heard in self._heard.items() if heard.over))
        left = (
            heard.due(job) - _ran(job, now)
            for key, job in watched.items()
            if not job.suspended and not (heard := self._heard[key]).over
        )
        soonest = min(left, default=None)
        return quiet, over, None if soonest is None else now.mono + soonest

    def _listen(self, job: LiveJob, before: _Heard | None, now: Moment) -> _Heard:
        assert job.quiet_limit is not None
        sizes, changed = self._files(job)
        ran = _ran(job, now)
        is_same = before is not None and sizes == before.sizes
        wrote = before.wrote if before is not None and is_same else self._wrote(job, changed, before, now)
        if ran < wrote + job.quiet_limit:
            return _Heard(sizes, ran, wrote)
        warned = None if before is None else before.warned
        if warned is None:
            self._log.warning("no output", job=job.id, seconds=round(ran - wrote, 1), ends_in=job.grace)
            warned = ran
        return _Heard(sizes, ran, wrote, warned, over=ran >= warned + job.grace)

    @staticmethod
    def _wrote(job: LiveJob, changed: float, before: _Heard | None, now: Moment) -> float:
        """When an attempt wrote last whose files changed at that wall time. It tells how long ago that was, but never
        longer than the last look, the start or the last pause, of which a better clock tells.
        """
        assert job.started is not None
        ran = _ran(job, now)
        known = max(job.started.mono, job.pauses.last_mono if job.pauses.count else 0.0)
        least = max(0.0 if before is None else before.looked, ran - (now.mono - known))
        return min(max(ran - max(now.wall - changed, 0.0), least), ran)

    def _files(self, job: LiveJob) -> tuple[tuple[int, ...], float]:
        """The sizes of the files that a job writes to, and when one of them last changed (wall time)."""
        written = self._attempts.written(job)
        sizes = tuple(-1 if found is None else found.st_size for found in written)
        return sizes, max((found.st_mtime for found in written if found is not None), default=0.0)


def _ran(job: LiveJob, now: Moment) -> float:
    """The seconds for which an attempt has run."""
    assert job.started is not None
    return now.mono - job.started.mono - job.pauses.seconds


def _is_limited(job: LiveJob, now: Moment) -> bool:
    """Whether it has begun, in this boot, is not stopping, and must write now and then."""
    return job.quiet_limit is not None and job.why is None and job.runs_in(now.boot)
