from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from gflowd.effects import doorbell


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "bell")


def test_each_kind_rung_is_heard_once(path: str) -> None:
    bell = doorbell.hang(path)
    doorbell.ring(path, doorbell.SUBMISSION)
    doorbell.ring(path, doorbell.WISH + doorbell.SUBMISSION)
    assert doorbell.listen(bell) == bytes(sorted(b"qw"))
    assert doorbell.listen(bell) == b""
    os.close(bell)


def test_what_is_no_kind_is_not_heard(path: str) -> None:
    bell = doorbell.hang(path)
    doorbell.ring(path, b"\0?\xff" + doorbell.ENDED)
    assert doorbell.listen(bell) == doorbell.ENDED
    os.close(bell)


def test_kinds_are_told_apart() -> None:
    assert len(set(doorbell.KINDS)) == len(doorbell.KINDS) == 8


def test_ringing_a_bell_that_is_not_there_makes_none(path: str) -> None:
    doorbell.ring(path, b"q")
    assert not os.path.lexists(path)


def test_ringing_without_a_listener_neither_waits_nor_fails(path: str) -> None:
    os.mkfifo(path)
    signal.alarm(60)
    doorbell.ring(path, b"q")
    signal.alarm(0)


def test_a_full_bell_neither_waits_nor_fails(path: str) -> None:
    bell = doorbell.hang(path)
    signal.alarm(60)
    for _ in range(40):
        doorbell.ring(path, b"q" * 4096)
    signal.alarm(0)
    assert doorbell.listen(bell) == b"q"
    os.close(bell)


@pytest.mark.parametrize("content", ["", "old"])
def test_a_file_at_its_place_is_left_as_it_is_by_who_rings(path: str, content: str) -> None:
    Path(path).write_text(content)
    doorbell.ring(path, b"q")
    assert Path(path).read_text() == content


def test_a_link_is_not_followed_by_who_rings(path: str, tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    bell = doorbell.hang(other)
    os.symlink(other, path)
    doorbell.ring(path, b"q")
    assert doorbell.listen(bell) == b""
    os.close(bell)


def test_what_else_is_at_its_place_is_replaced_by_who_hangs_it(path: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    for make in (lambda: Path(path).write_text("x"), lambda: os.symlink(target, path)):
        make()
        os.close(doorbell.hang(path))
        found = os.lstat(path)
        assert stat.S_ISFIFO(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o600
        os.unlink(path)
    assert target.read_text() == "mine"


def test_a_bell_that_hangs_already_is_kept(path: str) -> None:
    first = doorbell.hang(path)
    second = doorbell.hang(path)
    doorbell.ring(path, b"q")
    assert os.fstat(first).st_ino == os.fstat(second).st_ino
    assert doorbell.listen(second) == b"q"
    os.close(first)
    os.close(second)


def test_a_bell_that_was_hung_is_not_inherited_and_never_blocks(path: str) -> None:
    bell = doorbell.hang(path)
    assert not os.get_inheritable(bell)
    assert not os.get_blocking(bell)
    os.close(bell)
