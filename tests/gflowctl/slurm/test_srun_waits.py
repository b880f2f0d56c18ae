"""What a step waits for: everything for which it did not get its turn, also what ends before it looks."""

from __future__ import annotations

import os
import select
import signal
from typing import TYPE_CHECKING

import pytest
from support.waiting import eventually

from gflowctl.slurm.step.ledger import Ledger
from gflowd.core.slurm.step.steps import Need, Pool
from gflowd.effects import proc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POOL = Pool(cpus=2, gpus=())
ONE = Need(tasks=1, cpus_of_task=1, cpus=1, gpus=0)


class Child:
    """A process that is a corpse from its end until it is buried."""

    def __init__(self) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            signal.pause()
            os._exit(0)

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        eventually(lambda: proc.start_ticks(self.pid) == 0)

    def bury(self) -> None:
        os.waitpid(self.pid, 0)


@pytest.fixture
def children() -> Iterator[list[Child]]:
    made = [Child(), Child()]
    yield made
    for child in made:
        child.end()
        child.bury()


class NoPoll:
    """Fails a wait that would sleep."""

    def register(self, fd: int, events: int) -> None: ...

    def poll(self, milliseconds: int | None = None) -> list[tuple[int, int]]:
        raise AssertionError("it sleeps")


def holding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: Child) -> None:
    """A step of which only this process lives has a CPU."""
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: child.pid)
        assert Ledger(str(tmp_path), POOL, "job").take(ONE, lambda: child.pid) is not None


def test_whatever_ends_before_a_step_waits_wakes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children: list[Child]
) -> None:
    for child in children:
        holding(tmp_path, monkeypatch, child)
    waiting = Ledger(str(tmp_path), POOL, "job")
    assert waiting.take(ONE, os.getpid) is None
    children[0].end()  # the other goes on
    monkeypatch.setattr(select, "poll", NoPoll)
    waiting.wait(0)
    assert waiting.take(ONE, os.getpid) is not None


def test_a_step_whose_last_process_is_a_corpse_by_then_wakes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children: list[Child]
) -> None:
    for child in children:
        holding(tmp_path, monkeypatch, child)
    waiting = Ledger(str(tmp_path), POOL, "job")
    assert waiting.take(ONE, os.getpid) is None
    living = waiting._living()
    children[0].end()
    monkeypatch.setattr(Ledger, "_living", lambda _: living)
    monkeypatch.setattr(select, "poll", NoPoll)
    waiting.wait(0)
