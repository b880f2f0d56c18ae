"""What a job asks for when it fails: how often, on what and after how long it is tried again. Decides nothing."""

from __future__ import annotations

from gflowd.core.job.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FAILURE, TIMED_OUT, OOM, ZOMBIE = "failure", "timeout", "oom", "zombie"
CAUSES = (FAILURE, TIMED_OUT, OOM, ZOMBIE)
DEFAULT_ON = (FAILURE, ZOMBIE)


class Retry(Value):
    """How often, on what (causes and exit codes) and after how long a job is tried again.

    `delay`: seconds before the first retry; before each further one `factor` times as long.
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
