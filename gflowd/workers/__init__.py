"""The workers: one module each, one row each. To add a worker, write its module and add its row."""

from dataclasses import dataclass

from gflowd.effects import doorbell as bell
from gflowd.workers.slots import GPU_POLLER, RESERVATION_TIMER, SCHEDULER, TIMEOUT_ENFORCER, ZOMBIE_DETECTOR


@dataclass(frozen=True, slots=True)
class Row:
    """A worker: its name (also that of its slot and process), what wakes it, what it rings when its decision changes,
    and its module in this package if that has another name.
    """

    name: str
    wakes_for: bytes
    rings: bytes = bell.FINDING
    module: str = ""


WORKERS = (
    Row(GPU_POLLER, wakes_for=bell.POLL),
    Row(ZOMBIE_DETECTOR, wakes_for=bell.ENDED + bell.DECISION),
    Row(TIMEOUT_ENFORCER, wakes_for=bell.DECISION),
    Row(RESERVATION_TIMER, wakes_for=bell.DECISION),
    Row(
        SCHEDULER,
        wakes_for=bell.SUBMISSION + bell.WISH + bell.FINDING,
        rings=bell.DECISION,
        module="scheduler.worker",
    ),
)
