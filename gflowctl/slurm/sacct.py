"""Usage: sacct [OPTIONS] ...

The jobs that ran, run and wait, as Slurm's sacct lists them, each followed by its batch step. Without -j, those since
midnight.

  -X --allocations; -a --allusers; -n --noheader; -p --parsable; -P --parsable2; --delimiter=TEXT; -b --brief; -l --long
  -j --jobs=IDS; -u --user=USERS; --name=NAMES; -s --state=STATES; -A --accounts=ACCOUNTS; -N --nodelist=NODES
  -S --starttime=TIME; -E --endtime=TIME; -o --format=FIELD[%WIDTH],...; -e --helpformat; --units=KMGTP
  -r, -q, -M, -L, -D: see gflow-slurm(7)

Lists are separated by commas. SACCT_FORMAT and SLURM_TIME_FORMAT are heeded. Other words are passed over.
"""

from __future__ import annotations

import os
import time

from gflowctl.output import render
from gflowctl.slurm.report import choice, facts, sacct_fields, table
from gflowctl.slurm.report.facts import Facts
from gflowctl.slurm.report.sacct_fields import FIELDS, Line
from gflowctl.view import jobs, views
from gflowd.core.errors import Refused
from gflowd.core.slurm import clock_forms, job_states
from gflowd.core.slurm.getopt import Grammar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gflowctl.context import Context
    from gflowctl.slurm.report.facts import Row
    from gflowd.core.slurm.job_words import Named

    Window = tuple[float, float]  # seconds since the epoch

GRAMMAR = Grammar(
    "sacct",
    short={
        "A": "accounts", "a": "allusers", "b": "brief", "B": "batch-script", "c": "completion", "D": "duplicates",
        "E": "endtime", "e": "helpformat", "f": "file", "F": "flags", "g": "group", "h": "help", "I": "ncpus",
        "i": "nnodes",
        "j": "jobs", "k": "timelimit-min", "K": "timelimit-max", "L": "allclusters", "l": "long", "M": "clusters",
        "N": "nodelist", "n": "noheader", "o": "format", "p": "parsable", "P": "parsable2", "q": "qos", "R": "reason",
        "r": "partition", "S": "starttime", "s": "state", "T": "truncate", "u": "user", "v": "verbose", "W": "wckeys",
        "x": "associations", "X": "allocations",
    },
    flags=("allclusters", "allocations", "allusers", "batch-script", "brief", "completion", "duplicates", "env-vars",
           "federation", "help", "helpformat", "local", "long", "noconvert", "noheader", "parsable", "parsable2",
           "truncate", "verbose"),
    valued=("accounts", "associations", "clusters", "constraints", "delimiter", "endtime", "file", "flags", "format",
            "group", "jobs", "name", "ncpus", "nnodes", "nodelist", "partition", "qos", "reason", "starttime", "state",
            "timelimit-max", "timelimit-min", "units", "user", "wckeys"),
    may_have_value=("array", "json", "whole-hetjob", "yaml"),
    aliases={
        "account": "accounts", "cluster": "clusters", "fields": "format", "gid": "group", "job": "jobs",
        "nodes": "nodelist", "partitions": "partition", "states": "state", "uid": "user", "wckey": "wckeys",
    },
)  # fmt: skip
REFUSED = {  # what would change the result
    "associations": "gflow has no associations", "batch-script": "use gflowctl show --script",
    "constraints": "gflow has no features", "env-vars": "use gflowctl show --environment",
    "file": "gflow has one history", "flags": "gflow has no such flags", "group": "choose by --user",
    "json": "gflow has its own JSON: gflowctl queue --json --all", "ncpus": "not supported",
    "nnodes": "gflow has one node", "reason": "not supported", "truncate": "not supported",
    "timelimit-max": "not supported", "timelimit-min": "not supported", "wckeys": "gflow has no wckeys",
    "yaml": "gflow has its own JSON: gflowctl queue --json --all",
}  # fmt: skip
UNITS = "KMGTP"
PIPE, TAIL = "|", "tail"  # words that a program gave us instead of a shell


def run(words: Sequence[str], context: Context) -> int:
    """Prints the table."""
    words, last = without_pipe(words)
    options = given(words, context)
    if "help" in options:
        render.write(f"{(__doc__ or '').strip()}\n")
        return 0
    if "helpformat" in options:
        render.write(table.names(FIELDS))
        return 0
    columns = table.chosen(_format(options, context.environ), FIELDS)
    choice.check_clusters(options.get("clusters"))
    choice.check_nodes(options.get("nodelist"))
    lines = list(_lines(options, context))
    cells = [[field.tell(line) for field in columns] for line in lines]
    shown = table.text(columns, cells, table.style(options))
    render.write(shown if last is None else "".join(shown.splitlines(keepends=True)[-last:]))
    return 0


def without_pipe(words: Sequence[str]) -> tuple[Sequence[str], int | None]:
    """The words before `| tail -N`, which some programs hand over without a shell, and N; None where there is none."""
    if PIPE not in words:
        return words, None
    place = words.index(PIPE)
    after = words[place + 1 :]
    count = after[1].removeprefix("-") if len(after) == len((TAIL, "-1")) and after[0] == TAIL else ""
    return words[:place], int(count) if count.isascii() and count.isdigit() and int(count[:9]) else None


def given(words: Sequence[str], context: Context) -> dict[str, str | None]:
    """The options, the last of each, but for all the jobs. Raises `Refused`."""
    pairs, _ = GRAMMAR.parse(words)
    options = dict(pairs)
    named = [value for name, value in pairs if name == "jobs" and value]
    options.pop("jobs", None)
    if named:
        options["jobs"] = ",".join(named)
    for name, why in REFUSED.items():
        if name in options:
            raise Refused(f"--{name}: {why}")
    if "format" in options and ("long" in options or "brief" in options):
        raise Refused("Options -o(--format) and -l(--long) or -b(--brief) are mutually exclusive")
    if (unit := options.get("units")) is not None and unit.upper() not in tuple(UNITS):
        raise Refused(f"Invalid unit type specified: {unit}; valid are {', '.join(UNITS)}")
    if (clusters := context.environ.get("SLURM_CLUSTERS")) is not None:
        options.setdefault("clusters", clusters)
    return options


def _format(options: Mapping[str, str | None], environ: Mapping[str, str]) -> str:
    if "long" in options:
        return sacct_fields.LONG
    if "brief" in options:
        return sacct_fields.BRIEF
    asked = options.get("format") or environ.get("SACCT_FORMAT") or sacct_fields.USUAL
    return ",".join(FIELDS) if asked.lower() == sacct_fields.ALL else asked


def _lines(options: Mapping[str, str | None], context: Context) -> Iterator[Line]:
    view = views.View(context, context.store.read())
    told = Facts(view, context.environ)
    named = _named(options, view)
    users = _users(options, context, has_names=named is not None)
    states = None if options.get("state") is None else job_states.parse(options["state"] or "")
    window = _window(options, view.now, is_named=named is not None)
    if named is None and view.has_history:
        from gflowd.storage.history_queries import Choice

        view.recall(Choice(users or (), (), choice.words(options.get("name")) or (), (), window and window[0]))
    ids = view.ids() if named is None else _known(view, named)
    if users is not None:
        ids = view.owned(ids, users)
    unit = None if options.get("units") is None else (options["units"] or "").upper()
    only_jobs = "allocations" in options
    steps = _steps(named)
    found = choice.rows(view, ids, elements=choice.names_element(view, named))
    for row in sorted(found, key=lambda row: row.job.id):
        if not _fits(options, told, row, states, window):
            continue
        label = told.label(row).partition("_[")[0]
        if label not in steps:
            yield Line(told, row, is_step=False, alone=only_jobs, unit=unit)
        if not only_jobs and told.started(row) is not None and steps.get(label, "batch") == "batch":
            yield Line(told, row, is_step=True, alone=False, unit=unit)


def _named(options: Mapping[str, str | None], view: views.View) -> list[Named] | None:
    text = options.get("jobs")
    if text is None:
        return None
    from gflowd.core.slurm import job_words

    try:
        found = job_words.parse(text)
    except Refused as error:
        raise Refused(str(error).replace("Invalid job id", "Bad job/step specified")) from None
    view.recall_named(",".join(str(each.id) for each in found))
    return found


def _known(view: views.View, named: Sequence[Named]) -> list[int]:
    found: dict[int, None] = {}
    for each in named:
        found.update(dict.fromkeys(choice.ids_of(view, each) or ()))
    return list(found)


def _steps(named: Sequence[Named] | None) -> dict[str, str]:
    """Of the jobs of which only a step was asked for, that step, by label."""
    from gflowd.core.syntax import ranges

    found = {}
    for each in named or ():
        if each.step is not None:
            element = "" if each.indices is None else f"_{ranges.show(each.indices)}"
            found[f"{each.id}{element}"] = each.step
    return found


def _users(options: Mapping[str, str | None], context: Context, *, has_names: bool) -> frozenset[str] | None:
    """Those whose jobs are meant; None for everybody's."""
    given = choice.words(options.get("user"))
    if given:
        found, unknown = facts.users(given)
        if unknown:
            raise Refused(f"Invalid user id: {unknown[0]}")
        return found
    if "allusers" in options or has_names or os.getuid() == 0:
        return None
    return frozenset((context.user,))


def _window(options: Mapping[str, str | None], now: float, *, is_named: bool) -> Window | None:
    """The time that is asked for, by the rules of sacct(1), `DEFAULT TIME WINDOW`; None for any."""
    begin, end = options.get("starttime"), options.get("endtime")
    by_state = options.get("state") is not None
    if is_named and begin is None and end is None:
        return None
    start = 0.0 if is_named else now if by_state else _midnight(now)
    if begin is not None:
        start = clock_forms.past_instant(begin, now)
    if end is not None:
        return start, clock_forms.past_instant(end, now)
    return start, start if by_state and begin is not None else now


def _midnight(now: float) -> float:
    local = time.localtime(now)
    return time.mktime((local.tm_year, local.tm_mon, local.tm_mday, 0, 0, 0, 0, 0, -1))


def _fits(
    options: Mapping[str, str | None], told: Facts, row: Row, states: frozenset[str] | None, window: Window | None
) -> bool:
    names, accounts = choice.words(options.get("name")), choice.words(options.get("accounts"))
    if names is not None and told.name(row) not in names:
        return False
    if accounts is not None and row.job.spec.project not in accounts:
        return False
    if "nodelist" in options and not told.nodes(row):
        return False
    if states is None:
        return window is None or _overlaps(told, row, window)
    return any(_was(told, row, state, window) for state in states)


def _overlaps(told: Facts, row: Row, window: Window) -> bool:
    """Whether it could run before the end of the time and was not over before its beginning."""
    since, ended = told.eligible(row), jobs.ended_at(row.job)
    return since is not None and since <= window[1] and (ended is None or ended >= window[0])


def _was(told: Facts, row: Row, state: str, window: Window | None) -> bool:
    """Whether it was in a state within the time."""
    if window is None:
        return job_states.accounted(row.state) == state
    started, ended = told.started(row), jobs.ended_at(row.job)
    if state == "PENDING":
        since = told.eligible(row)
        until = ended if started is None else started
        return since is not None and since <= window[1] and (until is None or until >= window[0])
    if state == "RUNNING":
        return started is not None and started <= window[1] and (ended is None or ended >= window[0])
    if state in job_states.OVER:
        return row.state == state and ended is not None and window[0] <= ended <= window[1]
    return row.state == state
