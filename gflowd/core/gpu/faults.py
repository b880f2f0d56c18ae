"""Which GPU faults last: a lost GPU stays faulty even if it responds again, until it is resumed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd.core.syntax.plurals import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gflowd.core.gpu.admin_state import Resumed
    from gflowd.core.gpu.device import Gpu


class DriverFailed(Exception):
    """The state of the GPUs is not known. One line, with the remedy."""


@dataclass(frozen=True, slots=True)
class LastingFault:
    """A lasting fault, and when the GPU had last been resumed by then (seconds since the epoch; 0: never)."""

    why: str
    resumed_at: float


Noted = dict[str, LastingFault]  # by uuid


def judge(
    seen: Iterable[Gpu], noted: Mapping[str, LastingFault], resumed: Iterable[Resumed]
) -> tuple[tuple[Gpu, ...], Noted]:
    """The GPUs of a poll with their faults, and what to remember for the next poll.

    A GPU was resumed since if the time of its last resume has changed, so clock errors do not matter. Faults
    concern the whole GPU, whatever MIG devices it has: they are noted, and resumed, under its own UUID.
    """
    resumes = {each.uuid: each for each in resumed}
    judged, after = [], dict(noted)
    for gpu in seen:
        resume = resumes.get(gpu.card)
        at, accepted = (0.0, 0) if resume is None else (resume.at, resume.accepted)
        if gpu.fault is not None and gpu.lasting:
            after[gpu.card] = LastingFault(gpu.fault, at)
        elif gpu.card in after and after[gpu.card].resumed_at != at:
            del after[gpu.card]
        why = after[gpu.card].why if gpu.card in after else _memory(gpu, accepted)
        judged.append(gpu if gpu.fault is not None or why is None else gpu.replace(fault=why, lasting=True))
    return tuple(judged), after


def _memory(gpu: Gpu, accepted: int) -> str | None:
    return count(gpu.ecc, "uncorrectable memory error") if gpu.ecc > accepted else None
