"""What `make soak` runs: every fault, as often as asked for, and the page that tells what came of it.

python tests/reliability/soak.py --points 40 --jobs 2 --write docs/reliability.md
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE), str(HERE.parent)]

import archiving  # noqa: E402 -- found by the line above, as are those below
import chaos  # noqa: E402
import clocks  # noqa: E402
import damage  # noqa: E402
import held  # noqa: E402
import outcome  # noqa: E402
import points  # noqa: E402
import rivals  # noqa: E402
from crashing import DAEMON  # noqa: E402
from support.machine import TMUX  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT = (
    "every acknowledged job exists, ran once and ended as scripted; no GPU was allocated twice; no process is left; "
    "each submission, start and end is told once as an event"
)
WELL = "the same; failed writes are reported, and repeated when the disk works again"


def main() -> int:
    """0 when every promise was kept."""
    args = _arguments()
    began = time.monotonic()
    results = []
    for result in run(args):
        results.append(result)
        print(f"{result.fault}: {result.tried} tried, {result.happened}", flush=True)
        for why in result.broken:
            print(f"  {why}", flush=True)
    if args.write:
        Path(args.write).parent.mkdir(exist_ok=True)
        page = outcome.page(results, time.monotonic() - began)
        before = Path(args.write).read_text() if Path(args.write).exists() else ""
        Path(args.write).write_text(page + outcome.kept(before))
    return int(any(result.broken for result in results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=40, help="crash points for each executor; 0: every one")
    parser.add_argument("--clients", type=int, default=64, help="gflowctl at once")
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long")
    parser.add_argument("--chaos-seconds", type=float, default=600.0, help="how long processes are killed at random")
    parser.add_argument("--calls", type=int, default=25, help="crash points within SQLite's own writes")
    parser.add_argument("--limit", type=float, default=20.0, help="time limit of the jobs under a clock that is set")
    parser.add_argument("--rounds", type=int, default=10, help="of what is repeated with other random numbers")
    parser.add_argument("--jobs", type=int, default=2, help="trials at once")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of what is chosen by chance")
    parser.add_argument("--write", metavar="FILE", help="where the page goes")
    return parser.parse_args()


def run(args: argparse.Namespace) -> Iterator[outcome.Result]:
    """Each row as it is known."""
    print(f"seed {args.seed}", flush=True)
    for executor in ("process", "tmux") if TMUX else ("process",):
        every = points.of_a_day(executor)
        chosen = points.pick(every, args.points or len(every), args.seed)
        yield from _trials(executor, list(points.kills(chosen)), f"{len(every)} effects in that day", args.jobs)
        yield from _trials(executor, list(points.errors(chosen)), "", args.jobs)
    times = dict.fromkeys((damage.FLIPPED, damage.TAIL), args.rounds)
    yield from damage.try_all(lambda: points.new_machine("process"), times, args.seed)
    yield from rivals.try_all(
        lambda: points.new_machine("process"), clients=args.clients, seconds=args.seconds, rounds=args.rounds
    )
    both = ("tmux", "process") if TMUX else ("process",)
    yield from chaos.try_all(lambda: points.new_machine(both[0]), args.chaos_seconds, both, args.seed)
    yield from archiving.try_all(lambda: points.new_machine("process"), args.calls, args.seed)
    yield from clocks.try_all(lambda: points.new_machine(both[0]), args.limit)
    yield from held.try_all()


def _trials(executor: str, faults: list[str], note: str, jobs: int) -> list[outcome.Result]:
    """One row for those that kill a process, one for those that kill the daemon, one for errors."""
    print(f"{executor}: {len(faults)} faults", flush=True)
    outcomes = points.trials(executor, faults, jobs, _tell)
    rows = []
    for title, promised, ours in (
        (f"kill -9 of one process at an effect, {executor}", KEPT, lambda how, who: how in KILLS and who != DAEMON),
        (
            f"kill -9 of the whole daemon at an effect, {executor}",
            KEPT,
            lambda how, who: how in KILLS and who == DAEMON,
        ),
        (f"ENOSPC, EIO or EROFS at an effect, {executor}", WELL, lambda how, who: how not in KILLS),
    ):
        these = [o for o in outcomes if o.reached and ours(*o.fault.split("|")[-2:])]
        if these:
            broken = [f"{o.fault}: {o.broken}" for o in these if o.broken]
            kinds = len({o.fault.rsplit("|", 3)[0] for o in these})
            rows.append(outcome.Result(title, promised, len(these), broken, _joined(f"{kinds} kinds of effect", note)))
    lost = [f"{o.fault}: {o.broken}" for o in outcomes if o.broken and not o.reached]
    if lost:
        rows.append(outcome.Result(f"no fault at all, {executor}", KEPT, len(lost), lost))
    return rows


KILLS = (points.KILL, points.TORN)


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _tell(outcome: points.Outcome) -> None:
    if outcome.broken:
        print(f"BROKEN {outcome.fault}: {outcome.broken}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
