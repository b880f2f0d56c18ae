"""The supervisor's decisions one by one; the whole of it runs in the system tests."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from gflowd.config import loader
from gflowd.core.errors import Refused
from gflowd.daemon import children
from gflowd.daemon import supervisor as of_daemon
from gflowd.daemon.supervisor import Supervisor
from gflowd.daemon.systemd import notify, watchdog_interval
from gflowd.effects import doorbell
from gflowd.paths import Runtime, Shared, State
from gflowd.workers import WORKERS, Row
from gflowd.workers.board import Pulse, read_pulses

ALWAYS = tuple(row for row in WORKERS if row.is_essential)


@pytest.fixture
def announced() -> list[int]:
    return []


@pytest.fixture
def boss(state: State, runtime_dir: str, announced: list[int]) -> Iterator[Supervisor]:
    """A supervisor that has forked nobody."""
    settings = loader.load(None, {"HOME": "/nonexistent"}, {})
    made = Supervisor(state, Runtime(runtime_dir), settings, lambda: settings, announced.append, to_stderr=False)
    yield made
    for child in made.children:
        os.close(child.wake_read)
        os.close(child.wake_write)
    for fd in (made.complaints, made._complain, made.pulses.fd):
        os.close(fd)


def beat_all(boss: Supervisor, *but: str) -> None:
    for row in ALWAYS:
        if row.name not in but:
            boss.pulses.beat(row.name, time.monotonic())


def delays(boss: Supervisor, crashes: int) -> list[float]:
    """Seconds until the restart after each of so many crashes, one upon the other."""
    child, found = boss.children[0], []
    for _ in range(crashes):
        child.delay()
        found.append(child.due - child.last_crash)
    return found


def test_the_first_restart_is_immediate_and_each_later_one_waits_twice_as_long(boss: Supervisor) -> None:
    assert delays(boss, 10) == pytest.approx([0, 1, 2, 4, 8, 16, 32, 60, 60, 60])


def test_after_a_calm_minute_the_next_restart_is_immediate_again(boss: Supervisor) -> None:
    delays(boss, 5)
    boss.children[0].last_crash -= children.CALM + 1
    assert delays(boss, 2) == pytest.approx([0, 1])


def test_one_workers_crashes_do_not_delay_another(boss: Supervisor) -> None:
    delays(boss, 5)
    assert {child.crashes for child in boss.children[1:]} == {0}


def test_a_worker_that_crashes_for_ever_does_not_overflow(boss: Supervisor) -> None:
    boss.children[0].crashes = 9000
    boss.children[0].last_crash = time.monotonic()
    assert delays(boss, 1) == pytest.approx([60], abs=0.1)


def test_ready_is_said_once_and_not_before_the_last_worker_is_up(boss: Supervisor, announced: list[int]) -> None:
    boss.announce()
    beat_all(boss, "scheduler")
    boss.announce()
    assert announced == []
    beat_all(boss)
    boss.announce()
    boss.announce()
    assert announced == [boss.pulses.fd]


@pytest.fixture
def choosy(boss: Supervisor, monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    """The same, in a gflow with one more worker, which runs at log level debug."""
    extra = Row("extra", wakes_for=doorbell.DECISION, when=lambda config: config.log_level == "debug")
    monkeypatch.setattr(of_daemon, "WORKERS", (*ALWAYS, extra))
    boss.pulses.__init__(["manager", *(row.name for row in (*ALWAYS, extra))])  # type: ignore[misc]
    boss._staff()
    return boss


def reload(boss: Supervisor, **settings: str) -> None:
    boss.reload = lambda: loader.load(None, {"HOME": "/nonexistent"}, settings)
    boss._reload()


def seen(boss: Supervisor) -> list[str]:
    """The processes in `gflowd status`."""
    return [pulse.name for pulse in read_pulses(os.getpid(), boss.pulses.fd)]


def test_a_worker_runs_only_while_the_configuration_wants_it(choosy: Supervisor) -> None:
    usual = ["manager", *(row.name for row in ALWAYS)]
    first = choosy.children[0]
    assert seen(choosy) == usual
    assert len(choosy.children) == len(ALWAYS)
    reload(choosy, **{"daemon.log_level": "debug"})
    assert [child.row.name for child in choosy.children] == [*usual[1:], "extra"]
    assert seen(choosy) == [*usual, "extra"]
    assert choosy.children[0] is first, "those that were wanted before keep their pipes and the count of their restarts"
    wake = choosy.children[-1].wake_read
    reload(choosy)
    assert seen(choosy) == usual
    assert choosy.children[-1].row in ALWAYS
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(wake)


def test_the_daemon_does_not_wait_for_what_only_serves_people_and_does_not_end_with_it(
    choosy: Supervisor, announced: list[int]
) -> None:
    reload(choosy, **{"daemon.log_level": "debug"})
    beat_all(choosy, "extra")
    choosy.announce()
    assert announced == [choosy.pulses.fd]
    for child in (choosy.children[-1], choosy.children[0]):
        for _ in range(of_daemon.BOOTS):
            assert not choosy.leaving
            choosy.pulses.clear(child.row.name)
            child.process = children.board.fork.Process(target=os._exit, args=(3,))
            child.process.start()
            child.process.join()
            choosy._bury(child)
    assert choosy.leaving, "without the others there is no daemon"


@pytest.fixture
def systemd(
    runtime_dir: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[socket.socket]:
    """Where systemd listens: a path, or a name without one."""
    address = f"{runtime_dir}/notify" if request.param == "path" else f"@gflow-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + address[1:] if address.startswith("@") else address)
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield listening


def heard(listening: socket.socket) -> list[bytes]:
    found = []
    while select.select([listening], [], [], 0)[0]:
        found.append(listening.recv(999))
    return found


@pytest.mark.parametrize("systemd", ["path", "abstract"], indirect=True)
def test_systemd_hears_that_we_are_ready_and_alive(boss: Supervisor, systemd: socket.socket) -> None:
    boss.announce()
    assert heard(systemd) == [b"WATCHDOG=1"]
    beat_all(boss)
    boss.announce()
    assert heard(systemd) == [b"READY=1", b"WATCHDOG=1"]
    boss.end_all()
    assert heard(systemd) == [b"STOPPING=1"]


def test_without_systemd_or_with_a_deaf_one_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    for address in ("/no/such/socket", "@nobody-listens-here", "relative"):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        notify("READY=1")


@pytest.mark.parametrize(
    ("usec", "listens", "expected"),
    [("30000000", True, 30.0), ("30000000", False, None), ("", True, None), ("soon", True, None), (None, True, None)],
)
def test_the_watchdogs_interval_is_known(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, listens: bool, expected: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("NOTIFY_SOCKET", "/x" if listens else None)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert watchdog_interval() == expected


def test_the_watchdog_is_fed_in_time(boss: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    for child in boss.children:
        child.due = time.monotonic() + 1000
    monkeypatch.setenv("NOTIFY_SOCKET", "/x")
    monkeypatch.setenv("WATCHDOG_USEC", "4000000")
    assert boss._next_due() - time.monotonic() <= 2.0


def woken(boss: Supervisor) -> set[str]:
    return {child.row.name for child in boss.children if doorbell_of(child.wake_read)}


def doorbell_of(fd: int) -> bytes:
    try:
        return os.read(fd, 99)
    except BlockingIOError:
        return b""


def test_a_ring_wakes_those_who_wake_for_it(boss: Supervisor) -> None:
    boss.bell = doorbell.hang(boss.runtime.bell)
    for kind in doorbell.KINDS:
        doorbell.ring(boss.runtime.bell, bytes([kind]))
        boss.hear()
        resting = {"notifier"} if kind in doorbell.NOTICE else set()  # the others leave it at rest
        assert woken(boss) == {row.name for row in ALWAYS if kind in row.wakes_for} | resting
    boss.hear()
    assert woken(boss) == set()
    os.close(boss.bell)


def test_a_worker_that_does_not_listen_blocks_nobody(boss: Supervisor) -> None:
    boss.bell = doorbell.hang(boss.runtime.bell)
    for _ in range(70_000 // 65_536 + 1):
        for child in boss.children:
            try:
                while True:
                    os.write(child.wake_write, b"." * 4096)
            except BlockingIOError:
                pass
    doorbell.ring(boss.runtime.bell, doorbell.KINDS)
    boss.hear()
    os.close(boss.bell)


def heed(boss: Supervisor, *signals: signal.Signals) -> None:
    readable, writable = os.pipe2(os.O_NONBLOCK)
    boss.received.update(signals)
    boss.heed_signals(readable)
    os.close(readable)
    os.close(writable)


def test_term_and_int_end_it_and_hup_alone_reloads(boss: Supervisor) -> None:
    reloaded = []
    boss.reload = lambda: reloaded.append(1) or boss.config  # type: ignore[func-returns-value]
    heed(boss)
    heed(boss, signal.SIGHUP)
    assert (boss.leaving, reloaded) == (False, [1])
    heed(boss, signal.SIGHUP, signal.SIGTERM)
    assert (boss.leaving, reloaded) == (True, [1])
    boss.leaving = False
    heed(boss, signal.SIGINT)
    assert boss.leaving


def test_a_wrong_configuration_is_not_taken_over(boss: Supervisor) -> None:
    before = boss.config

    def refuse() -> object:
        raise Refused("gflow.toml: line 3: no such key")

    boss.reload = refuse  # type: ignore[assignment]
    heed(boss, signal.SIGHUP)
    assert boss.config is before
    assert not boss.leaving


def test_the_last_sentence_of_a_worker_is_what_it_complained_of(boss: Supervisor) -> None:
    assert boss._complaint() is None
    os.write(boss._complain, b"first\nlast \xff one\n")
    assert boss._complaint() == "last \ufffd one"
    assert boss._complaint() is None


def test_sockets_of_earlier_managers_are_cleared_away_and_nothing_else(boss: Supervisor, runtime_dir: str) -> None:
    for name in ("manager.1.sock", "manager.22.sock", "tmux.sock", "bell"):
        open(f"{runtime_dir}/{name}", "w", encoding="ascii").close()
    boss._forget_old_sockets()
    assert sorted(os.listdir(runtime_dir)) == ["bell", "tmux.sock"]


def test_at_the_end_no_row_names_a_process(boss: Supervisor) -> None:
    boss.pulses.set(Pulse("scheduler", pid=7, beat=1.0))
    boss.end_all()
    assert boss.pulses.get("scheduler") == Pulse("scheduler")


class FakeHost:
    """A Manager that has only its socket."""

    def __init__(self, address: str) -> None:
        self.address, self.ended = address, 0

    def end(self) -> None:
        self.ended += 1


def test_sockets_that_somebody_has_removed_are_made_again_by_who_made_them(boss: Supervisor, runtime_dir: str) -> None:
    boss.bell = doorbell.hang(boss.runtime.bell)
    sockets = [f"{runtime_dir}/{name}" for name in ("manager.1.sock", "gate.sock")]
    boss.state.share(Shared(gate=sockets[1]))
    for gone in sockets:
        host = FakeHost(sockets[0])
        boss.host = host  # type: ignore[assignment]
        boss.pulses.set(Pulse("gateway"))
        open(sockets[0], "w", encoding="ascii").close()
        boss.look_after_places()  # the gateway has not begun to listen
        boss.pulses.set(Pulse("gateway", pid=os.getpid(), beat=1.0))
        open(sockets[1], "w", encoding="ascii").close()
        boss.look_after_places()
        assert host.ended == 0
        os.unlink(gone)
        boss.look_after_places()
        assert (host.ended, boss.host) == (1, None)
        boss.pulses.set(Pulse("gateway", beat=1.0))
        boss.look_after_places()  # those who have ended
    os.close(boss.bell)
