"""Which faults of GPUs last: one that was lost stays faulty when it answers again, until somebody resumes it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gflowd.core.gpu.admin_state import Resumed
    from gflowd.core.gpu.device import Gpu


class DriverFailed(Exception):
    """What the GPUs do is not known. One line, with the cure."""


Noted = dict[str, tuple[str, float]]  # by uuid: the fault, and when the GPU had last been resumed at that time


def judge(seen: Iterable[Gpu], noted: Mapping[str, tuple[str, float]], resumed: Iterable[Resumed]) -> tuple[
    tuple[Gpu, ...], Noted
]:  # fmt: skip
    """The GPUs of a poll with the faults that they have, and what is to be noted for the next.

    Whether a GPU was resumed since is told by the time of its last resume being another, so no clock can err. Faults
    are of the whole GPU, whatever MIG devices it has: noted, and resumed, under its own UUID.
    """
    resumes = {uuid: (at, accepted) for uuid, at, accepted in resumed}
    judged, after = [], dict(noted)
    for gpu in seen:
        at, accepted = resumes.get(gpu.card, (0.0, 0))
        if gpu.fault is not None and gpu.lasting:
            after[gpu.card] = (gpu.fault, at)
        elif gpu.card in after and after[gpu.card][1] != at:
            del after[gpu.card]
        why = after[gpu.card][0] if gpu.card in after else _memory(gpu, accepted)
        judged.append(gpu if gpu.fault is not None or why is None else gpu.replace(fault=why, lasting=True))
    return tuple(judged), after


def _memory(gpu: Gpu, accepted: int) -> str | None:
    errors = f"{gpu.ecc} uncorrectable memory error{'s' if gpu.ecc > 1 else ''}"
    return errors if gpu.ecc > accepted else None
