"""Use of a GPU by processes that the driver does not list, e.g. those of containers and of other pid namespaces.
Memory and load of the same poll show it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gflowd.core.syntax import memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gflowd.core.gpu.device import Gpu

DRAIN = 10.0  # seconds after a job of ours has left, for which what is in use may still be its own
MUCH_MB, PART = 1024, 8  # more than this, or than this part of a small GPU, is used by others
SLACK_MB = MUCH_MB // 2  # drivers before R510 count what they keep for themselves as used
SOME_LOAD, MUCH_LOAD = 10, 50  # percent
LASTING = 2.0  # seconds for which load without memory must last: one spike does not count


@dataclass(frozen=True, slots=True)
class HiddenUse:
    """What is known after the poll at `at` (monotonic, like all times here), by UUID. `found`: in words, what shows
    that others use the GPU; `foreign_mb`: memory in use, except by our jobs. The rest is kept for the next poll.
    """

    at: float = float("-inf")
    found: Mapping[str, str] = field(default_factory=dict)
    foreign_mb: Mapping[str, int] = field(default_factory=dict)
    held: Mapping[str, float] = field(default_factory=dict)  # when a job of ours last had it
    loaded: Mapping[str, float] = field(default_factory=dict)  # since when it has load that no process explains


def follow(
    before: HiddenUse, gpus: Iterable[Gpu], given_mb: Mapping[str, int | None], at: float, now: float
) -> HiddenUse:
    """What the poll at `at` adds. `given_mb`: of each GPU that our jobs have, what was given to shared ones; None: all.

    Between polls nothing changes but who has what.
    """
    gpus = [gpu for gpu in gpus if gpu.answers]
    held = {gpu.uuid: before.held[gpu.uuid] for gpu in gpus if gpu.uuid in before.held} | dict.fromkeys(given_mb, now)
    loaded = {gpu.uuid: before.loaded.get(gpu.uuid, at) for gpu in gpus if is_loaded(gpu) and gpu.uuid not in given_mb}
    found, foreign = {}, {}
    for gpu in gpus:
        given = given_mb.get(gpu.uuid, 0)
        if at <= held.get(gpu.uuid, float("-inf")) + DRAIN and gpu.uuid not in given_mb:
            given = None
        hidden = 0 if given is None else hidden_mb(gpu, given)
        foreign[gpu.uuid] = _unless_little(_foreign_mb(gpu, given, hidden), gpu)
        load = 0 if gpu.uuid in given_mb or gpu.processes else gpu.utilisation or 0
        much = _much(gpu) // (2 if gpu.uuid in before.found else 1)
        lasts = at - loaded.get(gpu.uuid, at) >= LASTING and given is not None
        if hidden > much or (hidden > _much(gpu) // 2 and load >= SOME_LOAD) or lasts:
            found[gpu.uuid] = _words(gpu, hidden, load)
    return HiddenUse(at, found, foreign, held, loaded)


def is_loaded(gpu: Gpu) -> bool:
    """Whether a GPU is at work for no process that is listed."""
    return not gpu.processes and (gpu.utilisation or 0) >= MUCH_LOAD


def is_told(gpu: Gpu) -> bool:
    """Whether the driver reports how much memory each process has."""
    return all(process.memory_mb is not None for process in gpu.processes)


def hidden_mb(gpu: Gpu, given_mb: int = 0) -> int:
    """The memory in use beyond that of listed processes and of our shared jobs, which were given `given_mb`; 0 if the
    driver does not report how much each process has.
    """
    if not is_told(gpu):
        return 0
    ours = sum(process.memory_mb or 0 for process in gpu.processes if process.job_id is not None)
    return max(0, gpu.used_mb - _others_mb(gpu) - max(ours, given_mb))


def _foreign_mb(gpu: Gpu, given_mb: int | None, hidden: int) -> int:
    if is_told(gpu):
        return hidden + _others_mb(gpu)
    return 0 if given_mb is None or any(process.job_id is not None for process in gpu.processes) else gpu.used_mb


def _others_mb(gpu: Gpu) -> int:
    """The memory of listed processes that belong to no job of ours."""
    return sum(process.memory_mb or 0 for process in gpu.processes if process.job_id is None)


def _much(gpu: Gpu) -> int:
    return min(MUCH_MB, gpu.memory_mb // PART)


def _unless_little(used_mb: int, gpu: Gpu) -> int:
    return used_mb if used_mb > min(SLACK_MB, _much(gpu) // 2) else 0


def _words(gpu: Gpu, hidden: int, load: int) -> str:
    used = [f"{memory.about(hidden)} of {memory.about(gpu.memory_mb)} in use"] * (hidden > _much(gpu) // 2)
    at_work = [f"{load}% load"] * (load >= SOME_LOAD)
    return f"{' and '.join([*used, *at_work])} by no process that the driver lists"
