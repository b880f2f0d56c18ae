"""The totals of ended jobs: exact, whatever the order."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.accounting import ended_totals
from gflowd.core.accounting.ended_totals import BOUNDS, ENDS, GPU_TIME, JOBS, RUN_TIME, SECOND, WAIT_TIME, Group, Tally

SPEC = {"user": "ada", "submitted_at": 100.0}


def end(began: float | None = None, at: float = 200.0, **more: Any) -> dict[str, Any]:
    return {
        "is": "ended",
        "state": "finished",
        "ended_at": at,
        **({} if began is None else {"started_at": began}),
        **more,
    }


def of(spec: dict[str, Any], wish: dict[str, Any] | None, phase: dict[str, Any], *attempts: dict[str, Any]) -> Tally:
    found = Tally()
    found.job(spec, wish, phase, attempts)
    return found


def test_a_job_counts_once_and_each_of_its_attempts() -> None:
    failed = end(110.0, 130.5, state="failed", reason="Signaled:SIGKILL", run={"gpu_ids": [0, 3]})
    last = end(150.0, 160.0, run={"gpu_ids": [1], "attempt": 2}, paused=4.0)
    found = of({**SPEC, "project": "p"}, None, last, failed)
    assert found.numbers.keys() == {Group("ada", "p", "failed", "Signaled"), Group("ada", "p", "finished", "")}
    sums = [found.sum(place) / SECOND for place in (GPU_TIME, RUN_TIME, WAIT_TIME)]
    assert (found.sum(ENDS), found.sum(JOBS), sums) == (2, 1, [51.0, 26.5, 10.0])
    assert found.runs.counts[BOUNDS.index(15)] == 1, "of the second, which stood still for four of its ten seconds"
    assert found.runs.counts[-1] == 2
    assert (found.waits.counts[1], found.waits.counts[2], found.waits.total) == (0, 1, 10 * SECOND)


def test_the_gpus_of_a_cluster_count_and_are_never_those_of_another_job() -> None:
    found = of(SPEC, None, end(110.0, 120.0, run={"cluster": "hpc", "remote_gpus": 2}))
    assert found.sum(GPU_TIME) / SECOND == 20.0
    here, there, other = (
        ended_totals.gpus_had(7, (0, 1), 0),
        ended_totals.gpus_had(7, (), 4),
        ended_totals.gpus_had(8, (), 4),
    )
    assert (here, len({*here, *there, *other})) == ((0, 1), 10)
    assert max(there) < 0


def test_a_job_that_never_began_neither_ran_nor_waited_for_a_start() -> None:
    found = of(SPEC, None, end(state="cancelled", reason=None))
    assert (found.sum(ENDS), found.runs.counts[-1], found.waits.counts[-1]) == (1, 0, 0)


def test_it_waits_from_when_it_may_start() -> None:
    for spec, wish, since in (
        ({}, None, 100.0), ({"begin_at": 110.0}, None, 110.0), ({"begin_at": 110.0}, {"begin_at": 105.0}, 105.0),
        ({}, {"released_at": 120.0}, 120.0), ({"repeat": {"due": 130.0}}, {}, 130.0), ({"begin_at": 9.0}, {}, 100.0),
    ):  # fmt: skip
        assert ended_totals.awaited_from({**SPEC, **spec}, wish) == since, (spec, wish)


def test_a_clock_that_was_set_back_gives_no_negative_time() -> None:
    found = of(SPEC, None, end(50.0, 40.0, run={"gpu_ids": [0]}, paused=3.0))
    assert [found.sum(place) for place in (GPU_TIME, RUN_TIME, WAIT_TIME)] == [0, 0, 0]


def test_totals_by_some_of_what_is_known() -> None:
    found = of(SPEC, None, end(110.0))
    found.add(of({**SPEC, "user": "bob"}, None, end(110.0, state="failed", reason="NonZeroExit")))
    assert {key: each.sum(ENDS) for key, each in found.total("user").items()} == {("ada",): 1, ("bob",): 1}
    assert found.total("state", "reason").keys() == {("finished", ""), ("failed", "NonZeroExit")}


@given(st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1e6), st.integers(0, 8)), max_size=20), st.randoms())
def test_what_is_added_in_any_order_and_taken_out_again_leaves_exactly_the_rest(
    runs: list[tuple[float, float, int]], chance: Any
) -> None:
    ends = [end(began, began + ran, run={"gpu_ids": list(range(gpus))}) for began, ran, gpus in runs]
    one, other = Tally(), Tally()
    for each in ends:
        one.job(SPEC, None, each)
    again = [*ends, *ends]
    chance.shuffle(again)
    for each in again:
        other.job(SPEC, None, each)
    for each in ends:
        other.job(SPEC, None, each, by=-1)
    assert other.numbers == one.numbers
    other.add(one, -1)
    assert not any(other.sum(place) for place in range(ended_totals.SIZE))
