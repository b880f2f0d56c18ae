"""What all of a request is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from gflowd.core.admission.policy import Policy
    from gflowd.core.admission.requester import Requester
    from gflowd.core.request.validation import Limits

    # The spec record of a job that has left for the history, with the id under which it was kept; None: there is none.
    Past = Callable[[int], tuple[int, Mapping[str, Any]] | None]


def nothing_past(_: int) -> None:
    """A `Past` where no job has left yet."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """Who asks, what the configuration says, what the machine has, when it is, and who knows the jobs of the past."""

    requester: Requester
    policy: Policy
    limits: Limits
    now: float
    past: Past = nothing_past
