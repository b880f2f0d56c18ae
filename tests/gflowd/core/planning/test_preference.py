"""Which GPUs a job gets that prefers some: those, if it can have them now; it never waits for them."""

from __future__ import annotations

from typing import Any

import pytest
from machine_room import job

from gflowd.core.gpu import allocation
from gflowd.core.planning import backfill
from gflowd.core.planning.backfill import Look, Plan, Rules
from gflowd.core.planning.capacity import Capacity, Device
from gflowd.core.planning.occupancy import Occupancy, hold
from gflowd.core.request import gpu_match

MODELS = ("NVIDIA A100", "NVIDIA A100", "NVIDIA H100", "GeForce RTX 4090")
MIXED = Capacity(tuple(Device(index, model, 1000) for index, model in enumerate(MODELS)), 99, 99999)


def plan(*jobs: Any, taken: dict[int, float] | None = None, **rules: object) -> Plan:
    room = Occupancy(MIXED, range(4), 1000.0)
    for index, until in (taken or {}).items():
        room.take(hold(job(99).spec.replace(cpus=0), (index,), until))
    return backfill.plan(jobs, room, Rules(**{"depth": 99, "promise_after": 0.0, **rules}))  # type: ignore[arg-type]


def given(made: Plan) -> dict[int, tuple[int, ...]]:
    return {each.id: gpus for each, gpus in made.starts}


@pytest.mark.parametrize(
    ("prefer", "count", "gpus"),
    [
        (("3", "2"), 1, (3,)),
        (("3", "2"), 2, (2, 3)),
        (("3", "2"), 3, (0, 2, 3)),
        (("h100", "a100"), 1, (2,)),
        (("h100", "a100"), 2, (0, 2)),
        (("4090",), 1, (3,)),
        (("1", "4090"), 1, (1,)),
        (("geforce rtx",), 1, (3,)),
        (("7", "l40"), 1, (0,)),
        (("002",), 1, (2,)),
        ((), 2, (0, 1)),
    ],
)
def test_the_first_that_is_named_is_the_first_that_is_given(
    prefer: tuple[str, ...], count: int, gpus: tuple[int, ...]
) -> None:
    assert given(plan(job(1, gpus=count, gpu_prefer=prefer))) == {1: gpus}


def test_what_is_taken_is_not_waited_for() -> None:
    made = plan(job(1, gpus=1, gpu_prefer=("2", "3")), taken={2: 5000.0, 3: 5000.0})
    assert given(made) == {1: (0,)}


def test_among_those_that_it_likes_as_well_the_usual_choice_decides() -> None:
    near = {(1, 2): 5, (2, 3): 9}
    made = plan(
        job(1, gpus=2, gpu_prefer=("rtx", "nvidia")),
        choose=lambda each, found, count: allocation.choose(found, count, allocation.RANDOM, near, each.id),
    )
    seen = given(made)[1]
    assert 3 in seen
    assert len(seen) == 2


def test_a_shared_job_goes_to_the_fullest_of_those_that_it_prefers() -> None:
    small = {"gpus": 1, "shared": True, "gpu_memory_mb": 100}
    made = plan(job(1, gpu_prefer=("1",), **small), job(2, gpu_prefer=("0", "1", "2"), **small), job(3, **small))
    assert given(made) == {1: (1,), 2: (0,), 3: (0,)}


def test_a_preference_takes_nothing_from_who_has_a_promise() -> None:
    waits = job(1, gpus=1, gpu_type="h100", time_limit=60.0)
    made = plan(waits, job(2, gpus=1, gpu_prefer=("h100",), time_limit=9000.0), taken={2: 1100.0})
    assert given(made) == {2: (0,)}
    assert [each.job.id for each in made.promises] == [1]
    prefers = job(4, gpus=1, gpu_prefer=("3",), time_limit=9000.0)
    made = plan(job(3, gpus=3, time_limit=60.0), prefers, taken={0: 1100.0, 1: 1100.0})
    assert given(made) == {4: (3,)}, "it leaves three"
    made = plan(job(3, gpus=4, time_limit=60.0), prefers, taken={0: 1100.0})
    assert given(made) == {}


def test_those_that_were_looked_at_are_kept() -> None:
    made = plan(job(1, gpus=1, gpu_prefer=("3",)), looking={1: Look((0,), 999.0)})
    assert given(made) == {1: (0,)}


def test_a_short_number_is_an_index_and_a_long_one_a_model() -> None:
    assert [gpu_match.is_index(word) for word in ("0", "999", "4090", "a1", "")] == [True, True, False, False, False]
