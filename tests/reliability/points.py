"""Which effects of a day are made the last one, or made to fail, and what came of each."""

from __future__ import annotations

import random
import tempfile
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crashing import DAEMON, KILL, ON_DISK, PROCESS, TORN
from day import Broken, Day, FaultyMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Point:
    """The `place`-th time that the effect `key` comes."""

    key: str
    place: int

    @property
    def call(self) -> str:
        return self.key.split("|")[1]

    @property
    def target(self) -> str:
        return self.key.split("|")[2]


@dataclass(frozen=True)
class Outcome:
    """What came of a trial. `broken` is None where every promise was kept."""

    fault: str
    reached: bool
    broken: str | None


def of_a_day(executor: str) -> list[Point]:
    """Every effect that the daemon has on the world in a day without faults."""
    with new_machine(executor) as machine:
        Day(machine).run()
        counts = Counter(machine.effects())
    return [Point(key, place) for key, count in sorted(counts.items()) for place in range(1, count + 1)]


def pick(points: list[Point], number: int, seed: int) -> list[Point]:
    """`number` of them, chosen by chance: first one of each kind, then second ones and so on."""
    rng = random.Random(seed)
    rounds: list[tuple[int, float, Point]] = []
    by_key: dict[str, list[Point]] = {}
    for point in points:
        by_key.setdefault(point.key, []).append(point)
    for same in by_key.values():
        rng.shuffle(same)
        rounds += [(number, rng.random(), point) for number, point in enumerate(same)]
    return [point for _, _, point in sorted(rounds, key=lambda each: each[:2])][:number]


def kills(points: list[Point]) -> Iterator[str]:
    """The faults: at each point the process dies, or the whole daemon; within a write too."""
    for number, point in enumerate(points):
        on_disk = not point.target.startswith(("socket", "pipe"))
        hows = [KILL, TORN] if point.call == "write" and on_disk else [KILL]
        for how in hows:
            # A process that dies alone and a daemon that dies whole, in turn: both meet every kind of effect.
            yield f"{point.key}|{point.place}|{how}|{(PROCESS, DAEMON)[number % 2]}"


def errors(points: list[Point]) -> Iterator[str]:
    """Where the effect is one on a disk: it fails for want of space or by the disk's own fault, once or for a while."""
    names = ("ENOSPC", "EIO", "ENOSPC*", "EIO*", "EROFS*")
    disk = [p for p in points if p.call in ON_DISK and not p.target.startswith(("/", "socket", "pipe"))]
    for number, point in enumerate(disk):
        yield f"{point.key}|{point.place}|{names[number % len(names)]}|{PROCESS}"


def trial(executor: str, fault: str) -> Outcome:
    """One day with one fault."""
    reached, broken = False, None
    try:
        with new_machine(executor) as machine:
            try:
                Day(machine, fault).run()
            finally:
                reached = machine.crashed()
    except (Broken, AssertionError) as why:
        broken = f"{why}" or traceback.format_exc()
    except Exception:  # a trial that fails in a way nobody thought of is a finding too
        broken = traceback.format_exc()
    return Outcome(fault, reached, broken)


def trials(executor: str, faults: list[str], jobs: int, tell: Callable[[Outcome], None]) -> list[Outcome]:
    """All of them, a few at once."""

    def one(fault: str) -> Outcome:
        done = trial(executor, fault)
        tell(done)
        return done

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, faults))


class new_machine:  # noqa: N801 -- used as a function
    """`with new_machine(executor) as machine:` -- nothing of it may be left at the end."""

    def __init__(self, executor: str) -> None:
        self.machine = FaultyMachine(Path(tempfile.mkdtemp(prefix="gf-", dir="/tmp")), executor)

    def __enter__(self) -> FaultyMachine:
        return self.machine

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.machine.close()
        except AssertionError:
            if kind is None:
                raise
