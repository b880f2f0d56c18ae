"""`scontrol show config`, `node`, `partition` and `step`: the machine as Slurm would tell of it."""

from __future__ import annotations

import os
import sys
import time

from gflowctl.output import render
from gflowctl.slurm.report import facts
from gflowctl.slurm.report.facts import NULL, STANDARD
from gflowctl.slurm.report.node_facts import Node
from gflowctl.view import jobs, views
from gflowd.core.job.model import Begun
from gflowd.core.slurm import clock_forms, site

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gflowctl.context import Context

GRACE = 10.0  # seconds: of a job that is stopped, unless the settings say otherwise
BUSY = {"draining": "MIXED+DRAIN", "drained": "IDLE+DRAIN"}


def config(_words: Sequence[str], context: Context, _options: Sequence[str]) -> int:
    """Those settings that there are, by Slurm's names."""
    told = context.observed.config or {}
    node = site.node(os.uname().nodename)
    pairs = {
        "AccountingStorageType": "accounting_storage/gflow",
        "ClusterName": site.CLUSTER,
        "KillWait": f"{round(told.get('grace') or GRACE)} sec",
        "MaxArraySize": site.MAX_ARRAY_SIZE,
        "MinJobAge": f"{site.MIN_JOB_AGE} sec",
        "PriorityType": "priority/multifactor",
        "SchedulerType": "sched/backfill",
        "SelectType": "select/cons_tres",
        "SLURM_VERSION": site.VERSION,
        "SlurmctldHost[0]": node,
        "SlurmUser": f"{context.user}({os.getuid()})" if context.state.shared is None else "root(0)",
        "StateSaveLocation": context.state.root,
        "TmpFS": "/tmp",  # noqa: S108 -- what jobs find there is their own business
    }
    lines = [f"{name:<23} = {render.escape(str(value))}" for name, value in pairs.items()]
    lines.append(f"\nSlurmctld(primary) at {node} is {'UP' if context.daemon_runs else 'DOWN'}")
    at = time.strftime(STANDARD, time.localtime())
    render.write(f"Configuration data as of {at}\n" + "\n".join(lines) + "\n")
    return 0


def partition(words: Sequence[str], context: Context, options: Sequence[str]) -> int:
    """The only one."""
    if words and words[0] != site.PARTITION:
        return _fails(f"Partition {words[0]} not found")
    _print(_of_partition(Node(context)), options)
    return 0


def node(words: Sequence[str], context: Context, options: Sequence[str]) -> int:
    """The only one."""
    found = Node(context)
    if words and site.node(words[0]) not in (found.name, "localhost"):
        return _fails(f"Node {words[0]} not found")
    _print(_of_node(found), options)
    return 0


def step(words: Sequence[str], context: Context, options: Sequence[str]) -> int:
    """The script of each running job, which is all that is known of steps from outside."""
    view = views.View(context, context.store.read())
    told = facts.Facts(view, context.environ)
    found = [facts.Row(view.job(each)) for each in view.ids() if not view.has_ended(each)]
    rows = [row for row in found if isinstance(row.job.phase, Begun)]
    if words:
        asked = words[0].partition(".")[0]
        rows = [row for row in rows if asked in (str(row.job.id), jobs.label(row.job))]
        if not rows:
            return _fails(f"Job step {words[0]} not found")
    for row in rows:
        spec = row.job.spec
        limit = "UNLIMITED" if spec.time_limit is None else clock_forms.whole(spec.time_limit)
        uid, started = facts.uid(spec.user), told.stamp(told.started(row), "Unknown")
        lines = [
            f"StepId={jobs.label(row.job)}.batch UserId={uid} StartTime={started} TimeLimit={limit}",
            f"State=RUNNING Partition={site.PARTITION} NodeList={told.node}",
            f"Nodes=1 CPUs={spec.cpus} Tasks=1 Name=batch Network={NULL}",
            f"TRES={told.tres(row)}",
        ]
        _print(lines, options)
    return 0


def _fails(why: str) -> int:
    sys.stderr.write(f"{render.escape(why)}\n")
    return 1


def _print(lines: Sequence[str] | Iterator[str], options: Sequence[str]) -> None:
    render.write(" ".join(lines) + "\n" if "oneliner" in options else "\n   ".join(lines) + "\n\n")


def _tres(found: Node) -> str:
    gpus = f",gres/gpu={found.seen.gpu_count}" if found.seen.gpu_count else ""
    return f"cpu={found.cpus},mem={facts.memory(found.seen.memory_mb or 0)},{{}}billing={found.cpus}{gpus}"


def _of_partition(found: Node) -> Iterator[str]:
    yield f"PartitionName={site.PARTITION}"
    yield "AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL"
    yield "AllocNodes=ALL Default=YES QoS=N/A"
    yield "DefaultTime=NONE DisableRootJobs=NO ExclusiveUser=NO GraceTime=0 Hidden=NO"
    yield "MaxNodes=1 MaxTime=UNLIMITED MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED MaxCPUsPerSocket=UNLIMITED"
    yield f"Nodes={found.name}"
    yield "PriorityJobFactor=1 PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=NO"
    yield "OverTimeLimit=NONE PreemptMode=OFF"
    state = "UP" if found.drain is None else "DRAIN"
    yield f"State={state} TotalCPUs={found.cpus} TotalNodes=1 SelectTypeParameters=NONE"
    yield f"JobDefaults={NULL}"
    yield "DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED"
    yield f"TRES={_tres(found).format('node=1,')}"


def _of_node(found: Node) -> Iterator[str]:
    seen, kernel = found.seen, os.uname()
    yield f"NodeName={found.name} Arch={kernel.machine} CoresPerSocket={found.cpus or 1}"
    load = f"{os.getloadavg()[0]:.2f}"
    yield f"CPUAlloc={found.used_cpus} CPUEfctv={found.cpus} CPUTot={found.cpus} CPULoad={load}"
    yield f"AvailableFeatures={NULL}"
    yield f"ActiveFeatures={NULL}"
    yield f"Gres={found.gres}"
    yield f"GresUsed={found.gres_used}"
    yield f"NodeAddr={found.name} NodeHostName={found.name} Version={site.VERSION}"
    yield f"OS={kernel.sysname} {kernel.release} {kernel.version}"
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    memory, taken = seen.memory_mb or 0, seen.used_memory_mb or 0
    yield f"RealMemory={memory} AllocMem={taken} FreeMem={free} Sockets=1 Boards=1"
    state = BUSY.get(found.state, found.state.upper())
    yield f"State={state} ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A"
    yield f"Partitions={site.PARTITION}"
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    yield f"BootTime={time.strftime(STANDARD, time.localtime(booted))} SlurmdStartTime=Unknown"
    yield f"CfgTRES={_tres(found).format('')}"
    gpus = sum(bool(gpu.jobs) for gpu in seen.gpus)
    held = f",gres/gpu={gpus}" if gpus else ""
    yield f"AllocTRES={f'cpu={found.used_cpus},mem={facts.memory(taken)}{held}' if found.used_cpus else ''}"
    if found.reason != "none":
        yield f"Reason={render.escape(found.reason)} [{found.reason_user}@{found.reason_at}]"
