"""Usage: sinfo [OPTIONS] ...

The machine as Slurm's sinfo shows a cluster: one node in one partition.

  -h --noheader; -s --summarize; -N --Node; -l --long; -R --list-reasons; -o --format=FORMAT; -O --Format=NAMES
  -n --nodes=NODES; -t --states=STATES; -d --dead; -r --responding; -i --iterate=SECONDS
  -p --partition, -M --clusters, -a, -e, -S: see gflow-slurm(7)

SINFO_FORMAT stands for --format.
"""

from __future__ import annotations

import sys
import time

from gflowctl.output import render
from gflowctl.slurm.report import choice, node_facts
from gflowctl.slurm.report.node_facts import Node
from gflowd.core.errors import Refused
from gflowd.core.slurm import column_forms, site
from gflowd.core.slurm.getopt import Grammar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gflowctl.context import Context
    from gflowd.core.slurm.column_forms import Form

GRAMMAR = Grammar(
    "sinfo",
    short={
        "a": "all", "d": "dead", "e": "exact", "F": "future", "h": "noheader", "i": "iterate", "l": "long",
        "M": "clusters", "N": "Node", "n": "nodes", "O": "Format", "o": "format", "p": "partition", "r": "responding",
        "R": "list-reasons", "s": "summarize", "S": "sort", "t": "states", "T": "reservation", "v": "verbose",
    },
    flags=("all", "dead", "exact", "federation", "future", "hide", "list-reasons", "local", "long", "Node",
           "noconvert", "noheader", "reservation", "responding", "summarize", "verbose"),
    valued=("clusters", "Format", "format", "iterate", "nodes", "partition", "sort", "states"),
    may_have_value=("json", "yaml"),
    aliases={"cluster": "clusters", "partitions": "partition", "state": "states", "nodelist": "nodes"},
)  # fmt: skip
REFUSED = {
    "reservation": "use gflowctl reserve list", "json": "gflow has its own JSON: gflowctl info --json",
    "yaml": "gflow has its own JSON: gflowctl info --json",
}  # fmt: skip


def run(words: Sequence[str], context: Context) -> int:
    """Prints the table, once or again and again."""
    pairs, _ = GRAMMAR.parse(words)
    options = dict(pairs)
    for name, why in REFUSED.items():
        if name in options:
            raise Refused(f"--{name}: {why}")
    choice.check_clusters(options.get("clusters"))
    pause = None if options.get("iterate") is None else choice.seconds(options["iterate"] or "")
    states = _states(options.get("states"))
    while True:
        node = Node(context)
        node.is_shown = _is_shown(options, node, states)
        _print(options, context.environ, node)
        if pause is None:
            return 0
        render.write("\n")
        render.flush()
        time.sleep(pause)
        context.forget()


def _states(text: str | None) -> list[str] | None:
    found = choice.words(None if text is None else text.lower())
    known = {*node_facts.STATES, *node_facts.COMPACT.values(), "all"}
    for word in found or ():
        if word not in known:
            raise Refused(f'Bad state string: "{word}"; valid states: {",".join(node_facts.STATES)}')
    return None if found is None or "all" in found else found


def _is_shown(options: Mapping[str, str | None], node: Node, states: Sequence[str] | None) -> bool:
    if ("dead" in options and node.is_up) or ("responding" in options and not node.is_up):
        return False
    if options.get("nodes") is not None:
        try:
            choice.check_nodes(options["nodes"])
        except Refused:
            return False
    if "list-reasons" in options and node.reason == "none":
        return False
    return states is None or any(map(node.matches, states))


def _print(options: Mapping[str, str | None], environ: Mapping[str, str], node: Node) -> None:
    form, fields = _form(options, environ, node)
    for name in form.unknown:
        sys.stderr.write(f"sinfo: error: Invalid node format specification: {render.escape(name)}\n")
    if "noheader" not in options:
        if options.get("clusters"):
            render.write(f"CLUSTER: {site.CLUSTER}\n")
        if "long" in options or "iterate" in options:
            render.write(f"{time.strftime('%a %b %d %H:%M:%S %Y')}\n")
        render.write(f"{form.template % tuple(fields[cell.name][0] for cell in form.cells)}\n")
    if node.is_shown or not ("Node" in options or "list-reasons" in options):
        render.write(render.escape(form.template % tuple(fields[cell.name][1](node) for cell in form.cells)) + "\n")


def _form(
    options: Mapping[str, str | None], environ: Mapping[str, str], node: Node
) -> tuple[Form, Mapping[str, tuple[str, node_facts.Tell]]]:
    if (names := options.get("Format")) is not None:
        return column_forms.long(names, node_facts.NAMES), node_facts.NAMES
    text = options.get("format")
    if text is None:
        text = environ.get("SINFO_FORMAT") or _usual(options, node)
    return column_forms.short(text, node_facts.LETTERS), node_facts.LETTERS


def _usual(options: Mapping[str, str | None], node: Node) -> str:
    if "list-reasons" in options:
        return node_facts.REASONS
    if "summarize" in options:
        return node_facts.SUMMARY
    if "Node" in options:
        form = node_facts.LONG_NODES if "long" in options else node_facts.NODES
        return form.replace("{width}", str(max(node_facts.LEAST_WIDTH, len(node.name))))
    return node_facts.LONG if "long" in options else node_facts.USUAL
