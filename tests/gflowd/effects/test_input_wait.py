from __future__ import annotations

import os
import pty
import signal
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from gflowd.effects import input_wait, proc

LIMIT = 60.0  # seconds: patience with a busy machine, no promise
READS = "input()"
SLEEPS = "import time; time.sleep(1000)"
RECEIVES = "import socket; a, b = socket.socketpair(); a.recv(1)"


@pytest.fixture
def start() -> Iterator[Callable[[str], int]]:
    """Starts a Python program in a terminal of its own, whose pid it is."""
    begun = []

    def run(text: str) -> int:
        pid, fd = pty.fork()
        if not pid:
            os.execv(sys.executable, [sys.executable, "-c", text])
        begun.append((pid, fd))
        return pid

    yield run
    for pid, fd in begun:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_wait, "QUIET", float("-inf"))


def waits(pid: int) -> bool:
    return input_wait.waits_for_input(pid, proc.start_ticks(pid))


def until_asleep(pid: int, *where: str) -> None:
    limit = time.monotonic() + LIMIT
    while not proc.sleeps_in(pid, pid).startswith(where):
        assert time.monotonic() < limit, proc.sleeps_in(pid, pid)
        time.sleep(0.01)


@pytest.mark.parametrize("seen", [True, False])
def test_who_reads_from_the_terminal_waits(
    start: Callable[[str], int], impatient: None, monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    if not seen:
        monkeypatch.setattr(proc, "system_call", lambda *_: [])
    reading = start(READS)
    until_asleep(reading, "wait_woken", "n_tty_read")
    others = [start(SLEEPS), start(RECEIVES)]
    for pid in others:
        until_asleep(pid, "hrtimer", "wait_woken", "sk_wait", "unix_stream", "do_nanosleep")
    assert waits(reading)
    assert not any(map(waits, others))
    assert not input_wait.waits_for_input(reading, proc.start_ticks(reading) + 1), "another process by now"


def test_a_strangers_program_that_turns_off_the_echo_asks_for_a_password(
    start: Callable[[str], int], impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, working = start("import getpass; getpass.getpass()"), start(SLEEPS)
    until_asleep(asking, "wait_woken", "n_tty_read")
    until_asleep(working, "hrtimer", "do_nanosleep")
    monkeypatch.setattr(proc, "system_call", lambda *_: [])
    monkeypatch.setattr(proc, "sleeps_in", lambda *_: "0")
    assert not waits(asking), "of our own we see what it does"
    monkeypatch.setattr(proc, "owner", lambda _: os.geteuid() + 1)
    assert waits(asking)
    assert not waits(working)


def test_who_only_just_began_to_wait_is_not_named(start: Callable[[str], int]) -> None:
    reading = start(READS)
    until_asleep(reading, "wait_woken", "n_tty_read")
    assert not waits(reading)


def test_without_a_terminal_nobody_waits_for_one(impatient: None) -> None:
    assert not waits(1 << 30)
    assert not waits(os.getppid()) or os.isatty(0)


def test_what_is_gone_has_nothing(impatient: None) -> None:
    gone = 1 << 30
    assert (proc.threads(gone), proc.children(gone), proc.kinds_of_opened(gone)) == ([], [], set())
    assert (proc.system_call(gone, gone), proc.sleeps_in(gone, gone), proc.opened(gone, 0)) == ([], "", None)
