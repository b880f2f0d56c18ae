"""How many there are of something, in words."""

from __future__ import annotations


def noun(number: int, one: str, several: str | None = None) -> str:
    """`one` thing or `several` (`one` with an s), for use with a number, or a list of that many."""
    return one if number == 1 else several or f"{one}s"


def count(number: int, one: str, several: str | None = None) -> str:
    """`1 GPU`, `2 GPUs`, `no GPU`."""
    return f"{number} {noun(number, one, several)}" if number else f"no {one}"
