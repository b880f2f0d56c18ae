"""What jobs may wait for: jobs that there are or were, with the elements that are meant, and never themselves."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from asking import ADAS, ENDED, NEW, SPEC, Records, ask
from hypothesis import given, settings
from hypothesis import strategies as st
from support import depth

from gflowd.core.admission import dependency_cycles
from gflowd.core.admission.known_jobs import KnownJobs
from gflowd.core.errors import Refused
from gflowd.core.job.dependencies import Dependency, Needs

ARRAY = {**ADAS, "family": {"ranges": [[1, 3, 1]]}}


def after(*ids: Any, kind: str = "afterok", **fields: Any) -> dict[str, Any]:
    """`needs` of a spec."""
    return {"needs": {"dependencies": [{"kind": kind, "id": job_id, **fields} for job_id in ids]}}


def test_jobs_of_the_history_can_be_waited_for() -> None:
    def past(job_id: int) -> Any:
        return (4, ARRAY) if 4 <= job_id <= 6 else None

    assert ask(["spec", NEW, {**SPEC, **after(4)}], past=past)
    assert ask(["spec", NEW, {**SPEC, **after(6, element=True)}], past=past)
    assert ask(["spec", NEW, {**ARRAY, **after(4, kind="aftercorr")}], past=past)
    for needs, why in ((after(7), "no job 7"), (after(4, kind="aftercorr"), "aftercorr:4: no job 4_9")):
        with pytest.raises(Refused, match=why):
            ask(["spec", NEW, {**SPEC, "family": {"ranges": [[1, 3, 1], [9, 9, 1]]}, **needs}], past=past)


def test_elements_must_have_their_counterparts() -> None:
    records = Records(spec={4: ARRAY, 7: ADAS})
    wider = {**SPEC, "family": {"ranges": [[1, 4, 1]]}}
    with pytest.raises(Refused, match="aftercorr:4: no job 4_4"):
        ask(["spec", NEW, {**wider, **after(4, kind="aftercorr")}], of=records)
    assert ask(["spec", NEW, {**wider, **after(4, kind="aftercorr", element=True)}], of=records)
    assert ask(["spec", NEW, {**wider, **after(7, kind="aftercorr")}], of=records)
    assert ask(["spec", NEW, {**SPEC, **after(4, kind="aftercorr")}], of=records)


CIRCLES: list[tuple[list[Any], str]] = [
    ([["spec", 20, {**ADAS, **after(20)}]], "job 20 would wait for itself (20 -> 20)"),
    ([["spec", 20, {**ADAS, **after(21)}]], "job 20 would wait for itself (20 -> 21 -> 20)"),
    ([["spec", 4, {**ARRAY, **after(22)}]], "job 4_1 would wait for itself (4_1 -> 22 -> 4_1)"),
    ([["spec", 4, {**ARRAY, **after(23)}]], "job 4_2 would wait for itself (4_2 -> 23 -> 4_2)"),
    ([["spec", 20, {**ADAS, "name": "z", **after(24)}]], "job 20 would wait for itself (20 -> 24 -> 20)"),
    ([["spec", 30, {**ADAS, **after(39)}]],
     "job 30 would wait for itself (30 -> 39 -> 38 -> 37 -> 36 -> 35 -> ... -> 30)"),
    ([["spec", NEW, {**SPEC, **after(NEW + 1)}], ["spec", NEW + 1, {**SPEC, **after(None, kind="singleton")}]],
     "job 100 would wait for itself (100 -> 101 -> 100)"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "why"), CIRCLES)
def test_circles_are_found_through_arrays_elements_names_and_far(asked: list[Any], why: str) -> None:
    chain = {n: {**ADAS, "name": f"n{n}", **after(n - 1)} for n in range(31, 40)}
    specs: dict[int, Any] = {
        4: {**ARRAY, "name": "array"}, 9: {**ADAS, "name": "over"}, 20: {**ADAS, "name": "first"},
        21: {**ADAS, "name": "b", **after(20)}, 22: {**ADAS, "name": "c", **after(4, 9)},
        23: {**ADAS, "name": "d", **after(5, element=True)}, 24: {**ADAS, "name": "z", **after(None, kind="singleton")},
        30: {**ADAS, "name": "n30"}, **chain,
    }  # fmt: skip
    records = Records(spec=specs, phase={9: ENDED})
    named = [[kind, key, {**value, "name": specs.get(key, value)["name"] if key != 20 else value["name"]}]
             for kind, key, value in asked]  # fmt: skip
    with pytest.raises(Refused) as caught:
        ask(*named, of=records)
    assert str(caught.value) == why


def test_a_line_is_no_circle() -> None:
    others = {20: {**ADAS, "name": "q"}, 21: {**ADAS, "name": "b", **after(9)}}
    records = Records(spec={4: {**ARRAY, **after(50)}, **others})
    past = {9: (9, ADAS), 50: (50, ADAS)}.get
    assert ask(["spec", 20, {**ADAS, "name": "q", **after(21, 4)}], of=records, past=past)
    assert ask(["spec", 20, {**ADAS, "name": "b"}], of=records, past=past)


def test_a_circle_that_several_jobs_would_close_together() -> None:
    """As gflowctl asks it: all of these are to wait for the same, or to have the same name."""
    specs = {4: ARRAY, 20: {**ADAS, "name": "q"}, 21: {**ADAS, "name": "b", **after(20)}}
    jobs = KnownJobs(Records(spec=specs, phase={4: ENDED, 5: ENDED, 6: ENDED}))
    wanted = Needs(dependencies=(Dependency(kind="afterok", id=21), Dependency(kind="afterok", id=4)))
    dependency_cycles.refuse(jobs, [4], wanted, None)
    with pytest.raises(Refused, match="job 20 would wait for itself"):
        dependency_cycles.refuse(jobs, [4, 20], wanted, None)
    dependency_cycles.refuse(jobs, [20, 21], None, "same")
    with pytest.raises(Refused, match="job 20 would wait for itself"):
        dependency_cycles.refuse(jobs, [20], wanted, "same")


def test_jobs_of_one_name_wait_for_the_earlier_ones() -> None:
    alone = {**ADAS, "name": "same", **after(None, kind="singleton")}
    jobs = KnownJobs(Records(spec={20: {**alone, **after(22)}, 21: alone, 22: alone}))
    with pytest.raises(Refused, match="job 21 would wait for itself"):
        dependency_cycles.refuse(jobs, [21, 22], None, None)


WAITS = st.lists(st.tuples(st.sampled_from(["afterok", "singleton"]), st.integers(1, 12), st.booleans()), max_size=2)
SPECS = st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), WAITS), min_size=1, max_size=5)


@given(specs=SPECS, ended=st.sets(st.integers(1, 12), max_size=3))
@settings(max_examples=depth.examples(500), deadline=None)
def test_both_ways_to_look_for_circles_find_the_same(specs: Any, ended: set[int]) -> None:
    found: dict[int, Any] = {}
    at = 1
    for name, is_array, waits in specs:
        named = [{"kind": kind, "id": None if kind == "singleton" else job_id, "element": element}
                 for kind, job_id, element in waits]  # fmt: skip
        family = {"family": {"ranges": [[1, 2, 1]]}} if is_array else {}
        found[at] = {**ADAS, "name": name, "needs": {"dependencies": named}, **family}
        at += 1 + is_array
    jobs = KnownJobs(Records(spec=found, phase=dict.fromkeys(ended, ENDED)))
    said = []
    for look in (
        lambda: dependency_cycles.refuse_any(jobs, found),
        lambda: dependency_cycles.refuse(jobs, [*found], None, None),
    ):
        try:
            look()
        except Refused as error:
            said.append(str(error).startswith("job "))
        else:
            said.append(False)
    assert said[0] == said[1]


def test_what_has_ended_is_waited_for_no_more() -> None:
    first = {**ADAS, **after(None, kind="singleton")}
    elements = {**ADAS, "name": "b", **after(4), "needs": {"dependencies": [
        {"kind": "afterok", "id": 4}, {"kind": "afterok", "id": 5, "element": True}]}}  # fmt: skip
    specs = {1: first, 4: {**ARRAY, "name": "c", **after(9)}, 9: elements}
    jobs = KnownJobs(Records(spec=specs, phase={4: ENDED, 5: ENDED, 6: ENDED}))
    dependency_cycles.refuse_any(jobs, specs)


def test_many_jobs_of_one_name_are_looked_at_once_each() -> None:
    names = {n: {**ADAS, **after(None, kind="singleton")} for n in range(2, 3000)}
    chain = KnownJobs(Records(spec={1: ADAS, **names}))
    steps = Counter[int]()
    knows = chain.knows
    chain.knows = lambda job_id: bool(steps.update([job_id])) or knows(job_id)  # type: ignore[method-assign]
    dependency_cycles.refuse_any(chain, names)
    assert max(steps.values()) == 1


def test_a_request_asks_the_history_for_so_many_jobs_only() -> None:
    twice = [["spec", NEW + place, {**SPEC, **after(*range(1, 1001))}] for place in (0, 1)]
    assert ask(*twice, past=lambda n: (n, ADAS), next_id=5000)
    with pytest.raises(Refused, match="at most 1000 jobs that have left the queue"):
        ask(["spec", NEW, {**SPEC, **after(*range(1, 1002))}], past=lambda n: (n, ADAS), next_id=5000)
