"""The options of submit, which the head of a script and a line of `--from` may have too."""

from __future__ import annotations

import argparse

from gflowctl.options import job_options
from gflowctl.output import render
from gflowd import command_line
from gflowd.core.errors import Refused
from gflowd.core.job.model import EXECUTORS


def add(parser: argparse.ArgumentParser) -> None:
    """Names the options and the command."""
    parser.set_defaults(parser=parser)  # it reads the heads of scripts and the lines of --from too
    job_options.add_resources(parser, new=True)
    job_options.add_tasks(parser)
    job_options.add_identity(parser, new=True)
    job_options.add_order(parser, new=True)
    job_options.add_many(parser)
    job_options.add_retries(parser)
    _add_files(parser)
    job_options.add_notification(parser)
    group = parser.add_argument_group("running")
    group.add_argument("--wait", action="store_true", help="wait for the job to end; exit with its status")
    group.add_argument("--follow", action="store_true", help="like --wait, and show the job's output")
    group.add_argument(
        "--dry-run", action="store_true", help="check everything and show what would be queued, but queue nothing"
    )
    group.add_argument("--skip-if-queued", action="store_true",
                       help="print the id of your job with the same name if one has not ended; submit nothing then"
                       )  # fmt: skip
    group.add_argument("--executor", choices=EXECUTORS, help="run in a tmux session or as a detached process")
    group.add_argument("--partition", metavar="NAME", help="no effect: there is one machine; accepted as by sbatch")
    group.add_argument("--auto-close", action="store_true", help="no effect: a session always ends with its job")
    group.add_argument("--ignore-unknown-directives", action="store_true",
                       help="ignore options in the head of a script that gflow does not support")  # fmt: skip
    group.add_argument("--parsable", action="store_true", help="print only the job's id")
    command_line.add_json(group, "print the new jobs as a JSON list")
    parser.add_argument("--wrap", metavar="TEXT", help="run TEXT with sh -c")
    parser.add_argument("--from", dest="source", metavar="FILE",
                        help="queue a job for each line of FILE (-: standard input), all or none")  # fmt: skip
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND",
                        help="the command or script, and its arguments")  # fmt: skip


def _add_files(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("files and environment")
    job_options.add_directory(group)
    group.add_argument(
        "-o", "--output", metavar="PATTERN", help="write standard output to this file instead of the log"
    )
    group.add_argument("-e", "--error", metavar="PATTERN", help="write standard error to this file")
    group.add_argument("-i", "--input", metavar="FILE", help="read standard input from this file")
    group.add_argument("--append", action="store_true", help="append to the output files instead of overwriting them")
    group.add_argument("--open-mode", dest="append", type=_appends, default=argparse.SUPPRESS, metavar="MODE",
                       help="append or truncate, as for sbatch: with append as --append")  # fmt: skip
    job_options.add_export(group)
    job_options.add_environment(group)


def _appends(text: str) -> bool:
    """A type for argparse: whether a mode of sbatch(1) is to append."""
    from gflowd.core.slurm import sbatch_semantics

    try:
        return sbatch_semantics.appends(text)
    except Refused as error:
        raise argparse.ArgumentTypeError(f"{text!r} is {error}") from None


def parser(prog: str) -> command_line.Parser:
    """A parser of these options alone, for what is no command line of `gflowctl submit`."""
    made = command_line.Parser(prog=prog, write=render.write)
    add(made)
    return made
