"""The retry policy of a job: how often, on which failures and after which delay it is retried. Decides nothing."""

from __future__ import annotations

from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FAILURE, TIMED_OUT, OOM, ZOMBIE = "failure", "timeout", "oom", "zombie"
CAUSES = (FAILURE, TIMED_OUT, OOM, ZOMBIE)
DEFAULT_ON = (FAILURE, ZOMBIE)


class Retry(Value):
    """How often, on what (causes and exit codes) and after which delay a job is retried.

    `delay`: seconds before the first retry; each further delay is `factor` times as long.
    """

    __slots__ = ("delay", "factor", "max_retries", "on")

    def __init__(
        self,
        *,
        max_retries: int = 0,
        on: tuple[str | int, ...] = DEFAULT_ON,
        delay: float = 0.0,
        factor: float = 1.0,
    ) -> None:
        self.max_retries: Final = max_retries
        self.on: Final = on
        self.delay: Final = delay
        self.factor: Final = factor
