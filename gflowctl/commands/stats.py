"""Summarise jobs: how they ended, how long they waited and ran, and the GPU time they used. Default: your own jobs.

Jobs in the queue and in the history both count. Waiting is the time from submission, or for a run of a series from when
it was due, to the first start; running is the time that the last attempt took. The third number of each is one that 95
% of the jobs did not exceed. The success rate is the share of finished jobs among those that ended and were not
cancelled. GPU hours are those of all attempts, and the peak is the largest number of GPUs in use at one time. With --by
day a job belongs to the day on which it ended, GPU hours to the day on which they were used. On a terminal that is too
narrow, CD, F, CA and TO stand for finished, failed, cancelled and timeout, OK for the success rate and GPUH for GPU
hours, and numbers are rounded.

GPU use, CPU hours and the peak of memory are those of attempts that have ended, as far as they are known (see
gflowctl-show(1)): GPU use is the mean over the time for which GPUs were held, the peak is that of the largest attempt.
"""

from __future__ import annotations

import re
import sys
import time

from gflowctl.machine import job_statistics
from gflowctl.output import render
from gflowctl.output.render import Column
from gflowd import command_line
from gflowd.core.accounting import statistics
from gflowd.core.accounting.statistics import DAY, PROJECT, USER, Calendar
from gflowd.core.errors import BadUsage
from gflowd.core.job.model import ENDED_STATES, SHORT_STATES, STATES
from gflowd.core.syntax import durations, memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from gflowctl.context import Context
    from gflowd.core.accounting.statistics import Spread, Summary
    from gflowd.core.syntax.clocks import Clock

LONGEST_CHART = 30  # days
BAR = 40  # columns of the longest bar
EIGHTHS = " ▏▎▍▌▋▊▉"
KEY = 14  # characters
LONGEST_NAME = 16  # characters that a name keeps before numbers are rounded
COLORS = re.compile(r"\x1b\[[0-9]*m")
WIDE = ("JOBS", *(state.upper() for state in ENDED_STATES), "SUCCESS", "WAITED", "RAN", "GPUHOURS", "PEAK")
NARROW = ("JOBS", *(SHORT_STATES[state] for state in ENDED_STATES), "OK", "WAIT", "RAN", "GPUH", "PEAK")
TITLES = {USER: "USER", PROJECT: "PROJECT", DAY: "DAY"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    group = parser.add_argument_group("which jobs")
    group.add_argument(
        "-u", "--user", type=command_line.words, metavar="USER,...", help="only these users (default: you)"
    )
    group.add_argument("--all-users", action="store_true", help="jobs of all users")
    group.add_argument(
        "--since", metavar="INSTANT", help="jobs submitted, running or ended since then, e.g. 9:00, or 2h or 7d ago"
    )
    group = parser.add_argument_group("summary")
    group.add_argument("--by", choices=(USER, PROJECT, DAY), help="print one line for each user, project or day")
    command_line.add_timezone(group, "read times and count days")
    group.add_argument("--csv", action="store_true", help="print comma-separated values; durations in seconds")
    command_line.add_json(group, "print a JSON object with the groups and GPU hours by day")


def run(args: argparse.Namespace, context: Context) -> int:
    """Prints the sums."""
    if args.csv and args.json:
        raise BadUsage("give either --csv or --json, not both")
    if args.user and args.all_users:
        raise BadUsage("give either --user or --all-users, not both")
    since = None if args.since is None else context.past_instant(args.since, "--since")
    users = () if args.all_users else tuple(args.user or (context.user,))
    calendar, now = Calendar(context.clock.zone), time.time()
    found = job_statistics.accounts(context, context.store.read(), users, since, now)
    tallies, hours = statistics.tallied(found, args.by, calendar, since or 0.0, now)
    groups = {name: tallies[name].summary() for name in sorted(tallies)}
    if args.by is None:
        groups = groups or {"": statistics.Tally().summary()}
    if args.json:
        render.write_json(_json(args.by, groups, hours, since, now))
    elif args.csv:
        render.write(_csv(args.by, groups))
    else:
        color, clock = render.use_color(args.color), context.clock
        render.write(_text(groups[""], color=color) if args.by is None else _table(args.by, groups, clock, color=color))
        if hours and args.by != DAY:
            chart = _chart(hours, calendar.days(min(hours), max(hours)))
            render.write(f"\nGPU hours per day{clock.other(clock.zone)}\n{chart}")
    return 0


def _text(summary: Summary, *, color: bool) -> str:
    counts = ", ".join(f"{number} {state}" for state in STATES if (number := summary.states[state]))
    lines = {
        "Jobs": f"{summary.states.total()} ({counts})" if counts else "0",
        "Success rate": _percent(summary.success_rate),
        "Waited": _spread(summary.wait),
        "Ran": _spread(summary.run),
        "GPU hours": f"{summary.gpu_hours:.2f}",
        "Peak GPUs": str(summary.peak_gpus),
        "GPU use": "N/A" if summary.gpu_percent is None else f"{summary.gpu_percent:.0f} % on average",
        "CPU hours": f"{summary.cpu_hours:.2f}",
        "Peak memory": "N/A" if summary.peak_memory_mb is None else memory.show(summary.peak_memory_mb),
    }
    wide = render.terminal_columns() - KEY if render.is_terminal() else 0
    whole = []
    for title, text in lines.items():
        first, *more = render.paragraph(text, wide) if wide else [text]
        whole.append(f"{render.paint(f'{title}:'.ljust(KEY), render.BOLD, on=color)}{first}\n")
        whole += [f"{' ' * KEY}{line}\n" for line in more]
    return "".join(whole)


def _percent(rate: float | None) -> str:
    return "N/A" if rate is None else f"{100 * rate:.1f} %"


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "N/A"
    mean, median, p95 = map(durations.clock, spread)
    return f"mean {mean}, median {median}, 95 % at most {p95}"


def _table(by: str, groups: Mapping[str, Summary], clock: Clock, *, color: bool) -> str:
    """On a terminal that is too narrow for it with short titles and rounded numbers."""
    title = TITLES[by] if by != DAY or clock.name is None else f"{TITLES[by]} ({clock.name})"
    wide = render.terminal_columns() if render.is_terminal() else 0
    whole = _drawn(by, [title, *WIDE], _cells, groups, color=color, wide=0)
    if not wide:
        return whole
    spare = max((render.width(render.escape(name)) for name in groups), default=0) - LONGEST_NAME
    if max(map(_seen, whole.splitlines())) - max(0, spare) <= wide:
        return _drawn(by, [title, *WIDE], _cells, groups, color=color, wide=wide)
    return _drawn(by, [title, *NARROW], _short_cells, groups, color=color, wide=wide)


def _drawn(
    by: str,
    titles: Sequence[str],
    cells: Callable[[Summary], list[str]],
    groups: Mapping[str, Summary],
    *,
    color: bool,
    wide: int,
) -> str:
    first, *rest = titles
    columns = [Column(first, flexible=by != DAY), *(Column(title, right=True) for title in rest)]
    rows = [(None, [name, *cells(summary)]) for name, summary in groups.items()]
    return render.table(columns, rows, color=color, columns_wide=wide)


def _seen(line: str) -> int:
    """How many columns a line takes that may have colours."""
    return render.width(COLORS.sub("", line))


def _cells(summary: Summary) -> list[str]:
    """The medians of the durations."""
    medians = ["-" if each is None else durations.clock(each.median) for each in (summary.wait, summary.run)]
    ended = [str(summary.states[state]) for state in ENDED_STATES]
    rate, hours = _percent(summary.success_rate), f"{summary.gpu_hours:.2f}"
    return [str(summary.states.total()), *ended, rate, *medians, hours, str(summary.peak_gpus)]


def _short_cells(summary: Summary) -> list[str]:
    """The same in at most five columns each."""
    counts = [_short(number) for number in (summary.states.total(), *(summary.states[each] for each in ENDED_STATES))]
    rate = "N/A" if summary.success_rate is None else f"{100 * summary.success_rate:.0f} %"
    medians = ["-" if each is None else _rough(each.median) for each in (summary.wait, summary.run)]
    return [*counts, rate, *medians, _short(summary.gpu_hours), _short(summary.peak_gpus)]


def _short(number: float) -> str:
    """`7`, `7.25`, `812.5`, `81234`, `812k`, `12M`."""
    if number >= 1e5:
        return f"{number // 1e3:.0f}k" if number < 1e7 else f"{number // 1e6:.0f}M"
    return str(number) if isinstance(number, int) else f"{number:.2f}"[:5].rstrip(".")


def _rough(seconds: float) -> str:
    """`42s`, `17m`, `3.4h`, `12.3d`, `812d`."""
    if seconds < 120:
        return f"{seconds:.0f}s"
    if seconds < 7200:
        return f"{seconds / 60:.0f}m"
    if seconds < 172800:
        return f"{seconds / 3600:.1f}h"
    days = seconds / 86400
    return f"{days:.1f}d" if days < 99.95 else f"{days:.0f}d"


def _json(
    by: str | None, groups: Mapping[str, Summary], hours: Mapping[str, float], since: float | None, now: float
) -> dict[str, Any]:
    return {
        "since": render.rfc3339(since),
        "until": render.rfc3339(now),
        "by": by,
        "groups": [
            {"name": name if by else None, **job_statistics.record(summary)} for name, summary in groups.items()
        ],
        "gpu_hours_by_day": {day: hours[day] for day in sorted(hours)},
    }


def _csv(by: str | None, groups: Mapping[str, Summary]) -> str:
    import csv
    import io

    out = io.StringIO()
    rows = [{by or "group": name or "all", **job_statistics.record(summary)} for name, summary in groups.items()]
    names = rows[0] if rows else {by or "group": None, **job_statistics.record(statistics.Tally().summary())}
    writer = csv.DictWriter(out, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _chart(hours: Mapping[str, float], days: list[str]) -> str:
    """A bar for each of the last days."""
    shown, most = days[-LONGEST_CHART:], max(hours.values())
    blocks = render.is_terminal() and (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    lines = []
    for day in shown:
        used = hours.get(day, 0.0)
        lines.append(f"{day}  {_bar(used / most, blocks=blocks):<{BAR}}  {used:.2f}".rstrip())
    return "\n".join(lines) + "\n"


def _bar(part: float, *, blocks: bool) -> str:
    if not blocks:
        return "#" * round(part * BAR)
    whole, eighths = divmod(round(part * BAR * 8), 8)
    return f"{'█' * whole}{EIGHTHS[eighths].strip()}"
