"""Write queued and held jobs as scripts for another batch system, Slurm, with their dependencies.

DIRECTORY, which must not exist yet, gets a script with #SBATCH lines for each job or array, copies of the jobs' scripts
and environments, and submit.sh, which calls sbatch for all of them in order. Copy it to the cluster and run submit.sh
there; if that ends with an error, run it again: it goes on where it was.

Nothing changes in this queue: cancel the jobs here once they are in Slurm's. What Slurm has no word for, such as
retries after a failure, is noted, and stands as a comment in the script. A job that waits for one that is not written
is queued held. An array with an index of MaxArraySize or more goes in parts, each an array of its own there, whose
elements see and write what they would in one: with --max-concurrent one part runs after the other, and what waits for
the array waits for all of them. Environments may hold secrets, so only you can read the directory.

Unlike submit --cluster, this hands the jobs over for good: gflow does not follow them.
"""

from __future__ import annotations

import os

from gflowctl.admin import slurm_export, slurm_parts
from gflowctl.output import render
from gflowd import command_line
from gflowd.core.errors import BadUsage, Refused, SystemFailed
from gflowd.core.syntax.plurals import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context

DIRECTORY = "gflow-export"


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.add_argument("--to", choices=("slurm",), required=True, help="for which batch system")
    parser.add_argument(
        "-o", "--output", default=DIRECTORY, metavar="DIRECTORY", help=f"where to write it (default {DIRECTORY})"
    )
    parser.add_argument(
        "--max-array-size",
        type=command_line.count,
        default=slurm_parts.USUAL,
        metavar="N",
        help=f"MaxArraySize of the cluster's slurm.conf: arrays with larger indices go in parts "
        f"(default {slurm_parts.USUAL})",
    )
    parser.add_argument("jobs", nargs="*", metavar="JOBS", help="these jobs (default: all of yours that wait)")


def run(args: argparse.Namespace, context: Context) -> int:
    """Writes it."""
    if not args.max_array_size:
        raise BadUsage("--max-array-size: give at least 1")
    found = slurm_export.groups(context, args.jobs)
    place = os.path.abspath(args.output)
    if os.path.lexists(place):
        raise Refused(f"{args.output} already exists; choose another --output")
    try:
        notes = list(slurm_export.write(context, found, place, args.max_array_size))
    except OSError as error:
        raise SystemFailed(f"{error.filename or args.output}: {error.strerror}") from error
    for note in notes:
        render.note(f"note: {render.escape(note)}")
    number = sum(len(group.found) for group in found)
    command = render.escape(slurm_export.submit_command(args.output))
    render.write(f"Wrote {count(number, 'job')} to {render.escape(args.output)}; {command} queues them at Slurm\n")
    return 0
