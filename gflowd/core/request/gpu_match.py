"""Which GPUs a job means by type, memory and preference. Pure."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowd.core.job.model import Spec

LONGEST_INDEX = 3  # digits
MIG = " MIG "  # between the model and the profile in the name of a MIG device
_NO_MATTER = str.maketrans("", "", " _-\t")  # in the names of models


def suits(spec: Spec, model: str, memory_mb: int) -> bool:
    """Whether a GPU has the type and the memory that a job asks for.

    In CUDA, a process sees only one MIG device. So a job with several GPUs gets whole ones, unless its type
    can only mean MIG devices.
    """
    kind, whole = _plain(spec.gpu_type or ""), model.partition(MIG)[0]
    if kind not in _plain(model):
        return False
    if spec.gpus > 1 and whole != model and kind in _plain(whole):
        return False
    return spec.gpu_memory_mb is None or spec.gpu_memory_mb <= memory_mb


def is_index(word: str) -> bool:
    """Whether a word of `gpu_prefer` is the index of a GPU; a longer number is part of a model's name, such as 4090."""
    return word.isascii() and word.isdigit() and len(word) <= LONGEST_INDEX


def is_meant(word: str, index: int, model: str) -> bool:
    """Whether a word of `gpu_prefer` means the GPU with this index and of this model."""
    return int(word) == index if is_index(word) else _plain(word) in _plain(model)


def named_by(constraint: str, models: Iterable[str]) -> list[str]:
    """The words of a constraint of sbatch(1), such as `a100` or `v100&nvlink`, that name GPUs among `models`, those
    that most of them are called first.
    """
    plain = [_plain(model) for model in models]
    words = dict.fromkeys(word for word in re.split(r"[^\w.:-]+", constraint) if re.search("[A-Za-z]", word))
    number = {word: sum(_plain(word) in model for model in plain) for word in words}
    return sorted(filter(number.__getitem__, number), key=lambda word: -number[word])


def _plain(name: str) -> str:
    """A model's name as it is compared: `geforce_rtx_4090` is in "NVIDIA GeForce RTX 4090"."""
    return name.casefold().translate(_NO_MATTER)
