"""Show the machine as gflowd sees it: GPUs with memory and load, CPUs, host memory, and the daemon.

USED BY lists the jobs on a GPU and the processes that gflow did not start; jobs that leave their GPUs idle are marked.
RESERVED names the users for whom a GPU is reserved by index, now and next. Reservations of a number of GPUs, without
indices, are listed below the table.

While gflowd is not running, the numbers are from when it last looked.

With --cluster, the clusters of gflow.toml are asked instead: which nodes they have, how these are, and how many of your
jobs are there.
"""

from __future__ import annotations

import time

from gflowctl.machine import drain as draining
from gflowctl.machine import gpu_table, gpus, overview
from gflowctl.machine import reservations as reserving
from gflowctl.output import job_counts, render
from gflowctl.output.watch import redraw
from gflowd import command_line
from gflowd.core.errors import BadUsage
from gflowd.core.job.records import RESERVATION
from gflowd.core.planning import reservations
from gflowd.core.syntax import durations, memory, ranges
from gflowd.core.syntax.plurals import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context
    from gflowd.core.planning.reservations import Reservation, Window
    from gflowd.core.syntax.clocks import Clock
    from gflowd.storage.observed_reader import Observed
    from gflowd.storage.record_log import Fold

KEY = 10  # characters
ALL = ""  # of --cluster
LEAST_ASKED = 5.0  # seconds between questions to a cluster


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.add_argument("-w", "--watch", action="store_true", help="refresh until interrupted")
    parser.add_argument(
        "--interval", type=command_line.interval, default=2.0, metavar="S", help="seconds between refreshes (default 2)"
    )
    parser.add_argument("--cluster", nargs="?", const=ALL, metavar="NAME",
                        help="ask this cluster of gflow.toml, or all of them, instead of this machine")  # fmt: skip
    command_line.add_timezone(parser, command_line.SHOWS)
    command_line.add_json(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Prints it."""
    if args.watch and args.json:
        raise BadUsage("give either --watch or --json, not both")
    if args.cluster is not None:
        return _clusters(args, context)
    if args.json:
        render.write_json(overview.document(context))
        return 0
    color = render.use_color(args.color)
    if args.watch:
        redraw(context, lambda: (_page(context, color=color), ""), args.interval)
    render.write(_page(context, color=color))
    return 0


def _clusters(args: argparse.Namespace, context: Context) -> int:
    from gflowctl.machine import cluster_states

    name = args.cluster or None
    if args.json:
        render.write_json(cluster_states.document(context, name))
        return 0
    color = render.use_color(args.color)
    if args.watch:
        redraw(context, lambda: (cluster_states.page(context, name, color=color), ""), max(args.interval, LEAST_ASKED))
    render.write(cluster_states.page(context, name, color=color))
    return 0


def _page(context: Context, *, color: bool) -> str:
    seen = context.observed
    runs = context.daemon_runs
    fold = context.store.read()
    if not seen.is_known:
        hint = "it has not polled the machine yet" if runs else f"it has never run here; {context.start_command}"
        return f"{_key('Daemon', color=color)}{'running' if runs else 'not running'} ({hint})\n" + _drained(
            fold, context.clock, color=color
        )
    found = reservations.decode_all(fold.of(RESERVATION))
    parts = [_gpus(seen, found, context, color=color), _allowed(context, color=color)]
    parts.append(_host(seen, color=color))
    parts.append(_entry("Jobs", job_counts.words(overview.numbers(context, fold), seen.gpus), color=color))
    parts += [
        _daemon(seen, runs=runs, start=context.start_command, color=color),
        _drained(fold, context.clock, color=color),
    ]
    return "".join(parts)


def _drained(fold: Fold, clock: Clock, *, color: bool) -> str:
    drain = draining.of(fold)
    if drain is None:
        return ""
    said = f"no job starts, {render.escape(draining.words(drain, clock))}"
    return _entry("Drained", said, render.YELLOW, color=color)


def _allowed(context: Context, *, color: bool) -> str:
    allowed = gpus.Allowed(context)
    return "" if allowed.by is None else _entry("Allowed", render.escape(allowed.words()), color=color)


def _entry(name: str, said: str, paint: str = "", *, color: bool) -> str:
    """A line, or on a terminal as many as it needs."""
    lines = render.paragraph(said, render.terminal_columns() - KEY) if render.is_terminal() else [said]
    keys = [_key(name, color=color), *[" " * KEY] * (len(lines) - 1)]
    return "".join(f"{key}{render.paint(line, paint, on=color)}\n" for key, line in zip(keys, lines, strict=True))


def _key(name: str, *, color: bool) -> str:
    return render.paint(f"{name}:".ljust(KEY), render.BOLD, on=color)


def _gpus(seen: Observed, found: list[Reservation], context: Context, *, color: bool) -> str:
    gpus, trouble, now = seen.gpus, seen.gpu_trouble, time.time()
    tz, clock = context.calendar, context.clock
    known = {gpu.index for gpu in gpus}
    upcoming = reservations.upcoming(found, now, tz)
    others = [window for window in upcoming if window.gpu_list is None or known.isdisjoint(window.gpu_list)]
    below = "".join(_entry("Reserved", _words(window, now, clock), color=color) for window in others)
    if not gpus:
        looked = seen.gpu_count is not None
        said = render.escape(trouble) if trouble else "none" if looked else "not known yet"
        return _entry("GPUs", said, render.RED * bool(trouble), color=color) + below
    kept = {index: reserving.brief(*both, now, clock) for index, both in reserving.by_gpu(found, now, tz).items()}
    table = gpu_table.draw(gpus, kept, seen.reasons, color=color)
    return f"{table}{gpu_table.causes(gpus, trouble, color=color)}\n{below}"


def _words(window: Window, now: float, clock: Clock) -> str:
    """`any 2 GPUs for ada from Mon 09:00 until Mon 18:00 (3)`, for a reservation that is not in the table."""
    listed = window.gpu_list
    gpus = f"any {count(window.gpus, 'GPU')}" if listed is None else f"GPU {ranges.fold(listed)}"
    since = "" if window.start <= now else f"from {clock.near(window.start, now)} "
    return f"{gpus} for {render.escape(window.user)} {since}until {clock.near(window.end, now)} ({window.id})"


def _host(seen: Observed, *, color: bool) -> str:
    lines = []
    if (cpus := seen.cpus) is not None:
        taken = seen.used_cpus or 0
        lines.append(f"{_key('CPUs', color=color)}{gpu_table.bar(taken, cpus)} {taken} of {cpus} allocated to jobs\n")
    if (total := seen.memory_mb) is not None:
        taken = seen.used_memory_mb or 0
        said = f"{memory.about(taken)} of {memory.about(total)} requested by jobs"
        lines.append(f"{_key('Memory', color=color)}{gpu_table.bar(taken, total)} {said}\n")
    return "".join(lines)


def _daemon(seen: Observed, *, runs: bool, start: str, color: bool) -> str:
    if runs:
        said = f"running, version {seen.version}, executor {seen.executor}"
    else:
        ago = "" if seen.at is None else f"; it last saw the machine {durations.clock(time.time() - seen.at)} ago"
        said = render.paint("not running", render.RED, on=color) + f" ({start}){ago}"
    line = f"{_key('Daemon', color=color)}{said}\n"
    if seen.trouble:
        line += _entry("Trouble", render.escape(seen.trouble), render.RED, color=color)
    return line
