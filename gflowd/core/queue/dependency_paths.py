"""Paths through the dependency graph: a cycle that an update would close, and the jobs cancelled because of another.

Nothing here is recursive: a chain may be as long as the queue.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable


def cycle(
    job_id: int,
    wanted: Iterable[int],
    waits_for: Callable[[int], Iterable[int]],
    elements: Collection[int] = (),
) -> list[int] | None:
    """The path from `job_id` back to itself if it waited for `wanted`: `[5, 7, 9, 5]`, or None if there is none.

    `waits_for`: the ids that a job, or any element of an array, waits for now; none of one that has ended.
    `elements`: the ids of `job_id` if it is an array; a job that waits for one of them waits for `job_id`.
    """
    came_from = dict.fromkeys(wanted, job_id)
    stack = list(came_from)
    while stack:
        here = stack.pop()
        if here == job_id or here in elements:
            return _way(here, job_id, came_from)
        for there in waits_for(here):
            if there not in came_from:
                came_from[there] = here
                stack.append(there)
    return None


def _way(last: int, job_id: int, came_from: dict[int, int]) -> list[int]:
    way = [last]
    while len(way) == 1 or way[-1] != job_id:
        way.append(came_from[way[-1]])
    return way[::-1]


def cascade(
    ids: Iterable[int], victims: Callable[[int], Iterable[int]], waits_for: Callable[[int], Iterable[int]]
) -> list[int]:
    """Every job that was cancelled because of `ids`, directly or indirectly; each after those that it waited for.

    `victims`: the jobs that ended with `DependencyFailed:` and the given id; `waits_for`: the ids of a job's needs.
    """
    met = dict.fromkeys(ids)
    found: set[int] = set()
    todo = deque(met)
    while todo:
        for victim in victims(todo.popleft()):
            if victim not in met and victim not in found:
                found.add(victim)
                todo.append(victim)
    return _in_order(found, waits_for)


def _in_order(found: set[int], waits_for: Callable[[int], Iterable[int]]) -> list[int]:
    """`found`, ascending, but each after all of `found` that it waits for."""
    placed: dict[int, None] = {}
    begun: set[int] = set()
    stack = sorted(found, reverse=True)
    while stack:
        job_id = stack[-1]
        if job_id in begun:
            placed.setdefault(stack.pop())
            continue
        begun.add(job_id)
        stack.extend(
            sorted((other for other in waits_for(job_id) if other in found and other not in begun), reverse=True)
        )
    return list(placed)
