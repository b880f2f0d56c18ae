"""A directory that hangs, hangs a process of its own: who asks is told so, and goes on when that does."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.waiting import eventually

from gflowd.core.errors import Refused
from gflowd.effects.cluster import reach
from gflowd.effects.cluster.reach import Reach


class Actions:
    """What is asked for in these tests."""

    def __init__(self, pipe: str) -> None:
        self._pipe = pipe
        self.calls = 0

    def count(self, by: int) -> int:
        self.calls += by
        return self.calls

    def refuse(self) -> None:
        raise Refused("no")

    def miss(self) -> None:
        raise FileNotFoundError(2, "there is none", "x")

    def break_down(self) -> None:
        raise ValueError("oh")

    def hang(self) -> str:
        with open(self._pipe, encoding="ascii") as pipe:  # waits for who opens it for writing, as a dead server would
            return pipe.read()


@contextmanager
def reaching(root: Path, patience: float = 60.0) -> Iterator[Reach]:
    os.mkfifo(root / "pipe")
    found = Reach("/shared", Actions(str(root / "pipe")), patience)
    try:
        yield found
    finally:
        found.close()


def test_what_is_asked_is_done_in_one_process_after_another(tmp_path: Path) -> None:
    with reaching(tmp_path) as found:
        assert [found.ask("count", 2), found.ask("count", 3)] == [2, 5]
        with pytest.raises(Refused, match="no"):
            found.ask("refuse")
        with pytest.raises(FileNotFoundError) as missed:
            found.ask("miss")
        assert missed.value.filename == "x"
        with pytest.raises(RuntimeError, match="ValueError: oh"):
            found.ask("break_down")
        assert found.ask("count", 1) == 6
        assert found.trouble is None
        assert list(found.descriptors()) == list(found.wakes(0.0)) == []


def test_while_one_thing_hangs_everything_fails_at_once_until_it_is_done(tmp_path: Path) -> None:
    with reaching(tmp_path, 0.2) as found:
        with pytest.raises(TimeoutError, match="no answer within 0"):
            found.ask("hang")
        with pytest.raises(TimeoutError) as late:
            found.ask("count", 1)
        assert late.value.filename == "/shared"
        found.turn()
        assert found.trouble == "/shared: no answer within 0.2 s"
        assert (len(list(found.descriptors())), list(found.wakes(7.0))) == (1, [8.0])
        (tmp_path / "pipe").write_text("x")
        eventually(lambda: found.turn() or found.trouble is None)
        found._patience = 60.0
        found.turn()
        assert found.ask("count", 1) == 1


def test_one_turn_waits_no_longer_however_much_is_asked(tmp_path: Path) -> None:
    with reaching(tmp_path, 0.2) as found:
        found._left = 0.0
        with pytest.raises(TimeoutError):
            found.ask("hang")


def test_a_process_that_died_is_replaced(tmp_path: Path) -> None:
    with reaching(tmp_path) as found:
        found.ask("count", 1)
        assert found._pid is not None
        os.kill(found._pid, signal.SIGKILL)
        with pytest.raises(OSError, match="has died"):
            found.ask("count", 1)
        assert found.ask("count", 1) == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_one_that_hangs_for_too_long_or_dies_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    with reaching(tmp_path, 0.2) as found:
        with pytest.raises(TimeoutError):
            found.ask("hang")
        assert found._pid is not None
        os.kill(found._pid, how)
        monkeypatch.setattr(reach, "GIVEN_UP", 0.0 if how == signal.SIGSTOP else 1000.0)
        eventually(lambda: found.turn() or found.trouble is None)
        found.turn()
        found._patience = found._left = 60.0
        assert found.ask("count", 1) == 1
