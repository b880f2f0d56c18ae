"""What a peer costs that only stands there, idle or with a queue that cannot go on. Times no command."""

from __future__ import annotations

import os
import time

from rig import pss

from peers.work import end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from peers.peer import Peer
    from peers.work import Work

RUNNING = 4
MINUTE, QUICK_MINUTE = 60.0, 5.0


def idle(work: Work, peers: Sequence[Peer]) -> None:
    """What the daemons cost with nothing to do, all of them in the same minute."""
    for peer in peers:
        work.anew(peer)
    time.sleep(2)
    _watch_cpu(work, peers, "idle cpu")
    for peer in peers:
        end(peer)
    for peer in peers:  # each alone: what two share would count half for each
        work.anew(peer)
        time.sleep(2)
        with work.of("idle memory", peer):
            work.results.add("idle memory", peer.name, sum(map(pss, peer.pids())))
        end(peer)
    for peer in peers:
        work.anew(peer)


def busy(work: Work, peers: Sequence[Peer]) -> None:
    """The same with four jobs running and a thousand that wait for them."""
    ready = []
    for peer in peers:
        work.anew(peer)
        with work.of("busy cpu", peer):
            work.run(peer, peer.occupy(RUNNING))
            time.sleep(peer.scale.calm * RUNNING)
            work.run(peer, peer.queued(work.jobs("busy", peer, peer.scale.waiting)), 20)
            ready.append(peer)
    time.sleep(3)
    _watch_cpu(work, ready, "busy cpu")
    for peer in peers:  # what follows starts those that it wants
        end(peer)


def _watch_cpu(work: Work, peers: Sequence[Peer], row: str) -> None:
    pids = {}
    for peer in peers:
        with work.of(row, peer):
            pids[peer.name] = peer.pids()
    before = {name: used(found) for name, found in pids.items()}
    begun = time.perf_counter()
    time.sleep(QUICK_MINUTE if work.quick else MINUTE)
    spent = time.perf_counter() - begun
    for name, found in pids.items():
        work.results.add(row, name, (used(found) - before[name]) / spent)


def used(pids: Sequence[int]) -> float:
    """CPU seconds of the threads of those processes that are still there."""
    total = 0.0
    for pid in pids:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                    total += int(file.read().split()[0]) / 1e9
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total
