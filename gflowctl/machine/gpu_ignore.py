"""Foreign processes that do not keep jobs from their GPU: `gpus ignore` and `gpus unignore`."""

from __future__ import annotations

from gflowctl.machine import gpus
from gflowctl.output import render
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.gpu.admin_state import IGNORED
from gflowd.core.job.model import Identity
from gflowd.core.syntax import memory
from gflowd.effects import proc
from gflowd.effects.kernel import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from gflowctl.context import Context
    from gflowd.storage.observed_reader import SeenGpu, SeenProcess

    Entries = list[dict[str, Any]]  # `gpu` (its UUID), and `pid`, `start` and `boot` of a process


def ignore(args: argparse.Namespace, context: Context) -> None:
    """Ignores a process, or shows the ignored ones. Raises `Refused`, `BadUsage`."""
    if not _names_process(args):
        _show(args, context)
        return
    gpu = gpus.one(context, args.gpu)
    process = next((each for each in gpu.processes if each.pid == args.pid), None)
    if process is None:
        raise Refused(f"no process {args.pid} on GPU {args.gpu}; gflowctl info shows its processes")
    if process.job_id is not None:
        raise Refused(f"process {args.pid} belongs to job {process.job_id} and cannot be ignored")
    if process.graphics:
        raise Refused(f"process {args.pid} only draws; it keeps no job from GPU {args.gpu}")
    if not process.start:
        raise Refused(f"process {args.pid} is not visible to gflow, so its end could not be noticed")
    entry = {"gpu": gpu.uuid, "pid": args.pid, "start": process.start, "boot": proc.boot_id()}

    def more(entries: Entries | None) -> Entries:
        living = _living(entries)
        return living if entry in living else [*living, entry]

    changed = gpus.change(context, IGNORED, more)
    if args.json:
        _show(args, context)
    elif changed:
        render.write(f"Ignored process {args.pid}: it keeps no job from GPU {args.gpu}\n")
        render.write(f"{_risk(gpu, process)}\n")
    if not changed:
        render.note(f"process {args.pid} on GPU {args.gpu} is already ignored")


def unignore(args: argparse.Namespace, context: Context) -> None:
    """Stops ignoring a process, or all of them. Raises `Refused`, `BadUsage`."""
    gpu = gpus.one(context, args.gpu) if _names_process(args) else None

    def less(entries: Entries | None) -> Entries | None:
        kept = [each for each in _living(entries) if gpu and (each["gpu"], each["pid"]) != (gpu.uuid, args.pid)]
        return kept or None

    changed = gpus.change(context, IGNORED, less)
    if args.json:
        _show(args, context)
    if not changed:
        render.note("no process is ignored" if gpu is None else f"process {args.pid} on GPU {args.gpu} is not ignored")
    elif args.json:
        return
    elif gpu is None:
        render.write("No longer ignored: every process counts again\n")
    else:
        render.write(f"No longer ignored: process {args.pid} keeps jobs from GPU {args.gpu} again\n")


def _risk(gpu: SeenGpu, process: SeenProcess) -> str:
    has = "memory that is not known" if process.memory_mb is None else memory.about(process.memory_mb)
    return (
        f"It has {has} of {memory.about(gpu.memory_mb)}; jobs on GPU {gpu.index} may run out of memory or slow down; "
        "a job with --gpu-memory MEM starts only where that much is free"
    )


def _names_process(args: argparse.Namespace) -> bool:
    if (args.gpu is None) != (args.pid is None):
        raise BadUsage("give both --gpu and --pid, or neither")
    return args.gpu is not None


def _show(args: argparse.Namespace, context: Context) -> None:
    indices = {gpu.uuid: gpu.index for gpu in context.observed.gpus}
    found = [
        {
            "gpu": indices.get(entry["gpu"]),
            "uuid": entry["gpu"],
            "pid": entry["pid"],
            "user": processes.user(entry["pid"]),
        }
        for entry in _living(gpus.order(context, IGNORED))
    ]
    if args.json:
        render.write_json(found)
    elif found:
        columns = [render.Column("GPU", right=True), render.Column("PID", right=True), render.Column("USER")]
        rows = [
            (each, [str(each["gpu"] if each["gpu"] is not None else each["uuid"]), str(each["pid"]), each["user"]])
            for each in found
        ]
        render.write(render.table(columns, rows, color=render.use_color(args.color), columns_wide=0))
    else:
        render.note("no process is ignored")


def _living(entries: Entries | None) -> Entries:
    """The entries whose very process still exists."""
    boot = proc.boot_id()
    return [each for each in entries or [] if processes.lives(Identity(each["boot"], each["pid"], each["start"]), boot)]
