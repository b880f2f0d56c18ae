"""What it costs to have many jobs queued: to list them, to submit one more, the daemon's share of that, and memory."""

from __future__ import annotations

import time

from rig import pss

from peers.standing import used

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from peers.peer import Peer
    from peers.work import Work

SAMPLES = 7
WITHIN = 120.0  # seconds for a command that queues many jobs
ARRAYS = (1_000, 10_000)


def arrays(work: Work, peers: Sequence[Peer]) -> None:
    """How long an array takes to be accepted, with the machine's slots taken."""
    for peer in peers:
        work.anew(peer)
        with work.of("arrays", peer):
            work.run(peer, peer.occupy(1))
            for _ in work.rounds(3, 1):
                for count in ARRAYS:
                    work.results.add(f"array {count}", peer.name, work.run(peer, peer.queued(count)))


def growth(work: Work, peers: Sequence[Peer]) -> None:
    """Each of these with as many queued as the sizes of each peer say, and none."""
    sizes = sorted({0, *(size for peer in peers for size in peer.scale.sizes)})
    if work.quick:
        sizes = [size for size in sizes if size <= 10_000]
    for peer in peers:
        work.anew(peer)
        with work.of("growth", peer):
            work.run(peer, peer.occupy(1))
    queued = dict.fromkeys((peer.name for peer in peers), 0)
    for size in sizes:
        there = [peer for peer in work.well("growth", peers) if size in (0, *peer.scale.sizes)]
        for peer in there:
            with work.of("growth", peer):
                if size:
                    work.run(peer, peer.queued(size - queued[peer.name]), WITHIN)
                    queued[peer.name] = size
        time.sleep(2)
        _measure(work, there, size)


def _measure(work: Work, peers: Sequence[Peer], size: int) -> None:
    for peer in work.well("growth", peers):
        with work.of("growth", peer):
            work.results.add(f"grown memory {size}", peer.name, sum(map(pss, peer.pids())))
    for _ in work.rounds(SAMPLES if size <= 10_000 else 3, 3):
        for peer in work.well("growth", peers):
            with work.of("growth", peer):
                listing = peer.listing()
                if listing:
                    work.results.add(f"grown list {size}", peer.name, work.watch.took(listing, peer.environ))
    for peer in work.well("growth", peers):
        with work.of("growth", peer):
            _submit(work, peer, size)


def _submit(work: Work, peer: Peer, size: int) -> None:
    """Some submissions, and what the daemon's processes use until it is calm again."""
    words = peer.queued(1)[0]
    pids = peer.pids()
    before = used(pids)
    count = len(work.rounds(20, 5))
    for _ in range(count):
        work.results.add(f"grown submit {size}", peer.name, work.watch.took(words, peer.environ))
    time.sleep(1)
    work.results.add(f"grown tick {size}", peer.name, (used(pids) - before) / count)
