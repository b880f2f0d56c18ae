"""The whole daemon in virtual time, on machines and workloads drawn from seeds; `make soak` runs hundreds of them."""

from __future__ import annotations

import pytest
from simulated import simulate
from support import depth

SEEDS = depth.some(range(1, 9), 3)
HOURS = depth.number(40, 15) / 10


@pytest.mark.parametrize("seed", SEEDS)
def test_a_busy_machine_breaks_no_rule(seed: int) -> None:
    simulate(seed, HOURS)


def test_a_run_can_be_repeated_to_the_last_tick() -> None:
    assert simulate(3, 0.5, rules=()) == simulate(3, 0.5, rules=())
