"""The options of `gflowctl update`, which `edit` writes into its file by the same names. Defines them, reads none."""

from __future__ import annotations

from gflowctl.options import job_options
from gflowd import command_line
from gflowd.core.job.model import EXECUTORS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add(parser: argparse.ArgumentParser) -> None:
    """All of them."""
    job_options.add_resources(parser)
    group = parser.add_argument_group("identity")
    group.add_argument("-n", "--name", "-J", "--job-name", metavar="NAME", help="name of the job")
    group.add_argument("--comment", metavar="TEXT", help="text that gflowctl show shows")
    _configure_order(parser)
    job_options.add_retries(parser)
    _configure_array(parser)
    group = parser.add_argument_group("what to run")
    group.add_argument("--command", metavar="TEXT", help="replace the command and its arguments")
    group.add_argument("--script", metavar="FILE", help="replace the script (-: standard input)")
    job_options.add_environment(group)
    group.add_argument(
        "-o", "--output", metavar="PATTERN", help="write standard output to this file instead of the log"
    )
    group.add_argument("-e", "--error", metavar="PATTERN", help="write standard error to this file")
    group.add_argument("-i", "--input", metavar="FILE", help="read standard input from this file")
    group.add_argument("--append", action="store_true", default=None,
                       help="append to the output files instead of overwriting them")  # fmt: skip
    group.add_argument("--executor", choices=EXECUTORS, help="run in a tmux session or as a detached process")
    job_options.add_cluster(group)
    job_options.add_notification(parser)
    parser.add_argument(
        "--run",
        action="store_true",
        dest="only_run",
        help="change the run with this id, not the next of its series",
    )
    parser.add_argument("--clear", action="extend", type=command_line.words, default=[], metavar="OPTION,...",
                        help="options to reset to their defaults, e.g. time,begin,depends-on")  # fmt: skip


def _configure_order(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("order")
    job_options.add_priority(group)
    job_options.add_dependencies(group)
    group.add_argument("--auto-cancel", action="store_true", default=None,
                       help="cancel the job if a dependency can no longer be satisfied")  # fmt: skip
    group.add_argument(
        "--no-auto-cancel", action="store_false", dest="auto_cancel", help="keep the job queued in that case"
    )
    group.add_argument(
        "--begin", metavar="INSTANT", help="do not start before this time, e.g. 18:30, tomorrow 9:00 or now+2h"
    )
    job_options.add_deadline(group)
    job_options.add_repeat(group)
    command_line.add_timezone(group, command_line.READS)


def _configure_array(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("arrays and sweeps")
    group.add_argument("--param", action="append", default=[], metavar="NAME=VALUE",
                       help="set a parameter of the named elements to VALUE, taken literally")  # fmt: skip
    group.add_argument(
        "--max-concurrent", type=command_line.count, metavar="N", help="run at most N elements at a time"
    )
    group.add_argument("--max-failures", type=command_line.count, metavar="N",
                       help="once N jobs have failed, cancel those that have not started")  # fmt: skip
