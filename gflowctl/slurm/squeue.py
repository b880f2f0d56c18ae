"""Usage: squeue [OPTIONS] ...

The jobs that are queued or running, as Slurm's squeue lists them.

  -a --all; -h --noheader; -l --long; -r --array; --start; -s --step[=STEPS]
  -j --jobs=IDS; -u --user=USERS; --me; -n --name=NAMES; -t --states=STATES|all; -A --account=ACCOUNTS
  -w --nodelist=NODES; -p --partition, -q --qos, -M --clusters, -R, -L: see gflow-slurm(7)
  -o --format=FORMAT; -O --Format=NAMES; -S --sort=FIELDS; -i --iterate=SECONDS

Lists are separated by commas. SQUEUE_FORMAT, SQUEUE_FORMAT2, SQUEUE_STATES and the like stand for the options.
"""

from __future__ import annotations

import sys
import time

from gflowctl.output import render
from gflowctl.slurm.report import choice, squeue_fields
from gflowd.core.errors import Refused
from gflowd.core.slurm import column_forms, job_states, site
from gflowd.core.slurm.getopt import Grammar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gflowctl.context import Context
    from gflowctl.slurm.report.facts import Facts, Row
    from gflowctl.slurm.report.squeue_fields import Field
    from gflowd.core.slurm.column_forms import Form

GRAMMAR = Grammar(
    "squeue",
    short={
        "A": "account", "a": "all", "h": "noheader", "i": "iterate", "j": "jobs", "L": "licenses", "l": "long",
        "M": "clusters", "n": "name", "O": "Format", "o": "format", "P": "priority", "p": "partition", "q": "qos",
        "R": "reservation", "r": "array", "S": "sort", "s": "steps", "t": "states", "u": "users", "v": "verbose",
        "w": "nodelist",
    },
    flags=("all", "array", "array-unique", "federation", "hide", "local", "long", "me", "noconvert",
           "noheader", "only-job-state", "priority", "sibling", "start", "verbose"),
    valued=("account", "clusters", "Format", "format", "iterate", "licenses", "name", "nodelist", "partition", "qos",
            "reservation", "sort", "states", "users"),
    may_have_value=("jobs", "json", "steps", "yaml"),
    aliases={
        "job": "jobs", "accounts": "account", "cluster": "clusters", "names": "name", "nodes": "nodelist",
        "partitions": "partition", "state": "states", "step": "steps", "user": "users",
    },
)  # fmt: skip
VARIABLES = {  # what stands for an option that is not given; flags whatever their value is
    "SQUEUE_ACCOUNT": "account", "SQUEUE_ARRAY": "array", "SQUEUE_FORMAT": "format", "SQUEUE_FORMAT2": "Format",
    "SQUEUE_NAMES": "name", "SQUEUE_SORT": "sort", "SQUEUE_STATES": "states", "SQUEUE_USERS": "users",
    "SLURM_CLUSTERS": "clusters",
}  # fmt: skip
USUAL_SORT, START_SORT, STEP_SORT = "P,t,-p", "S", "P,i"


def run(words: Sequence[str], context: Context) -> int:
    """Prints the list, once or again and again."""
    options = given(words, context.environ)
    choice.check_clusters(options.get("clusters"))
    form, fields = _form(options)
    for name in form.unknown:
        sys.stderr.write(f"squeue: error: Invalid job format specification: {render.escape(name)}\n")
    wanted = choice.wanted(options, context)
    for user in wanted.unknown_users:
        sys.stderr.write(f"squeue: error: Invalid user: {render.escape(user)}\n\n")
    order = _order(options)
    pause = None if options.get("iterate") is None else choice.seconds(options["iterate"] or "")
    while True:
        try:
            rows, facts = choice.queued(wanted, context)
        except choice.UnknownJob:
            render.flush()
            sys.stderr.write("slurm_load_jobs error: Invalid job id specified\n")
            return 1
        if "start" in options:
            rows = [row for row in rows if squeue_fields.is_queued(row)]
        if "steps" in options:
            rows = [row for row in rows if row.job.run is not None and row.state not in job_states.OVER]
        _print(options, form, fields, facts, sort(facts, rows, order))
        if pause is None:
            return 0
        render.write("\n")
        render.flush()
        time.sleep(pause)
        context.forget()


def given(words: Sequence[str], environ: Mapping[str, str]) -> dict[str, str | None]:
    """The options of a command line and of the environment, the last of each. Raises `Refused`."""
    pairs, operands = GRAMMAR.parse(words)
    options = dict(pairs)
    if operands and ("jobs" in options and options["jobs"] is None):
        options["jobs"] = operands.pop(0)  # `-j 1,2`: its value may also be left out
    if operands and ("steps" in options and options["steps"] is None):
        options["steps"] = operands.pop(0)
    if operands:
        raise Refused(f"Unrecognized option: {operands[0]}")
    formats = [name for name in ("format", "Format", "long") if name in options]
    if len(formats) > 1:
        raise Refused(f"--{formats[0]} and --{formats[1]} are mutually exclusive; give one of them")
    for name in ("json", "yaml"):
        if name in options:
            raise Refused(f"--{name}: gflow has its own JSON: gflowctl queue --json")
    for variable, name in VARIABLES.items():
        if environ.get(variable) and not (formats and name in ("format", "Format")):
            options.setdefault(name, environ[variable])
    return options


def _form(options: Mapping[str, str | None]) -> tuple[Form, Mapping[str, Field]]:
    if "steps" in options:
        fields = squeue_fields.STEP_LETTERS
        return column_forms.short(options.get("format") or squeue_fields.STEPS, fields, squeue_fields.DURATIONS), fields
    if "long" not in options and (asked := options.get("Format")) is not None:
        return column_forms.long(asked, squeue_fields.NAMES, squeue_fields.DURATIONS), squeue_fields.NAMES
    usual = squeue_fields.START if "start" in options else squeue_fields.USUAL
    text = squeue_fields.LONG if "long" in options else options.get("format")
    fields = squeue_fields.LETTERS
    return column_forms.short(usual if text is None else text, fields, squeue_fields.DURATIONS), fields


def _print(
    options: Mapping[str, str | None], form: Form, fields: Mapping[str, Field], facts: Facts, rows: Sequence[Row]
) -> None:
    has_header, template = "noheader" not in options, form.template
    if has_header and options.get("clusters"):
        render.write(f"CLUSTER: {site.CLUSTER}\n")
    if has_header and ("long" in options or "iterate" in options):
        render.write(f"{time.strftime('%a %b %d %H:%M:%S %Y')}\n")
    if has_header:
        render.write(f"{form.header % tuple(fields[cell.name][0] for cell in form.cells)}\n")
    tell = [fields[cell.name][1] for cell in form.cells]
    lines = [render.escape(template % tuple([each(facts, row) for each in tell])) for row in rows]
    if lines:
        render.write("\n".join(lines) + "\n")


def _order(options: Mapping[str, str | None]) -> str:
    usual = STEP_SORT if "steps" in options else START_SORT if "start" in options else USUAL_SORT
    return options.get("sort") or usual


def sort(facts: Facts, rows: list[Row], text: str) -> list[Row]:
    """By `FIELD[,-FIELD]` of --sort; ids decide between equals. Raises `Refused`."""
    if text == USUAL_SORT:  # by the names of states, where users' own fields sort by Slurm's numbers of them
        return sorted(rows, key=lambda row: (row.state, -row.job.spec.priority, row.job.id))
    rows = sorted(rows, key=lambda row: row.job.id)
    for letter, falling in reversed(list(_sort_fields(text))):
        if letter != "P":  # there is only one
            key = squeue_fields.key(letter)
            rows.sort(key=lambda row: key(facts, row), reverse=falling)  # type: ignore[arg-type,return-value]
    return rows


def _sort_fields(text: str) -> Iterator[tuple[str, bool]]:
    for word in text.split(","):
        sign, letter = (word[0], word[1:]) if word[:1] in ("-", "+") else ("+", word)
        if letter not in squeue_fields.LETTERS:
            raise Refused(f"Invalid sort specification: {word}")
        yield letter, sign == "-"
