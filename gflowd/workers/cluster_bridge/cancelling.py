"""Ends attempts that a cluster has: scancel with the signals of the stop ladder, then without.

Each signal is marked in the attempt's directory before it is sent, as the timeout enforcer does. One that has not been
seen to begin is ended only if it has not: else its ladder begins once it is seen at work.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gflowd.core.execution import stop_ladder
from gflowd.core.execution.stop_ladder import KILL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.core.execution.observations import Key, LiveJob
    from gflowd.core.moment import Moment
    from gflowd.effects.cluster.call import Call
    from gflowd.effects.cluster.reach import Reach
    from gflowd.workers.cluster_bridge.programs import Programs

WAITS = "PENDING"  # the step, and Slurm's word, for what is to end only while it waits
AT_ONCE = 200  # jobs in one call
AGAIN, LONGEST = 5.0, 300.0  # seconds before scancel is called again for a job that is still there; doubled each time


class Cancelling:
    """Of one cluster. Mutable: remembers when scancel is due again."""

    def __init__(self, programs: Programs, reach: Reach) -> None:
        self._programs = programs
        self._reach = reach
        self._next: dict[Key, tuple[str, float, float]] = {}  # of which step, when, and the wait after that
        self._waited: dict[Key, float] = {}  # when one that was to stop was last taken to wait
        self._due: dict[str, dict[Key, str]] = {}  # by step: the ids of attempts
        self._call: Call | None = None
        self._wakes: list[float] = []

    @property
    def call(self) -> Call | None:
        """The one at work."""
        return self._call

    def stop(self, job: LiveJob, cluster_id: str, directory: str, now: Moment, *, waits: bool, at_work: bool) -> None:
        """An attempt must end. `waits`: it has not begun as far as is known; `at_work`: it is known to have."""
        if waits:
            self._waited[job.key] = now.mono
            self._repeat(WAITS, job.key, cluster_id, now)
            return
        since = max(job.since_mono, self._waited.get(job.key, job.since_mono))
        steps = stop_ladder.steps(job.replace(since_mono=since))
        if not at_work or job.since_boot != now.boot:
            steps = ((KILL, now.mono),)
        due = [step for step, at in steps if at <= now.mono]
        self._wakes += [at for _, at in steps if at > now.mono][:1]
        if not due:
            return
        if due[-1] == KILL:
            self._repeat(KILL, job.key, cluster_id, now)
            return
        with contextlib.suppress(OSError):
            if self._reach.ask("mark", directory, due[-1]):
                self._due.setdefault(due[-1], {})[job.key] = cluster_id

    def _repeat(self, step: str, key: Key, cluster_id: str, now: Moment) -> None:
        """Now, and again later, for as long as it is there."""
        of, at, wait = self._next.get(key, (step, now.mono, AGAIN))
        if of != step:
            at, wait = now.mono, AGAIN
        if at <= now.mono:
            at, wait = now.mono + wait, min(LONGEST, wait * 2)
            self._due.setdefault(step, {})[key] = cluster_id
        self._next[key] = step, at, wait
        self._wakes.append(at)

    def step(self, now: Moment) -> bool:
        """Calls scancel for what is due; returns whether a call has ended, so that the cluster should be asked."""
        ended = self._call is not None and self._call.answer(now.mono) is not None
        if ended:
            self._call = None
        if self._call is None and self._due:
            step, ids = next(iter(self._due.items()))
            some = dict(list(ids.items())[:AT_ONCE])
            for key in some:
                del ids[key]
            if not ids:
                del self._due[step]
            how = {KILL: (), WAITS: (f"--state={WAITS}",)}.get(step, (f"--signal={step}", "--full"))
            self._call = self._programs.call(["scancel", *how, *some.values()], now.mono)
        return ended

    def forget_all_but(self, keys: set[Key]) -> None:
        """Others have ended."""
        self._next = {key: when for key, when in self._next.items() if key in keys}
        self._waited = {key: at for key, at in self._waited.items() if key in keys}

    def wakes(self) -> Iterator[float]:
        """When the next step of any is due, as far as `stop` was called since the last time."""
        wakes, self._wakes = self._wakes, []
        yield from wakes
        if self._call is not None:
            yield self._call.deadline

    def close(self) -> None:
        """A call that is at work goes on."""
        if self._call is not None:
            self._call.end()
