"""Shows the machine as gflowd sees it: GPUs with memory and load, CPUs, host memory, and the daemon.

While gflowd is not running, the numbers are those of its last look.
"""

from __future__ import annotations

import time

from gflowctl import cards, draining, options, render, wording
from gflowctl.watching import redraw
from gflowd.core import durations
from gflowd.core.errors import BadUsage

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from gflowctl.context import Context

BAR = 16  # characters
SHORT_BAR = 6  # where the terminal is narrow: the model's name matters more
NARROW = 100  # columns
GPU_COLORS = {
    "idle": render.GREEN, "busy": render.YELLOW, "shared": render.YELLOW, "unmanaged": render.MAGENTA,
    "reserved": render.CYAN, "restricted": render.DIM, "drained": render.DIM, "faulty": render.RED,
}  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.add_argument("-w", "--watch", action="store_true", help="show it again and again, until interrupted")
    parser.add_argument("--interval", type=options.interval, default=2.0, metavar="S", help="seconds between looks (2)")
    options.add_color(parser)
    options.add_json(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Prints it."""
    if args.watch and args.json:
        raise BadUsage("give either --watch or --json, not both")
    if args.json:
        render.write_json(_document(context))
        return 0
    color = render.use_color(args.color)
    if args.watch:
        redraw(context, lambda: _page(context, color=color), args.interval, lambda: time.strftime("%H:%M:%S"))
    render.write(_page(context, color=color))
    return 0


def _document(context: Context) -> dict[str, Any]:
    seen = context.observed or {}
    capacity, used = seen.get("capacity") or {}, seen.get("used") or {}
    drain = draining.of(context.store.read())
    return {
        "gpus": seen.get("gpus") or [],
        "cpus": {"total": capacity.get("cpus"), "used": used.get("cpus")},
        "memory": {"total_mb": capacity.get("memory_mb"), "used_mb": used.get("memory_mb")},
        "daemon": {"running": context.daemon_runs, "version": seen.get("version"), "executor": seen.get("executor")},
        "seen_at": render.rfc3339(seen.get("at")),
        "reservations": [
            {**window, "start": render.rfc3339(window["start"]), "end": render.rfc3339(window["end"])}
            for window in seen.get("reservations") or ()
        ],
        "gpu_trouble": seen.get("gpu_trouble"),
        "trouble": seen.get("trouble"),
        "drained": drain and {**drain, "at": render.rfc3339(drain["at"])},
    }


def _page(context: Context, *, color: bool) -> str:
    seen = context.observed
    runs = context.daemon_runs
    if seen is None:
        hint = "it has not looked at the machine yet" if runs else "it never ran here; gflowd start"
        return f"{_key('Daemon', color=color)}{'running' if runs else 'not running'} ({hint})\n" + _drained(
            context, color=color
        )
    parts = [_gpus(seen, color=color), _reserved(seen, color=color), _host(seen, color=color)]
    parts.append(_daemon(seen, runs=runs, color=color))
    return "".join(parts) + _drained(context, color=color)


def _drained(context: Context, *, color: bool) -> str:
    drain = draining.of(context.store.read())
    if drain is None:
        return ""
    said = f"no job starts, {render.escape(draining.words(drain))}"
    return f"{_key('Drained', color=color)}{render.paint(said, render.YELLOW, on=color)}\n"


def _key(name: str, *, color: bool) -> str:
    return render.paint(f"{name}:".ljust(9), render.BOLD, on=color)


def _gpus(seen: dict[str, Any], *, color: bool) -> str:
    gpus = seen.get("gpus") or []
    trouble = seen.get("gpu_trouble")
    if not gpus:
        known = (seen.get("capacity") or {}).get("gpus") is not None
        said = render.paint(render.escape(trouble), render.RED, on=color) if trouble else "none" if known else None
        return f"{_key('GPUs', color=color)}{said or 'not known yet'}\n"
    columns = [
        render.Column("GPU", right=True),
        render.Column("MODEL", flexible=True),
        render.Column("MEMORY", color=lambda gpu: _heat(gpu["used_mb"], gpu["memory_mb"])),
        render.Column("USED", right=True),
        render.Column("UTIL", right=True, color=lambda gpu: _heat(gpu.get("utilisation") or 0, 100)),
        render.Column("TEMP", right=True),
        render.Column("STATE", color=lambda gpu: GPU_COLORS.get(gpu["state"], "")),
        render.Column("USED BY", flexible=True),
    ]
    wide = render.terminal_columns() if render.is_terminal() else 0
    bar = SHORT_BAR if 0 < wide < NARROW else BAR
    rows = [(gpu, _cells(gpu, bar)) for gpu in gpus]
    return render.table(columns, rows, color=color, columns_wide=wide) + _causes(gpus, trouble, color=color) + "\n"


def _cells(gpu: dict[str, Any], bar: int) -> list[str]:
    return [
        str(gpu["index"]),
        gpu["model"],
        _bar(gpu["used_mb"], gpu["memory_mb"], bar),
        f"{_about(gpu['used_mb'])}/{_about(gpu['memory_mb'])}" if gpu["memory_mb"] else "-",
        "-" if gpu.get("utilisation") is None else f"{gpu['utilisation']}%",
        "-" if gpu.get("temperature") is None else f"{gpu['temperature']}C",
        f"{gpu['state']} (simulated)" if gpu.get("simulated") else gpu["state"],
        cards.used_by(gpu) or "-",
    ]


def _reserved(seen: dict[str, Any], *, color: bool) -> str:
    """A line for each reservation's window that is now or next."""
    lines = []
    for window in seen.get("reservations") or ():
        begun, over = (window[edge] <= time.time() for edge in ("start", "end"))
        listed = window["gpu_list"]
        gpus = f"any {wording.count(window['gpus'], 'GPU')}" if listed is None else f"GPU {','.join(map(str, listed))}"
        since = "" if begun else f"from {render.local(window['start'])} "
        if not over:
            said = f"{gpus} for {render.escape(window['user'])} {since}until {render.local(window['end'])}"
            lines.append(f"{_key('Reserved', color=color)} {said} ({window['id']})\n")
    return "".join(lines)


def _causes(gpus: list[dict[str, Any]], trouble: str | None, *, color: bool) -> str:
    """Below the table: why GPUs are as they are, and what to do about it."""
    if trouble is not None:
        return render.paint(f"GPUs unknown: {render.escape(trouble)}", render.RED, on=color) + "\n"
    lines = []
    for gpu in gpus:
        if gpu.get("cause") and gpu["cause"] not in cards.used_by(gpu):
            again = f"; gflowctl gpus resume {gpu['index']}" if gpu.get("lasting") and gpu.get("answers") else ""
            lines.append(f"GPU {gpu['index']} {gpu['state']}: {render.escape(gpu['cause'])}{again}\n")
    return "".join(lines)


def _heat(used: float, total: float) -> str:
    part = used / total if total else 0
    return render.RED if part >= 0.9 else render.YELLOW if part >= 0.5 else render.GREEN if used else render.DIM


def _about(mib: int) -> str:
    """MiB to three figures or so, unlike `memory.show`, which must read back exactly."""
    size, units = float(mib), iter("MGT")
    unit = next(units)
    while size >= 1024 and unit != "T":
        size, unit = size / 1024, next(units)
    return f"{round(size, 1):g}{unit}"


def _bar(used: float, total: float, length: int = BAR) -> str:
    filled = min(length, round(length * used / total)) if total else 0
    if used and not filled:
        filled = 1
    full, empty = "\u2588\u2591" if render.draws_blocks() else "#."
    return f"[{full * filled}{empty * (length - filled)}]"


def _host(seen: dict[str, Any], *, color: bool) -> str:
    capacity, used = seen.get("capacity") or {}, seen.get("used") or {}
    lines = []
    if (cpus := capacity.get("cpus")) is not None:
        taken = used.get("cpus") or 0
        lines.append(f"{_key('CPUs', color=color)}{_bar(taken, cpus)} {taken} of {cpus} given to jobs\n")
    if (total := capacity.get("memory_mb")) is not None:
        taken = used.get("memory_mb") or 0
        said = f"{_about(taken)} of {_about(total)} asked for by jobs"
        lines.append(f"{_key('Memory', color=color)}{_bar(taken, total)} {said}\n")
    return "".join(lines)


def _daemon(seen: dict[str, Any], *, runs: bool, color: bool) -> str:
    at = seen.get("at")
    if runs:
        said = f"running, version {seen.get('version')}, executor {seen.get('executor')}"
    else:
        ago = "" if at is None else f"; this is how it last saw the machine, {durations.clock(time.time() - at)} ago"
        said = render.paint("not running", render.RED, on=color) + f" (gflowd start){ago}"
    line = f"{_key('Daemon', color=color)}{said}\n"
    if trouble := seen.get("trouble"):
        line += f"{_key('Trouble', color=color)}{render.paint(render.escape(str(trouble)), render.RED, on=color)}\n"
    return line
