"""What a cluster's accounting says of jobs that its controller has forgotten.

Where there is none, it says so at once. One that does not answer, or has not heard of an end yet, is asked again for a
while: slurmctld keeps what it could not tell slurmdbd, and sends it later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core.cluster import listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.core.cluster.states import Seen
    from gflowd.core.execution.observations import Key
    from gflowd.core.moment import Moment
    from gflowd.effects.cluster.call import Answer, Call
    from gflowd.workers.cluster_bridge.programs import Programs

AT_ONCE = 5000  # jobs in one call, whose argument may have 128 KiB
AGAIN, LONGEST = 5.0, 60.0  # seconds until it is asked again; doubled each time
UNTOLD = 60.0  # seconds for which one that answers, and has no end of a job, is asked again
UNHEARD = 3600.0  # seconds for which one that does not answer is, where we know of no end either


class Accounting:
    """Of one cluster. Mutable: remembers who is asked about, and since when."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._since: dict[Key, tuple[str, float]] = {}  # by attempt: its id there, and when it was first asked for
        self._heard: dict[str, Seen] = {}
        self._call: Call | None = None
        self._due, self._wait = float("inf"), AGAIN
        self._answers = False
        self._absent: set[Key] = set()  # of those: there was no accounting

    @property
    def call(self) -> Call | None:
        """The one at work."""
        return self._call

    def is_awaited(self, key: Key, cluster_id: str, now: Moment, *, has_record: bool) -> bool:
        """Whether more may be heard of an attempt. `has_record`: its end is known, but for what Slurm calls it."""
        if key not in self._since:
            self._since[key] = cluster_id, now.mono
            self._due, self._wait = now.mono, AGAIN
        since = self._since[key][1]
        patience = UNTOLD if has_record or self._answers else UNHEARD
        return key not in self._absent and not self._is_over(cluster_id) and now.mono < since + patience

    def seen(self, cluster_id: str) -> Seen | None:
        """A job as the accounting had it last."""
        return self._heard.get(cluster_id)

    def _is_over(self, cluster_id: str) -> bool:
        seen = self._heard.get(cluster_id)
        return seen is not None and listing.is_over(seen)

    def hear(self, now: Moment) -> None:
        """Takes its answer, if there is one."""
        answer = None if self._call is None else self._call.answer(now.mono)
        if answer is not None:
            self._call = None
            self._take(answer, now)

    def ask(self, now: Moment) -> None:
        """Asks for what is due."""
        if self._call is not None or now.mono < self._due:
            return
        self._due = float("inf")
        ids = sorted({each for each, _ in self._since.values() if not self._is_over(each)})
        if ids:
            self._call = self._programs.call(listing.sacct(ids[:AT_ONCE]), now.mono)

    def _take(self, answer: Answer, now: Moment) -> None:
        if listing.has_no_accounting(answer.status, answer.complaint):
            self._absent |= self._since.keys()
            return
        self._answers = answer.is_good
        self._heard |= listing.accounted(answer.said) if answer.is_good else {}
        self._due = min(self._due, now.mono + self._wait)
        self._wait = min(LONGEST, self._wait * 2)

    def forget_all_but(self, keys: set[Key]) -> None:
        """What is asked about of others is known."""
        self._since = {key: asked for key, asked in self._since.items() if key in keys}
        self._absent &= keys
        ids = {each for each, _ in self._since.values()}
        self._heard = {each: seen for each, seen in self._heard.items() if each in ids}

    def wakes(self) -> Iterator[float]:
        """When to go on."""
        yield self._due if self._call is None else self._call.deadline

    def close(self) -> None:
        """Ends the call that is at work."""
        if self._call is not None:
            self._call.end()
