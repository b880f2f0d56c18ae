"""Which attempts leave their GPUs idle, from one look of the GPU poller to the next. Warns of none, stops none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core.gpu import idleness, states
from gflowd.core.job.model import Suspended

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gflowd.config.loader import Config
    from gflowd.core.gpu.report import GpuReport
    from gflowd.core.job.model import Job
    from gflowd.core.moment import Moment

MISSED_POLLS = 3  # polls that may fail before idleness is counted from zero
A_POLL_TAKES = 0.05  # seconds within which it is on the board, mostly
LATE_AGAIN = 1.0  # seconds between two looks at the board for a poll that is late
LONGEST_BLINK = 30.0  # seconds between two checks that are noticed here; no worker sleeps longer than ten


class IdleWatch:
    """Remembers since when each attempt has left its GPUs idle."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._idleness = idleness.Idleness()
        self._at_work = False  # whether an attempt has GPUs

    def look(self, jobs: Iterable[Job], report: GpuReport) -> None:
        """Takes in how busy the last look found the GPUs of each of `jobs`."""
        if not self._is_on:
            return
        gpus = report.gpus or ()
        at_work = ((job.id, job.run) for job in jobs if not isinstance(job.phase, Suspended))
        held = {(job_id, run.attempt): states.places(run, gpus) for job_id, run in at_work if run is not None}
        self._at_work = any(held.values())
        utilisation = {gpu.index: gpu.utilisation for gpu in gpus}
        gap = max(MISSED_POLLS * self._config.poll_interval, LONGEST_BLINK)
        self._idleness = idleness.follow(self._idleness, held, utilisation, report.begun, gap)

    def wakes(self, now: Moment) -> Iterator[float]:
        """When to look again (monotonic): nothing rings when a poll finds another utilisation."""
        if (due := self._due()) is not None and due > now.mono:
            yield due
        if self._is_on and self._at_work:
            polled = self._idleness.at + self._config.poll_interval + A_POLL_TAKES
            yield polled if polled > now.mono else now.mono + LATE_AGAIN

    def poll_after(self, now: Moment) -> float | None:
        """Of when a look at the GPUs is wanted (monotonic), since an attempt may have been idle for too long then."""
        due = self._due()
        return due if due is not None and due <= now.mono else None

    def _due(self) -> float | None:
        return idleness.next_due(self._idleness, self._config.idle_warn, self._config.idle_cancel)

    @property
    def _is_on(self) -> bool:
        return self._config.idle_warn is not None or self._config.idle_cancel is not None

    def to_warn_of(self) -> list[int]:
        """The jobs to warn users about."""
        return [job_id for job_id, _ in idleness.idle_for(self._idleness, self._config.idle_warn)]

    def to_cancel(self) -> set[tuple[int, int]]:
        """The attempts that are to end."""
        return set(idleness.idle_for(self._idleness, self._config.idle_cancel))
