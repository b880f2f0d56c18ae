"""Decisions and their causes as the daemon's log tells them, and that nobody pays for it at another level."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from support.specs import SPEC

from gflowd import log
from gflowd.core.accounting.runtimes import Length
from gflowd.core.job.model import Job, Queued, Wish
from gflowd.core.moment import Moment
from gflowd.core.planning.backfill import Look, Plan
from gflowd.workers.scheduler.decision_log import MOST, DecisionLog

if TYPE_CHECKING:
    from collections.abc import Callable

    Lines = Callable[[], list[str]]

NOW = Moment(1000.0, 5.0, "boot")


class Queue:
    """What the log asks of the job queue."""

    runtimes = SimpleNamespace(length=lambda _: Length(60.0))

    def __init__(self, *jobs: Job) -> None:
        self.queued = {job.id: job for job in jobs}

    def ready(self, _: Job) -> float:
        return 990.5


def job(job_id: int, **fields: Any) -> Job:
    return Job(id=job_id, spec=SPEC.replace(**fields), wish=Wish(), phase=Queued())


def status(reasons: dict[int, str], order: list[int]) -> Any:
    return SimpleNamespace(
        reasons={str(job_id): why for job_id, why in reasons.items()},
        line={"order": order},
        capacity={"cpus": 8, "memory_mb": None},
        used={"cpus": 3, "memory_mb": 100},
        gpus=[{"state": "idle"}, {"state": "busy"}],
    )


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Lines:
    """The lines that were told since it was last called."""
    monkeypatch.setattr(logging.getLogger("gflow"), "propagate", True)
    caplog.set_level(logging.DEBUG, "gflow")

    def told() -> list[str]:
        found = [(each.__dict__["gflow_event"], each.__dict__["gflow_fields"]) for each in caplog.records]
        caplog.clear()
        return [log.line(0.0, "debug", "x", *each).split(" ", 3)[3] for each in found]

    return told


def test_at_another_level_it_looks_at_nothing() -> None:
    nothing: Any = None
    told = DecisionLog()
    told.looks(nothing)
    told.decided(nothing, nothing, nothing, nothing)
    told.waits(nothing, nothing)


def test_a_choice_is_told_with_its_causes_unless_it_was_dropped(lines: Lines) -> None:
    plan = Plan(starts=[(job(1, gpus=2), (0, 1)), (job(2), ())], impossible=[(job(3), "too wide"), (job(4), "x")])
    told: Any = DecisionLog()
    told.decided(plan, {2, 4}, Queue(), NOW)
    assert lines() == [
        '"never starts" job=3 why="too wide"',
        "chosen job=1 user=u priority=10 waited=9.5 length=60 length_from=limit gpus=0,1 cpus=1 memory_mb=null",
    ]


def test_a_look_at_gpus_is_told_once(lines: Lines) -> None:
    told = DecisionLog()
    for since in (1.0, 1.0, 2.0):
        told.looks(Plan(wants_gpu={7: Look((0, 1), since)}))
    assert lines() == ['"looks at GPUs" job=7 gpus=0,1'] * 2


def test_a_promise_is_told_when_it_is_made_and_when_it_is_over(lines: Lines) -> None:
    told = DecisionLog()
    told.promised(7, None, {"at": 5.0})
    told.promised(7, {"at": 5.0}, {"at": 4.0})
    told.promised(7, {"at": 4.0}, None)
    assert lines() == ["promised job=7 at=5", '"promise over" job=7']


def test_a_reason_is_told_once_and_of_room_what_is_asked_and_what_is_free(lines: Lines) -> None:
    told: Any = DecisionLog()
    queue = Queue(job(1, gpus=2), job(2, cpus=4), job(3))
    for _ in range(2):
        told.waits(status({1: "Resources", 2: "Priority", 3: "Dependency", 9: "TimeLimit"}, [1, 2]), queue)
    room = "idle_gpus=1 free_cpus=5 free_memory_mb=null"
    assert lines() == [
        f"waits job=1 why=Resources gpus=2 cpus=1 memory_mb=null {room}",
        f"waits job=2 why=Priority gpus=0 cpus=4 memory_mb=null {room} first_in_line=1",
        "waits job=3 why=Dependency",
        "waits job=9 why=TimeLimit",
    ]
    told.waits(status({2: "Resources", 3: "Dependency"}, []), queue)
    assert lines() == [f"waits job=2 why=Resources gpus=0 cpus=4 memory_mb=null {room}"]


def test_of_many_new_reasons_the_rest_is_counted(lines: Lines) -> None:
    told: Any = DecisionLog()
    told.waits(status(dict.fromkeys(range(1, MOST + 4), "Dependency"), []), Queue())
    assert lines()[MOST - 1 :] == [f"waits job={MOST} why=Dependency", '"more jobs wait for other reasons" jobs=3']
