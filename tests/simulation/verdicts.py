"""How a run fails: with a sentence that says what was broken, when, and how to see it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from virtual_clock import shown

RULES = ("given twice", "phases", "ends", "promises", "overtaken", "starvation", "idle", "reasons")


class Verdicts:
    """Says which rules are live, counts how often each was looked at, and fails the run."""

    def __init__(self, replay: str, rules: Collection[str] = RULES) -> None:
        self.replay = replay
        self.rules = rules
        self.looked_at: Counter[str] = Counter()

    def check(self, rule: str, holds: bool, now: float, *words: object) -> None:
        """Fails when a rule does not hold at `now`, seconds since the run began."""
        self.looked_at[rule] += 1
        if not holds and rule in self.rules:
            said = " ".join(map(str, words))
            raise AssertionError(f"{rule}: {said}\n  at {shown(now)} of {self.replay}")
