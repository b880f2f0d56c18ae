"""The work that is timed on every peer. They take turns, so that a busy moment hits all alike."""

from __future__ import annotations

import shlex
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass

from peers.peer import Failed, Missing, sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from peers.peer import Peer
    from peers.results import Results
    from peers.stopwatch import Marks, Stopwatch

ROUNDS, REPEATS, ENDINGS = 11, 3, 4
QUICK_ROUNDS, QUICK_REPEATS, QUICK_ENDINGS = 3, 1, 1
BURST, DURING = 20, 10
LIMIT = 120.0  # seconds for many jobs


@dataclass(frozen=True)
class Work:
    """What the parts share. `bare` is the command of an interpreter that does nothing, with its environment."""

    watch: Stopwatch
    marks: Marks
    results: Results
    bare: tuple[list[str], dict[str, str]]
    quick: bool

    def rounds(self, full: int, quick: int) -> range:
        return range(quick if self.quick else full)

    def jobs(self, part: str, peer: Peer, count: int) -> int:
        """With how many jobs a part is done, which the page tells."""
        used = max(2, count // 10) if self.quick else count
        self.results.jobs.setdefault(part, {})[peer.name] = used
        return used

    @contextmanager
    def of(self, row: str, peer: Peer) -> Iterator[None]:
        """A measurement whose failure is a sentence in the table, and the peer started anew."""
        self.marks.forget()
        try:
            yield
        except (Failed, AssertionError, OSError, ValueError, subprocess.SubprocessError) as error:
            self.results.note(row, peer.name, str(error))
            self.anew(peer)

    def anew(self, peer: Peer) -> None:
        """Starts the peer with nothing queued."""
        end(peer)
        try:
            peer.start()
        except (Missing, Failed) as error:
            self.results.skipped[peer.name] = str(error)

    def well(self, row: str, peers: Sequence[Peer]) -> list[Peer]:
        """Those of which no measurement of that row has failed."""
        return [peer for peer in peers if peer.name not in self.results.notes.get(row, {})]

    def run(self, peer: Peer, commands: Sequence[Sequence[str]], within: float = LIMIT) -> float:
        """Seconds that the commands take together."""
        return sum(self.watch.took(words, peer.environ, within) for words in commands)


def end(peer: Peer) -> None:
    """Stops a peer, come what may; never one that was not started, whose commands would mean the user's own."""
    if not peer.environ:
        return
    try:
        peer.stop()
    except (Failed, AssertionError, OSError, subprocess.SubprocessError):
        pass  # swept away below
    finally:
        sweep(peer.place)


def one(work: Work, peers: Sequence[Peer]) -> None:
    """A single job on an idle machine."""
    for turn in work.rounds(ROUNDS, QUICK_ROUNDS):
        words, environ = work.bare
        work.results.add("submit", "bare", work.watch.took(words, environ))
        for peer in work.well("submit", peers):
            _one(work, peer, ending=turn in work.rounds(ENDINGS, QUICK_ENDINGS))


def _one(work: Work, peer: Peer, *, ending: bool) -> None:
    with work.of("submit", peer):
        begun = time.perf_counter()
        spent = work.watch.took(peer.submit(*work.marks.job), peer.environ)
        started = work.marks.wait(1, 30)[0] - begun
        work.results.add("submit", peer.name, spent)
        work.results.add("start", peer.name, started)
        time.sleep(peer.scale.calm)
        if ending:
            begun = time.perf_counter()
            peer.finish("true")
            work.results.add("done", peer.name, time.perf_counter() - begun)
            time.sleep(peer.scale.calm)


def burst(work: Work, peers: Sequence[Peer]) -> None:
    """Submissions from the first of twenty starts to the last, or as many of them as tell enough."""
    for _ in work.rounds(REPEATS, QUICK_REPEATS):
        for peer in work.well("burst", peers):
            with work.of("burst", peer):
                work.run(peer, peer.burst(BURST, *work.marks.job))
                work.marks.wait(1, 30)
                spent: list[float] = []
                while not spent or (len(spent) < DURING and work.marks.seen() < BURST - 1):
                    spent.append(work.watch.took(peer.submit("true"), peer.environ))
                    time.sleep(0.1)
                work.results.add("burst", peer.name, sum(spent) / len(spent))
            work.anew(peer)  # rather than wait for the burst's end


def loop(work: Work, peers: Sequence[Peer]) -> None:
    """A shell loop of submissions until the last job has run, and until the peer knows."""
    for _ in work.rounds(REPEATS, QUICK_REPEATS):
        for peer in work.well("loop", peers):
            count = work.jobs("loop", peer, peer.scale.loop)
            with work.of("loop", peer):
                text = f"for i in $(seq {count}); do {shlex.join(peer.submit(*work.marks.job))} || exit; done"
                begun = time.perf_counter()
                work.watch.took(["sh", "-c", text], peer.environ, LIMIT)
                ran = work.marks.wait(count, LIMIT)[-1] - begun
                work.results.add("loop", peer.name, ran / count)
                _drain(peer)
                work.results.add("loop known", peer.name, (time.perf_counter() - begun) / count)


def _drain(peer: Peer) -> None:
    deadline = time.perf_counter() + LIMIT
    while not peer.drained():
        if time.perf_counter() > deadline:
            raise Failed(f"it did not know of all ends within {LIMIT:g} s")
        time.sleep(0.05)


def chain(work: Work, peers: Sequence[Peer]) -> None:
    """Jobs that each wait for the one before: from a start to the next."""
    for peer in peers:
        count = work.jobs("chain", peer, peer.scale.links)
        work.anew(peer)
        with work.of("chain", peer):
            work.run(peer, [peer.submit(*work.marks.gated_job)])
            for _ in range(count):
                work.run(peer, [peer.after(*work.marks.job)])
            work.marks.open_gate()
            moments = work.marks.wait(count + 1, LIMIT)
            work.results.add("chain", peer.name, (moments[-1] - moments[0]) / count)


def rate(work: Work, peers: Sequence[Peer]) -> None:
    """How many jobs of an array run in a second."""
    for peer in peers:
        count = work.jobs("rate", peer, peer.scale.rate)
        with work.of("rate", peer):
            work.run(peer, peer.rate(count, *work.marks.job))
            moments = work.marks.wait(count, LIMIT)
            work.results.add("rate", peer.name, (count - 1) / (moments[-1] - moments[0]))
            _drain(peer)
