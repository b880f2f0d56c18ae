"""The whole daemon in virtual time, on machines and workloads drawn from seeds; `make soak` runs hundreds of them."""

from __future__ import annotations

import pytest
from simulated import simulate

SEEDS = range(1, 9)
HOURS = 4.0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_busy_machine_breaks_no_rule(seed: int) -> None:
    simulate(seed, HOURS)


def test_a_run_can_be_repeated_to_the_last_tick() -> None:
    assert simulate(3, 1.0, rules=()) == simulate(3, 1.0, rules=())
