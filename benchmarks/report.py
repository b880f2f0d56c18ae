"""A measure beside its budget, as a line of text."""

from __future__ import annotations


def line(what: str, measured: float, unit: str, budget: float) -> str:
    """`unit` is that of both; below the budget is a pass."""
    verdict = "pass" if measured < budget else "MISS"
    return f"{what:<52} {measured:8.2f} {unit:<4} {budget:8.2f} {unit:<4} {verdict}"
