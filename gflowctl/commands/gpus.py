"""Control which GPUs jobs may use: allow only some, drain or resume one, ignore processes that gflow did not start.

GPUs are named by index, as gflowctl info shows them. Running jobs are never affected. Each setting stays in
force until it is undone, even if gflowd restarts; a process is ignored for as long as that very process lives.
"""

from __future__ import annotations

import time

from gflowctl.machine import gpu_ignore
from gflowctl.machine import gpus as gpu_records
from gflowctl.options import arguments
from gflowctl.output import render
from gflowd import command_line
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.gpu import admin_state
from gflowd.core.request import validation
from gflowd.core.syntax import ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from gflowctl.context import Context
    from gflowd.storage.observed_reader import SeenGpu

ALL = "all"
LEGEND = """\
X     itself
MIG   a MIG device of the same GPU
NV#   this many NVLinks
PIX   one PCIe bridge
PXB   several PCIe bridges
PHB   the PCIe host bridge of a CPU
NODE  several host bridges of one NUMA node
SYS   the link between NUMA nodes
?     not known
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the actions."""
    command_line.add_actions(
        parser,
        {
            "allow": ("start jobs on these GPUs only", _configure_allow),
            "drain": ("start no more jobs on a GPU", _configure_drain),
            "resume": ("use a GPU again after a drain, or after a fault once it responds again", _configure_resume),
            "ignore": (
                "use a GPU even though this process is on it; without options: list ignored processes",
                _configure_process,
            ),
            "unignore": ("stop ignoring a process; without options: all processes", _configure_process),
            "topology": ("show how the GPUs are linked, in the terms of nvidia-smi topo", command_line.add_json),
        },
    )


def _configure_allow(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("gpus", nargs="?", metavar="LIST", help="GPUs by index, e.g. 0,2 or 0-3, or all")
    which.add_argument("--default", action="store_true", help="the GPUs that gflowd's option or gflow.toml allows")
    command_line.add_json(parser)


def _configure_drain(parser: argparse.ArgumentParser) -> None:
    _configure_resume(parser)
    parser.add_argument("--reason", metavar="TEXT", help="reason shown to users")
    command_line.add_timezone(parser, command_line.SHOWS)


def _configure_resume(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("gpu", type=command_line.count, metavar="N", help="the GPU's index")
    command_line.add_json(parser, "print as a JSON object whether the GPU is drained, and its fault")


def _configure_process(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gpu", type=command_line.count, metavar="N", help="the GPU's index")
    parser.add_argument("--pid", type=arguments.pid, metavar="P", help="the process, one that gflow did not start")
    command_line.add_json(parser, "print a JSON list of the ignored processes")


def run(args: argparse.Namespace, context: Context) -> int:
    """Does what is asked."""
    actions = {
        "allow": _allow, "drain": _drain, "resume": _resume, "ignore": gpu_ignore.ignore,
        "unignore": gpu_ignore.unignore, "topology": _topology,
    }  # fmt: skip
    actions[args.action](args, context)
    return 0


def _allow(args: argparse.Namespace, context: Context) -> None:
    chosen = None if args.default or args.gpus == ALL else _indices(args.gpus, context)
    changed = gpu_records.change(context, admin_state.ALLOW, lambda _: None if args.default else {"gpus": chosen})
    if args.default:
        said = gpu_records.Allowed(context).words()
        done, same = f"Allowed: {said}", f"nothing changes: {said}"
    else:
        said = "every GPU" if chosen is None else f"GPU {ranges.fold(chosen)} only"
        done, same = f"Allowed: jobs may use {said}", f"jobs may already use {said}"
    if args.json:
        render.write_json(gpu_records.Allowed(context).fields())
    elif changed:
        render.write(f"{done}\n")
    if not changed:
        render.note(same)


def _indices(text: str, context: Context) -> list[int]:
    """The GPUs that `text` names, ascending."""
    try:
        spans = ranges.ascending(ranges.parse(text))
    except Refused as error:
        raise BadUsage(f"{error}, or all") from None
    for _, last, _ in spans:
        gpu_records.one(context, last)
    return sorted(index for first, last, step in spans for index in range(first, last + 1, step))


def _drain(args: argparse.Namespace, context: Context) -> None:
    if args.reason is not None:
        validation.check_text(args.reason)
    gpu = gpu_records.one(context, args.gpu)
    now = {"reason": args.reason, "at": time.time(), "by": context.user}

    def drained(orders: dict[str, Any] | None) -> dict[str, Any]:
        before = (orders or {}).get(gpu.uuid)
        same = before is not None and args.reason in (None, before["reason"])
        return {**(orders or {}), gpu.uuid: before if same else now}

    changed = gpu_records.change(context, admin_state.DRAINED, drained)
    if args.json:
        _write_json(gpu, context, gpu.fault)
    elif changed:
        busy = "; its jobs go on" if gpu.jobs else ""
        render.write(f"Drained GPU {args.gpu}: no job starts on it until gflowctl gpus resume {args.gpu}{busy}\n")
    if not changed:
        order = gpu_records.order(context, admin_state.DRAINED)[gpu.uuid]
        why = f": {order['reason']}" if order["reason"] else ""
        since = context.clock.stamp(order["at"])
        render.note(f"GPU {args.gpu} is already drained, since {since} by {order['by']}{why}")


def _write_json(gpu: SeenGpu, context: Context, fault: str | None) -> None:
    """Since when the GPU is drained, by whom and why; and its fault."""
    order = (gpu_records.order(context, admin_state.DRAINED) or {}).get(gpu.uuid)
    drained = order and {**order, "at": render.rfc3339(order["at"])}
    render.write_json({"index": gpu.index, "uuid": gpu.uuid, "drained": drained, "fault": fault})


def _resume(args: argparse.Namespace, context: Context) -> None:
    gpu = gpu_records.one(context, args.gpu)
    uuid, fault = gpu.uuid, gpu.fault
    card = gpu.parent or uuid  # a fault of a GPU concerns all its MIG devices

    def without(orders: dict[str, Any] | None) -> dict[str, Any] | None:
        return {other: order for other, order in (orders or {}).items() if other not in (uuid, card)} or None

    done = gpu_records.change(context, admin_state.DRAINED, without)
    if fault is not None and gpu.lasting and gpu.answers:
        from gflowd.effects.proc import boot_id

        accepted = {"at": time.time(), "boot": boot_id(), "ecc": gpu.ecc}
        done = gpu_records.change(context, admin_state.RESUMED, lambda orders: {**(orders or {}), card: accepted})
        fault = None
    if args.json and (done or fault is None):
        _write_json(gpu, context, fault)
    elif done:
        render.write(f"Resumed GPU {args.gpu}\n")
    if fault is None:
        if not done:
            render.note(f"GPU {args.gpu} is neither drained nor faulty; nothing to resume")
        return
    when = "resume it when it responds again" if gpu.lasting else "it will be used again when the fault is over"
    said = f"GPU {args.gpu} is faulty ({fault}); {when}"
    if not done:
        raise Refused(said)
    render.note(said)


def _topology(args: argparse.Namespace, context: Context) -> None:
    gpus = gpu_records.all_of(context)
    if args.json:
        render.write_json([{"index": gpu.index, "uuid": gpu.uuid, "links": gpu.links} for gpu in gpus])
        return
    names = [f"GPU{gpu.index}" for gpu in gpus]
    columns = [render.Column(""), *map(render.Column, names)]
    rows = [(gpu, [name, *(gpu.links or ["?"] * len(gpus))]) for name, gpu in zip(names, gpus, strict=True)]
    render.write(render.table(columns, rows, color=render.use_color(args.color), columns_wide=0) + f"\n{LEGEND}")
    if any(gpu.simulated for gpu in gpus):
        render.write("\nThese GPUs are simulated, and so are their links.\n")
