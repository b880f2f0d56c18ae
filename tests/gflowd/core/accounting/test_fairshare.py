from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import specs

from gflowd.core.accounting.fairshare import Shares
from gflowd.core.job.model import (
    Identity,
    Job,
    Phase,
    Queued,
    Run,
    Running,
    Started,
    Starting,
    Stopping,
    Suspended,
    Wish,
)

HOUR = 3600.0
DAY = 24 * HOUR
WEEK = 7 * DAY
SPEC = specs.SPEC.replace(user="ada")
SHARES = Shares(enabled=True, half_life=WEEK, cpu_weight=0.05)
NOW = 1_700_000_000.0

times = st.floats(NOW - WEEK, NOW)


def running(user: str, since: float, gpus: int = 1) -> Job:
    run = Run(executor="process", launched_at=since - 1)
    started = Started(at=since, mono=1.0, identity=Identity("b", 2, 3))
    return Job(1, SPEC.replace(user=user, gpus=gpus), Wish(), Running(run=run, started=started))


def after(shares: Shares, ends: list[tuple[float, float]]) -> dict[str, float]:
    record = None
    for started_at, ended_at in ends:
        record = shares.record(record, SPEC.replace(gpus=1), started_at, ended_at)
    assert record is not None
    return record


def test_a_short_job_counts_its_gpus_times_its_seconds() -> None:
    record = SHARES.record(None, SPEC.replace(gpus=2), NOW - 10, NOW)
    assert record == {"usage": pytest.approx(20, rel=1e-4), "at": NOW}
    assert SHARES.record(None, SPEC.replace(gpus=2, shared=True), NOW - 10, NOW) == record
    assert SHARES.record(None, SPEC, NOW - 10, NOW)["usage"] == pytest.approx(0.5, rel=1e-4)
    assert SHARES.record(None, SPEC, None, NOW) == {"usage": 0, "at": NOW}


def test_after_a_half_life_usage_counts_half() -> None:
    records = {"ada": {"usage": 8.0, "at": NOW - WEEK}, "bob": {"usage": 8.0, "at": NOW}}
    assert SHARES.usage(records, [], NOW) == {"ada": 4.0, "bob": 8.0}
    assert SHARES.usage(records, [], NOW + 2 * WEEK) == {"ada": 1.0, "bob": 2.0}


def test_when_it_is_off_all_are_equal() -> None:
    off = Shares(enabled=False, half_life=WEEK, cpu_weight=0.05)
    assert off.usage({"ada": {"usage": 8.0, "at": NOW}}, [running("bob", NOW - 5)], NOW) == {}


@pytest.mark.parametrize(
    ("phase", "seconds"),
    [
        (Queued(), 0),
        (Starting(run=Run(executor="process", launched_at=NOW - 8)), 8),
        (Stopping(run=Run(executor="process", launched_at=NOW - 8), started=None, why="x", since_at=1, since_mono=1,
                  since_boot="b"), 8),
        (running("ada", NOW - 5).phase, 5),
        (Suspended(run=Run(executor="process", launched_at=NOW - 8),
                   started=Started(at=NOW - 6, mono=1.0, identity=Identity("b", 1, 1)), since_at=NOW - 3,
                   since_mono=1, since_boot="b"), 6),
    ],
)  # fmt: skip
def test_a_live_job_counts_since_it_has_its_resources(phase: Phase, seconds: float) -> None:
    live = [Job(1, SPEC.replace(gpus=1), Wish(), phase)]
    assert SHARES.usage({}, live, NOW)["ada"] == pytest.approx(seconds, rel=1e-3)


@given(st.floats(1, 10 * WEEK), st.floats(DAY, 10 * WEEK), st.integers(0, 8))
def test_the_closed_form_is_the_integral(seconds: float, half_life: float, gpus: int) -> None:
    shares = Shares(enabled=True, half_life=half_life, cpu_weight=0.05)
    steps = 2000
    step = seconds / steps
    decayed = sum(0.5 ** ((place + 0.5) * step / half_life) for place in range(steps)) * step * (gpus or 0.05)
    got = shares.record(None, SPEC.replace(gpus=gpus), NOW - seconds, NOW)["usage"]
    assert got == pytest.approx(decayed, rel=1e-3)


@given(st.lists(times, min_size=2, max_size=2, unique=True), st.floats(0, 1))
def test_a_job_in_two_pieces_has_used_what_it_has_used_in_one(ends: list[float], part: float) -> None:
    begin, end = sorted(ends)
    middle = begin + part * (end - begin)
    whole, halves = after(SHARES, [(begin, end)]), after(SHARES, [(begin, middle), (middle, end)])
    assert halves == {"usage": pytest.approx(whole["usage"], rel=1e-6, abs=1e-3), "at": end}
    live = SHARES.usage({}, [running("ada", begin)], end)
    assert live == {"ada": pytest.approx(whole["usage"], rel=1e-6, abs=1e-3)}


@given(st.lists(st.tuples(times, st.floats(0, DAY)), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_ends_may_be_recorded_in_any_order(runs: list[tuple[float, float]], random: Random) -> None:
    ends = [(end - seconds, end) for end, seconds in runs]
    shuffled = random.sample(ends, len(ends))
    one, other = ({"ada": after(SHARES, order)} for order in (ends, shuffled))
    assert SHARES.usage(one, [], NOW)["ada"] == pytest.approx(SHARES.usage(other, [], NOW)["ada"], rel=1e-6, abs=1e-6)


LATE = NOW + 73 * 52 * WEEK


def test_a_clock_that_was_far_ahead_neither_frees_nor_burdens_anyone() -> None:
    ahead = {"usage": 8.0, "at": LATE}
    assert SHARES.usage({"ada": ahead}, [running("ada", LATE)], NOW) == {"ada": 8.0}
    record = SHARES.record(ahead, SPEC.replace(gpus=1), NOW - 10, NOW)
    assert record == {"usage": pytest.approx(18, rel=1e-3), "at": NOW}
    assert SHARES.record(ahead, SPEC.replace(gpus=1), LATE, NOW) == {"usage": 8.0, "at": NOW}


@given(st.floats(0, 1e12), st.floats(0, 1e12), st.floats(0, 1e12), st.floats(1, 1e9))
def test_whatever_the_clock_did_usage_is_a_bounded_number(
    at: float, start: float, end: float, half_life: float
) -> None:
    shares = Shares(enabled=True, half_life=half_life, cpu_weight=0.05)
    record = shares.record({"usage": 5.0, "at": at}, SPEC.replace(gpus=1), start, end)
    assert 0 <= record["usage"] <= 5.0 + half_life / 0.693
    assert record["at"] in (at, end)
    found = shares.usage({"ada": record}, [running("ada", start)], end)["ada"]
    assert 0 <= found <= 5.0 + 2 * half_life / 0.693


@given(st.integers(0, 1 << 32), st.integers(2, 4), st.integers(1, 3))
def test_equal_users_get_equal_gpu_time(seed: int, users: int, gpus: int) -> None:
    """Each always has a job waiting, of a minute to an hour; whose turn it is has the least usage. A week of that."""
    random = Random(seed)
    names = [f"user{number}" for number in range(users)]
    records: dict[str, Any] = {}
    busy: list[tuple[float, Job]] = []  # until when, with what
    had = dict.fromkeys(names, 0.0)
    now = NOW
    while now < NOW + WEEK:
        usage = SHARES.usage(records, [job for _, job in busy], now)
        name = min(names, key=lambda name: (usage.get(name, 0.0), name))
        # the first of them has the shortest jobs, the last the longest
        seconds = random.uniform(60, HOUR * (names.index(name) + 1) / users)
        busy.append((now + seconds, running(name, now)))
        had[name] += min(seconds, NOW + WEEK - now)
        if len(busy) == gpus:
            busy.sort(key=lambda pair: pair[0])
            now, job = busy.pop(0)
            user = job.spec.user
            assert isinstance(job.phase, Running)
            records[user] = SHARES.record(records.get(user), job.spec, job.phase.started.at, now)
    assert max(had.values()) - min(had.values()) <= 0.05 * gpus * WEEK / users


def test_the_waiting_of_who_has_had_more_counts_less() -> None:
    assert Shares.shares({}) == Shares.shares({"ada": 0.0}) == {}
    assert Shares.shares({"ada": 5.0, "bob": 5.0}) == {"ada": 0.2, "bob": 0.2}, "an equal part"
    assert Shares.shares({"ada": 8.0, "bob": 0.0}) == {"ada": pytest.approx(1 / 9), "bob": 1.0}
    assert Shares.shares({"ada": 5e-324, "bob": 0.0}) == {"ada": pytest.approx(1 / 9), "bob": 1.0}, "almost decayed"
    assert Shares.shares({"ada": 3.0, "bob": 1.0}) == {"ada": pytest.approx(1 / 7), "bob": pytest.approx(1 / 3)}


@given(st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1e12)))
def test_shares_depend_on_proportions_alone_and_are_never_nothing(usage: dict[str, float]) -> None:
    found = Shares.shares(usage)
    assert all(0 < share <= 1 for share in found.values())
    assert found == pytest.approx(Shares.shares({user: used * 2 for user, used in usage.items()}))
    ordered = sorted(found, key=lambda user: usage[user])
    assert all(found[one] >= found[other] for one, other in pairwise(ordered))


def test_an_end_that_is_recorded_after_a_later_one_counts_as_of_its_own_time() -> None:
    later = SHARES.record(None, SPEC.replace(gpus=1), NOW - 10, NOW)
    both = SHARES.record(later, SPEC.replace(gpus=1), NOW - DAY - 10, NOW - DAY)
    assert both == {"usage": pytest.approx(10 + 10 * 0.5 ** (1 / 7), rel=1e-3), "at": NOW}
