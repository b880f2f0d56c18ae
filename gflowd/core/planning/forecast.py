"""When queued jobs are expected to start, if each takes its limit or predicted length and none overtakes another. Pure.

An estimate: running jobs may end early, backfill may let jobs pass, and new jobs may come first.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from gflowd.core.planning.backfill import limit_or_guess
from gflowd.core.planning.occupancy import hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gflowd.core.accounting.runtimes import Length
    from gflowd.core.job.model import Job
    from gflowd.core.planning.occupancy import Occupancy


def expected(
    queue: Iterable[Job], room: Occupancy, length_of: Callable[[Job], Length] = limit_or_guess
) -> dict[int, float]:
    """The wall time at which each of `queue`, in order, is expected to start. `room` is used up.

    Ends with the first whose start is not known, e.g. one that waits for a user.
    """
    found: dict[int, float] = {}
    for job in queue:
        length = length_of(job).seconds
        while not room.fits(job.spec, room.now, room.now + length):
            later = room.next_end()
            if later is None or later == inf:
                return found
            room.advance(later)
        chosen = room.candidates(job.spec, room.now, room.now + length)[: job.spec.gpus] if job.spec.gpus else []
        room.take(hold(job.spec, tuple(chosen), room.now + length))
        found[job.id] = room.now
    return found
