"""Nobody starves: a job that has waited longer than it can reasonably have to is not overtaken without end.

After a job has waited as long as it may run, and what ran then has ended, those that came later and are not shorter
may take its place only a few times: those that were let past in good faith, and ran longer than anybody could know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from inside import Told
from ledger import ENDED, Ledger, Seen
from order_rules import ends_at, has_reservation
from startable import Machine, obstacle
from verdicts import Verdicts
from virtual_clock import Clock, shown

MOST = 20  # starts of others in the place of a job whose time has come
SHORTEST = 600.0  # seconds: as what shorter jobs count
UNKNOWN = 86400.0  # as what a job without a limit counts, whose user never ran one
LONGEST_WAIT = 3 * 86400.0  # after which anybody's time has come


@dataclass(slots=True)
class Wait:
    """How a job has waited: since when it could start, who ran when its time had come, who took its place since."""

    since: float
    came: frozenset[tuple[int, int]] | None = None  # attempts
    harm: list[int] = field(default_factory=list)


class Starvation:
    """Watches everybody who waits. `fair_share`: users are not equal, so only those of one user are compared."""

    def __init__(self, ledger: Ledger, machine: Machine, clock: Clock, verdicts: Verdicts, *, fair_share: bool) -> None:
        self._ledger = ledger
        self._machine = machine
        self._clock = clock
        self._verdicts = verdicts
        self._fair_share = fair_share
        self._waits: dict[int, Wait] = {}
        self._longest: dict[str, float] = {}  # what a user's jobs without a limit took at most

    def check(self, starts: list[Seen], told: Mapping[int, Told]) -> None:
        """Judges the starts of a tick; whoever is `told` a start holds up the others."""
        ledger, now = self._ledger, self._clock.now
        for start in starts:
            self._waits.pop(start.id, None)
        if not starts or has_reservation(ledger, self._clock.wall):
            return
        for job_id in self._waits.keys() - ledger.waiting.keys():
            del self._waits[job_id]
        for job in ledger.waiting.values():
            if obstacle(job, ledger, self._clock.wall) is not None:
                self._waits.pop(job.id, None)
                continue
            wait = self._waits.setdefault(job.id, Wait(now))
            if self._has_come(job, wait) and not any(each != job.id for each in told):
                wait.harm += self._harm(job, starts, told.get(job.id))
                words = f"job {job.id} ({job.gpus} GPUs) waits since {shown(wait.since)}; since its time came the later"
                self._verdicts.check("starvation", len(wait.harm) <= MOST, now, words, wait.harm, "took its place")

    def note_end(self, user: str, took: float) -> None:
        """A job without a limit has ended."""
        self._longest[user] = max(took, self._longest.get(user, 0.0))

    def _has_come(self, job: Seen, wait: Wait) -> bool:
        """Whether a job has waited for as long as it may run, and all that ran then is over."""
        if wait.came is None:
            if self._clock.now < wait.since + min(self._length(job), LONGEST_WAIT):
                return False
            wait.came = frozenset((each.id, each.attempt) for each in self._ledger.holding.values())
        return not any(self._runs(*key) for key in wait.came)

    def _runs(self, job_id: int, attempt: int) -> bool:
        found = self._ledger.holding.get(job_id)
        return found is not None and found.attempt == attempt and found.is_ != ENDED

    def _length(self, job: Seen) -> float:
        """As how long a job may count, at most."""
        return max(SHORTEST, self._longest.get(job.user, UNKNOWN) if job.limit is None else job.limit)

    def _harm(self, job: Seen, starts: list[Seen], told: Told | None) -> list[int]:
        """The starts that are certainly behind a job in order, and took GPUs that it needs; not those that give them
        back in time for its promise.
        """
        if job.shared or job.cpus > 1 or job.memory_mb or job.spec.get("gpu_type") or not job.gpus:
            return []
        holding = self._ledger.holding.values()
        behind = [each for each in holding if each.gpus and self._is_behind(each, job)]
        others = sum(len(each.gpu_ids) for each in holding if each not in behind)
        left = self._machine.gpus - others
        if not left - sum(len(each.gpu_ids) for each in behind) < job.gpus <= left:
            return []
        until = told.at if told is not None and told.certain and told.at is not None else 0.0
        return [each.id for each in starts if each in behind and ends_at(each, self._clock.wall) > until]

    def _is_behind(self, start: Seen, job: Seen) -> bool:
        comes_later = start.id > job.id and start.spec["submitted_at"] > job.spec["submitted_at"]
        if not comes_later or start.wish or start.band < job.band or (self._fair_share and start.user != job.user):
            return False
        return (SHORTEST if start.limit is None else max(SHORTEST, start.limit)) >= self._length(job)
