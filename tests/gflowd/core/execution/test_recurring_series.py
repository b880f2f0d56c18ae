from __future__ import annotations

import sys
from datetime import datetime
from unittest import mock

import pytest
from support.specs import SPEC

from gflowd.core.execution import recurring_series
from gflowd.core.job.dependencies import AFTERANY, Dependency, Needs
from gflowd.core.job.model import (
    CANCELLED,
    FINISHED,
    LATEST,
    QUEUE,
    Ended,
    Job,
    Phase,
    Queued,
    Repeat,
    Run,
    Starting,
    Wish,
)
from gflowd.core.syntax import instants

HOUR, DAY = 3600.0, 86400.0
DUE = datetime(2026, 1, 31, 2, tzinfo=instants.zone("Europe/Vienna")).timestamp()
DAILY = Repeat(rule="daily 02:00", due=DUE, zone="Europe/Vienna")
HOURLY = Repeat(rule="every 1h", due=DUE)
AFTER_IT = Needs(dependencies=(Dependency(kind=AFTERANY, id=7),))


def run(repeat: Repeat | None = DAILY, wish: Wish | None = None, phase: Phase | None = None, **fields: object) -> Job:
    spec = SPEC.replace(repeat=repeat, begin_at=None if repeat is None else repeat.due).replace(**fields)
    return Job(7, spec, wish or Wish(), phase or Queued())


def starting(at: float, attempt: int = 1) -> tuple[Phase, ...]:
    return (Starting(run=Run(executor="tmux", launched_at=at, attempt=attempt)),)


def test_a_run_that_starts_is_followed_by_one_like_it_at_the_next_time() -> None:
    spec = recurring_series.following(run(gpus=2, comment="c"), starting(DUE + 1))
    assert spec == SPEC.replace(
        gpus=2, comment="c", submitted_at=DUE + 1, begin_at=DUE + DAY, needs=AFTER_IT,
        repeat=DAILY.replace(due=DUE + DAY, series=7),
    )  # fmt: skip
    assert spec is not None
    assert Job(8, spec, Wish(), Queued()).series == 7
    later = recurring_series.following(Job(8, spec, Wish(), Queued()), starting(DUE + DAY))
    assert later is not None
    assert later.repeat == DAILY.replace(due=DUE + 2 * DAY, series=7)
    assert later.needs == Needs(dependencies=(Dependency(kind=AFTERANY, id=8),))


def test_the_times_that_passed_while_a_run_waited_are_passed_by() -> None:
    for repeat in (HOURLY, HOURLY.replace(overlap=QUEUE)):
        spec = recurring_series.following(run(repeat), starting(DUE + 5.5 * HOUR))
        assert spec is not None
        assert spec.begin_at == DUE + 6 * HOUR


def test_a_run_that_begins_early_is_the_one_that_was_due() -> None:
    spec = recurring_series.following(run(begin_at=DUE - HOUR), starting(DUE - HOUR))
    assert spec is not None
    assert spec.begin_at == DUE + DAY


def test_no_run_follows_where_the_calendar_ends() -> None:
    rare = Repeat(rule="every 36500d", due=float(LATEST - DAY))
    assert recurring_series.following(run(rare), starting(DUE)) is None
    assert recurring_series.times(rare, rare.due, 3) == []


def test_a_rule_of_a_damaged_record_that_would_come_all_the_time_is_not_followed() -> None:
    hurried = run(HOURLY.replace(rule="every 0s"))
    assert recurring_series.following(hurried, starting(DUE)) is None
    assert recurring_series.why_not(hurried.spec) == "'every 0s' is too often; once a second is the most"


def test_later_attempts_have_been_followed_already() -> None:
    assert recurring_series.following(run(phase=Queued(attempt=2)), starting(DUE, attempt=2)) is None


@pytest.mark.parametrize("files", [{"output": "o"}, {"error": "e"}, {"output": "o", "append": True}, {"append": True}])
def test_later_runs_append_to_the_files_of_the_first(files: dict[str, object]) -> None:
    spec = recurring_series.following(run(batch=3, **files), starting(DUE))
    assert spec is not None
    assert (spec.append, spec.batch) == (True, None)


def test_a_run_that_is_cancelled_alone_is_followed_by_the_next() -> None:
    ended = (Ended(state=CANCELLED, ended_at=DUE - HOUR),)
    alone = Wish(cancelled_at=DUE - HOUR, only_run=True)
    spec = recurring_series.following(run(wish=alone, needs=AFTER_IT), ended)
    assert spec is not None
    assert (spec.begin_at, spec.needs) == (DUE + DAY, AFTER_IT)
    put_off = recurring_series.following(run(wish=alone, phase=Queued(begin_at=DUE + DAY, since=DUE)), ended)
    assert put_off is not None
    assert put_off.begin_at == DUE + 2 * DAY
    late = recurring_series.following(
        run(wish=alone, begin_at=None), (Ended(state=CANCELLED, ended_at=DUE + 3 * DAY + 1),)
    )
    assert late is not None
    assert late.begin_at == DUE + 4 * DAY


def test_nothing_follows_the_end_of_a_series() -> None:
    ended = (Ended(state=CANCELLED, ended_at=DUE),)
    assert recurring_series.following(run(wish=Wish(cancelled_at=DUE)), ended) is None
    again = (Ended(state=CANCELLED, ended_at=DUE, attempt=2),)
    assert (
        recurring_series.following(run(wish=Wish(cancelled_at=DUE, only_run=True), phase=Queued(attempt=2)), again)
        is None
    )
    assert recurring_series.following(run(None), starting(DUE)) is None
    last = DAILY.replace(due=datetime(9999, 12, 31, 2, tzinfo=instants.zone("Europe/Vienna")).timestamp())
    assert recurring_series.following(run(last), starting(last.due)) is None


def test_a_job_that_is_no_run_is_of_no_series() -> None:
    assert run(None).series is None
    assert recurring_series.why_not(SPEC) is None
    assert recurring_series.put_off(run(None), None, DUE) is None


def test_a_run_whose_time_comes_while_another_goes_on_is_put_off() -> None:
    assert recurring_series.put_off(run(HOURLY), None, DUE) == DUE + HOUR
    assert recurring_series.put_off(run(HOURLY), None, DUE + 3.5 * HOUR) == DUE + 4 * HOUR
    assert recurring_series.put_off(run(HOURLY), None, DUE - 1) is None, "its time has not come"
    assert recurring_series.put_off(run(HOURLY.replace(overlap=QUEUE)), None, DUE) is None, "it waits"
    assert recurring_series.put_off(run(HOURLY, begin_at=None), None, DUE) is None


def test_what_passed_while_nobody_looked_is_put_off_by_when_the_other_ended() -> None:
    now = DUE + 9.5 * HOUR
    assert recurring_series.put_off(run(HOURLY), DUE + 2.5 * HOUR, now) == DUE + 3 * HOUR, (
        "which has come: it starts late"
    )
    assert recurring_series.put_off(run(HOURLY), DUE, now) is None
    assert recurring_series.put_off(run(HOURLY), float("-inf"), now) is None


def test_the_times_to_come_are_told() -> None:
    assert recurring_series.times(DAILY, DUE, 3) == [DUE + DAY, DUE + 2 * DAY, DUE + 3 * DAY]
    assert recurring_series.times(DAILY.replace(rule="x"), DUE, 3) == []
    last = datetime(9999, 12, 30, 3, tzinfo=instants.zone("Europe/Vienna")).timestamp()
    assert len(recurring_series.times(DAILY, last, 3)) == 1


def test_a_rule_that_cannot_be_followed_here_says_why_and_moves_nothing() -> None:
    cron = DAILY.replace(rule="0 2 * * *")
    with mock.patch.dict(sys.modules, {"cronsim": None}):
        assert "cronsim" in (recurring_series.why_not(SPEC.replace(repeat=cron)) or "")
        assert recurring_series.following(run(cron), starting(DUE)) is None
        assert recurring_series.put_off(run(cron), None, DUE) is None
    assert recurring_series.why_not(SPEC.replace(repeat=DAILY.replace(zone="Nowhere/Here"))) is not None
    assert recurring_series.why_not(SPEC.replace(repeat=cron)) is None
    assert recurring_series.following(run(phase=Queued()), (Ended(state=FINISHED, ended_at=DUE),)) is None
