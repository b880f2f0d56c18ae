"""Programs that are handed a message: what they leave running, say and do too long."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.machine import alive
from support.waiting import eventually

from gflowd.effects.delivery import program


def test_it_reads_all_and_says_why_it_fails() -> None:
    content = b"x" * 1_000_000
    ran = program.run(("/bin/sh", "-c", "wc -c >&2; exit 7"), content, 30)
    assert (ran.status, ran.said.strip()) == (7, b"1000000")
    assert program.run(("/bin/sh", "-c", "exec 0<&-; exit 3"), content, 30).status == 3
    assert program.run(("/bin/sh", "-c", "kill -9 $$"), b"", 30).status == -9
    with pytest.raises(FileNotFoundError):
        program.run(("/nonexistent",), b"", 30)


def test_what_it_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    place = tmp_path / "pid"
    assert program.run(("/bin/sh", "-c", f"sleep 1000 & echo $! > {place}"), b"", 30).status == 0
    pid = int(place.read_text())
    assert alive(pid)
    os.kill(pid, 9)


def test_too_long_is_too_long_for_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "pid"
    asked: list[float] = []

    def monotonic() -> float:
        """Stands still from the first question until all has been started, however long that takes."""
        is_later = bool(asked) and place.exists() and place.read_text().endswith("\n")
        asked.append(float(is_later))
        return asked[-1]

    monkeypatch.setattr(program, "time", SimpleNamespace(monotonic=monotonic))
    with pytest.raises(TimeoutError):
        program.run(("/bin/sh", "-c", f"sleep 1000 & echo $! > {place}; wait"), b"", 0.3)
    eventually(lambda: not alive(int(place.read_text())))


def test_a_flood_of_errors_fills_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ran = program.run(("/bin/sh", "-c", "head -c 100000000 /dev/zero >&2; echo end >&2; exit 1"), b"", 30)
    assert ran.said.endswith(b"end\n")
    assert len(ran.said) <= program.KEPT
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
