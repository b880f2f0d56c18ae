from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.accounting.statistics import (
    DAY,
    PROJECT,
    USER,
    Account,
    Calendar,
    Span,
    Spread,
    Tally,
    peak,
    spread,
    tallied,
    use,
)

NOON = datetime(2025, 3, 10, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0


def account(
    *spans: Span, user: str = "ada", project: str | None = None, state: str = "finished", waited: float = 10.0
) -> Account:
    ended = spans[-1][1] if spans and state != "running" else None
    return Account(user, project, state, spans[0][0] - waited if spans else NOON, ended, spans)


def tally(
    *accounts: Account, by: str | None = None, since: float = 0.0, until: float = NOON + 1e9
) -> tuple[dict[str, Tally], dict[str, float]]:
    return tallied(accounts, by, Calendar(UTC), since, until)


def test_durations_are_summed_up_by_mean_median_and_the_nearest_rank_of_95_percent() -> None:
    assert spread([]) is None
    assert spread([5.0]) == Spread(5.0, 5.0, 5.0)
    assert spread([4.0, 1.0]) == Spread(2.5, 2.5, 4.0)
    assert spread(map(float, range(1, 101))) == Spread(50.5, 50.5, 95.0)


def test_all_jobs_are_one_group_unless_asked_for_otherwise() -> None:
    tallies, hours = tally(
        account((NOON, NOON + HOUR, (0, 1))),
        account((NOON, NOON + 2 * HOUR, (2,)), state="failed", waited=30.0),
        account(state="queued"),
        account(state="cancelled"),
        account((NOON, NOON + HOUR, ()), state="running"),
    )
    summary = tallies[""].summary()
    assert summary.states == {"finished": 1, "failed": 1, "queued": 1, "cancelled": 1, "running": 1}
    assert summary.success_rate == 0.5
    assert summary.wait == Spread(50 / 3, 10.0, 30.0)
    assert summary.run == Spread(1.5 * HOUR, 1.5 * HOUR, 2 * HOUR)
    assert (summary.gpu_hours, summary.peak_gpus) == (4.0, 3)
    assert hours == {"2025-03-10": 4.0}


def test_a_group_without_ends_has_no_success_rate() -> None:
    assert Tally().summary() == (Tally().states, None, None, None, 0.0, 0, 0.0, None, None)


def test_what_attempts_used_is_summed_and_averaged_as_far_as_it_is_known() -> None:
    span = (0.0, 100.0, (0, 1))
    found = [
        use({"cpu_seconds": 1800.0, "memory_mb": 10, "gpu_percent": 50.0}, span),
        use({"cpu_seconds": 1800.0, "gpu_percent": 80.0}, (0.0, 400.0, (3,))),
        use({"memory_mb": 700}, span),
    ]
    account = Account("u", None, "finished", 0.0, 100.0, (), [each for each in found if each is not None])
    tally = Tally()
    tally.count(account)
    summary = tally.summary()
    assert (summary.cpu_hours, summary.peak_memory_mb, summary.gpu_percent) == (1.0, 700, 70.0)
    assert use(None, span) is None


def test_a_job_too_short_for_the_clock_has_used_its_gpus_all_the_same() -> None:
    tallies, hours = tally(account((NOON, NOON, (0, 1))))
    assert (hours, tallies[""].summary().peak_gpus) == ({"2025-03-10": 0.0}, 2)
    assert tally(account((NOON, NOON, (0, 1))), since=NOON + 1)[0][""].summary().peak_gpus == 0


def test_jobs_are_told_apart_by_user_and_by_project() -> None:
    jobs = (account((NOON, NOON + HOUR, (0,))), account((NOON, NOON + HOUR, (1,)), user="bob", project="p"))
    for by, names in ((USER, {"ada", "bob"}), (PROJECT, {"-", "p"})):
        tallies, _ = tally(*jobs, by=by)
        assert tallies.keys() == names
        assert [each.summary().gpu_hours for each in tallies.values()] == [1.0, 1.0]


def test_a_job_belongs_to_the_day_of_its_end_and_its_gpu_hours_to_the_days_of_their_use() -> None:
    tallies, hours = tally(
        account((NOON, NOON + 24 * HOUR, (0,))), account((NOON, NOON + HOUR, (1,)), state="running"), by=DAY
    )
    assert hours == {"2025-03-10": 13.0, "2025-03-11": 12.0}
    first, second = tallies["2025-03-10"].summary(), tallies["2025-03-11"].summary()
    assert (first.states.total(), first.gpu_hours, first.peak_gpus) == (0, 13.0, 2)
    assert (second.states.total(), second.gpu_hours, second.peak_gpus) == (1, 12.0, 1)


def test_a_run_of_a_series_waits_from_when_it_was_due_and_never_less_than_no_time() -> None:
    ran = account((NOON, NOON + HOUR, ()), waited=24 * HOUR)
    for due, waited in ((NOON - 60, 60.0), (NOON + 60, 0.0), (NOON - 48 * HOUR, 24 * HOUR)):
        assert tally(ran._replace(due_at=due))[0][""].summary().wait == Spread(waited, waited, waited)


def test_gpu_hours_of_every_attempt_count_the_run_is_the_last_and_the_wait_for_the_first() -> None:
    retried = account((NOON, NOON + HOUR, (0,)), (NOON + 2 * HOUR, NOON + 5 * HOUR, (0,)))
    summary = tally(retried)[0][""].summary()
    assert summary.gpu_hours == 4.0
    assert summary.run == Spread(3 * HOUR, 3 * HOUR, 3 * HOUR)
    assert summary.wait == Spread(10.0, 10.0, 10.0)


def test_gpu_hours_before_since_and_after_now_do_not_count() -> None:
    job = account((NOON, NOON + 10 * HOUR, (0,)))
    assert tally(job, since=NOON + HOUR, until=NOON + 3 * HOUR)[0][""].summary().gpu_hours == 2.0
    assert tally(job, since=NOON + 20 * HOUR)[0][""].summary().gpu_hours == 0.0


def test_a_clock_that_went_back_makes_no_negative_durations() -> None:
    summary = tally(account((NOON, NOON - HOUR, (0,)), waited=-5.0))[0][""].summary()
    assert (summary.wait, summary.run, summary.gpu_hours) == (Spread(0, 0, 0), Spread(0, 0, 0), 0.0)


@pytest.mark.parametrize(
    ("uses", "most"),
    [
        ([], 0),
        ([(0, 10, (0,)), (10, 20, (1,))], 1),  # one ends as the other begins
        ([(0, 10, (0,)), (9, 20, (1,))], 2),
        ([(0, 10, (0, 1)), (5, 20, (1, 2)), (6, 7, (1,))], 3),  # shared GPUs count once
        ([(5, 6, (3,)), (0, 4, (0, 1)), (3, 9, (2,))], 3),
    ],
)
def test_the_peak_is_the_most_gpus_at_one_time(uses: Sequence[Span], most: int) -> None:
    assert peak(uses) == most


SPANS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 9), st.lists(st.integers(0, 3), min_size=1, unique=True)).map(
        lambda made: (float(made[0]), float(made[0] + made[1]), tuple(made[2]))
    )
)


@given(SPANS)
def test_the_peak_is_what_counting_at_every_moment_finds(uses: list[Span]) -> None:
    moments = [at + 0.5 for at in range(30)]
    at_once = [{gpu for begin, end, gpus in uses if begin <= at < end for gpu in gpus} for at in moments]
    assert peak(uses) == max(map(len, at_once))


def test_a_day_begins_at_midnight_of_its_zone_and_may_have_23_hours() -> None:
    calendar = Calendar(ZoneInfo("Europe/Berlin"))
    begin = datetime(2025, 3, 29, 22, 30, tzinfo=UTC).timestamp()  # 23:30 there; the clock goes forward on the 30th
    parts = list(calendar.parts(begin, begin + 48 * HOUR))
    assert [(day, (end - start) / HOUR) for day, start, end in parts] == [
        ("2025-03-29", 0.5), ("2025-03-30", 23.0), ("2025-03-31", 24.0), ("2025-04-01", 0.5),
    ]  # fmt: skip
    assert calendar.days("2025-03-29", "2025-04-01") == ["2025-03-29", "2025-03-30", "2025-03-31", "2025-04-01"]
    assert Calendar(None).day(begin) in {"2025-03-29", "2025-03-30"}
