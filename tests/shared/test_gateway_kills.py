"""kill -9 of the gateway while 64 clients submit: what was acknowledged is kept, nothing is twice or torn."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import depth
from support.lone_gateway import LoneGateway, submission

from gflowd.core.errors import TryAgain
from gflowd.storage import gateway_client
from gflowd.storage.store import Store

CLIENTS = 64
KILLS = depth.number(60, 6)
AT_LEAST, AT_MOST = 0.02, 0.3  # seconds that one lives once it answers


@pytest.fixture
def lone() -> Iterator[LoneGateway]:
    with tempfile.TemporaryDirectory(prefix="gfg-") as root:
        made = LoneGateway(Path(root))
        yield made
        if made.process is not None and made.process.poll() is None:
            made.kill()


class Client(threading.Thread):
    """Submits requests of one to three jobs, each until it has an answer."""

    def __init__(self, gateway: LoneGateway, ended: threading.Event, seed: int) -> None:
        super().__init__()
        self.gateway, self.ended, self.chance = gateway, ended, random.Random(seed)
        self.acknowledged: dict[str, tuple[int, int]] = {}  # by the word of the request: the first job, how many
        self.asked: dict[str, int] = {}
        self.tries = 0
        self.wrong: list[object] = []

    def run(self) -> None:
        while not self.ended.is_set():
            once, count = self.chance.randbytes(16).hex(), self.chance.randint(1, 3)
            self.asked[once] = count
            while not self.ended.is_set():
                self.tries += 1
                try:
                    answer, _ = gateway_client.ask(self.gateway.gate, submission(once, count), 0.0)
                except TryAgain:
                    time.sleep(0.005)
                    continue
                except Exception as error:
                    self.wrong.append(error)
                    return
                self.acknowledged[once] = answer["first"], count
                break


def test_what_was_acknowledged_is_kept_nothing_is_there_twice_and_nothing_is_torn(lone: LoneGateway) -> None:
    ended, chance = threading.Event(), random.Random(19)
    clients = [Client(lone, ended, seed) for seed in range(CLIENTS)]
    lone.start()
    lone.await_answers()
    for client in clients:
        client.start()
    try:
        for _ in range(KILLS):
            time.sleep(chance.uniform(AT_LEAST, AT_MOST))  # its life, not something to wait for
            lone.kill()
            lone.start()
            lone.await_answers()
    finally:
        ended.set()
        for client in clients:
            client.join()
    lone.kill()
    assert [client.wrong for client in clients if client.wrong] == []
    fold = Store(lone.state).read()
    specs = fold.of("spec")
    assert (fold.dropped, fold.aside) == ([], {})
    found: dict[str, list[int]] = {}
    for job_id, spec in specs.items():
        found.setdefault(spec["once"], []).append(job_id)
    acknowledged = {once: each for client in clients for once, each in client.acknowledged.items()}
    asked = {once: count for client in clients for once, count in client.asked.items()}
    print(
        f"{KILLS} kills, {len(acknowledged)} requests acknowledged, {len(specs)} jobs, "
        f"{sum(client.tries for client in clients) - len(acknowledged)} tries without an answer"
    )
    assert len(acknowledged) > KILLS
    wrong = {once: (each, found.get(once)) for once, each in acknowledged.items()
             if found.get(once) != [*range(each[0], each[0] + each[1])]}  # fmt: skip
    assert wrong == {}
    unknown = {once: ids for once, ids in found.items() if len(ids) != asked[once]}
    assert unknown == {}, "all of a request, or none"
    assert fold.next_id > max(specs)
    assert Counter(len(ids) for ids in found.values()).keys() <= {1, 2, 3}
