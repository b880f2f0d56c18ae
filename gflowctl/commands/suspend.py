"""Let running jobs stand still until gflowctl unsuspend: every process of a job is stopped, and so is its clock.

A suspended job keeps its GPUs, its memory and its place in quotas. Its time limit, its warning signal and --quiet-limit
stand still too. It also keeps its CPUs, unless --release-cpus gives them to others; it then goes on only when they are
free again. A job that is just starting is suspended as soon as it runs, and a new attempt of a job is not suspended.

The processes get SIGSTOP, which a program cannot catch; a job that has a control group of its own is frozen by the
kernel instead. Work that a GPU has already been given is completed.

Name the jobs or choose them by options, which leave out all jobs that are not running.
"""

from __future__ import annotations

from gflowctl.change import applied_wish_rules, wishes
from gflowctl.options import arguments, selection
from gflowctl.options.selection import Selection
from gflowd.core.job.model import RUNNING, STARTING, SUSPENDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    selection.add(parser, "every running job")
    parser.add_argument("--release-cpus", action="store_true", help="give the jobs' CPUs back until they can go on")
    arguments.add_changed_json(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Writes the wishes."""
    chosen = Selection(args, "suspend", (STARTING, RUNNING, SUSPENDED))
    outcome = wishes.apply(context, chosen, applied_wish_rules.suspended(releases_cpus=args.release_cpus))
    wishes.report(args, outcome, ("Suspended", outcome.changed))
    return 0
