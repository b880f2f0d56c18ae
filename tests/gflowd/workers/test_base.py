from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from stage import LIMIT
from support.waiting import eventually

from gflowd.core.moment import Moment
from gflowd.effects import doorbell
from gflowd.workers import WORKERS, Row, base, board, reservation_timer
from gflowd.workers.base import Turn, Wiring
from gflowd.workers.board import Board, Pulses
from gflowd.workers.board_slots import Post, Slots


@dataclass
class Script:
    """A worker whose turns the test has written; it ends the loop after the last."""

    turns: list[Turn]
    stop: base._Stop
    seen: list[Slots] = field(default_factory=list)

    def tick(self, now: Moment, slots: Slots) -> Turn:
        self.seen.append(slots)
        self.stop.wanted = len(self.seen) == len(self.turns)
        return self.turns[len(self.seen) - 1]

    def close(self) -> None:
        pass


@dataclass
class Notebook:
    """A board that notes each post."""

    posts: list[tuple[str, Post]] = field(default_factory=list)

    def post(self, name: str, post: Post) -> None:
        self.posts.append((name, post))

    def read(self) -> Slots:
        return Slots(dict(self.posts))


def loop(wiring: Wiring, *turns: Turn) -> tuple[Notebook, bytes]:
    """What was posted, and the kinds that were rung, in the course of these turns."""
    bell = doorbell.hang(wiring.runtime.bell)
    stop = base._Stop(readable=os.pipe2(os.O_NONBLOCK)[0])
    board, script = Notebook(), Script(list(turns), stop)
    moved = Wiring(**{name: getattr(wiring, name) for name in wiring.__slots__} | {"supervisor": os.getppid()})
    base._loop(Row("x", wakes_for=b"", rings=doorbell.FINDING), moved, board, script, stop)  # type: ignore[arg-type]
    rung = doorbell.listen(bell)
    os.close(bell)
    os.close(stop.readable)
    return board, rung


AT_ONCE = 0.0


def test_what_a_tick_sees_is_posted_when_it_changed(wiring: Wiring) -> None:
    turns = [Turn(1, "a", AT_ONCE), Turn(1, "a", AT_ONCE), Turn(1, "b", AT_ONCE), Turn(2, "b", AT_ONCE)]
    board, _ = loop(wiring, *turns)
    assert board.posts == [("x", Post(1, "a")), ("x", Post(1, "b")), ("x", Post(2, "b"))]


def test_the_bell_is_rung_for_a_decision_and_not_for_a_detail(wiring: Wiring) -> None:
    assert loop(wiring, Turn(1, "a", AT_ONCE))[1] == doorbell.FINDING, "the first is always news"
    bell = doorbell.hang(wiring.runtime.bell)
    counted = []
    before = doorbell.ring
    try:
        doorbell.ring = lambda path, kinds: counted.append(kinds)  # type: ignore[assignment]
        turns = [Turn(1, "a", AT_ONCE), Turn(1, "b", AT_ONCE), Turn(2, "b", AT_ONCE)]
        loop(wiring, *turns, Turn(2, "b", AT_ONCE, rings=b"p"))
    finally:
        doorbell.ring = before
        os.close(bell)
    assert counted == [b"f", b"f", b"p"]


def test_a_tick_is_a_heartbeat(wiring: Wiring) -> None:
    before = time.monotonic()
    loop(wiring, Turn(None, None, AT_ONCE))
    assert before <= wiring.pulses.get("x").beat <= time.monotonic()


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not woken sleeps for ten minutes."""
    monkeypatch.setattr(base, "LONGEST_SLEEP", 600.0)


def wait(turn: Turn, wiring: Wiring, wake: int | None = None) -> float:
    readable, writable = os.pipe2(os.O_NONBLOCK)
    began = time.monotonic()
    base._wait(turn, wiring.wake if wake is None else wake, base._Stop(readable=readable))
    os.close(readable)
    os.close(writable)
    return time.monotonic() - began


def test_it_sleeps_until_the_next_wake_up_and_no_shorter(wiring: Wiring, endless: None) -> None:
    wake_at = time.monotonic() + 0.08
    wait(Turn(None, wake_at=wake_at), wiring)
    assert wake_at <= time.monotonic() < wake_at + LIMIT


def test_a_wake_up_that_has_passed_is_no_sleep(wiring: Wiring, endless: None) -> None:
    assert wait(Turn(None, wake_at=0.0), wiring) < LIMIT


def test_rings_of_a_moment_wake_once(wiring: Wiring, endless: None) -> None:
    readable, writable = os.pipe2(os.O_NONBLOCK)
    os.write(writable, b".")
    deaf_until = time.monotonic() + 0.05
    wait(Turn(None, deaf_until=deaf_until), wiring, wake=readable)
    assert deaf_until <= time.monotonic() < deaf_until + LIMIT
    os.write(writable, b".")
    assert wait(Turn(None, deaf_until=time.monotonic() + 600, descriptors=(readable,)), wiring) < LIMIT
    assert wait(Turn(None, deaf_until=time.monotonic() + 600, wake_at=0.0), wiring) < LIMIT
    os.close(readable)
    os.close(writable)


def test_a_wake_or_a_descriptor_ends_the_sleep(wiring: Wiring, endless: None) -> None:
    readable, writable = os.pipe2(os.O_NONBLOCK)
    os.write(writable, b"...")
    assert wait(Turn(None), wiring, wake=readable) < LIMIT
    assert not select.select([readable], [], [], 0)[0], "what woke it is taken away"
    os.write(writable, b".")
    assert wait(Turn(None, descriptors=(readable,)), wiring) < LIMIT
    os.close(readable)
    os.close(writable)


def test_nobody_sleeps_so_long_that_it_is_taken_for_hung() -> None:
    from gflowd.daemon import children

    assert base.LONGEST_SLEEP * 2 < children.SILENCE


def test_every_row_has_its_module_and_somebody_wakes_for_every_kind() -> None:
    import importlib

    assert len({row.name for row in WORKERS}) == len(WORKERS)
    for row in WORKERS:
        assert callable(importlib.import_module(f"gflowd.workers.{row.module or row.name}").open)
        assert set(row.wakes_for) <= set(doorbell.KINDS)
        assert len(f"gflowd:{row.name}"[:15]) <= 15
    assert {kind for row in WORKERS for kind in row.wakes_for} == set(doorbell.KINDS)
    assert {f"gflowd:{row.name}"[:15] for row in WORKERS}.__len__() == len(WORKERS), "they differ in `ps`"


def spawn(wiring: Wiring, row: Row) -> Any:
    process = board.fork.Process(target=base.main, args=(row, wiring))
    process.start()
    return process


@pytest.fixture
def hosted(wiring: Wiring) -> Any:
    """A wiring with a real Manager, whose supervisor we are."""
    address, key = wiring.runtime.manager_socket(1), os.urandom(32)
    manager = board.serve(address, key, lambda: None)
    eventually(lambda: (probe := board.knock(address)) and not probe.close())
    readable, writable = os.pipe2(os.O_NONBLOCK)
    fields = {name: getattr(wiring, name) for name in wiring.__slots__}
    pulses = Pulses(["reservation_timer", "gpu_poller"])
    yield Wiring(**fields | {
        "address": address, "key": key, "supervisor": os.getpid(), "complaints": writable, "pulses": pulses,
    }), readable  # fmt: skip
    manager.kill()
    manager.join()
    manager.close()
    for fd in (readable, writable, pulses.fd):
        os.close(fd)


TIMER = Row("reservation_timer", wakes_for=b"d")


def test_a_worker_lives_until_it_is_told_to_end(hosted: Any) -> None:
    wiring, _ = hosted
    process = spawn(wiring, TIMER)
    eventually(lambda: wiring.pulses.get("reservation_timer").beat)
    assert Path(f"/proc/{process.pid}/comm").read_text() == "gflowd:reservat\n"
    shown = Board(wiring.address, wiring.key)
    eventually(lambda: "reservation_timer" in shown.read().posts)  # the beat comes first
    assert shown.read().posts["reservation_timer"] == Post(())
    os.kill(process.pid, signal.SIGTERM)
    process.join(LIMIT)
    assert process.exitcode == 0
    process.close()


def test_what_a_terminal_sends_is_not_for_workers(hosted: Any) -> None:
    wiring, _ = hosted
    process = spawn(wiring, TIMER)
    eventually(lambda: wiring.pulses.get("reservation_timer").beat)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        os.kill(process.pid, number)
    time.sleep(0.1)
    assert process.is_alive()
    process.terminate()
    process.join(LIMIT)
    process.close()


def test_without_a_manager_a_worker_ends_without_a_crash(hosted: Any) -> None:
    wiring, _ = hosted
    fields = {name: getattr(wiring, name) for name in wiring.__slots__}
    with socket.socket(socket.AF_UNIX) as stale:  # of a Manager that was killed
        stale.bind(wiring.address + ".stale")
    process = spawn(Wiring(**fields | {"address": wiring.address + ".stale"}), TIMER)
    process.join(LIMIT)
    assert process.exitcode == base.BOARD_LOST
    process.close()


def test_a_crash_leaves_one_sentence(hosted: Any) -> None:
    wiring, complaints = hosted
    Board(wiring.address, wiring.key).post("scheduler", ("no agenda",))
    process = spawn(wiring, TIMER)
    process.join(LIMIT)
    assert process.exitcode == 1
    assert os.read(complaints, 4096).startswith(b"AttributeError: ")
    assert "crashed" in Path(wiring.state.log).read_text()
    process.close()


def test_a_worker_that_cannot_start_says_why_whatever_it_is(hosted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_wiring: Wiring) -> None:
        raise AttributeError("of a package that is another")

    wiring, complaints = hosted
    monkeypatch.setattr(reservation_timer, "open", fail)
    process = spawn(wiring, TIMER)
    process.join(LIMIT)
    assert process.exitcode == base.CANNOT_START
    assert os.read(complaints, 4096) == b"AttributeError: of a package that is another\n"
    assert "of a package that is another" in Path(wiring.state.log).read_text()
    process.close()


def test_a_worker_whose_supervisor_is_gone_ends_at_once(hosted: Any) -> None:
    wiring, _ = hosted
    fields = {name: getattr(wiring, name) for name in wiring.__slots__}
    process = spawn(Wiring(**fields | {"supervisor": 1}), TIMER)
    process.join(LIMIT)
    assert process.exitcode == 0
    assert not wiring.pulses.get("reservation_timer").beat
    process.close()


def test_what_hides_its_memory_cannot_be_read_by_its_user() -> None:
    script = "import os; from gflowd.workers import base; base.become('x'); base.hide();"
    script += "print(open('/proc/self/comm').read(), end=''); print(os.stat('/proc/self/environ').st_uid, os.getuid())"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("gflowd:x\n0 ")


def test_a_manager_whose_socket_is_gone_is_no_crash_of_the_worker(hosted: tuple[Wiring, int]) -> None:
    wiring, _ = hosted
    fields = {name: getattr(wiring, name) for name in wiring.__slots__}
    process = spawn(Wiring(**fields | {"address": wiring.address + ".gone"}), TIMER)
    process.join(LIMIT)
    assert process.exitcode == base.BOARD_LOST


def test_a_worker_that_rests_is_left_alone_until_it_is_rung_for(wiring: Wiring) -> None:
    from gflowd.daemon.children import Child

    pulses = board.Pulses(["x"])
    child = Child(Row("x", wakes_for=b"v", starts_for=b"n"), pulses)

    def rests() -> None:
        child.process = board.fork.Process(target=os._exit, args=(base.RESTS,))
        child.process.start()
        child.process.join()
        assert child.bury() is None

    rests()
    assert (child.resting, child.next_due(), child.failed_boots) == (True, float("inf"), 0)
    child.wake(set(b"vd"))
    assert child.resting
    child.wake(set(b"n"))
    assert not child.resting
    child.wake(set(b"v"))  # it was ending, and did not hear this
    rests()
    assert not child.resting
    child.dismiss()
    os.close(pulses.fd)
