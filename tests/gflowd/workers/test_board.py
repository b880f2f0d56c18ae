"""The board between processes, and the pulses across forks."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest

from gflowd.workers import board
from gflowd.workers.board import Board, Pulse, Pulses, read_pulses
from gflowd.workers.board_slots import Post, Slots

LIMIT = 60.0  # seconds: patience with a busy machine, no promise


@pytest.fixture
def hosted(runtime_dir: str) -> Iterator[tuple[str, bytes]]:
    """Address and key of a Manager."""
    address, key = f"{runtime_dir}/m.sock", os.urandom(32)
    manager = board.serve(address, key, lambda: None)
    limit = time.monotonic() + LIMIT
    while (probe := board.knock(address)) is None:
        assert time.monotonic() < limit
        time.sleep(0.005)
    probe.close()
    yield address, key
    manager.kill()
    manager.join()
    manager.close()


def in_child(what: object) -> int:
    """The exit status of a forked process that calls `what`."""
    pid = os.fork()
    if not pid:
        try:
            what()  # type: ignore[operator]
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_what_one_process_posts_another_reads(hosted: tuple[str, bytes]) -> None:
    ours = Board(*hosted)
    assert ours.read() == Slots()
    assert in_child(lambda: Board(*hosted).post("poller", Post((1, "x")))) == 0
    assert ours.read() == Slots({"poller": Post((1, "x"))})


def test_a_post_replaces_its_slot_whole_and_no_other(hosted: tuple[str, bytes]) -> None:
    ours = Board(*hosted)
    ours.post("a", Post({"x": 1, "y": 2}))
    ours.post("b", Post(5))
    ours.post("a", Post({"z": 3}))
    assert ours.read() == Slots({"a": Post({"z": 3}), "b": Post(5)})


def test_what_was_read_is_a_copy(hosted: tuple[str, bytes]) -> None:
    ours = Board(*hosted)
    ours.post("a", Post([1]))
    ours.read().posts["a"].decision.append(2)
    assert ours.read() == Slots({"a": Post([1])})


def test_without_the_key_nobody_gets_in(hosted: tuple[str, bytes]) -> None:
    from multiprocessing import AuthenticationError

    with pytest.raises(AuthenticationError):
        Board(hosted[0], b"wrong")


def test_its_socket_is_ours_alone(hosted: tuple[str, bytes]) -> None:
    assert os.stat(hosted[0]).st_mode & 0o077 == 0


def test_a_live_manager_speaks_first_when_one_knocks(hosted: tuple[str, bytes]) -> None:
    probe = board.knock(hosted[0])
    assert probe is not None
    probe.settimeout(LIMIT)
    assert probe.recv(1)
    probe.close()


def test_knocking_where_nobody_listens_neither_waits_nor_fails(runtime_dir: str) -> None:
    assert board.knock(f"{runtime_dir}/none") is None
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{runtime_dir}/stale")
    assert board.knock(f"{runtime_dir}/stale") is None


def test_a_manager_that_is_gone_is_an_error_of_the_connection(hosted: tuple[str, bytes], runtime_dir: str) -> None:
    address, key = f"{runtime_dir}/other.sock", b"k"
    manager = board.serve(address, key, lambda: None)
    limit = time.monotonic() + LIMIT
    while (probe := board.knock(address)) is None:
        assert time.monotonic() < limit
        time.sleep(0.005)
    probe.close()
    theirs = Board(address, key)
    theirs.post("a", Post(1))
    manager.kill()
    manager.join()
    manager.close()
    with pytest.raises((ConnectionError, EOFError)):
        theirs.read()


@pytest.fixture
def pulses() -> Iterator[Pulses]:
    made = Pulses(["manager", "scheduler", "a-name-of-thirty-two-bytes-long-"])
    yield made
    os.close(made.fd)


def test_a_row_is_read_as_it_was_written(pulses: Pulses) -> None:
    assert pulses.get("scheduler") == Pulse("scheduler")
    row = Pulse("scheduler", pid=7, beat=1.5, started=1.25, restarts=3)
    pulses.set(row)
    assert pulses.get("scheduler") == row
    assert pulses.get("manager") == Pulse("manager"), "nobody else's is touched"
    pulses.beat("scheduler", 9.5)
    pulses.assign("scheduler", 8)
    assert pulses.get("scheduler") == Pulse("scheduler", pid=8, beat=9.5, started=1.25, restarts=3)


def test_a_beat_in_a_child_is_seen_by_its_parent_and_the_other_way_round(pulses: Pulses) -> None:
    assert in_child(lambda: pulses.beat("manager", 42.0)) == 0
    assert pulses.get("manager").beat == 42.0
    readable, writable = os.pipe()

    def wait_and_look() -> None:
        os.read(readable, 1)
        assert pulses.get("manager").beat == 43.0

    pid = os.fork()
    if not pid:
        try:
            wait_and_look()
        except BaseException:
            os._exit(1)
        os._exit(0)
    pulses.beat("manager", 43.0)
    os.write(writable, b".")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(readable)
    os.close(writable)


def test_the_end_of_the_daemon_is_announced_to_its_workers(pulses: Pulses) -> None:
    pulses.set(Pulse("manager", 5, 1.0, 1.0, 2))
    assert not pulses.is_ending
    pulses.announce_end()
    assert pulses.is_ending
    pulses.clear("scheduler")
    assert [pulse.name for pulse in pulses.all()] == ["manager", "a-name-of-thirty-two-bytes-long-"]


def test_pulses_are_read_from_outside_while_their_owner_is_stuck(pulses: Pulses) -> None:
    pulses.set(Pulse("scheduler", pid=7, beat=1.5, started=1.25, restarts=3))
    stuck = os.fork()
    if not stuck:
        time.sleep(60)
        os._exit(0)
    try:
        os.kill(stuck, 19)
        pulses.beat("scheduler", 2.5)
        found = read_pulses(stuck, pulses.fd)
    finally:
        os.kill(stuck, 9)
        os.waitpid(stuck, 0)
    assert [pulse.name for pulse in found] == ["manager", "scheduler", "a-name-of-thirty-two-bytes-long-"]
    assert found[1] == Pulse("scheduler", pid=7, beat=2.5, started=1.25, restarts=3)
    with pytest.raises(OSError, match="No such file"):
        read_pulses(stuck, pulses.fd)


def test_pulses_are_not_inherited_by_programs(pulses: Pulses) -> None:
    assert not os.get_inheritable(pulses.fd)
