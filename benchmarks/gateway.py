"""Requests per second of many clients at a time: through the gateway of a daemon for many users, and appended under the
lock by each client itself, as gflowctl does with the queue of one user. Needs root.

python benchmarks/gateway.py [CLIENTS [EACH]]

The clients are processes that last: what is measured is not the start of Python. Both ways run twice, by turns, in one
run, on the same file system, with 1,000 jobs in the queue before; each request is one job and is synced.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import rig

sys.path.insert(0, os.path.join(rig.ROOT, "tests"))

from report import line
from support import lone_gateway  # type: ignore[import-not-found]

from gflowd.core.gateway import asking as requests
from gflowd.core.job.records import PROVISIONAL
from gflowd.paths import State
from gflowd.storage import gateway_client
from gflowd.storage.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CLIENTS, EACH, BEFORE, ROUNDS = 64, 10, 1000, 2
MOST = 0.5  # budget: twice the requests per second, half of the 99th percentile


def measured(clients: int, each: int, prepare: Callable[[], Callable[[], None]]) -> tuple[float, list[float]]:
    """Requests per second of all clients, and how many seconds each request took, ascending. `prepare` makes a client's
    request.
    """
    begin_read, begin_write = os.pipe()
    pipes, pids = [], []
    for _ in range(clients):
        taken, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(begin_write)
                ask = prepare()
                os.read(begin_read, 1)  # until all are there
                times = []
                for _ in range(each):
                    began = time.monotonic()
                    ask()
                    times.append(time.monotonic() - began)
                os.write(told, " ".join(map(str, times)).encode())
            finally:
                os._exit(0)
        os.close(told)
        pipes.append(taken)
        pids.append(pid)
    time.sleep(1.0)
    began = time.monotonic()
    os.close(begin_write)
    for pid in pids:
        os.waitpid(pid, 0)
    took = time.monotonic() - began
    times = [float(word) for pipe in pipes for word in os.read(pipe, 1 << 20).split()]
    for fd in (begin_read, *pipes):
        os.close(fd)
    if len(times) < clients * each:
        raise SystemExit("a client has failed")
    return len(times) / took, sorted(times)


def locked(state: State) -> Callable[[], Callable[[], None]]:
    """A client that appends under the lock."""

    def prepare() -> Callable[[], None]:
        store, record = Store(state, 60.0), lone_gateway.spec()

        def ask() -> None:
            with store.commit() as commit:
                commit.put("spec", commit.allocate(), record)

        return ask

    return prepare


def asking(lone: lone_gateway.LoneGateway) -> Callable[[], Callable[[], None]]:
    """A client of the gateway."""

    def prepare() -> Callable[[], None]:
        records = [("spec", PROVISIONAL, lone_gateway.spec())]

        def ask() -> None:
            gateway_client.ask(lone.gate, requests.commit(os.urandom(16).hex(), None, (), records), 60.0)

        return ask

    return prepare


def fill(store: Store) -> None:
    """The jobs that there are before."""
    with store.commit() as commit:
        for _ in range(BEFORE):
            commit.put("spec", commit.allocate(), lone_gateway.spec(uid=0))


def shown(way: str, rate: float, times: list[float]) -> None:
    p50, p99 = (times[int(len(times) * share)] * 1000 for share in (0.5, 0.99))
    print(f"{way:14} {rate:6.0f} requests/s   p50 {p50:6.1f} ms   p99 {p99:6.1f} ms")


def main(clients: int, each: int) -> int:
    """The exit status: 0 within the budgets."""
    if os.geteuid() != 0:
        raise SystemExit("only root can start a gateway")
    rates: dict[str, list[float]] = {"locked append": [], "gateway": []}
    slowest: dict[str, list[float]] = {"locked append": [], "gateway": []}
    with tempfile.TemporaryDirectory(prefix="gfg-", dir=os.environ.get("BENCH_DIR")) as root:
        own = State(os.path.join(root, "own"))
        own.prepare()
        lone = lone_gateway.LoneGateway(Path(root), connections=4 * clients)
        for state in (own, lone.state):
            fill(Store(state))
        lone.start(stderr=-3)
        lone.await_answers()
        # With the environment, which gflowctl sends once.
        gateway_client.ask(lone.gate, lone_gateway.submission("0" * 32))
        try:
            for _ in range(ROUNDS):
                for way, prepare in (("locked append", locked(own)), ("gateway", asking(lone))):
                    rate, times = measured(clients, each, prepare)
                    shown(way, rate, times)
                    rates[way].append(rate)
                    slowest[way].append(times[int(len(times) * 0.99)])
        finally:
            lone.kill(15)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{clients} clients, {each} requests each; {used.ru_utime + used.ru_stime:.1f} s of CPU time in all")
    lines = [
        line(
            "requests per second of locked append, to the gateway's", share(rates, "locked append", "gateway"), "", MOST
        ),
        line("p99 of the gateway, to that of locked append", share(slowest, "gateway", "locked append"), "", MOST),
    ]
    print("\n".join(lines))
    return 1 if any("MISS" in each for each in lines) else 0


def share(found: dict[str, list[float]], one: str, other: str) -> float:
    """How much `one` came to, where `other` came to 1."""
    return sum(found[one]) / sum(found[other])


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:3]]
    sys.exit(main(*given, *(CLIENTS, EACH)[len(given) :]))
