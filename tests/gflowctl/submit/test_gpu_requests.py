"""Requests for GPUs that make no sense or can never be met: one line each, and nothing is changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl

WRONG = [
    ("--shared", "must say how much of its memory it uses: --gpu-memory MEM"),
    ("--shared --gpu-memory 0", "must say how much of its memory it uses: --gpu-memory MEM"),
    ("--gpu-memory 25G", "1 GPU with 25G (the largest has 24G) asked for, but this machine has none"),
    ("--shared --gpu-memory 25G", "1 GPU with 25G (the largest has 24G) asked for, but this machine has none"),
    ("--gpu-memory 20G --gpus 2", "2 GPUs with 20G (the largest has 24G) asked for, but this machine has 1"),
    ("--gpus 3", "3 GPUs asked for, but this machine has 2"),
    ("--gpu-type h100", "no GPU of this machine is of type 'h100' (they are Fake A, Fake B)"),
]


@pytest.fixture
def queued(ctl: Ctl) -> Ctl:
    """On a machine with a GPU of 24 GB and one of 16 GB, with a held job for one GPU."""
    gpus = [{"index": index, "model": f"Fake {'AB'[index]}", "memory_mb": (24576, 16384)[index]} for index in (0, 1)]
    ctl.observe(gpus=gpus)
    ctl.submit("--hold", "-g", "1", "true")
    return ctl


@pytest.mark.parametrize("command", ["submit", "update", "redo"])
@pytest.mark.parametrize(("words", "why"), WRONG)
def test_it_is_refused_with_one_line(queued: Ctl, command: str, words: str, why: str) -> None:
    before = Path(queued.state.snapshot).read_bytes()
    gpus = () if "--gpus" in words else ("--gpus", "1")
    rest = ("true",) if command == "submit" else ("1",)
    assert queued.fails(1, command, *gpus, *words.split(), *rest).endswith(why)
    assert Path(queued.state.snapshot).read_bytes() == before
