"""The columns of sacct: the width and the content of each, for a job and for its batch step."""

from __future__ import annotations

from gflowctl.slurm.report import facts
from gflowctl.slurm.report.table import Field
from gflowctl.view import jobs
from gflowd.core.job.model import Ended, Queued
from gflowd.core.slurm import clock_forms, job_states, site

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gflowctl.slurm.report.facts import Facts, Row
    from gflowd.core.job.model import Used

USUAL = "jobid,jobname,partition,account,alloccpus,state,exitcode"
BRIEF = "jobid,state,exitcode"
LONG = (
    "jobid,jobidraw,jobname,partition,maxvmsize,maxvmsizenode,maxvmsizetask,avevmsize,maxrss,maxrssnode,maxrsstask,"
    "averss,maxpages,maxpagesnode,maxpagestask,avepages,mincpu,mincpunode,mincputask,avecpu,ntasks,alloccpus,elapsed,"
    "state,exitcode,avecpufreq,reqcpufreqmin,reqcpufreqmax,reqcpufreqgov,reqmem,consumedenergy,maxdiskread,"
    "maxdiskreadnode,maxdiskreadtask,avediskread,maxdiskwrite,maxdiskwritenode,maxdiskwritetask,avediskwrite,"
    "reqtres,alloctres,tresusageinave,tresusageinmax,tresusageinmaxnode,tresusageinmaxtask,tresusageinmin,"
    "tresusageinminnode,tresusageinmintask,tresusageintot,tresusageoutmax,tresusageoutmaxnode,tresusageoutmaxtask,"
    "tresusageoutave,tresusageouttot"
)
ALL = "all"
UNKNOWN = "Unknown"
UNLIMITED = "UNLIMITED"
TERM = 15


class Line:
    """One line: a job, or its batch step. `alone`: steps have no lines, so the job's own tells what they used."""

    __slots__ = ("alone", "facts", "is_step", "row", "unit")

    def __init__(self, told: Facts, row: Row, *, is_step: bool, alone: bool, unit: str | None) -> None:
        self.facts = told
        self.row = row
        self.is_step = is_step
        self.alone = alone
        self.unit = unit

    @property
    def used(self) -> Used | None:
        """What was used, on the line that tells it."""
        phase = self.row.job.phase
        return phase.used if isinstance(phase, Ended) and (self.is_step or self.alone) else None

    @property
    def cpu_seconds(self) -> float:
        """CPU time, as far as it is known."""
        phase = self.row.job.phase
        used = phase.used if isinstance(phase, Ended) else None
        return 0.0 if used is None else used.cpu_seconds or 0.0

    @property
    def seconds(self) -> int:
        """How long it has run."""
        return int(self.facts.seconds(self.row))

    @property
    def has_begun(self) -> bool:
        """Whether it ever had resources."""
        return self.facts.started(self.row) is not None


def job_only(tell: Callable[[Line], str]) -> Callable[[Line], str]:
    """Nothing on the line of a step."""
    return lambda line: "" if line.is_step else tell(line)


def step_only(text: str) -> Callable[[Line], str]:
    """Nothing on the line of a job that has a line for its step."""
    return lambda line: text if line.used is not None else ""


def _label(line: Line) -> str:
    label = line.facts.label(line.row)
    return f"{label}.batch" if line.is_step else label


def _state(line: Line) -> str:
    state = job_states.accounted(line.row.state)
    by = line.row.job.wish.cancelled_by
    if state != "CANCELLED" or line.is_step or not by:
        return state
    return f"CANCELLED by {facts.uid(by)}"


def _exit(line: Line) -> str:
    phase = line.row.job.phase
    if not isinstance(phase, Ended):
        return "0:0"
    if line.is_step and line.row.state == "CANCELLED" and phase.signal is None and not phase.exit_code:
        return f"0:{TERM}"
    return f"{phase.exit_code or 0}:{phase.signal or 0}"


def _max_rss(line: Line) -> str:
    used = line.used
    return "" if used is None or used.memory_mb is None else facts.memory(used.memory_mb, line.unit)


def _with_rss(text: str) -> Callable[[Line], str]:
    return lambda line: text if _max_rss(line) else ""


def _step_cpu(line: Line) -> str:
    return "" if line.used is None else clock_forms.whole(line.cpu_seconds)


def _tres_used(line: Line) -> str:
    used = line.used
    if used is None:
        return ""
    parts = [f"cpu={clock_forms.whole(line.cpu_seconds)}"]
    if used.memory_mb is not None:
        parts.append(f"mem={facts.memory(used.memory_mb)}")
    if used.gpu_percent is not None:
        parts.append(f"gres/gpuutil={used.gpu_percent:.0f}")
    return ",".join(sorted(parts))


def _tres(line: Line, *, allocated: bool) -> str:
    if allocated and not line.has_begun:
        return ""
    parts = line.facts.tres(line.row).split(",")
    return ",".join(sorted(part for part in parts if not (line.is_step and part.startswith("billing="))))


def _nodes(line: Line) -> str:
    return line.facts.nodes(line.row) or "None assigned"


def _req_mem(line: Line) -> str:
    wanted = line.row.job.spec.memory_mb
    return "0" if wanted is None else facts.memory(wanted, line.unit)


def _cpu_seconds_held(line: Line) -> int:
    return line.seconds * line.row.job.spec.cpus


def _waited(line: Line) -> int:
    """Seconds between it could have started and it did."""
    since, until = line.facts.eligible(line.row), line.facts.started(line.row)
    if since is None:
        return 0
    if until is None:
        ended = jobs.ended_at(line.row.job)
        until = line.facts.view.now if ended is None else ended
    return max(0, int(until - since))


def _limit(line: Line) -> str:
    limit = line.row.job.spec.time_limit
    return UNLIMITED if limit is None else clock_forms.whole(limit)


def _limit_minutes(line: Line) -> str:
    limit = line.row.job.spec.time_limit
    return UNLIMITED if limit is None else str(int(limit // 60))


def _end(line: Line) -> str:
    return line.facts.stamp(jobs.ended_at(line.row.job), UNKNOWN)


def _submit(line: Line) -> str:
    return line.facts.stamp(line.facts.started(line.row) if line.is_step else line.row.job.spec.submitted_at, UNKNOWN)


def _suspended(line: Line) -> str:
    return clock_forms.whole(jobs.paused(line.row.job))


def _restarts(line: Line) -> str:
    phase = line.row.job.phase
    attempt = phase.attempt if isinstance(phase, Queued) else jobs.attempt(line.row.job)
    return str(attempt - 1)


def _nothing(_line: Line) -> str:
    return ""


_WIDTHS = {  # of those that gflow knows nothing of
    "AdminComment": 15, "AssocID": 7, "AveCPUFreq": 10, "AveDiskRead": 14, "AveDiskWrite": 14, "AvePages": 10,
    "AveVMSize": 10, "BlockID": 16, "Constraints": 19, "ConsumedEnergy": 14, "ConsumedEnergyRaw": 17, "Container": 19,
    "Flags": 19,
    "MaxDiskRead": 12, "MaxDiskReadNode": 15, "MaxDiskReadTask": 15, "MaxDiskWrite": 12, "MaxDiskWriteNode": 16,
    "MaxDiskWriteTask": 16, "MaxPages": 8, "MaxPagesNode": 12, "MaxPagesTask": 14, "MaxVMSize": 10,
    "MaxVMSizeNode": 14, "MaxVMSizeTask": 14, "McsLabel": 12, "Reservation": 20, "ReservationId": 8,
    "SubmitLine": 20, "SystemComment": 15, "TRESUsageInMin": 14, "TRESUsageInMinNode": 18, "TRESUsageInMinTask": 18,
    "TRESUsageOutAve": 15, "TRESUsageOutMax": 15, "TRESUsageOutMaxNode": 19, "TRESUsageOutMaxTask": 19,
    "TRESUsageOutMin": 15, "TRESUsageOutMinNode": 19, "TRESUsageOutMinTask": 19, "TRESUsageOutTot": 15, "WCKey": 10,
}  # fmt: skip
_CONTENT: tuple[Field, ...] = (
    Field("Account", 10, lambda line: line.row.job.spec.project or ""),
    Field("AllocCPUS", 10, lambda line: str(line.row.job.spec.cpus)),
    Field("AllocNodes", 10, lambda line: "1" if line.has_begun else "0"),
    Field("AllocTRES", 10, lambda line: _tres(line, allocated=True)),
    Field("AveCPU", 10, _step_cpu),
    Field("AveRSS", 10, _max_rss),
    Field("Cluster", 10, lambda _: site.CLUSTER),
    Field("Comment", 14, job_only(lambda line: line.row.job.spec.comment or "")),
    Field("CPUTime", 10, lambda line: clock_forms.whole(_cpu_seconds_held(line))),
    Field("CPUTimeRAW", 10, lambda line: str(_cpu_seconds_held(line))),
    Field("DBIndex", 10, lambda line: str(line.row.job.id)),
    Field("DerivedExitCode", 15, job_only(lambda _: "0:0")),
    Field("Elapsed", 10, lambda line: clock_forms.whole(line.seconds)),
    Field("ElapsedRaw", 10, lambda line: str(line.seconds)),
    Field("Eligible", 19, lambda line: line.facts.stamp(line.facts.eligible(line.row), UNKNOWN)),
    Field("End", 19, _end),
    Field("ExitCode", 8, _exit),
    Field("GID", 6, job_only(lambda line: facts.group(line.row.job.spec.user)[0])),
    Field("Group", 9, job_only(lambda line: facts.group(line.row.job.spec.user)[1])),
    Field("JobID", 12, _label, left=True),
    Field("JobIDRaw", 12, lambda line: f"{line.row.job.id}{'.batch' * line.is_step}", left=True),
    Field("JobName", 10, lambda line: "batch" if line.is_step else line.facts.name(line.row)),
    Field("Layout", 9, lambda line: UNKNOWN if line.is_step else ""),
    Field("MaxRSS", 10, _max_rss),
    Field("MaxRSSNode", 10, lambda line: _nodes(line) if _max_rss(line) else ""),
    Field("MaxRSSTask", 10, _with_rss("0")),
    Field("MinCPU", 10, _step_cpu),
    Field("MinCPUNode", 10, lambda line: "" if line.used is None else _nodes(line)),
    Field("MinCPUTask", 10, step_only("0")),
    Field("NCPUS", 10, lambda line: str(line.row.job.spec.cpus)),
    Field("NNodes", 8, lambda _: "1"),
    Field("NodeList", 15, _nodes),
    Field("NTasks", 8, lambda line: "1" if line.is_step else ""),
    Field("Partition", 10, job_only(lambda _: site.PARTITION)),
    Field("Planned", 10, job_only(lambda line: clock_forms.whole(_waited(line)))),
    Field("PlannedCPU", 10, job_only(lambda line: clock_forms.whole(_waited(line) * line.row.job.spec.cpus))),
    Field("PlannedCPURAW", 13, job_only(lambda line: str(_waited(line) * line.row.job.spec.cpus))),
    Field("Priority", 10, job_only(lambda line: str(line.row.job.spec.priority))),
    Field("QOS", 10, job_only(lambda _: site.QOS)),
    Field("QOSRAW", 6, job_only(lambda _: "1")),
    Field("Reason", 22, job_only(lambda line: line.facts.reason(line.row))),
    Field("ReqCPUFreq", 10, lambda line: "0" if line.is_step else UNKNOWN),
    Field("ReqCPUFreqGov", 13, lambda line: "0" if line.is_step else UNKNOWN),
    Field("ReqCPUFreqMax", 13, lambda line: "0" if line.is_step else UNKNOWN),
    Field("ReqCPUFreqMin", 13, lambda line: "0" if line.is_step else UNKNOWN),
    Field("ReqCPUS", 8, lambda line: str(line.row.job.spec.cpus)),
    Field("ReqMem", 10, job_only(_req_mem)),
    Field("ReqNodes", 8, lambda _: "1"),
    Field("ReqTRES", 10, job_only(lambda line: _tres(line, allocated=False))),
    Field("Reserved", 10, job_only(lambda line: clock_forms.whole(_waited(line)))),
    Field("Restarts", 8, job_only(_restarts)),
    Field("ResvCPU", 10, job_only(lambda line: clock_forms.whole(_waited(line) * line.row.job.spec.cpus))),
    Field("ResvCPURAW", 10, job_only(lambda line: str(_waited(line) * line.row.job.spec.cpus))),
    Field("Start", 19, lambda line: line.facts.stamp(line.facts.started(line.row), UNKNOWN)),
    Field("State", 10, _state),
    Field("Submit", 19, _submit),
    Field("Suspended", 10, _suspended),
    Field("SystemCPU", 10, _nothing),
    Field("Timelimit", 10, job_only(_limit)),
    Field("TimelimitRaw", 10, job_only(_limit_minutes)),
    Field("TotalCPU", 10, lambda line: clock_forms.cpu(line.cpu_seconds)),
    Field("TRESUsageInAve", 14, _tres_used),
    Field("TRESUsageInMax", 14, _tres_used),
    Field("TRESUsageInMaxNode", 18, _nothing),
    Field("TRESUsageInMaxTask", 18, _nothing),
    Field("TRESUsageInTot", 14, _tres_used),
    Field("UID", 6, job_only(lambda line: facts.uid(line.row.job.spec.user))),
    Field("User", 9, job_only(lambda line: line.row.job.spec.user)),
    Field("UserCPU", 10, _nothing),
    Field("WCKeyID", 10, job_only(lambda _: "0")),
    Field("WorkDir", 20, job_only(lambda line: line.row.job.spec.cwd)),
)
FIELDS: dict[str, Field] = {
    field.title: field
    for field in sorted(
        (*_CONTENT, *(Field(title, width, _nothing) for title, width in _WIDTHS.items())),
        key=lambda field: field.title.lower(),
    )
}
