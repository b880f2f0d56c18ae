"""What the commands of gflowctl take: the options and types of both programs, and what names jobs and processes."""

from __future__ import annotations

from gflowd.command_line import Parser, add_actions, add_color, add_json, count, duration, interval, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

__all__ = [
    "Parser",
    "add_actions",
    "add_color",
    "add_job",
    "add_jobs",
    "add_json",
    "count",
    "duration",
    "interval",
    "pid",
    "words",
]  # fmt: skip

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


def pid(text: str) -> int:
    """A type for argparse: the number of a process."""
    return count(text, LARGEST_PID)
