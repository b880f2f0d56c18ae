"""Statistics: how jobs ended, how long they waited and ran, and GPU hours by day; as `gflowctl stats` counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowctl.web.pages.frame import Page, Query, one
from gflowd.core.accounting.statistics import DAY, PROJECT, USER, Calendar
from gflowd.core.syntax import durations, memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gflowctl.api import Group, Queue
    from gflowctl.view.views import View

RANGES = {"24h": 86400, "7d": 7 * 86400, "30d": 30 * 86400, "all": None}
USUAL = "7d"
GROUPS = (USER, PROJECT, DAY)
FEWEST, DAYS = 14, 60  # columns
HEIGHT = 80  # of the highest column
MOST_ROWS = 200


@dataclass(frozen=True, slots=True)
class Column:
    """A day: places and sizes across in per cent, upwards in pixels."""

    x: float
    width: float
    y: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    """One group as text."""

    name: str
    jobs: int
    ended: tuple[int, int, int, int]
    success: str
    waited: str
    ran: str
    hours: str
    peak: int
    load: str


def build(view: View, query: Query, queue: Queue) -> Page:
    """`range`: how far back; `by`: user, project or day; `user`: of one user only."""
    chosen = one(query, "range") if one(query, "range") in RANGES else USUAL
    by = one(query, "by") if one(query, "by") in GROUPS else USER
    user, seconds = one(query, "user")[:100], RANGES[chosen]
    since = None if seconds is None else view.now - seconds
    users = [user] if user else None
    whole = queue.statistics(users=users, since=since)
    groups = queue.statistics(users=users, since=since, by=by).groups
    view.context.store.notes += queue.notes()
    days = dict(whole.gpu_hours_by_day)
    columns = _columns(days, Calendar(view.clock.zone).days(min(days), max(days))[-DAYS:] if days else [])
    values = {
        "lines": _sums(whole.groups[0]), "rows": [_line(each) for each in groups[:MOST_ROWS]],
        "unlisted": max(0, len(groups) - MOST_ROWS), "columns": columns, "days": _named(columns),
        "most": f"{max(days.values(), default=0.0):.2f}", "ranges": list(RANGES), "range": chosen, "by": by,
        "groups": GROUPS, "user": user,
    }  # fmt: skip
    return Page("statistics", "Statistics", "statistics", values)


def _columns(hours: Mapping[str, float], days: list[str]) -> list[Column]:
    most, step = max(hours.values(), default=0.0), 100 / max(len(days), FEWEST)
    found = []
    for place, day in enumerate(days):
        used = hours.get(day, 0.0)
        height = round(HEIGHT * used / most, 1) if most else 0.0
        title = f"{day}: {used:.2f} GPU hours"
        found.append(Column(round(place * step, 3), round(step * 0.8, 3), HEIGHT - height, height, title))
    return found


def _named(columns: list[Column]) -> list[tuple[float, str]]:
    """The first day and the last, with their places."""
    if not columns:
        return []
    first, last = columns[0].title[:10], columns[-1].title[:10]
    return [(0.0, first), (100.0, last)] if len(columns) >= FEWEST else [(0.0, first)]


def _sums(group: Group) -> list[tuple[str, str]]:
    peak = group.peak_memory_mb
    return [
        ("Jobs", str(group.jobs)),
        ("Success rate", _percent(group.success_rate)),
        ("Waited", _spread(group.wait_mean, group.wait_median, group.wait_p95)),
        ("Ran", _spread(group.run_mean, group.run_median, group.run_p95)),
        ("GPU hours", f"{group.gpu_hours:.2f}"),
        ("Peak GPUs", str(group.peak_gpus)),
        ("GPU use", "not known" if group.gpu_percent is None else f"{group.gpu_percent:.0f} % on average"),
        ("CPU hours", f"{group.cpu_hours:.2f}"),
        ("Peak memory", "not known" if peak is None else memory.show(peak)),
    ]


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f} %"


def _spread(mean: float | None, median: float | None, p95: float | None) -> str:
    if mean is None or median is None or p95 is None:
        return "-"
    return f"mean {durations.clock(mean)}, median {durations.clock(median)}, 95 % at most {durations.clock(p95)}"


def _line(group: Group) -> Line:
    waited, ran = ("-" if each is None else durations.clock(each) for each in (group.wait_median, group.run_median))
    return Line(
        group.name or "-", group.jobs, (group.finished, group.failed, group.cancelled, group.timeout),
        _percent(group.success_rate), waited, ran, f"{group.gpu_hours:.2f}", group.peak_gpus,
        "-" if group.gpu_percent is None else f"{group.gpu_percent:.0f} %",
    )  # fmt: skip
