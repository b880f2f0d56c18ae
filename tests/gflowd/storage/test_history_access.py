"""The history as all may ask for it: the gateway's answers are the file's."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from support.answering import gateway

from gflowd.core.errors import GflowError, SystemFailed
from gflowd.core.gateway.protocol import encode
from gflowd.paths import Shared, State
from gflowd.storage import history_access
from gflowd.storage.history import Entry, History, Sheet
from gflowd.storage.history_queries import Choice

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPEC = {"command": ["x"], "cwd": "/", "env": "e", "name": "n", "submitted_at": 1.0, "user": "ada"}
USED = {"cpu_seconds": 2.0, "memory_mb": 5, "gpu_percent": 50.0}
QUESTIONS: list[Callable[[Any], Any]] = [
    lambda history: history.count(),
    lambda history: history.within(1, 9),
    lambda history: history.last_of("ada", 2),
    lambda history: history.because_of([2]),
    lambda history: history.chosen(Choice(users=("ada",), since=3.0, limit=-1), {7: None}),
    lambda history: list(history.records([1, 2])),
    lambda history: list(history.accounts(Choice(projects=["p"]), [])),
    lambda history: list(history.accounts(Choice(), {1: {}})),
    lambda history: (history.tally([1, 4])[0].numbers, history.tally([1, 4])[1]),
]


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(str(tmp_path))
    history = History(state.history, write=True)
    for job_id, project in ((1, "p"), (2, None)):
        run = {"gpu_ids": [0, 1], "executor": "process", "launched_at": 2.0}
        phase = {
            "is": "ended", "state": "finished", "ended_at": 9.0, "started_at": 2.0, "run": run, "used": USED,
            **({"reason": "DependencyFailed:2"} if job_id == 1 else {}),
        }  # fmt: skip
        entry = Entry(job_id, phase, {"held": True}, [(1, {**phase, "state": "failed"})])
        history.write([(job_id, entry)], [Sheet(job_id, 1, 9.0, {**SPEC, "project": project}, None)])
    history.close()
    return state


def test_the_gateway_answers_as_the_file_does(state: State, tmp_path: Path) -> None:
    def answer(head: dict[str, Any], _: bytes) -> bytes:
        history, args = history_access.InFile(state.history), head["args"]
        if args and isinstance(args[0], dict):
            args[0] = Choice(**args[0])
        found = getattr(history, head["query"])(*args)
        if head["query"] == "tally":
            found = [[group, numbers] for group, numbers in found[0].numbers.items()], [*found[1]]
        told = json.dumps(found if isinstance(found, (int, tuple)) else [*found])
        history.close()
        return encode({"ok": True}, told.encode())

    mine = history_access.InFile(state.history)
    with gateway(str(tmp_path / "gate.sock"), answer):
        theirs = history_access.ThroughGateway(str(tmp_path / "gate.sock"))
        for question in QUESTIONS:
            assert question(theirs) == question(mine)
            assert question(mine)
        theirs.close()
    mine.close()


def test_what_the_gateway_cannot_answer_is_said(tmp_path: Path) -> None:
    place = str(tmp_path / "gate.sock")
    with gateway(place, {"ok": True, "is_there": False}), pytest.raises(SystemFailed, match="the history is gone"):
        history_access.ThroughGateway(place).count()
    with gateway(place, {"error": "it is damaged", "status": 3}), pytest.raises(GflowError, match="it is damaged"):
        history_access.ThroughGateway(place).count()


def test_only_those_who_may_not_open_the_file_ask(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = history_access.of(state)
    assert isinstance(mine, history_access.InFile)
    mine.close()
    state.share(Shared(gate="/nowhere"))
    monkeypatch.setattr(os, "geteuid", lambda: 60001)
    assert isinstance(history_access.of(state), history_access.ThroughGateway)
    os.unlink(state.history)
    with pytest.raises(FileNotFoundError):
        history_access.of(state)
