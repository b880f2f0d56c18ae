"""What `--constraint` of sbatch(1) means on one machine: the type of its GPUs, or nothing."""

from __future__ import annotations

from gflowd.core.request import gpu_match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

UNKNOWN = "which GPUs there are is not known before gflowd has run"
OTHERS = "no GPU of this machine is so called, and it has several models"


def gpu_type(
    constraint: str, gpus: Mapping[str, Any], models: tuple[tuple[str, int], ...] | None
) -> tuple[str | None, str | None]:
    """The type of GPU of a job that asks for `gpus` (as `validation.gpu_request` has them), and a note if the
    constraint, or a part of it, has no effect.
    """
    kind: str | None = gpus["gpu_type"]
    vain = f"--constraint={constraint} has no effect"
    if not gpus["gpus"]:
        return kind, vain
    if kind is not None:
        return kind, f"{vain}: the job asks for GPUs of type {kind}"
    if models is None:
        return None, f"{vain}: {UNKNOWN}"
    named = gpu_match.named_by(constraint, (model for model, _ in models))
    if not named:
        return None, f"{vain}: {OTHERS}" if len({model for model, _ in models}) > 1 else vain
    several = ", ".join(named[1:])
    return named[0], f"--constraint={constraint}: of {named[0]} and {several}, {named[0]} counts" if several else None
