"""Which attempts are handed over together, as one array of Slurm's: elements of one array that are ready together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gflowd.core.cluster import submission
from gflowd.core.job import array_task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gflowd.core.execution.observations import Key, LiveJob
    from gflowd.core.job.model import Job


@dataclass(frozen=True, slots=True)
class Batch:
    """Attempts under one id of Slurm's. `name`: by which their mark knows them; `tasks`: each one's number there, none
    for a job by itself, which is no array. `throttle`: how many may run at a time.
    """

    name: str
    first: Job
    keys: tuple[Key, ...]
    tasks: Mapping[int, Key] = field(default_factory=dict)
    throttle: int | None = None

    @property
    def array(self) -> str | None:
        """The value of sbatch's --array."""
        if not self.tasks:
            return None
        parts = (str(first) if first == last else f"{first}-{last}" for first, last in _runs(sorted(self.tasks)))
        return ",".join(parts) + ("" if self.throttle is None else f"%{self.throttle}")

    def cluster_id(self, given: str, key: Key) -> str:
        """The id of one attempt, where sbatch has `given` that of all: 123, or 123_4."""
        task = next((task for task, its in self.tasks.items() if its == key), None)
        return given if task is None else f"{given}_{task}"


def batches(waiting: Iterable[LiveJob], max_array: int) -> list[Batch]:
    """The batches of attempts that no cluster has yet, in the order in which they are to be handed over. An array has
    less than `max_array` tasks, each with a number below that: the element's own index, where all are.
    """
    found: list[list[tuple[LiveJob, Job]]] = []
    last: object = None
    for each in waiting:
        job = each.job
        if job is None:
            continue
        like = None if job.array_id is None else (submission.alike(job), each.throttle)
        if like is None or like != last or len(found[-1]) >= max_array - 1:
            found.append([])
        found[-1].append((each, job))
        last = like
    return [_batch(members, max_array) for members in found]


def _batch(members: list[tuple[LiveJob, Job]], max_array: int) -> Batch:
    live, first = members[0]
    name, keys = f"{live.id}.{live.attempt}", tuple(each.key for each, _ in members)
    if len(members) == 1:
        return Batch(name, first, keys)
    indices = [array_task.index(job) or 0 for _, job in members]
    numbers = indices if max(indices) < max_array else range(len(members))
    return Batch(name, first, keys, dict(zip(numbers, keys, strict=True)), live.throttle)


def _runs(numbers: list[int]) -> Iterable[tuple[int, int]]:
    """The stretches of numbers without a gap: first and last."""
    first = last = numbers[0]
    for each in numbers[1:]:
        if each != last + 1:
            yield first, last
            first = each
        last = each
    yield first, last
