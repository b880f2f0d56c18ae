"""Whether a job can end by its deadline."""

from __future__ import annotations

from gflowd.core.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowd.core.job.model import Spec


def check(spec: Spec, now: float) -> None:
    """Raises `Refused` when a job that is queued `now` cannot end by its deadline: it has passed, or its time limit is
    longer than what is left then or at its begin time.
    """
    if spec.deadline is None:
        return
    if spec.deadline <= now:
        raise Refused("the deadline has passed")
    begin = now if spec.begin_at is None else max(now, spec.begin_at)
    if begin + (spec.time_limit or 0.0) <= spec.deadline:
        return
    from gflowd.core.syntax import durations

    if begin > spec.deadline:
        raise Refused("the deadline is before the begin time")
    left, since = durations.clock(spec.deadline - begin), "it begins" if begin > now else "now"
    limit = durations.clock(spec.time_limit or 0.0)
    raise Refused(f"the deadline is {left} after {since}, but the time limit is {limit}")
