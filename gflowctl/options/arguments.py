"""Arguments of several commands of gflowctl that name jobs and processes; `gflowd.command_line` has all others."""

from __future__ import annotations

from gflowd.command_line import add_json, count

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

LARGEST_PID = 1 << 22  # PID_MAX_LIMIT of proc(5)


def add_jobs(parser: argparse.ArgumentParser, nargs: str = "+") -> None:
    """The JOBS argument."""
    parser.add_argument(
        "jobs",
        nargs=nargs,
        metavar="JOBS",
        help="job ids, e.g. 42 or 1,3,5-7; @ is your last submission, @~2 the one two before it; 42_3 and 42_[1-5] "
        "are elements of array 42",
    )


def add_job(parser: argparse.ArgumentParser) -> None:
    """The JOB argument."""
    parser.add_argument(
        "job",
        metavar="JOB",
        help="a job id; @ is your last submission, @~2 the one two before it; 42_3 is an element of array 42",
    )


def add_changed_json(parser: argparse.ArgumentParser) -> None:
    """`--json` of a command that changes jobs."""
    add_json(parser, "print the changed jobs as a JSON list, as they are afterwards")


def pid(text: str) -> int:
    """A type for argparse: the number of a process."""
    return count(text, LARGEST_PID)
