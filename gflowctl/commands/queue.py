"""List the jobs of all users that are queued or running, in the order of their ids.

Jobs that are named are shown in any state; the id of a series shows its first run and those that have not ended.
NODELIST(REASON) holds the indices of the GPUs that a job has or, in brackets, why it waits or how it failed. The states
and their short codes are: queued PD, held H, starting CF, running R, suspended S, stopping CG, finished CD, failed F,
cancelled CA, timeout TO.

START is when a job began. For a queued job it is the latest time at which it will start, if that is promised, or a time
marked ~, which is only an estimate: its begin time, or what time limits and quotas lead to expect. N/A: not known.

PROGRESS is how far a running job says it is (see gflowctl-progress(1)), or the last progress bar of tqdm in its log;
END is when it ended or, marked ~, when it is expected to end by that. A terminal shows both where there is room. Logs
are only looked at while at most 50 jobs run.

On a terminal, the numbers of these jobs by state and of the busy GPUs follow.

With --summary there is a line for each state. Its REASONS say how many jobs have each; GPUS and CPUS are what all of
them together ask for.

Fields for --format and --sort: JOBID NAME USER PROJECT ST STATE TIME TIMELEFT TIMELIMIT SUBMIT START END NODES GPUS
CPUS MEMORY PRIORITY REASON NODELIST(REASON) PROGRESS EXIT REPEAT CLUSTER COMMAND.
"""

from __future__ import annotations

from gflowctl.options import arguments
from gflowctl.output import columns, descriptions, render
from gflowctl.view import jobs, listing, views
from gflowd import command_line
from gflowd.core.errors import BadUsage
from gflowd.core.job.model import QUEUED, STATES

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context
    from gflowctl.output.columns import Row
    from gflowctl.view.listing import Counted

SUMMARY = "\0"  # a name that no array has


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    if isinstance(parser, command_line.Parser):
        parser.dashed = ("--sort",)
    arguments.add_jobs(parser, nargs="*")
    group = parser.add_argument_group("which jobs")
    group.add_argument("-a", "--all", action="store_true", help="include jobs that have ended")
    group.add_argument("-c", "--completed", action="store_true", help="only jobs that have ended")
    group.add_argument(
        "-s", "--states", type=command_line.words, metavar="STATE,...", help="jobs in these states, e.g. running or PD"
    )
    group.add_argument("-n", "--names", type=command_line.words, metavar="NAME,...", help="jobs with these names")
    group.add_argument("-P", "--project", type=command_line.words, metavar="CODE,...", help="jobs of these projects")
    group.add_argument("-u", "--user", type=command_line.words, metavar="USER,...", help="jobs of these users")
    group.add_argument("-g", "--group", nargs="?", const=SUMMARY, metavar="GROUP",
                       help="jobs of this array or sweep, by id (42, @) or name; without GROUP: --summary")  # fmt: skip
    group.add_argument("--me", action="store_true", help="your jobs")
    group.add_argument(
        "--since", metavar="INSTANT", help="jobs submitted or ended since then, e.g. 9:00, or 2h or 7d ago"
    )
    group = parser.add_argument_group("display")
    group.add_argument(
        "--start",
        action="store_true",
        help="only queued jobs, in the order of their expected start times, if all jobs run to their "
        "limits and no other job goes first",
    )
    group.add_argument(
        "--sort", metavar="FIELD[,-FIELD]", help="sort by these fields; prefix with - for descending order"
    )
    group.add_argument(
        "--summary", action="store_true", help="one line for each state: its jobs, what they ask for, and why they wait"
    )
    group.add_argument("-l", "--limit", type=_limit, metavar="N", help="only the first N jobs; with -N, the last N")
    group.add_argument("-f", "--format", metavar="FIELDS", help="the columns to show")
    group.add_argument("-t", "--tree", action="store_true", help="show each job below the first one that it depends on")
    group.add_argument("-w", "--watch", action="store_true", help="refresh until interrupted")
    group.add_argument(
        "--interval", type=command_line.interval, default=2.0, metavar="S", help="seconds between refreshes (default 2)"
    )
    group.add_argument("-r", action="store_true", dest="unfolded", help="show each element of an array on its own line")
    command_line.add_timezone(group, command_line.BOTH)
    command_line.add_json(group, "print a JSON list, one object for each job")
    group.add_argument(
        "--csv",
        action="store_true",
        help="print comma-separated values, one line for each job; times in UTC, durations in seconds, memory in MiB",
    )


def _limit(text: str) -> int:
    return -command_line.count(text[1:]) if text.startswith("-") else command_line.count(text)


def _sorting(args: argparse.Namespace) -> str:
    if args.sort is None:
        return "START" if args.start else "JOBID"
    return str(args.sort)


def run(args: argparse.Namespace, context: Context) -> int:
    """Prints the list."""
    usual = columns.STARTS if args.start else columns.DEFAULT
    if args.group == SUMMARY:
        args.group, args.summary = None, True
    names = columns.chosen(usual if args.format is None else args.format)
    states = set(descriptions.states(args.states)) or ({QUEUED} if args.start else set())
    since = None if args.since is None else context.past_instant(args.since, "--since")
    _check(args)
    asked = _asked(args, context, states, since)

    def show() -> tuple[str, str]:
        """The list, and what it comes to, which only a terminal gets."""
        view = views.View(context, context.store.read())
        matching = listing.matching(view, asked, unfolded=args.unfolded or args.json or args.csv)
        if args.summary:
            return _summary(args, view, matching), _sums(view, matching)
        found = columns.sort(view, [(job, label) for job, label, _ in matching], _sorting(args))
        if args.limit is not None:
            found = found[: args.limit] if args.limit >= 0 else found[args.limit :]
        if args.json:
            from gflowctl.output import json_records

            render.write_json([json_records.record(view, job) for job, _ in found])
            return "", ""
        if args.csv:
            from gflowctl.output import job_csv

            return job_csv.table(view, found, names), ""
        return _table(args, view, found, names), _sums(view, matching)

    if args.watch:
        from gflowctl.output.watch import redraw

        redraw(context, show, args.interval)
    else:
        listed, sums = show()
        lines = ["", *render.paragraph(sums, render.terminal_columns())] if sums else []
        render.write(listed + "".join(f"{line}\n" for line in lines))
    if context.state.shared is not None and render.notes_are_read():
        from gflowctl.machine import own_daemon

        if (forgotten := own_daemon.note(context)) is not None:
            render.note(forgotten)
    return 0


def _asked(args: argparse.Namespace, context: Context, states: set[str], since: float | None) -> listing.Listing:
    plain = _sorting(args).upper() == "JOBID" and not args.names
    return listing.Listing(
        named=args.jobs,
        ended=args.all,
        only_ended=args.completed,
        states=states,
        names=args.names or (),
        projects=args.project or (),
        users={*(args.user or ()), *([context.user] if args.me else ())},
        group=args.group,
        since=since,
        limit=args.limit if plain else None,
    )


def _check(args: argparse.Namespace) -> None:
    if args.summary:
        kept = {"--csv": args.csv, "--tree": args.tree, "--start": args.start, "--format": args.format is not None,
                "--sort": args.sort is not None, "--limit": args.limit is not None}  # fmt: skip
        if (other := next((option for option, given in kept.items() if given), None)) is not None:
            raise BadUsage(f"give either --summary or {other}, not both")
    given = [option for option in ("--watch", "--tree", "--json", "--csv") if getattr(args, option[2:])]
    if len(given) > 1 and given != ["--watch", "--tree"]:
        why = "; the JSON has the dependencies" if given == ["--tree", "--json"] else ""
        raise BadUsage(f"give either {given[0]} or {given[-1]}, not both{why}")


def _table(args: argparse.Namespace, view: views.View, found: list[Row], names: list[str]) -> str:
    wide = render.terminal_columns() if render.is_terminal() else 0
    spare = columns.told_of(view, found) if wide and args.format is None and not args.start else []
    names = [*names, *spare]
    shape, rows = columns.columns(names, found, spare), columns.cells(view, found, names)
    if args.tree:
        from gflowctl.output import tree

        place = tree.place(names)
        rows, shape[place] = tree.rows(rows, place), shape[place].replace(right=False, flexible=False)
    return render.table(shape, rows, color=render.use_color(args.color), columns_wide=wide)


def _summary(args: argparse.Namespace, view: views.View, matching: list[Counted]) -> str:
    from gflowctl.output import job_counts

    sums = job_counts.by_state(view, [(job, number) for job, _, number in matching])
    if args.json:
        render.write_json(sums)
        return ""
    return job_counts.table(sums, color=render.use_color(args.color))


def _sums(view: views.View, matching: list[Counted]) -> str:
    if not render.is_terminal():
        return ""
    from gflowctl.output import job_counts

    numbers = dict.fromkeys(STATES, 0)
    for job, _, number in matching:
        numbers[jobs.state(job)] += number
    if not view.daemon_runs:  # what it saw of GPUs may be old
        return f"{job_counts.jobs(numbers)}; gflowd is not running"
    return job_counts.words(numbers, view.observed.gpus)
