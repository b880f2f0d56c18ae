"""How many jobs are in each state and how many GPUs are busy, in a line for people."""

from __future__ import annotations

from gflowd.core.job.model import ENDED_STATES, HELD, QUEUED, RUNNING, STARTING, STOPPING, SUSPENDED
from gflowd.core.syntax.plurals import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from gflowd.storage.observed import SeenGpu

ORDER = (RUNNING, STARTING, SUSPENDED, STOPPING, QUEUED, HELD, *ENDED_STATES)
IN_USE = ("busy", "shared", "unmanaged")  # states of GPUs


def busy(gpus: Iterable[SeenGpu]) -> int:
    """How many GPUs have a job, or processes that keep jobs from them."""
    return sum(bool(gpu.jobs) or gpu.state in IN_USE for gpu in gpus)


def jobs(numbers: Mapping[str, int]) -> str:
    """`7 running, 205 queued`, from the numbers by state."""
    return ", ".join(f"{numbers[state]} {state}" for state in ORDER if numbers.get(state)) or "no jobs"


def words(numbers: Mapping[str, int], gpus: Collection[SeenGpu]) -> str:
    """`7 running, 205 queued; 3 of 4 GPUs busy`."""
    return f"{jobs(numbers)}; {busy(gpus)} of {count(len(gpus), 'GPU')} busy" if gpus else jobs(numbers)
