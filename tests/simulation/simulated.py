"""Runs a seed from its first job to its last."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from style import HOUR, style
from verdicts import RULES
from virtual_run import VirtualRun
from workload import Workload, is_stuck, left

ARRIVALS = 60.0  # jobs an hour


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    kind: str
    hours: float
    jobs: int
    ticks: int
    looked_at: dict[str, int]


def simulate(seed: int, hours: float = 8.0, rules: Collection[str] = RULES, arrivals: float = ARRIVALS) -> Outcome:
    """Raises AssertionError, which tells how to see it again, when something is not as it must be."""
    world = style(seed, arrivals)
    load = Workload(seed, world, hours)
    replay = f"seed {seed} ({world.kind}): python tests/simulation/run.py --seed {seed} --hours {hours:g}"
    run = VirtualRun(
        seed,
        gpus=world.gpus,
        cpus=world.cpus,
        rules=rules,
        replay=replay,
        look=world.look,
        fate=load.fate,
        **world.settings,
    )
    with run:
        load.begin(run)
        run.clock.run(hours * HOUR)
        load.end()
        while left(run) and not is_stuck(run) and run.clock.next_at() is not None:
            run.clock.step()
        ids = [each.id for each in left(run)][:10]
        run.verdicts.check("ends", not ids, run.clock.now, f"jobs {ids} never end")
        run.go(60.0)
        run.judge_rest()
        return Outcome(world.kind, run.clock.now / HOUR, load.submitted, run.daemon.ticks, dict(run.verdicts.looked_at))
