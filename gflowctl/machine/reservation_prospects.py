"""Whether repeating reservations let queued jobs start at all. Reports it, refuses nothing."""

from __future__ import annotations

import time

from gflowctl.output import render
from gflowctl.view import jobs, views
from gflowd.core.job.records import RESERVATION
from gflowd.core.planning import reservation_gaps
from gflowd.core.planning.capacity import Capacity, Device
from gflowd.core.planning.occupancy import Occupancy, owner_of
from gflowd.core.planning.reservation_calendar import ReservationCalendar
from gflowd.core.syntax import durations
from gflowd.core.syntax.plurals import noun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from gflowctl.context import Context
    from gflowd.core.job.model import Spec
    from gflowd.storage.record_log import Fold

    Records = Mapping[int, Any]

inf = float("inf")
MOST_NAMED = 5


def room(context: Context, records: Records) -> Occupancy | None:
    """The empty machine with the reservations of `records`; None while its GPUs are not known."""
    seen, gpus = context.observed, context.observed.gpus
    if len(gpus) != seen.gpu_count or seen.cpus is None or seen.memory_mb is None:
        return None
    calendar = ReservationCalendar(context.calendar)
    calendar.take(records)
    now = time.time()
    calendar.look(now)
    devices = tuple(Device(gpu.index, gpu.model, gpu.memory_mb) for gpu in gpus)
    capacity = Capacity(devices, seen.cpus, seen.memory_mb)
    return Occupancy(capacity, [each.index for each in devices], now, calendar.coming, calendar.horizon)


def shut_out(context: Context, found: Sequence[tuple[str, Spec]], records: Records | None = None) -> list[str]:
    """`job 42 can never start as things stand: ...` for the jobs in `found`, by label, that cannot start."""
    empty = room(context, context.store.read().of(RESERVATION) if records is None else records)
    words: dict[str, list[str]] = {}
    for name, spec in found if empty is not None and any(each.again for each in empty.windows) else ():
        assert empty is not None
        if (why := _why_never(empty, spec)) is not None:
            words.setdefault(why, []).append(name)
    return [
        f"{'jobs' if '-' in names[0] else noun(len(names), 'job')} {_some(names)} {why}" for why, names in words.items()
    ]


def note(context: Context, found: Sequence[tuple[str, Spec]]) -> None:
    """Says of new or changed jobs which of them can never start."""
    for words in shut_out(context, found):
        render.note(f"note: {words}")


def newly_shut_out(context: Context, fold: Fold, before: Records) -> list[str]:
    """As `shut_out`, for the queued jobs that could start with the reservations as they were before."""
    view = views.View(context, fold)
    waiting = [view.job(job_id) for job_id in view.ids() if not view.has_ended(job_id)]
    found = {job.spec: jobs.label(job) for job in reversed(waiting) if job.spec.gpus and jobs.is_waiting(job)}
    names = [(name, spec) for spec, name in reversed(found.items())]
    was = room(context, before)
    able = [(name, spec) for name, spec in names if was is None or _why_never(was, spec) is None]
    return shut_out(context, able, fold.of(RESERVATION))


def _why_never(empty: Occupancy, spec: Spec) -> str | None:
    """Why a job can never start, and what would help; None if it can start."""
    if reservation_gaps.can_ever(empty, spec, inf if spec.time_limit is None else spec.time_limit):
        return None
    who = sorted({each.id for each in empty.windows if each.again and not each.is_for(owner_of(spec))})
    what = f"{noun(len(who), 'reservation')} {', '.join(map(str, who))} {noun(len(who), 'leaves', 'leave')}"
    longest = reservation_gaps.longest(empty, spec)
    helps = "" if longest is None else f"; give it a --time of at most {durations.clock(longest)}"
    return f"can never start as things stand: {what} no gap that is long enough{helps}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
