"""What was made of jobs, kept until a record of them changes; of one that waits, until the daemon saw something new."""

from __future__ import annotations

import dataclasses
from time import monotonic
from typing import TYPE_CHECKING

from gflowctl.api.values import job_of
from gflowctl.output import json_records
from gflowd.core.job.model import Ended, Queued
from gflowd.core.job.records import LIMIT, PHASE, PROMISE, SPEC, WISH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowctl.api.values import Job
    from gflowctl.view.views import View
    from gflowd.core.job import model
    from gflowd.storage.observed_reader import Observed
    from gflowd.storage.record_log import Key

STALE = 30.0  # seconds: the score of a job that waits grows
inf = float("inf")


class KeptJobs:
    """The jobs of one snapshot that is followed. Mutable."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[model.Job, Job]] = {}
        self._settled: set[int] = set()  # of those that wait: what is said of them still holds
        self._dependent: set[int] = set()  # of these: what others do may change it
        self._seen: tuple[Observed, bool] | None = None
        self._stale_at = -inf  # monotonic
        self._due_at = inf  # when the first of the begin times comes

    def follow(self, view: View, touched: list[Key] | None) -> None:
        """Forgets what no longer holds, now that these records were touched (None: perhaps all)."""
        if touched is None:
            self._kept.clear()
        elif touched:
            self._forget(view, touched)
        seen = view.observed, view.daemon_runs
        is_news = self._seen is None or self._seen[0] is not seen[0] or self._seen[1] != seen[1]
        if touched is None or is_news or view.now >= self._due_at or monotonic() >= self._stale_at:
            self._settled.clear()
            self._dependent.clear()
            self._seen, self._stale_at, self._due_at = seen, monotonic() + STALE, inf
        elif touched:
            self._settled -= self._dependent
            self._dependent.clear()
        if is_news:
            whole = [job_id for job_id, (job, _) in self._kept.items() if job.spec.exclusive or job.spec.all_memory]
            for job_id in whole:  # they are shown with what the machine has
                del self._kept[job_id]

    def _forget(self, view: View, touched: Iterable[Key]) -> None:
        specs, has_gone = view.fold.of(SPEC), False
        for kind, key in touched:
            if kind in (SPEC, LIMIT) and isinstance(key, int):
                has_gone |= key not in specs
                for job_id in view.ids_of(key):
                    self._kept.pop(job_id, None)
            elif kind in (WISH, PHASE, PROMISE) and isinstance(key, int):
                self._kept.pop(key, None)
        if has_gone:
            self._kept = {job_id: kept for job_id, kept in self._kept.items() if view.spec_of(job_id) in specs}

    def job(self, view: View, job_id: int) -> Job:
        """The job with this id, which must exist."""
        if view.spec_of(job_id) not in view.fold.of(SPEC):  # of the history
            return job_of(json_records.values(view, view.job(job_id)))
        known = self._kept.get(job_id)
        if known is None:
            job = view.job(job_id)
            found = job_of(json_records.values(view, job))
        else:
            job, found = known
            if isinstance(job.phase, Ended) or (isinstance(job.phase, Queued) and job_id in self._settled):
                return found
            passing = json_records.passing_values(view, job)
            if any(getattr(found, name) != value for name, value in passing.items()):
                found = dataclasses.replace(found, **passing)
        self._kept[job_id] = job, found
        if isinstance(job.phase, Queued):
            self._settle(view, job)
        return found

    def _settle(self, view: View, job: model.Job) -> None:
        self._settled.add(job.id)
        if job.spec.needs is not None:
            self._dependent.add(job.id)
        if job.begin_at is not None and job.begin_at > view.now:
            self._due_at = min(self._due_at, job.begin_at)
