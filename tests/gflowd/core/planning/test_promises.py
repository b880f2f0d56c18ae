from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import pytest
from support import specs

from gflowd.core.job import reasons
from gflowd.core.job.model import Job, Queued, Wish
from gflowd.core.planning import promises
from gflowd.core.planning.promises import TOLERANCE, UNKNOWN, WAS_DOWN, Basis, Promise, has_moved, renewed

SPEC = specs.SPEC.replace(gpus=2)
MINE, HIGHER = (0.0, -10), (0.0, -20)
BASIS = Basis(
    gpus=frozenset({0, 1}),
    capacity=(4, 1000),
    windows=frozenset({(3, 500.0, 600.0)}),
    quotas={},
    ends={1: 100.0, 2: 200.0, 3: 300.0, 4: inf},
    bands={7: MINE},
    waiting=frozenset({7}),
    specs={7: SPEC},
    offset=50.0,
)
RECORD = {"since": 10.0, "at": 200.0, "by": [[1, 100.0], [2, 200.0]]}


def promise(at: float | None, why: str = reasons.RESOURCES) -> Promise:
    return Promise(Job(7, SPEC, Wish(), Queued()), at, at, why)


def moved(now: Basis, was: Basis | None = BASIS, at: float | None = 250.0, wall: float = 50.0) -> str:
    """Why it moved to `at`."""
    after = renewed(RECORD, promise(at), was, now, wall)
    assert (after["was"], after["at"], after["since"]) == (200.0, at, 10.0)
    assert has_moved(RECORD, after)
    return str(after["cause"])


def test_a_new_promise_says_since_when_it_holds_and_who_ends_before() -> None:
    assert renewed(None, promise(200.0), None, BASIS, 10.0) == RECORD
    assert renewed(None, promise(None), None, BASIS, 10.0) == {"since": 10.0, "at": None, "by": []}
    assert not has_moved(None, RECORD)
    assert not has_moved(RECORD, None)


def test_of_many_that_end_before_the_last_are_named() -> None:
    crowd = replace(BASIS, ends={job_id: float(job_id) for job_id in range(1, 30)})
    named = renewed(None, promise(20.0), None, crowd, 1.0)["by"]
    assert named == [[job_id, float(job_id)] for job_id in range(6, 22)], "one that ends within a second, too"
    assert len(named) == promises.MOST_NAMED


@pytest.mark.parametrize("at", [200.0 - TOLERANCE, 200.0, 200.0 + TOLERANCE])
def test_within_a_second_nothing_has_moved(at: float) -> None:
    assert renewed(RECORD, promise(at), None, Basis(), 50.0) is RECORD


def test_a_better_time_is_kept_and_nothing_is_said_of_what_was() -> None:
    late = {**RECORD, "at": 300.0, "was": 250.0, "cause": "x"}
    after = renewed(late, promise(200.0), BASIS, BASIS, 50.0)
    assert after == RECORD
    assert not has_moved(late, after)


def test_a_time_is_told_once_it_is_known() -> None:
    vague = {"since": 10.0, "at": None, "by": []}
    assert renewed(vague, promise(None), BASIS, BASIS, 50.0) is vague
    assert renewed(vague, promise(200.0), BASIS, BASIS, 50.0) == RECORD
    lost = {**vague, "was": 100.0, "cause": "x"}
    after = renewed(lost, promise(200.0), BASIS, BASIS, 50.0)
    assert after == {**RECORD, "was": 100.0, "cause": "x"}, "it is later than it once was, and that is still told"
    assert not has_moved(lost, after)
    assert renewed(after, promise(90.0), BASIS, BASIS, 60.0) == {**RECORD, "at": 90.0, "by": []}


def test_one_that_moves_again_says_from_when_it_moved_last() -> None:
    first = renewed(RECORD, promise(250.0), BASIS, replace(BASIS, drained=True), 50.0)
    second = renewed(first, promise(290.0), BASIS, replace(BASIS, gpus=frozenset({0})), 60.0)
    assert (second["was"], second["at"], second["cause"]) == (250.0, 290.0, "GPU 1 is not available")
    assert has_moved(first, second)
    assert not has_moved(second, second)
    assert renewed(second, promise(290.5), BASIS, BASIS, 70.0) is second, "what was said of it stays"


def test_while_gpus_may_come_back_no_promise_is_given_up() -> None:
    gone = replace(BASIS, gpus=frozenset())
    assert renewed(RECORD, promise(None), BASIS, gone, 50.0, is_doubtful=True) is RECORD
    assert moved(gone, at=None) == "GPU 0, 1 is not available"
    assert renewed(RECORD, promise(250.0), BASIS, gone, 50.0, is_doubtful=True) is RECORD


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"specs": {7: SPEC.replace(gpus=1)}}, "its request was changed"),
        ({"offset": 52.0}, "the clock was set"),
        ({"gpus": frozenset({0})}, "GPU 1 is not available"),
        ({"capacity": (2, 1000)}, "the machine has fewer resources"),
        ({"windows": BASIS.windows | {(9, 0.0, 0.0), (8, 1.0, 2.0)}}, "reservation 8, 9 was made"),
        ({"ends": {1: 150.0}}, "job 1 may now run longer"),
        ({"ends": {3: inf}}, "job 3 may now run longer"),
        ({"ends": {1: inf}, "suspended": frozenset({1})}, "job 1 is suspended"),
        ({"ends": {9: 300.0}, "bands": {7: MINE, 9: HIGHER}}, "job 9 of higher priority has started"),
        (
            {"bands": {7: MINE, 9: HIGHER, 8: HIGHER}, "waiting": frozenset({7, 8, 9})},
            "job 8, 9 of higher priority waits",
        ),
        ({"quotas": {"user:u": {"max_running_jobs": 1}}}, "a quota was changed"),
        ({}, UNKNOWN),
        ({"ends": {1: 100.5, 2: 190.0}, "bands": {7: MINE, 9: MINE}, "offset": 50.5}, UNKNOWN),
        ({"ends": {9: 300.0}, "bands": {7: MINE, 9: MINE}}, "job 9 has started"),
    ],
)
def test_the_cause_is_what_has_changed(changed: dict[str, Any], cause: str) -> None:
    assert moved(replace(BASIS, **changed)) == cause


def test_a_job_that_should_have_ended_by_now_runs_over_its_limit() -> None:
    assert moved(replace(BASIS, ends={1: 120.0}), wall=100.0) == "job 1 exceeds its limit"


def test_while_gflow_is_drained_nothing_is_started() -> None:
    assert moved(replace(BASIS, drained=True)) == "no job is started while gflow is drained"
    assert moved(BASIS, replace(BASIS, drained=True)) == UNKNOWN, "it was told then"


def test_those_of_higher_priority_that_were_there_before_are_a_cause_where_there_is_no_other() -> None:
    bands = {7: MINE, 1: HIGHER, 9: HIGHER}
    was = replace(BASIS, bands=bands, waiting=frozenset({7, 9}))
    assert moved(was, was) == "job 9 of higher priority waits"
    assert moved(replace(was, quotas={"user:u": {}}), was) == "a quota was changed"
    started = replace(was, ends={**BASIS.ends, 9: 400.0}, waiting=frozenset({7}))
    assert moved(started, was) == "job 9 of higher priority has started"
    assert moved(replace(was, bands={1: HIGHER}), replace(was, bands={})) == UNKNOWN, "it is not in line itself"


def test_the_most_telling_of_several_causes_is_told() -> None:
    now = replace(BASIS, offset=90.0, gpus=frozenset(), quotas={"x": {}})
    assert moved(now) == "the clock was set"


def test_after_a_restart_the_cause_is_found_by_what_was_written_down() -> None:
    assert moved(BASIS, None) == WAS_DOWN
    assert moved(replace(BASIS, ends={2: 240.0}), None) == "job 2 may now run longer"
    assert moved(replace(BASIS, ends={2: 240.0}), None, wall=210.0) == "job 2 exceeds its limit"
    assert moved(replace(BASIS, ends={3: 900.0}), None) == WAS_DOWN, "the promise did not rest on that"
    higher = replace(BASIS, ends={9: 240.0}, bands={7: MINE, 9: HIGHER})
    assert moved(higher, None) == "job 9 of higher priority has started"
