"""Whether quotas let new jobs be queued. Raises `Refused` with what the user reads."""

from __future__ import annotations

from gflowd.core.accounting.quotas import owners
from gflowd.core.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gflowd.core.accounting.quotas import Quotas
    from gflowd.core.job.model import Spec


def check_size(quotas: Quotas, spec: Spec) -> None:
    """Raises `Refused` for a job that is larger than its own quota."""
    if (why := quotas.too_large(spec)) is not None:
        raise Refused(f"{why} (gflowctl quota list)")


def check_queued(quotas: Quotas, new: Sequence[tuple[Spec, int]], queued: Mapping[str, int]) -> None:
    """Raises `Refused` if so many jobs of these specs are too many beside what is `queued`, by owner."""
    counts = dict(queued)
    for spec, number in new:
        refusal = quotas.queued_refusal(spec, number, counts)
        if refusal is not None:
            raise Refused(f"{refusal} (gflowctl quota list)")
        for owner in owners(spec):
            counts[owner] = counts.get(owner, 0) + number
