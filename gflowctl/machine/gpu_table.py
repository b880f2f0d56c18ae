"""The table of GPUs that `info` shows, fitted to the terminal, and below it the causes of their states."""

from __future__ import annotations

from gflowctl.machine import gpus as gpu_records
from gflowctl.output import render
from gflowd.core.syntax import memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from gflowd.storage.observed_reader import SeenGpu

ROOMY = 100  # columns: on a narrower terminal the vendor's name is left out
INDENT = 2
PIPED_BAR, SHORTEST_BAR, LONGEST_BAR = 16, 6, 24  # characters
COLORS = {
    "idle": render.GREEN, "busy": render.YELLOW, "shared": render.YELLOW, "unmanaged": render.MAGENTA,
    "reserved": render.CYAN, "restricted": render.DIM, "drained": render.DIM, "faulty": render.RED,
}  # fmt: skip


def draw(gpus: list[SeenGpu], reserved: Mapping[int, str], reasons: Mapping[int, str], *, color: bool) -> str:
    """One row each. `reserved` says for whom, by index; its column is shown only if needed. `reasons` are those of
    jobs.
    """
    columns = [
        render.Column("GPU", right=True),
        render.Column("MODEL", wraps=True),
        render.Column("MEMORY", spare=True, color=lambda gpu: heat(gpu.used_mb, gpu.memory_mb)),
        render.Column("USED", right=True),
        render.Column("UTIL", right=True, color=lambda gpu: heat(gpu.utilisation or 0, 100)),
        render.Column("TEMP", right=True),
        render.Column("STATE", wraps=True, color=lambda gpu: COLORS.get(gpu.state, "")),
        render.Column("USED BY", wraps=True),
    ]
    wide = render.terminal_columns() if render.is_terminal() else 0
    rows = [(gpu, _cells(gpu, reasons, is_narrow=0 < wide < ROOMY)) for gpu in gpus]
    if any(gpu.index in reserved for gpu in gpus):
        columns.append(render.Column("RESERVED", wraps=True))
        for gpu, cells in rows:
            cells.append(reserved.get(gpu.index, "-"))
    return render.table(columns, rows, color=color, columns_wide=wide)


def _cells(gpu: SeenGpu, reasons: Mapping[int, str], *, is_narrow: bool) -> list[str]:
    return [
        str(gpu.index),
        gpu.model.removeprefix("NVIDIA ") if is_narrow else gpu.model,
        bar(gpu.used_mb, gpu.memory_mb),
        f"{memory.about(gpu.used_mb)}/{memory.about(gpu.memory_mb)}" if gpu.memory_mb else "-",
        "-" if gpu.utilisation is None else f"{gpu.utilisation}%",
        "-" if gpu.temperature is None else f"{gpu.temperature}C",
        f"{gpu.state} (simulated)" if gpu.simulated and "imulated" not in gpu.model else gpu.state,
        gpu_records.used_by(gpu, gpu_records.idle_jobs(gpu, reasons)) or "-",
    ]


def causes(gpus: list[SeenGpu], trouble: str | None, *, color: bool) -> str:
    """The causes of GPU states that the table does not show, and what to do about them."""
    if trouble is not None:
        said = _indented(f"GPUs unknown: {render.escape(trouble)}")
        return "".join(render.paint(line, render.RED, on=color) + "\n" for line in said)
    lines = []
    for gpu in gpus:
        if gpu.cause and gpu.state != "reserved" and gpu.cause not in gpu_records.used_by(gpu):
            again = f"; gflowctl gpus resume {gpu.index}" if gpu.lasting and gpu.answers else ""
            lines += _indented(f"GPU {gpu.index} {gpu.state}: {render.escape(gpu.cause)}{again}")
    return "".join(f"{line}\n" for line in lines)


def _indented(text: str) -> list[str]:
    """`text`, on a terminal in lines that fit it."""
    if not render.is_terminal():
        return [text]
    first, *more = render.paragraph(text, render.terminal_columns() - INDENT)
    return [first, *(f"{' ' * INDENT}{line}" for line in more)]


def heat(used: float, total: float) -> str:
    """The colour of how full something is."""
    part = used / total if total else 0
    return render.RED if part >= 0.9 else render.YELLOW if part >= 0.5 else render.GREEN if used else render.DIM


def bar(used: float, total: float) -> str:
    """`[####....]`, longer on a wider terminal."""
    room = render.terminal_columns() // 8 - 4 if render.is_terminal() else PIPED_BAR
    long = max(SHORTEST_BAR, min(LONGEST_BAR, room))
    filled = min(long, round(long * used / total)) if total else 0
    if used and not filled:
        filled = 1
    full, empty = "\u2588\u2591" if render.draws_blocks() else "#."
    return f"[{full * filled}{empty * (long - filled)}]"
