"""How busy the GPUs of each attempt were, over the polls of its life. Takes what a poll saw; keeps no time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd.core.job.value_base import Posted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Key = tuple[int, int]  # id and attempt


@dataclass(frozen=True, slots=True)
class Load(Posted):
    """The sum over `polls` of the mean utilisation of an attempt's GPUs, in percent."""

    percent: float = 0.0
    polls: int = 0

    @property
    def mean(self) -> float | None:
        """In percent; None without a poll."""
        return self.percent / self.polls if self.polls else None


def follow(
    before: Mapping[Key, Load], held: Mapping[Key, Iterable[str]], utilisation: Mapping[str, int | None]
) -> dict[Key, Load]:
    """What another poll adds: `held` are the GPUs of each live attempt, by UUID. One that does not tell is left out."""
    found = {}
    for key, uuids in held.items():
        load = before.get(key, Load())
        seen = [percent for uuid in uuids if (percent := utilisation.get(uuid)) is not None]
        if seen:
            load = Load(load.percent + min(100.0, sum(seen) / len(seen)), load.polls + 1)
        if load.polls:
            found[key] = load
    return found
