"""Usage: scontrol COMMAND ...

  show hostnames [LIST]: the hosts of a list, by default $SLURM_JOB_NODELIST, one a line
  show hostlist|hostlistsorted HOSTS: the list that has these hosts
  [-o] [-d] show job [JOB], show step [JOB]: everything about jobs; -o: each in one line; -d: more of it
  show config, show node, show partition: the machine
  hold, release, requeue, requeuehold, suspend, resume, top JOB,...: change jobs; also jobname=NAME
  update JobId=JOB,... NAME=VALUE ...: change what jobs ask for
  write batch_script JOB [FILE|-]: write the script of a job, by default to slurm-JOB.sh
  ping: whether the daemon runs; version

Commands, and words after show, may be shortened, in any case. See gflow-slurm(7).
"""

from __future__ import annotations

from gflowctl.output import render
from gflowctl.slurm.report import choice
from gflowd.core.errors import Refused
from gflowd.core.slurm import site
from gflowd.core.slurm.getopt import Grammar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType
    from typing import TypeVar

    from gflowctl.context import Context

    Entry = TypeVar("Entry")

    Command = Callable[[Sequence[str], Context], int]

GRAMMAR = Grammar(
    "scontrol",
    short={
        "a": "all", "d": "details", "F": "future", "h": "help", "l": "local", "M": "clusters", "o": "oneliner",
        "Q": "quiet", "u": "uid", "v": "verbose", "V": "version",
    },
    flags=("all", "details", "future", "help", "hide", "local", "oneliner", "quiet", "sibling", "usage", "verbose",
           "version"),
    valued=("clusters", "cluster", "uid"),
    may_have_value=("json", "yaml", "federation"),
)  # fmt: skip

ELSEWHERE = {
    "create": "see gflowctl reserve",
    "delete": "see gflowctl reserve",
    "listpids": "ps shows a job's processes, which have GFLOW_JOB_ID in their environment",
    "notify": "write to the job's user",
    "reboot": "gflow does not reboot the machine",
    "reconfigure": "gflowd reload reads the settings again",
    "shutdown": "see gflowd stop",
    "takeover": "there is one gflowd",
    "token": "gflow needs none",
    "wait_job": "sbatch --wait and gflowctl wait wait for the end of a job; it starts where all of it is ready",
}


def run(words: Sequence[str], context: Context) -> int:
    """Does what one command asks for."""
    pairs, operands = GRAMMAR.parse(words)
    options = dict(pairs)
    for name in ("json", "yaml"):
        if name in options:
            raise Refused(f"--{name}: gflow has its own JSON: gflowctl queue --json, gflowctl info --json")
    choice.check_clusters(options.get("clusters"))
    if not operands:
        raise Refused("no command given, and there is no prompt for commands; see scontrol --help")
    if (name := operands[0].lower()) in ELSEWHERE:
        raise Refused(f"{name}: gflow has no such command; {ELSEWHERE[name]}")
    if len(name) > 1 and "show".startswith(name):
        return _show(operands[1:], context, list(options))
    return chosen(operands[0], COMMANDS)(operands[1:], context)


def chosen(word: str, table: Mapping[str, Entry]) -> Entry:
    """The entry whose name, in any case, `word` is or begins; of several that mean the same, the first. Raises
    `Refused`.
    """
    given = word.lower()
    if given in table:
        return table[given]
    found = sorted(name for name in table if name.startswith(given))
    if not found or not all(name.startswith(found[0]) or table[name] == table[found[0]] for name in found):
        raise Refused(f"invalid keyword: {word}")
    return table[found[0]]


def _show(words: Sequence[str], context: Context, options: Sequence[str]) -> int:
    if not words:
        raise Refused("too few arguments for keyword:show")
    what, equals, value = words[0].partition("=")
    rest = [value, *words[1:]] if equals else words[1:]
    entity = chosen(what, ENTITIES)
    if isinstance(entity, tuple):
        module, function = entity
        found: int = getattr(_module(module), function)(rest, context, options)
        return found
    return entity(rest, context)


def _hostnames(words: Sequence[str], context: Context) -> int:
    from gflowd.core.slurm import hostlist

    given = words[0] if words else context.environ.get("SLURM_JOB_NODELIST", context.environ.get("SLURM_NODELIST", ""))
    hosts = hostlist.expand(given)
    if not hosts:
        raise Refused("host list is empty")
    render.write("".join(f"{host}\n" for host in hosts))
    return 0


def _hostlist(words: Sequence[str], _context: Context) -> int:
    from gflowd.core.slurm import hostlist

    render.write(f"{hostlist.fold(hostlist.expand(','.join(words)))}\n")
    return 0


def _sorted_hostlist(words: Sequence[str], _context: Context) -> int:
    from gflowd.core.slurm import hostlist

    render.write(f"{hostlist.fold(sorted(hostlist.expand(','.join(words))))}\n")
    return 0


def _ping(_words: Sequence[str], context: Context) -> int:
    import os

    up = context.daemon_runs
    render.write(f"Slurmctld(primary) at {site.node(os.uname().nodename)} is {'UP' if up else 'DOWN'}\n")
    return 0 if up else 1


def _version(_words: Sequence[str], _context: Context) -> int:
    from gflowctl.slurm import main

    render.write(main.version())
    return 0


def _module(name: str) -> ModuleType:
    import sys

    whole = f"gflowctl.slurm.control.{name}"
    __import__(whole)
    return sys.modules[whole]


def _later(module: str, function: str = "run") -> Command:
    """A command whose module is imported only when it is asked for."""

    def command(words: Sequence[str], context: Context) -> int:
        found: int = getattr(_module(module), function)(words, context)
        return found

    return command


ENTITIES: dict[
    str, Command | tuple[str, str]
] = {  # a module and its function, which is told the options, or a function
    "config": ("show_machine", "config"),
    "hostlist": _hostlist,
    "hostlistsorted": _sorted_hostlist,
    "hostnames": _hostnames,
    "jobid": ("show_job", "run"),
    "jobs": ("show_job", "run"),
    "nodes": ("show_machine", "node"),
    "partitions": ("show_machine", "partition"),
    "partitionname": ("show_machine", "partition"),
    "steps": ("show_machine", "step"),
}
COMMANDS: dict[str, Command] = {
    "hold": _later("job_control", "hold"),
    "holdu": _later("job_control", "hold"),
    "ping": _ping,
    "release": _later("job_control", "release"),
    "requeue": _later("job_control", "requeue"),
    "requeuehold": _later("job_control", "requeue_and_hold"),
    "resume": _later("job_control", "resume"),
    "suspend": _later("job_control", "suspend"),
    "top": _later("job_control", "top"),
    "uhold": _later("job_control", "hold"),
    "update": _later("update"),
    "version": _version,
    "write": _later("batch_script"),
}
