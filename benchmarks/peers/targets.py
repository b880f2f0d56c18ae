"""What gflow is to reach beside its peers, and whether it did: pure, on results."""

from __future__ import annotations

from dataclasses import dataclass

from peers.peer import SIZES
from peers.results import exponent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from peers.results import Results

TMUX, PROCESS, SINGLE = "gflow tmux", "gflow process", "gflow process, single jobs"
RS_TMUX, RS_PROCESS = "gflow-rs tmux", "gflow-rs process"


@dataclass(frozen=True)
class Target:
    """`found` must be at most `bound`, or at least where `least` is set; both in `unit`. None: not measured."""

    what: str
    found: float | None
    bound: float
    unit: str
    least: bool = False

    @property
    def kept(self) -> bool:
        """False too where nothing was measured."""
        return self.found is not None and (self.found >= self.bound if self.least else self.found <= self.bound)


def targets(results: Results) -> Iterator[Target]:
    """Each target, in the order of the work."""

    def against(row: str, mine: str, others: str, other_row: str = "") -> float | None:
        first, second = results.median(row, mine), results.median(other_row or row, others)
        return None if first is None or not second else first / second

    for mine, others in ((TMUX, RS_TMUX), (PROCESS, RS_PROCESS)):
        yield Target(f"one submission, {mine} / bare interpreter", against("submit", mine, "bare"), 2.5, "x")
        yield Target(f"one submission, {mine} / {others}", against("submit", mine, others), 2, "x")
    yield Target(f"submission during a burst, {TMUX} / {RS_TMUX}", against("burst", TMUX, RS_TMUX), 0.1, "x")
    yield Target(f"submission to end, {TMUX} / {RS_TMUX}", against("done", TMUX, RS_TMUX), 0.1, "x")
    yield Target(f"submission to end, {PROCESS} / {RS_PROCESS}", against("done", PROCESS, RS_PROCESS), 1, "x")
    yield Target(f"shell loop, per job, {TMUX} / {RS_TMUX}", against("loop", TMUX, RS_TMUX), 0.1, "x")
    yield Target(f"array of 10,000 / {RS_PROCESS}, 10 of 1,000", against("array 10000", PROCESS, RS_PROCESS), 0.3, "x")
    for size, bound in ((10_000, 1.0), (50_000, 0.5)):
        for mine, how in ((PROCESS, "arrays"), (SINGLE, "single jobs")):
            ratio = against(f"grown list {size}", mine, RS_PROCESS)
            yield Target(f"listing {size:,} queued as {how} / {RS_PROCESS}", ratio, bound, "x")
    for mine, bound in ((TMUX, 150.0), (PROCESS, 300.0)):
        yield Target(f"chain of dependent jobs, per link, {mine}", _in(1000, results.median("chain", mine)), 15, "ms")
        yield Target(f"jobs of an array per second, {mine}", results.median("rate", mine), bound, "/s", least=True)
        yield Target(f"CPU when idle, share of a core, {mine}", _in(100, results.median("idle cpu", mine)), 0.2, "%")
        yield Target(f"memory when idle, {mine}", results.median("idle memory", mine), 80, "MB")
    for mine, how in ((PROCESS, "arrays"), (SINGLE, "single jobs")):
        yield Target(f"memory with 100,000 queued as {how}", results.median("grown memory 100000", mine), 250, "MB")
    for mine, how in ((PROCESS, "arrays"), (SINGLE, "single jobs")):
        for what, bound in (("submit", 0.1), ("list", 1.1), ("tick", 1.1), ("memory", 1.1)):
            yield Target(f"growth of {NAMES[what]}, {how}: exponent", growth(results, what, mine), bound, "")


NAMES = {"submit": "a submission", "list": "a listing", "tick": "the daemon's CPU for a submission", "memory": "memory"}


def growth(results: Results, what: str, peer: str) -> float | None:
    """The exponent with which the cost grows from 1,000 jobs on, less what it costs with none queued.

    Of a submission the whole cost is taken, as where nothing would be left: that would be an exponent of noise.
    """
    fixed = results.median(f"grown {what} 0", peer)
    found = [(size, results.median(f"grown {what} {size}", peer)) for size in SIZES]
    whole = [(size, cost) for size, cost in found if cost is not None]
    if fixed is None:
        return None
    slope = None if what == "submit" else exponent([(size, cost - fixed) for size, cost in whole])
    return exponent(whole) if slope is None else slope


def _in(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value
