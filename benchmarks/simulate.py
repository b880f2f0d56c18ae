#!/usr/bin/env python3
"""Replays traces in virtual time under several policies, and shows what their users would see.

    fifo      in order of submission; the first job that does not fit holds up all others
    greedy    whatever fits starts, in order of submission
    gflow_rs  whatever fits starts, in the order of the system that gflow reimplements
    easy      EASY backfilling, first come first served
    gflow     the planner that ships, with fair share and its promises
    score     the policy of docs/scheduling.md, written anew and simplified; not among those run by default

Processors are taken as GPUs. A job ends at its run time or at its limit, whichever is first; the run times and limits
of the trace are scaled by nothing, only the times between submissions are. What a job without a limit counts as is
each policy's own business: 24 hours, or what the planner makes of it.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from simulation import page, workload
from simulation.comparison import BASELINE, Result, summaries
from simulation.easy import Easy
from simulation.fifo import Fifo
from simulation.figures import figures
from simulation.gflow import Gflow
from simulation.greedy import GflowRs, Greedy
from simulation.policy import DAY
from simulation.replay import replay
from simulation.score import Score

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from simulation.comparison import Summary
    from simulation.policy import Policy

TRACE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "traces", "lublin-8gpu.swf")
FORMATS = (".swf", ".txt")  # of the files of a directory
POLICIES: dict[str, Callable[..., Policy]] = {
    "fifo": Fifo, "greedy": Greedy, BASELINE: GflowRs, "easy": Easy, "gflow": Gflow, "score": Score
}  # fmt: skip
OURS = ("gflow", "score")  # those that promise after a time


class Case(NamedTuple):
    """One policy on one trace, of which only the `first` so many jobs; None: all. `promise_after` and `promise_within`
    (days) are for `OURS`, None: as by default.
    """

    path: str
    load: float | None
    no_limit: float
    policy: str
    promise_after: float | None
    gpus: int
    seed: int
    first: int | None
    promise_within: float | None = None

    def run(self) -> Result:
        """What comes of it. Raises OSError or ValueError when the trace cannot be read, or is none."""
        jobs = self.jobs()
        policy = POLICIES[self.policy](self.gpus, **self.changes())
        found = figures(jobs, self.gpus, replay(jobs, self.gpus, policy))
        name = self.policy if self.promise_after is None else f"{self.policy}@{self.promise_after:g}"
        return Result(os.path.basename(self.path), self.load, self.no_limit, name, found)

    def changes(self) -> dict[str, float]:
        """How the policy differs from its default."""
        if self.policy not in OURS:
            return {}
        within = None if self.promise_within is None else self.promise_within * DAY
        found = {"promise_after": self.promise_after, "promise_within": within}
        return {name: value for name, value in found.items() if value is not None}

    def jobs(self) -> list[workload.Job]:
        """Those that come."""
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                read = workload.read(file)
            return workload.offered(read, self.gpus, self.load, self.no_limit, self.seed, self.first)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None


def cases(args: argparse.Namespace) -> Iterator[Case]:
    """Those asked for, the policies of one trace together."""
    variants: list[tuple[str, float | None]] = []
    for policy in args.policies:
        variants += [(policy, after) for after in (args.promise_after or [None] if policy in OURS else [None])]
    for load in args.load or [0.85]:
        for no_limit in args.no_limit or [0.0]:
            for path in paths(args.trace or [TRACE]):
                for policy, after in variants:
                    yield Case(
                        path, load or None, no_limit, policy, after, args.gpus, args.seed, args.limit,
                        args.promise_within,
                    )  # fmt: skip


def paths(names: Iterable[str]) -> Iterator[str]:
    """The files, for a directory the traces in it."""
    for name in names:
        if os.path.isdir(name):
            yield from sorted(os.path.join(name, each) for each in os.listdir(name) if each.endswith(FORMATS))
        else:
            yield name


def run(chosen: Sequence[Case], processes: int) -> Iterator[Result]:
    """The results in the order of the cases, as they come."""
    if processes == 1:
        yield from map(Case.run, chosen)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(Case.run, chosen)


def shown(results: Iterable[Result], *, quietly: bool) -> list[Result]:
    """All of them; meanwhile a table for each trace is printed."""
    found: list[Result] = []
    for each in results:
        if not quietly:
            if not found or page.heading(found[-1]) != page.heading(each):
                print(f"\n{page.heading(each)}" if found else page.heading(each), page.head(each.figures), sep="\n")
            print(page.row(each), flush=True)
        found.append(each)
    return found


def main() -> int:
    parser = _parser()
    args = parser.parse_args()
    if unknown := set(args.policies) - {*POLICIES}:
        parser.error(f"there is no policy {min(unknown)}")
    try:
        results = shown(run(list(cases(args)), args.processes), quietly=args.json or args.markdown)
        compared = list(summaries(results)) if len(set(args.policies)) > 1 else []
        if args.write is not None:
            write(args.write, tables(compared, page.markdown_table))
    except OSError as error:
        print(f"simulate: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"simulate: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(page.document({"gpus": args.gpus, "seed": args.seed}, results, compared))
    elif args.markdown:
        print(tables(compared, page.markdown_table), end="")
    else:
        print(
            f"\nratios to {BASELINE}, geometric means\n\n{tables(compared, page.text_table)}" if compared else "",
            end="",
        )
    return 0


def tables(compared: Iterable[Summary], table: Callable[[Sequence[tuple[str, ...]]], Iterator[str]]) -> str:
    """One for each load and share of jobs without limits."""
    return "".join(
        f"{title}\n\n" + "".join(f"{line}\n" for line in table(rows)) + "\n"
        for title, rows in page.summary_rows(compared)
    )


def write(path: str, tables: str) -> None:
    """Puts the tables into a page."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(page.written(text, tables))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--trace", action="append", metavar="PATH",
        help="in Standard Workload Format or with lines `submitted width seconds limit user`, or a directory of such "
        "files (.swf, .txt); may be repeated; default: one made up",
    )  # fmt: skip
    parser.add_argument("--gpus", type=_count, default=8, help="of the machine (default: 8); wider jobs are left out")
    parser.add_argument(
        "--load", type=_load, action="append", metavar="PART",
        help=f"of the GPUs' time that each {workload.STRETCH} jobs in a row need (default: 0.85), 0: as they came; may "
        "be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--no-limit", type=_part, action="append", metavar="PART",
        help="of the jobs that give no time limit (default: 0); may be repeated",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn: limits, and who gives none")
    parser.add_argument("--limit", type=_count, metavar="JOBS", help="only so many of each trace, for a quick look")
    parser.add_argument(
        "--policies",
        type=lambda text: text.split(","),
        default=[name for name in POLICIES if name != "score"],
        metavar="NAME,...",
        help="only these",
    )
    parser.add_argument(
        "--promise-after", type=_load, action="append", metavar="TIMES",
        help="gflow, score: promise a start to jobs that have waited so often their length; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--promise-within", type=_load, metavar="DAYS", help="gflow, score: and to those that have waited so many days"
    )
    parser.add_argument("--processes", type=_count, default=1, help="at work at the same time (default: 1)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="one document, waits in seconds")
    how.add_argument("--markdown", action="store_true", help="only the comparison, as tables in Markdown")
    parser.add_argument("--write", metavar="PAGE", help="put these tables into a page, between its marks, as well")
    return parser


def _count(text: str) -> int:
    return int(_within(text, 1, 10**9))


def _load(text: str) -> float:
    return _within(text, 0, 10**9)


def _part(text: str) -> float:
    return _within(text, 0, 1)


def _within(text: str, least: float, most: float) -> float:
    value = float(text)
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text} is not between {least} and {most}")
    return value


if __name__ == "__main__":
    sys.exit(main())
