"""The workers: one module each, one row each. To add a worker, write its module and add its row."""

from dataclasses import dataclass

from gflowd.effects import doorbell as bell


@dataclass(frozen=True, slots=True)
class Row:
    """A worker: its name (also its slot's and its process's), what wakes it, what it rings when it has decided
    otherwise than before, and its module in this package where that is called otherwise.
    """

    name: str
    wakes_for: bytes
    rings: bytes = bell.FINDING
    module: str = ""


WORKERS = (
    Row("gpu_poller", wakes_for=bell.POLL),
    Row("zombie_detector", wakes_for=bell.ENDED + bell.DECISION),
    Row("timeout_enforcer", wakes_for=bell.DECISION),
    Row("reservation_timer", wakes_for=bell.DECISION),
    Row(
        "scheduler",
        wakes_for=bell.SUBMISSION + bell.WISH + bell.FINDING,
        rings=bell.DECISION,
        module="scheduler.worker",
    ),
)
