"""In a job: report how far it is, for gflowctl queue and show, which also tell when it can be expected to end by that.

FRACTION is a part of the whole: 0.4, 40% or 4/10. The rest of the line says anything about it, such as "epoch 4/10";
200 characters of it are kept. The latest report counts, each attempt has its own, and nothing is decided by it.

Nothing is printed, and a call is cheap enough for one each second. A program can also write the same line by itself to
the file that GFLOW_PROGRESS_FILE names.
"""

from __future__ import annotations

from gflowd import paths
from gflowd.core.errors import BadUsage, Refused, SystemFailed
from gflowd.core.progress import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.add_argument("fraction", metavar="FRACTION", help="how much is done: 0.4, 4/10 or a percentage")
    parser.add_argument("text", metavar="TEXT", nargs="*", help="what to show beside it")


def run(args: argparse.Namespace, context: Context) -> int:
    """Writes the file."""
    try:
        told = report.Report(report.fraction(args.fraction), " ".join(args.text))
    except Refused as error:
        raise BadUsage(str(error)) from None
    numbers = [context.environ.get(name, "") for name in ("GFLOW_JOB_ID", "GFLOW_ATTEMPT")]
    if not all(number.isascii() and number.isdigit() and len(number) < 20 for number in numbers):
        raise Refused("progress is reported from within a job: gflowctl submit -- sh -c 'gflowctl progress 40%; ...'")
    job_id, attempt = map(int, numbers)
    context.state.check()
    path = context.state.progress(job_id, attempt)
    try:
        paths.replace_file(path, report.line(told), durable=False)
    except (FileNotFoundError, NotADirectoryError):
        raise Refused(f"job {job_id} has no directory in {context.state.root} (GFLOW_STATE_DIR)") from None
    except OSError as error:
        raise SystemFailed(f"{path}: {error.strerror}") from None
    return 0
