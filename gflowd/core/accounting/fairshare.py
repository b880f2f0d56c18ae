"""Recent usage by user, so that users with less of it go first. Pure.

Usage is in GPU seconds. As with Slurm's priority_multifactor plugin each second of it counts half after a half-life;
unlike there, all users have equal shares.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gflowd.core.job.model import Begun

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from gflowd.core.job.model import Job, Spec

LN_2 = math.log(2)
WEIGHT = 4.0  # of an equal part of all usage


class Shares:
    """How usage is counted. `half_life` in seconds; a job without GPUs counts as `cpu_weight` GPUs.

    A shared job counts each of its GPUs in full: it is not known what part of one its memory is.
    """

    __slots__ = ("cpu_weight", "enabled", "half_life")

    def __init__(self, enabled: bool, half_life: float, cpu_weight: float) -> None:  # noqa: FBT001 -- as configured
        self.enabled = enabled
        self.half_life = half_life
        self.cpu_weight = cpu_weight

    def record(
        self, before: Mapping[str, Any] | None, spec: Spec, started_at: float | None, ended_at: float
    ) -> dict[str, float]:
        """The record of a job's user after one of its attempts, which may never have started: the `usage`, and the time
        `at` which it counted that much.

        Ends may be recorded in any order. A record from more than a half-life ahead was made before the clock was set
        back; it counts as of now.
        """
        used = self._used(spec, started_at, ended_at)
        if before is None:
            return {"usage": used, "at": ended_at}
        ahead = before["at"] - ended_at
        if 0 < ahead <= self.half_life:
            return {"usage": before["usage"] + used * self._decay(ahead), "at": before["at"]}
        return {"usage": before["usage"] * self._decay(-ahead) + used, "at": ended_at}

    def usage(self, records: Mapping[str, Mapping[str, Any]], live: Iterable[Job], wall: float) -> dict[str, float]:
        """The usage of every user as it counts at `wall`, with what the live jobs have used so far.

        Empty, which makes all equal, when fair share is not enabled.
        """
        if not self.enabled:
            return {}
        found = {user: record["usage"] * self._decay(wall - record["at"]) for user, record in records.items()}
        for job in live:
            user = job.spec.user
            found[user] = found.get(user, 0.0) + self._used(job.spec, _since(job), wall)
        return found

    @staticmethod
    def shares(usage: Mapping[str, float]) -> dict[str, float]:
        """The factor for the waiting time of each user's jobs: 1 without recent usage, 1/5 with an equal
        part of all usage, less for more.
        """
        total = sum(usage.values())
        if total <= 0.0:
            return {}
        # By the proportion, since an equal part of a usage that has all but decayed would be rounded to 0.
        return {user: 1.0 / (1.0 + WEIGHT * len(usage) * (used / total)) for user, used in usage.items()}

    def _used(self, spec: Spec, began: float | None, end: float) -> float:
        """The usage of a job at its end: the integral of its weight, each second decayed up to the end."""
        seconds = 0.0 if began is None else max(0.0, end - began)
        weight = spec.gpus or self.cpu_weight
        return weight * self.half_life / LN_2 * -math.expm1(-LN_2 * seconds / self.half_life)

    def _decay(self, age: float) -> float:
        """What remains of a second of usage after `age` seconds; setting the clock back never increases it."""
        return math.exp2(-max(0.0, age) / self.half_life)


def _since(job: Job) -> float | None:
    """When a live job got its resources, if known."""
    if isinstance(job.phase, Begun) and job.phase.started is not None:
        return job.phase.started.at
    return None if job.run is None else job.run.launched_at
