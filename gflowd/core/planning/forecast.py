"""When queued jobs are expected to start, if each takes its limit or predicted length and none overtakes another. Pure.

An estimate: running jobs may end early, backfill may let jobs pass, and new jobs may come first.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from gflowd.core.planning.backfill import limit_or_guess
from gflowd.core.planning.occupancy import hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gflowd.core.accounting.quotas import Ledger
    from gflowd.core.accounting.runtimes import Length
    from gflowd.core.job.model import Job
    from gflowd.core.planning.occupancy import Occupancy


def expected(
    queue: Iterable[Job],
    room: Occupancy,
    length_of: Callable[[Job], Length] = limit_or_guess,
    ledger: Ledger | None = None,
) -> dict[int, float]:
    """The wall time at which each of `queue`, in order, is expected to start. `room` and `ledger` are used up.

    Jobs that a quota keeps out let others pass until the quota allows them. Ends with the first job whose start is not
    known, e.g. one that waits for a user.
    """
    found: dict[int, float] = {}
    waiting = deque(queue)
    kept_out: list[Job] = []

    def starts(job: Job) -> bool:
        length = length_of(job).seconds
        if not room.fits(job.spec, room.now, room.now + length):
            return False
        chosen = room.candidates(job.spec, room.now, room.now + length)[: job.spec.gpus] if job.spec.gpus else []
        room.take(hold(job.spec, tuple(chosen), room.now + length))
        if ledger is not None:
            ledger.start(job.spec, room.now + length)
        found[job.id] = room.now
        return True

    def admits(job: Job) -> bool:
        return ledger is None or ledger.admits(job.spec, room.now)

    while waiting or kept_out:
        kept_out = [job for job in kept_out if not (admits(job) and starts(job))]
        while waiting and (not admits(waiting[0]) or starts(waiting[0])):
            job = waiting.popleft()
            if job.id not in found:
                kept_out.append(job)
        later = room.next_end()
        if later is None or later == inf:
            break
        room.advance(later)
    return found
