"""What kind of machine and what kind of users a seed stands for."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from virtual_jobs import Fate, Key

MIXED, PLAIN, STREAM = "mixed", "plain", "stream"
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Style:
    """One seed's world. Shares are of all jobs, rates are per hour."""

    kind: str
    gpus: int
    cpus: int
    users: tuple[str, ...]
    priorities: tuple[int, ...]
    limited: float  # share of jobs with a time limit
    widths: tuple[int, ...]  # GPUs, one of which a job asks for
    mean: float  # seconds that a job takes
    arrivals: float
    unrest: float  # wishes of users, and what becomes of GPUs
    kills: float  # of workers
    trouble: float  # share of attempts that do not simply end
    rich: bool  # arrays, dependencies, shared GPUs, types, memory
    reserves: bool
    slow_looks: float  # share
    settings: dict[str, Any]

    def look(self, dice: Random) -> float:
        """How long a look at the GPUs takes: milliseconds, seconds, or so long that it seems to hang."""
        if dice.random() >= self.slow_looks:
            return 0.05 * dice.random()
        return dice.choice((0.5, 2.0, 4.0, 12.0)) * dice.random()


def style(seed: int, arrivals: float) -> Style:
    """The world of a seed."""
    dice = Random(f"style {seed}")
    kind = dice.choice((MIXED, MIXED, MIXED, PLAIN, STREAM))
    gpus = dice.choice((1, 2, 4, 4, 8))
    is_plain, is_stream = kind == PLAIN, kind == STREAM
    widths = tuple(width for width in (0, 1, 1, 1, 1, 2, 2, 4, 8) if width <= gpus)
    load = dice.uniform(0.5, 1.1)
    wide = sum(widths) / len(widths) or 0.5
    mean = load * gpus * HOUR / (arrivals * wide)
    if is_stream:
        gpus, widths, mean = 8, (1,), 300.0
        arrivals = load * gpus * HOUR / mean
    return Style(
        kind=kind,
        gpus=gpus,
        cpus=dice.choice((gpus * 2, 64)),
        users=("ada",) if is_plain or is_stream else ("ada", "bob", "eve", "kim")[: dice.randint(1, 4)],
        priorities=(10,) if is_plain or is_stream or dice.random() < 0.4 else (5, 10, 10, 10, 20),
        limited=0.0 if is_stream else dice.choice((1.0, 1.0, 0.9, 0.5, 0.0)),
        widths=widths,
        mean=min(mean, HOUR),
        arrivals=arrivals * max(1.0, mean / HOUR),
        unrest=0.0 if is_plain or is_stream else dice.choice((0.0, 1.0, 6.0)),
        kills=0.0 if is_plain or is_stream else dice.choice((0.0, 1.0, 6.0)),
        trouble=0.0 if is_plain else dice.choice((0.0, 0.05, 0.2)),
        rich=not is_plain and not is_stream and dice.random() < 0.7,
        reserves=not is_plain and not is_stream and dice.random() < 0.3,
        slow_looks=dice.choice((0.0, 0.1, 0.5)),
        settings={
            "poll_interval": dice.choice((10.0, 60.0, 600.0)),
            "zombie_interval": dice.choice((10.0, 60.0, 600.0)),
            "kill_strays": dice.random() < 0.8,
            "fair_share_enabled": not is_stream and dice.random() < 0.5,
            "gpu_allocation": dice.choice(("sequential", "random")),
            "history_after": dice.choice((1e12, 1e12, 4 * HOUR)),
        },
    )


def fate(seed: int, key: Key, takes: float, trouble: float) -> Fate:
    """What becomes of an attempt that is to take so long."""
    dice = Random(f"{seed} {key}")
    plain = Fate(takes, begins_after=0.005 + 0.02 * dice.random(), lingers=0.003 * (dice.random() < 0.3))
    return replace(plain, **_trouble(dice, takes)) if dice.random() < trouble else plain


def _trouble(dice: Random, takes: float) -> dict[str, Any]:
    """What goes wrong with an attempt."""
    kinds: tuple[dict[str, Any], ...] = (
        {"takes": takes * dice.random(), "status": dice.choice((1, 2, 139))},
        {"takes": takes * 20, "heeds": frozenset((signal.SIGTERM,))},
        {"takes": takes * 20, "heeds": frozenset(), "dies_after": dice.choice((0.01, 3.0))},
        {"strays": 60 * dice.random(), "strays_hold": dice.random() < 0.5},
        {"strays": 600 * dice.random(), "heeds": frozenset()},
        {"takes": takes * dice.random(), "vanishes": True},
        {"never_begins": True},
        {"begins_after": 10 * dice.random(), "dies_after": 2.0},
    )
    return dice.choice(kinds)
