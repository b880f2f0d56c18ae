"""Change queued jobs. Of a running job, only the time and quiet limits, the warning signal and the comment can change.

Options that are not given stay as they are; --clear resets options to their defaults. New dependencies replace all that
the job had. The time limit of a running job counts from its start. --command is split into words as a shell does it,
but nothing in it is expanded. --script keeps the content of a file, as submit does; the arguments stay. What submit
refuses is refused here too; options in a script's head count only at submission. Asking for some kind of GPU asks for
one, and --gpus 0 for no kind.

An array is changed as a whole, including what is shown of its ended elements. Its resources cannot be changed while any
element runs, nor its files once any element has started. Elements of a sweep can get other parameter values one by one
(--param), as long as they wait. How many elements may run at a time, and how many may fail, can be
changed at any time.

The id of a series (submit --repeat) means its next run. What is changed in that stays changed in all that follow;
--repeat and --overlap change the series itself, in its time zone unless --timezone names another; "every 6h" counts
from now, when the next run is due, or from --begin. With --run, the id means the first run alone.

The project, the directory and the environment of a job are fixed at submission; use gflowctl redo to make another job.
"""

from __future__ import annotations

from gflowctl.change import spec_changes
from gflowctl.options import arguments, update_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.usage = "gflowctl update [OPTIONS] JOBS ..."
    arguments.add_jobs(parser)
    update_options.add(parser)
    arguments.add_changed_json(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Rewrites the specs of all jobs, or of none."""
    spec_changes.tell(args, context, spec_changes.commit(args, context))
    return 0
