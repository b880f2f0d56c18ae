"""Which attempts leave their GPUs idle, from one look of the GPU poller to the next. Warns of none, stops none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core.gpu import idleness, states
from gflowd.core.job.model import Suspended

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowd.config.loader import Config
    from gflowd.core.gpu.report import GpuReport
    from gflowd.core.job.model import Job

MISSED_POLLS = 3  # polls that may fail before idleness is counted from zero
LONGEST_BLINK = 30.0  # seconds between two checks that are noticed here; no worker sleeps longer than ten


class IdleWatch:
    """Remembers since when each attempt has left its GPUs idle."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._idleness = idleness.Idleness()

    def look(self, jobs: Iterable[Job], report: GpuReport) -> None:
        """Takes in how busy the last look found the GPUs of each of `jobs`."""
        if self._config.idle_warn is None and self._config.idle_cancel is None:
            return
        gpus = report.gpus or ()
        at_work = ((job.id, job.run) for job in jobs if not isinstance(job.phase, Suspended))
        held = {(job_id, run.attempt): states.places(run, gpus) for job_id, run in at_work if run is not None}
        utilisation = {gpu.index: gpu.utilisation for gpu in gpus}
        gap = max(MISSED_POLLS * self._config.poll_interval, LONGEST_BLINK)
        self._idleness = idleness.follow(self._idleness, held, utilisation, report.begun, gap)

    def to_warn_of(self) -> list[int]:
        """The jobs to warn users about."""
        return [job_id for job_id, _ in idleness.idle_for(self._idleness, self._config.idle_warn)]

    def to_cancel(self) -> set[tuple[int, int]]:
        """The attempts that are to end."""
        return set(idleness.idle_for(self._idleness, self._config.idle_cancel))
