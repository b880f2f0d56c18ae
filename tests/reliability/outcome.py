"""Writes the page of what was tried and what happened."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD = """\
# What happens when things go wrong

`make soak` wrote this page, and reports only what was really done: on {machine}, on {date}, in {minutes} minutes.
Each row is a fault, how often it was tried, what is promised, and what happened. The code is in `tests/reliability/`.
It runs the real programs in a build in which any write, sync, rename, fork, signal or call of tmux can fail or be the
last thing that happens, through a scripted day of jobs: plain jobs, one that fails, an array, dependencies, a retry, a
time limit, a cancelled job, jobs on two simulated GPUs, and jobs submitted while the daemon is down.

| fault | tried | promised | happened |
|---|---|---|---|
"""


SYSTEMD = "\n## Under systemd\n"  # `make systemd-test` writes what follows


@dataclass
class Result:
    """One row. `tried` counts; `broken` has a text for each time that the promise was not kept."""

    fault: str
    promised: str
    tried: int = 0
    broken: list[str] = field(default_factory=list)
    note: str = ""  # what was measured or seen

    @property
    def happened(self) -> str:
        kept = "all kept" if not self.broken else f"**broken {len(self.broken)} times**"
        return "; ".join(part for part in (kept, self.note) if part)


def page(results: Sequence[Result], seconds: float) -> str:
    """The page in Markdown."""
    machine = (
        f"{os.cpu_count()} processors, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    )
    date = time.strftime("%Y-%m-%d", time.gmtime())
    rows = [f"| {r.fault} | {r.tried} | {r.promised} | {r.happened} |\n" for r in results]
    broken = [f"- {r.fault}: {_one_line(why)}\n" for r in results for why in r.broken]
    tail = ["\n## Broken\n\n", *broken] if broken else []
    return HEAD.format(machine=machine, date=date, minutes=round(seconds / 60)) + "".join(rows + tail)


def kept(page: str) -> str:
    """What a new page is to keep of the one before."""
    _, heading, section = page.partition(SYSTEMD)
    return heading + section


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
