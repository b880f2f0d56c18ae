#!/usr/bin/env python3
"""How fast gflow is beside other queues of jobs, all in one run on one machine; run by `make bench-peers`.

Each peer is installed where that is possible, runs in a temporary directory of its own with an environment of its own,
and is ended and removed with it. What a peer cannot do, or not in time, is said and not waited for. The results of
a whole run are kept in .peers/results.json, from which --render writes the page anew.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack

from peers.gflow_rs import GflowRs
from peers.growth import arrays, growth
from peers.ours import Ours
from peers.page import page, panels
from peers.peer import PATH, Failed, Missing, Peer
from peers.plot import svg
from peers.results import Results, machine
from peers.slurm import Slurm
from peers.small import Nq, TaskSpooler
from peers.standing import busy, idle
from peers.stopwatch import Marks, Stopwatch
from peers.work import Work, burst, chain, end, loop, one, rate
from rig import ROOT, Bench

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CACHE = os.path.join(ROOT, ".peers")
PARTS: dict[str, Callable[[Work, Sequence[Peer]], None]] = {
    "idle": idle, "one": one, "burst": burst, "loop": loop, "rate": rate, "chain": chain, "busy": busy,
    "arrays": arrays, "growth": growth,
}  # fmt: skip


def main() -> int:
    args = _arguments()
    path = os.path.join(CACHE, "results.json")
    if args.render:
        results = Results.load(path)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            results = run(args)
        except KeyboardInterrupt:
            return 130
        if not (args.quick or args.only or args.parts):
            results.save(path)
    text = page(results, _notes(args.notes), quick="quick" in results.machine)
    if args.write:
        with open(os.path.join(args.write, "performance.md"), "w", encoding="utf-8") as file:
            file.write(text)
        with open(os.path.join(args.write, "growth.svg"), "w", encoding="utf-8") as file:
            file.write(svg(panels(results)))
    else:
        print(text)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = "gflow gflow-rs tsp nq slurm"
    parser.add_argument("--only", metavar="PEER,...", type=_list, help=f"of {words}; gflow is always among them")
    parser.add_argument("--parts", metavar="PART,...", type=_list, help=f"of {' '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="few repetitions and short queues: does it work?")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the page of the last run anew")
    parser.add_argument(
        "--write",
        metavar="DIR",
        type=os.path.abspath,
        help="where performance.md and growth.svg go (default: the terminal)",
    )
    parser.add_argument("--notes", metavar="FILE", help="what was written by hand, for the end of the page",
                        default=os.path.join(ROOT, "docs", "performance-notes.md"))  # fmt: skip
    args = parser.parse_args()
    for chosen, known in ((args.only, words.split()), (args.parts, list(PARTS))):
        if unknown := [name for name in chosen or () if name not in known]:
            parser.error(f"{unknown[0]} is none of {', '.join(known)}")
    return args


def _list(words: str) -> list[str]:
    return words.lower().split(",")


def _notes(path: str) -> str:
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()


def run(args: argparse.Namespace) -> Results:
    """All that was asked for, whatever is interrupted leaving nothing behind."""
    results, began = Results(), time.monotonic()
    results.machine = machine() | ({"quick": "yes"} if args.quick else {})
    with ExitStack() as stack:
        root = tempfile.mkdtemp(prefix="gflow-peers-")
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        os.chdir(root)
        bench = Bench(os.path.join(root, "bare"))
        marks = Marks(root)
        stack.callback(marks.close)
        bare = ["python3", "-c", "pass"], {"PATH": f"{bench.root}/env/bin:{PATH}", "LANG": "C.UTF-8"}
        work = Work(Stopwatch(root), marks, results, bare, args.quick)
        chosen = [peer for peer in _peers(root, bench, args.only) if _begin(results, peer, stack)]
        for name, part in PARTS.items():
            if args.parts and name not in args.parts:
                continue
            begun = time.monotonic()
            part(work, [peer for peer in chosen if name in peer.scale.parts and peer.name not in results.skipped])
            print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    results.machine["minutes"] = f"{(time.monotonic() - began) / 60:.0f}"
    return results


def _peers(root: str, bench: Bench, only: list[str] | None) -> list[Peer]:
    """In the order of the columns."""
    every: dict[str, list[Peer]] = {
        "gflow": [
            Ours(f"{root}/ours-tmux", bench, "tmux"),
            Ours(f"{root}/ours-process", bench, "process"),
            Ours(f"{root}/ours-single", bench, "process", single=True),
        ],
        "gflow-rs": [GflowRs(f"{root}/rs-{executor}", CACHE, executor) for executor in ("tmux", "process")],
        "tsp": [TaskSpooler(f"{root}/tsp")],
        "nq": [Nq(f"{root}/nq")],
        "slurm": [Slurm(f"{root}/slurm")],
    }
    return [peer for name, found in every.items() for peer in found if only is None or name in ("gflow", *only)]


def _begin(results: Results, peer: Peer, stack: ExitStack) -> bool:
    """Installs and starts it, and sees to its end; False, and the reason kept, where that cannot be."""
    stack.callback(end, peer)
    try:
        version = peer.install()
        peer.start()
    except (Missing, Failed) as error:
        results.skipped[peer.name] = str(error)
        print(f"left out: {peer.name}, since {error}", file=sys.stderr)
        return False
    results.versions[peer.name] = version
    if peer.scale.parts == {"growth"}:  # until then it would only stand beside the others
        end(peer)
    return True


if __name__ == "__main__":
    sys.exit(main())
