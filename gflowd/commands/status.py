"""Show whether the daemon runs: how it is hosted, since when, its workers, the executor and the GPUs.

Where your own daemon does not run and one for all users of this machine does, that one is shown; --system shows it in
any case. Only root sees its workers.

The exit status is 0 if it runs and 3 if it does not.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from gflowd import __version__
from gflowd.core.errors import Refused
from gflowd.core.gpu import device_access
from gflowd.core.syntax import durations, memory
from gflowd.daemon import launch
from gflowd.effects import daemon
from gflowd.effects.gateway import presence
from gflowd.storage import observed_reader
from gflowd.storage.observed_reader import Observed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

    from gflowd.paths import State

NOT_RUNNING = 3
BOLD, RED, GREEN, YELLOW = "1", "31", "32", "33"
OPEN_TO = {
    device_access.OFF: "open to every process (enforce_gpus is off)",
    device_access.JOBS: "jobs can open only those they were given (enforce_gpus)",
    device_access.EVERYONE: "jobs can open only those they were given, logins none (enforce_gpus)",
}
MEMORY_LIMITS = {"cgroup": "limits enforced by the kernel (cgroups)", "watch": "limits checked about once a second"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    launch.add_system(parser, "show the daemon for all users of this machine")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """0 when the daemon runs, 3 when not."""
    state = launch.state_of(args)
    holder = daemon.running(state)
    others = launch.of_all_users(args, state)
    if others is not None and holder is None:
        state, holder, others = others, daemon.running(others), None
    report = gather(state, holder)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        print("\n".join(_lines(report, Paint(args.color))))
        if others is not None:
            print("gflowd for all users of this machine: gflowd status --system", file=sys.stderr)
    return 0 if holder is not None else NOT_RUNNING


def gather(state: State, holder: daemon.Daemon | None) -> dict[str, Any]:
    """What `status --json` prints; times in seconds."""
    seen = _observed(state, holder)
    return {
        "running": holder is not None,
        "ready": holder is not None and holder.pulse_fd is not None,
        "pid": holder.pid or None if holder else None,
        "host": holder.host or None if holder else None,
        "hosting": holder.hosting if holder else None,
        "uptime": _uptime(holder),
        "version": holder.version if holder else None,
        "installed": __version__,
        "restart": holder.restart if holder else None,
        "state_dir": state.root,
        "system": state.shared is not None,
        "gateway": None if state.shared is None else presence.look(state.shared.gate),
        "private_jobs": state.shared is not None and state.shared.private_jobs,
        "workers": _workers(holder, seen.service_troubles),
        "executor": seen.executor,
        "memory_limits": seen.memory_limits,
        "enforce_gpus": seen.enforce_gpus,
        "open_gpus": seen.open_gpus,
        "gpus": [gpu.raw for gpu in seen.gpus],
        "gpu_trouble": seen.gpu_trouble,
        "trouble": seen.trouble,
    }


def _observed(state: State, holder: daemon.Daemon | None) -> Observed:
    """What the running daemon last saw; nothing if another daemon wrote the file."""
    if holder is None:
        return Observed()
    try:
        found = observed_reader.read(state)
    except Refused:
        return Observed()
    return found if found.pid == holder.pid else Observed()


def _uptime(holder: daemon.Daemon | None) -> float | None:
    """By the kernel's clock, which cannot be set; for another machine by the clocks of both."""
    if holder is None or not holder.pid:
        return None
    if holder.elsewhere:
        return None if holder.since is None else round(max(0.0, time.time() - holder.since), 3)
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    return round(max(0.0, now - holder.start / os.sysconf("SC_CLK_TCK")), 3)


def _workers(holder: daemon.Daemon | None, troubles: Mapping[str, str | None]) -> list[dict[str, Any]]:
    if holder is None or holder.pulse_fd is None or holder.elsewhere:
        return []
    from gflowd.workers import board

    try:
        pulses = board.read_pulses(holder.pid, holder.pulse_fd)
    except OSError:
        return []
    now = time.monotonic()
    return [
        {
            "name": pulse.name,
            "pid": pulse.pid or None,
            "heartbeat_age": round(max(0.0, now - pulse.beat), 3) if pulse.beat else None,
            "restarts": pulse.restarts,
            "trouble": troubles.get(pulse.name),
        }
        for pulse in pulses
    ]


class Paint:
    """Colours words where `choice` (never, auto, always) has it so; see `gflowctl.output.render`, which is not ours."""

    def __init__(self, choice: str) -> None:
        may = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.on = may if choice == "auto" else choice == "always"

    def __call__(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on else text


def _lines(report: dict[str, Any], paint: Paint) -> Iterable[str]:
    if not report["running"]:
        yield f"gflowd is {paint('not running', RED)} (state {report['state_dir']})"
        yield from _gateway(report["gateway"], paint)
        return
    if report["pid"] is None:
        yield f"gflowd is starting (state {report['state_dir']})"
        return
    up = durations.clock(report["uptime"] or 0)
    phase = "is running" if report["ready"] else "is starting"
    phase = paint(phase, GREEN if report["ready"] else YELLOW)
    yield f"gflowd {report['version']} {phase}: pid {report['pid']} on {report['host']}, {report['hosting']}, up {up}"
    if report["version"] != report["installed"]:
        yield f"upgrade   {report['installed']} is installed; {report['restart']} completes the upgrade; jobs go on"
    yield from _facts(report, paint)
    if report["gpu_trouble"]:
        yield f"GPUs      {paint(report['gpu_trouble'], RED)}"
    if report["trouble"]:
        yield f"trouble   {paint(report['trouble'], RED)}"
    for each in report["workers"]:
        if each["trouble"]:
            said = f"{each['name']}: {each['trouble']}"
            yield f"trouble   {paint(said, RED)}"
    workers = [
        (each["name"], each["pid"] or "-", _age(each["heartbeat_age"]), each["restarts"]) for each in report["workers"]
    ]
    if workers:
        yield from ("", *_table(("WORKER", "PID", "HEARTBEAT", "RESTARTS"), workers, paint))
    gpus = [
        (each["index"], each["model"], memory.show(each["memory_mb"]), _state(each), _jobs(each))
        for each in report["gpus"]
    ]
    if gpus:
        yield from ("", *_table(("GPU", "MODEL", "MEMORY", "STATE", "JOBS"), gpus, paint))


def _facts(report: dict[str, Any], paint: Paint) -> Iterable[str]:
    yield f"state     {report['state_dir']}{' of all users of this machine' if report['system'] else ''}"
    yield from _gateway(report["gateway"], paint)
    yield f"executor  {report['executor'] or 'not known yet'}"
    yield f"memory    {MEMORY_LIMITS.get(report['memory_limits'], 'not known yet')}"
    if report["open_gpus"]:
        open_to = f"open to others: {report['open_gpus']}"
        yield f"GPUs      {paint(open_to, RED)}"
    elif report["enforce_gpus"]:
        yield f"GPUs      {OPEN_TO.get(report['enforce_gpus'], report['enforce_gpus'])}"


def _gateway(found: dict[str, Any] | None, paint: Paint) -> Iterable[str]:
    """One that runs under systemd takes requests without gflowd, too."""
    if found is not None:
        trouble = found["trouble"] and f"nobody answers at {found['socket']}: {found['trouble']}"
        yield f"gateway   {paint(trouble, RED) if trouble else 'answers at ' + found['socket']}"


def _age(seconds: float | None) -> str:
    return "none yet" if seconds is None else f"{seconds:.1f}s ago"


def _state(gpu: dict[str, Any]) -> str:
    return f"{gpu['state']} (simulated)" if gpu.get("simulated") else str(gpu["state"])


def _jobs(gpu: dict[str, Any]) -> str:
    return ",".join(str(job) for job in gpu.get("jobs", ())) or "-"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]], paint: Paint) -> Iterable[str]:
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for place, row in enumerate(cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield line if place else paint(line, BOLD)
