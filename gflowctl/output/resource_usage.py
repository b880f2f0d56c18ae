"""What an attempt used, in words, and how that is known."""

from __future__ import annotations

from gflowd.core.job.model import CGROUP, SAMPLES, SHELL
from gflowd.core.syntax import durations, memory
from gflowd.core.syntax.plurals import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflowd.core.job.model import Used

MINUTE = 60.0
KNOWN = {
    CGROUP: "by its control group", SHELL: "of the processes that were waited for", SAMPLES: "seen by sampling",
}  # fmt: skip


def lines(used: Used | None) -> Iterator[tuple[str, str]]:
    """Each with its title."""
    if used is None:
        return
    if used.memory_mb is not None:
        how = _known(used.memory_source) + ", file cache included" * (used.memory_source == CGROUP)
        yield "Peak memory", f"{_floor(used.memory_source)}{memory.show(used.memory_mb)} ({how})"
    if used.cpu_seconds is not None:
        yield "CPU time", f"{_floor(used.cpu_source)}{seconds(used.cpu_seconds)} ({_known(used.cpu_source)})"
    if used.gpu_percent is not None:
        yield "GPU use", f"{used.gpu_percent:.0f} % on average ({count(used.gpu_polls, 'poll')})"


def brief(used: Used | None) -> str:
    """All of it in a few words; empty where nothing is known."""
    if used is None:
        return ""
    parts = []
    if used.memory_mb is not None:
        parts.append(f"{_floor(used.memory_source)}{memory.show(used.memory_mb)} of memory")
    if used.cpu_seconds is not None:
        parts.append(f"{_floor(used.cpu_source)}{seconds(used.cpu_seconds)} of CPU time")
    if used.gpu_percent is not None:
        parts.append(f"GPUs {used.gpu_percent:.0f} % busy")
    return ", ".join(parts)


def seconds(number: float) -> str:
    """`3.2 s`, or as a clock from a minute on."""
    return durations.clock(number) if number >= MINUTE else f"{number:.1f} s"


def _floor(source: str | None) -> str:
    return "at least " if source == SAMPLES else ""


def _known(source: str | None) -> str:
    return KNOWN.get(source or "", "unknown how")
