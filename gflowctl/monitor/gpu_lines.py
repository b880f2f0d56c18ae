"""The GPUs as lines: memory, load, state and who is on them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment

from gflowctl.machine.gpu_table import heat
from gflowctl.monitor import drawing
from gflowd.core.syntax import memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowctl.monitor.screen_contents import GpuLine

NARROW = 70  # columns: below, no model and no temperature
WIDEST_BAR, SHORTEST_BAR = 20, 6
WIDEST_MODEL = 20


def lines(gpus: Sequence[GpuLine], wide: int) -> list[list[Segment]]:
    """A line for each GPU, for a screen of `wide` columns."""
    model = max((min(WIDEST_MODEL, len(gpu.model)) for gpu in gpus), default=0) if wide >= NARROW else 0
    number = max((len(str(gpu.index)) for gpu in gpus), default=1)
    state = max((len(gpu.state) for gpu in gpus), default=0)
    long = max(SHORTEST_BAR, min(WIDEST_BAR, wide // 10))
    used = max((len(_used(gpu)) for gpu in gpus), default=0)
    return [_line(gpu, wide, (number, model, long, used, state)) for gpu in gpus]


def _used(gpu: GpuLine) -> str:
    return f"{memory.about(gpu.used_mb)}/{memory.about(gpu.memory_mb)}" if gpu.memory_mb else "-"


def _line(gpu: GpuLine, wide: int, widths: tuple[int, int, int, int, int]) -> list[Segment]:
    number, model, long, used, state = widths
    load = "-" if gpu.load is None else f"{gpu.load}%"
    parts = [Segment(f"GPU {gpu.index:>{number}} ", drawing.BOLD)]
    if model:
        parts.append(Segment(f"{drawing.cell(gpu.model, model)} "))
    parts.append(
        Segment(drawing.bar(gpu.used_mb, gpu.memory_mb, long), drawing.style(heat(gpu.used_mb, gpu.memory_mb)))
    )
    parts.append(Segment(f" {_used(gpu):>{used}} "))
    parts.append(Segment(f"{load:>4}", drawing.style(heat(gpu.load or 0, 100))))
    if wide >= NARROW and gpu.temperature is not None:
        parts.append(Segment(f" {gpu.temperature:>3}C"))
    return [*parts, Segment(f"  {gpu.state:<{state}}  {gpu.users}".rstrip())]
