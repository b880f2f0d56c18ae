"""The table of commands, and what is the same for all of them: global options, errors, the exit status."""

from __future__ import annotations

import os
import sys

from gflowctl.context import Context
from gflowctl.output import render
from gflowd import command_line
from gflowd.core.errors import GflowError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

# name: (module, aliases, summary); only the module of the command asked for is imported
COMMANDS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "submit": ("gflowctl.commands.submit", ("batch",), "queue a command or a script"),
    "run": ("gflowctl.commands.run", (), "run a command as a job, on this terminal"),
    "new": ("gflowctl.commands.new", (), "write a commented job script"),
    "queue": ("gflowctl.commands.queue", ("q", "list"), "list jobs"),
    "monitor": ("gflowctl.commands.monitor", (), "show jobs and GPUs on the whole screen, live"),
    "show": ("gflowctl.commands.show", (), "show everything about jobs"),
    "log": ("gflowctl.commands.log", (), "print or follow a job's output"),
    "progress": ("gflowctl.commands.progress", (), "in a job: report how far it is"),
    "attach": ("gflowctl.commands.attach", ("a",), "open the terminal of a running job"),
    "wait": ("gflowctl.commands.wait", (), "wait until jobs have ended"),
    "cancel": ("gflowctl.commands.cancel", (), "cancel queued jobs, stop running ones"),
    "hold": ("gflowctl.commands.hold", (), "keep queued jobs from starting"),
    "release": ("gflowctl.commands.release", (), "let held jobs start"),
    "suspend": ("gflowctl.commands.suspend", (), "let running jobs stand still, with their GPUs"),
    "unsuspend": ("gflowctl.commands.unsuspend", (), "let suspended jobs go on"),
    "update": ("gflowctl.commands.update", (), "change queued jobs, or the time limit of a running one"),
    "edit": ("gflowctl.commands.edit", (), "change the options of a queued job in an editor"),
    "top": ("gflowctl.commands.top", (), "move queued jobs to the front"),
    "limit": ("gflowctl.commands.limit", (), "set how many jobs of an array run at a time"),
    "requeue": ("gflowctl.commands.requeue", (), "run jobs once more, under the same id"),
    "redo": ("gflowctl.commands.redo", (), "queue new jobs like old ones"),
    "drain": ("gflowctl.commands.drain", (), "start no more jobs"),
    "resume": ("gflowctl.commands.resume", (), "let jobs start again"),
    "reserve": ("gflowctl.commands.reserve", (), "reserve GPUs for a user during a time window"),
    "gpus": ("gflowctl.commands.gpus", (), "control which GPUs jobs may use"),
    "events": ("gflowctl.commands.events", (), "print or follow what happened to jobs, GPUs and gflowd"),
    "notify": ("gflowctl.commands.notify", (), "try notifications, and list those that wait"),
    "stats": ("gflowctl.commands.stats", (), "summarise jobs: outcomes, waiting and run times, GPU hours"),
    "web": ("gflowctl.commands.web", (), "serve the queue as a page for a browser"),
    "metrics": ("gflowctl.commands.metrics", (), "print metrics for Prometheus"),
    "info": ("gflowctl.commands.info", (), "show GPUs, CPUs, memory and the daemon"),
    "mcp": ("gflowctl.commands.mcp", (), "serve the queue to an agent (MCP)"),
    "quota": ("gflowctl.commands.quota", (), "show and set the limits of users and projects"),
    "config": ("gflowctl.commands.config", (), "show the settings and where they come from"),
    "doctor": ("gflowctl.commands.doctor", (), "check the installation and suggest fixes"),
    "backup": ("gflowctl.commands.backup", (), "write the queue, its files and the settings to one file"),
    "restore": ("gflowctl.commands.restore", (), "restore a backup"),
    "export": ("gflowctl.commands.export", (), "write queued jobs as scripts for Slurm"),
    "close-sessions": ("gflowctl.commands.close_sessions", (), "close terminal sessions left over by ended jobs"),
    "slurm-commands": ("gflowctl.commands.slurm_commands", (), "link sbatch, squeue and the like into a directory"),
    "completion": ("gflowctl.commands.completion", (), "print the completion script for a shell"),
}

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Submit and watch",
        (
            "submit",
            "run",
            "new",
            "queue",
            "monitor",
            "show",
            "log",
            "progress",
            "attach",
            "wait",
            "events",
            "stats",
            "web",
            "mcp",
        ),
    ),
    (
        "Change jobs",
        ("cancel", "hold", "release", "suspend", "unsuspend", "update", "edit", "top", "limit", "requeue", "redo"),
    ),
    (
        "The machine",
        (
            "info",
            "gpus",
            "reserve",
            "quota",
            "drain",
            "resume",
            "metrics",
            "config",
            "notify",
            "doctor",
            "backup",
            "restore",
            "export",
            "close-sessions",
            "slurm-commands",
            "completion",
        ),
    ),
)

# These tell of a missing file, bring it, or read none.
WITHOUT_CONFIG = ("progress", "doctor", "restore", "slurm-commands", "completion")
COMPLETE = "__complete"  # what the completion scripts call
UNFORESEEN = 3
INTERRUPTED = 130  # 128 + SIGINT


def parser(name: str) -> command_line.Parser:
    """The whole parser of one verb, named by its full name."""
    module = _module(name)
    description = (module.__doc__ or "").strip()
    built = command_line.Parser(prog=f"gflowctl {name}", description=description, write=render.write)
    module.configure(built)
    command_line.add_globals(built)
    return built


def _module(name: str) -> ModuleType:
    return _imported(COMMANDS[name][0])


def _imported(module: str) -> ModuleType:
    """A module by its name; `importlib` would be one import more at each start."""
    __import__(module)
    return sys.modules[module]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs gflowctl with `argv`, by default the process's own; returns the exit status."""
    render.reopen_closed_streams()
    try:
        status = _dispatch(sys.argv[1:] if argv is None else argv)
    except GflowError as error:
        render.fail(str(error))
        status = error.status
    except BrokenPipeError:
        render.abandon_stdout()
        status = 0
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception as error:
        render.fail(command_line.unexpected(error))
        status = UNFORESEEN
    return status


def _dispatch(argv: Sequence[str]) -> int:
    try:
        status = _run(argv)
    except SystemExit as done:  # argparse has printed the help or the version
        status = int(done.code or 0)
    render.flush()
    return status


def _run(argv: Sequence[str]) -> int:
    before, rest = command_line.split_globals("gflowctl", argv, render.write)
    if before.help or not rest:
        render.write(_overview())
        return 0
    if rest[0] == command_line.HELP:
        return _help(rest[1:])
    if rest[0] == COMPLETE:
        offered: int = _imported("gflowctl.commands.candidates").run(rest[1:], os.environ)
        return offered
    name = command_line.full_name("gflowctl", rest[0], COMMANDS)
    args = parser(name).parse_args(rest[1:])
    args.color = args.color or before.color or "auto"
    given = {name: getattr(args, name) or getattr(before, name) for name in ("config", "state_dir", "daemon")}
    context = Context(os.environ, **given, timezone=getattr(args, "timezone", None))
    if name not in WITHOUT_CONFIG:
        context.check_config()
    status: int = _module(name).run(args, context)
    for note in context.notes():
        render.note(note)
    return status


def _help(words: Sequence[str]) -> int:
    """Shows the help of the command that `words` name; of all without."""
    if not words or words[0] == command_line.HELP:
        render.write(_overview())
        return 0
    asked = parser(command_line.full_name("gflowctl", words[0], COMMANDS))
    asked.parse_args(command_line.help_words(asked, words[1:]))
    return 0


def _overview() -> str:
    lines = [
        "Usage: gflowctl [OPTIONS] COMMAND ...",
        "",
        "Queue commands, which gflowd runs when their GPUs, CPUs and memory are free.",
        "Only running jobs needs gflowd; everything else works without it.",
        "",
    ]
    for title, names in GROUPS:
        lines.append(f"{title}:")
        for name in names:
            _, aliases, summary = COMMANDS[name]
            lines.append(f"  {', '.join((name, *aliases)):<18}{summary}")
        lines.append("")
    lines += [
        "Options, before or after the command:",
        "  --config FILE     the configuration file",
        "  --state-dir DIR   where gflow keeps its state",
        "  --daemon WHOSE    user: your own gflowd; system: that of all users, the default if there is one",
        "  --color WHEN      never, auto (on a terminal) or always",
        "  --version         print the version and exit",
        "  --help            this text; gflowctl help COMMAND for one command",
        "",
        "A first job:  gflowctl submit --wait -- echo hello",
        "",
    ]
    return "\n".join(lines)
