"""Usage: sstat [-a] [-n] [-p|-P] [-o FIELD[%WIDTH],...] [-e] [-j] JOBS ...

What running jobs use at this moment, each as its batch step.
"""

from __future__ import annotations

import os
import sys

from gflowctl.output import render
from gflowctl.slurm.report import choice, live, table
from gflowctl.slurm.report.facts import Facts, Row
from gflowctl.slurm.report.table import Field
from gflowctl.view import views
from gflowd.core.errors import Refused
from gflowd.core.slurm import clock_forms, job_words, site
from gflowd.core.slurm.getopt import Grammar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gflowctl.context import Context
    from gflowctl.slurm.report.live import Sample

GRAMMAR = Grammar(
    "sstat",
    short={
        "a": "allsteps", "e": "helpformat", "i": "pidformat", "j": "jobs", "n": "noheader", "o": "format",
        "p": "parsable", "P": "parsable2", "v": "verbose",
    },
    flags=("allsteps", "helpformat", "noconvert", "noheader", "parsable", "parsable2", "pidformat", "verbose"),
    valued=("format", "jobs"),
    aliases={"fields": "format", "job": "jobs"},
)  # fmt: skip
_WIDTHS = {
    "AveCPUFreq": 10, "AveDiskRead": 12, "AveDiskWrite": 12, "AvePages": 10, "AveVMSize": 10, "ConsumedEnergy": 14,
    "ConsumedEnergyRaw": 17, "MaxDiskRead": 12, "MaxDiskReadNode": 15, "MaxDiskReadTask": 15, "MaxDiskWrite": 12,
    "MaxDiskWriteNode": 16, "MaxDiskWriteTask": 16, "MaxPages": 8, "MaxPagesNode": 12, "MaxPagesTask": 14,
    "MaxVMSize": 10, "MaxVMSizeNode": 14, "MaxVMSizeTask": 14, "ReqCPUFreq": 10, "ReqCPUFreqGov": 13,
    "ReqCPUFreqMax": 13, "ReqCPUFreqMin": 13, "TRESUsageInMaxNode": 18, "TRESUsageInMaxTask": 18, "TRESUsageInMin": 14,
    "TRESUsageInMinNode": 18, "TRESUsageInMinTask": 18, "TRESUsageOutAve": 15, "TRESUsageOutMax": 15,
    "TRESUsageOutMaxNode": 19, "TRESUsageOutMaxTask": 19, "TRESUsageOutMin": 15, "TRESUsageOutMinNode": 19,
    "TRESUsageOutMinTask": 19, "TRESUsageOutTot": 15,
}  # fmt: skip


def _memory(_label: str, used: Sample) -> str:
    return f"{int(used.memory_mb * 1024)}K"


def _cpu(_label: str, used: Sample) -> str:
    return clock_forms.whole(used.cpu_seconds)


def _node(_label: str, _used: Sample) -> str:
    return site.node(os.uname().nodename)


def _tres(label: str, used: Sample) -> str:
    return f"cpu={_cpu(label, used)},mem={_memory(label, used)}"


def _always(text: str) -> Callable[[str, Sample], str]:
    return lambda _label, _used: text


FIELDS: dict[str, Field] = {
    field.title: field
    for field in sorted(
        (
            Field("AveCPU", 10, _cpu),
            Field("AveRSS", 10, _memory),
            Field("JobID", 12, lambda label, _used: f"{label}.batch", left=True),
            Field("MaxRSS", 10, _memory),
            Field("MaxRSSNode", 10, _node),
            Field("MaxRSSTask", 10, _always("0")),
            Field("MinCPU", 10, _cpu),
            Field("MinCPUNode", 10, _node),
            Field("MinCPUTask", 10, _always("0")),
            Field("Nodelist", 20, _node),
            Field("NTasks", 8, _always("1")),
            Field("Pids", 20, lambda _label, used: ",".join(map(str, used.pids))),
            Field("TRESUsageInAve", 14, _tres),
            Field("TRESUsageInMax", 14, _tres),
            Field("TRESUsageInTot", 14, _tres),
            *(Field(title, width, _always("")) for title, width in _WIDTHS.items()),
        ),
        key=lambda field: field.title.lower(),
    )
}
USUAL = (
    "jobid,maxvmsize,maxvmsizenode,maxvmsizetask,avevmsize,maxrss,maxrssnode,maxrsstask,averss,maxpages,maxpagesnode,"
    "maxpagestask,avepages,mincpu,mincpunode,mincputask,avecpu,ntasks,avecpufreq,reqcpufreqmin,reqcpufreqmax,"
    "reqcpufreqgov,consumedenergy,maxdiskread,maxdiskreadnode,maxdiskreadtask,avediskread,maxdiskwrite,"
    "maxdiskwritenode,maxdiskwritetask,avediskwrite,tresusageinave,tresusageinmax,tresusageinmaxnode,"
    "tresusageinmaxtask,tresusageinmin,tresusageinminnode,tresusageinmintask,tresusageintot,tresusageoutave,"
    "tresusageoutmax,tresusageoutmaxnode,tresusageoutmaxtask,tresusageoutmin,tresusageoutminnode,"
    "tresusageoutmintask,tresusageouttot"
)
PIDS = "jobid,nodelist,pids"


def run(words: Sequence[str], context: Context) -> int:
    """Prints the table."""
    pairs, operands = GRAMMAR.parse(words)
    options = dict(pairs)
    if "helpformat" in options:
        render.write(table.names(FIELDS))
        return 0
    asked = ",".join([*(value or "" for name, value in pairs if name == "jobs"), *operands])
    if not asked:
        raise Refused("You didn't give me any jobs to stat.")
    columns = table.chosen(options.get("format") or (PIDS if "pidformat" in options else USUAL), FIELDS)
    view = views.View(context, context.store.read())
    rows = []
    for label, used in _used(view, asked, context):
        if used is None:
            sys.stderr.write(f"sstat: error: No steps running for job {label}\n")
        else:
            rows.append([field.tell(label, used) for field in columns])
    render.write(table.text(columns, rows, table.style(options)))
    return 0


def _used(view: views.View, text: str, context: Context) -> Iterator[tuple[str, Sample | None]]:
    """Of each job that is named, its label and what it uses."""
    told = Facts(view, context.environ)
    for named in job_words.parse(text):
        ids = choice.ids_of(view, named) or []
        used = [(told.label(row), live.sample(view, row.job)) for row in (Row(view.job(each)) for each in ids)]
        running = [(label, sample) for label, sample in used if sample is not None]
        yield from running
        if not running:
            yield str(named.id), None
