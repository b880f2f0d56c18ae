"""What jobs came to, for `statistics`: those of the snapshot, then those that have left it."""

from __future__ import annotations

from gflowctl.view import jobs, views
from gflowd.core.accounting import statistics
from gflowd.core.accounting.ended_totals import gpus_had
from gflowd.core.accounting.statistics import Account
from gflowd.core.errors import GflowError
from gflowd.core.job.model import STATES, Ended
from gflowd.core.job.records import SPEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from gflowctl.context import Context
    from gflowd.core.accounting.statistics import Summary
    from gflowd.core.job.model import Job, Run
    from gflowd.storage.record_log import Fold


def accounts(
    context: Context, fold: Fold, users: tuple[str, ...], since: float | None, now: float
) -> Iterator[Account]:
    """The jobs of these users, of all without, to which something happened since then; infinitely late where a job
    has not ended.
    """
    view = views.View(context, fold)
    for job in map(view.job, view.owned(view.ids(), users) if users else view.ids()):
        account = _account(view, job, now)
        if since is None or _last(account) >= since:
            yield account
    if not view.has_history:
        return
    from gflowd.storage import history_access
    from gflowd.storage.history_queries import Choice

    try:
        history = history_access.of(context.state)
        try:
            for account in history.accounts(Choice(users=users, since=since), view.records.of(SPEC)):
                if since is None or _last(account) >= since:
                    yield account
        finally:
            history.close()
    except GflowError as error:
        context.store.notes.append(f"showing only jobs that are still in the queue: {error}")


def _last(account: Account) -> float:
    """When something last happened to a job; for a job that has not ended, infinitely late."""
    return float("inf") if account.ended_at is None else max(account.ended_at, account.submitted_at)


def _account(view: views.View, job: Job, now: float) -> Account:
    past = [view.past(job.id, number) for number in range(1, jobs.attempt(job))]
    ended = [each for each in past if each is not None]
    if isinstance(job.phase, Ended):
        ended.append(job.phase)
    spans, uses = [], []
    for each in ended:
        if each.started_at is not None:
            spans.append((each.started_at, each.ended_at, _gpus(job, each.run)))
            if (use := statistics.use(None if each.used is None else each.used.fields(), spans[-1])) is not None:
                uses.append(use)
    began = jobs.started_at(job)
    if began is not None and not isinstance(job.phase, Ended):
        spans.append((began, now, _gpus(job, job.run)))
    spec, state, ended_at = job.spec, jobs.state(job), jobs.ended_at(job)
    due_at = None if spec.repeat is None else spec.repeat.due
    return Account(spec.user, spec.project, state, spec.submitted_at, ended_at, spans, uses, due_at)


def _gpus(job: Job, run: Run | None) -> tuple[int, ...]:
    return () if run is None else gpus_had(job.id, run.gpu_ids, run.remote_gpus)


def record(summary: Summary) -> dict[str, Any]:
    """The object of `--json`. Durations in seconds, the success rate from 0 to 1."""
    found: dict[str, Any] = {"jobs": summary.states.total(), **{state: summary.states[state] for state in STATES}}
    found["success_rate"] = summary.success_rate
    for name, spread in (("wait", summary.wait), ("run", summary.run)):
        values = (None, None, None) if spread is None else spread
        found |= {f"{name}_{what}": value for what, value in zip(("mean", "median", "p95"), values, strict=True)}
    return {
        **found, "gpu_hours": summary.gpu_hours, "peak_gpus": summary.peak_gpus, "gpu_percent": summary.gpu_percent,
        "cpu_hours": summary.cpu_hours, "peak_memory_mb": summary.peak_memory_mb,
    }  # fmt: skip
