"""`scontrol show job`: everything of a job, in the lines in which scripts look for it."""

from __future__ import annotations

import sys

from gflowctl.output import render
from gflowctl.slurm.report import choice, facts
from gflowctl.slurm.report.facts import NULL, Facts
from gflowctl.view import jobs, views
from gflowd.core.errors import Refused
from gflowd.core.job.model import Begun, Ended, Queued
from gflowd.core.slurm import clock_forms, job_words, site

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gflowctl.context import Context
    from gflowctl.slurm.report.facts import Row
    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

UNKNOWN = "Unknown"
ONE_LINE, DETAILS = "oneliner", "details"


def run(words: Sequence[str], context: Context, options: Sequence[str]) -> int:
    """`show job [ID]`: also `show job=ID`, `show jobid ID`."""
    view = views.View(context, context.store.read())
    try:
        found = _named(view, words[0]) if words else _present(view)
    except Refused:
        sys.stderr.write("slurm_load_jobs error: Invalid job id specified\n")
        return 1
    told = Facts(view, context.environ)
    if not found:
        render.write("No jobs in the system\n")
    for row in found:
        lines = list(_lines(told, row, details=DETAILS in options))
        text = " ".join(map(str.strip, lines)) if ONE_LINE in options else "\n   ".join(lines) + "\n"
        render.write(f"{text}\n")
    return 0


def _named(view: View, text: str) -> list[Row]:
    """Raises `Refused` for what is no job."""
    named = job_words.parse(text)
    ids: list[int] = []
    for each in named:
        theirs = choice.ids_of(view, each)
        if not theirs:
            raise Refused(text)
        ids += theirs
    if not ids:
        raise Refused(text)
    return choice.rows(view, ids, elements=choice.names_element(view, named))


def _present(view: View) -> list[Row]:
    """The jobs that have not ended, and those that have a short time ago."""
    since = view.now - site.MIN_JOB_AGE
    ids = [each for each in view.ids() if not view.has_ended(each) or (jobs.ended_at(view.job(each)) or 0) > since]
    return choice.rows(view, ids)


def _lines(told: Facts, row: Row, *, details: bool) -> Iterator[str]:
    job, spec = row.job, row.job.spec
    begun = not isinstance(job.phase, Queued)
    text = render.escape
    yield f"JobId={job.array_id if row.elements else job.id} {_array(told, row)}JobName={text(told.name(row))}"
    number, group = facts.group(spec.user)
    yield f"UserId={spec.user}({facts.uid(spec.user)}) GroupId={group}({number}) MCS_label=N/A"
    yield f"Priority={spec.priority} Nice=0 Account={text(spec.project or NULL)} QOS={site.QOS}"
    yield f"JobState={row.state} Reason={told.reason(row)} Dependency={told.dependency(row)}"
    batch = int(spec.relay is None)
    yield f"Requeue=1 Restarts={jobs.attempt(job) - 1} BatchFlag={batch} Reboot=0 ExitCode={_exit_code(job)}"
    if details:
        yield "DerivedExitCode=0:0"
    limit = "UNLIMITED" if spec.time_limit is None else clock_forms.whole(spec.time_limit)
    yield f"RunTime={clock_forms.whole(told.seconds(row))} TimeLimit={limit} TimeMin=N/A"
    eligible = told.stamp(told.eligible(row), UNKNOWN)
    yield f"SubmitTime={told.stamp(spec.submitted_at)} EligibleTime={eligible}"
    yield f"AccrueTime={eligible}"
    start, end = told.stamp(told.start(row), UNKNOWN), told.stamp(told.end(row), UNKNOWN)
    yield f"StartTime={start} EndTime={end} Deadline={told.stamp(spec.deadline)}"
    seen = told.stamp(told.view.context.observed.at, UNKNOWN)
    yield f"SuspendTime=None SecsPreSuspend=0 LastSchedEval={seen} Scheduler=Backfill"
    yield f"Partition={site.PARTITION} AllocNode:Sid={told.node}:{_sid(job)}"
    yield f"ReqNodeList={NULL} ExcNodeList={NULL}"
    yield f"NodeList={told.nodes(row) or NULL}"
    if begun:
        yield f"BatchHost={told.node}"
    yield from _resources(told, row, details=details)
    yield f"Command={text(told.command(row))}"
    yield f"WorkDir={text(spec.cwd)}"
    if spec.comment:
        yield f"Comment={text(spec.comment)}"
    yield f"StdErr={text(told.output(row, spec.error or spec.output))}"
    yield f"StdIn={text('/dev/null' if spec.input is None else told.output(row, spec.input))}"
    yield f"StdOut={text(told.output(row, spec.output))}"
    if spec.gpus:
        yield f"TresPerNode={told.tres_per_node(row)}"
    if spec.notify_email or spec.notify_on:
        yield f"MailUser={text(spec.notify_email or spec.user)} MailType={','.join(spec.notify_on).upper() or 'NONE'}"


def _array(told: Facts, row: Row) -> str:
    job = row.job
    if job.array_id is None:
        return ""
    limit = told.view.max_concurrent(job)
    throttle = f"ArrayTaskThrottle={limit} " if limit is not None else ""
    indices = (told.indices(row) or "").partition("%")[0]
    return f"ArrayJobId={job.array_id} ArrayTaskId={indices} {throttle}"


def _exit_code(job: Job) -> str:
    if not isinstance(job.phase, Ended):
        return "0:0"
    return f"{job.phase.exit_code or 0}:{job.phase.signal or 0}"


def _sid(job: Job) -> int:
    """The session of the job's processes; 0 where it has none."""
    started = job.phase.started if isinstance(job.phase, Begun) else None
    return 0 if started is None else started.identity.pid


def _resources(told: Facts, row: Row, *, details: bool) -> Iterator[str]:
    job, spec = row.job, row.job.spec
    tasks = 1 if spec.tasks is None else spec.tasks.count or spec.tasks.per_node or 1
    each = max(spec.cpus // tasks, 1)
    yield f"NumNodes=1 NumCPUs={max(spec.cpus, 1)} NumTasks={tasks} CPUs/Task={each} ReqB:S:C:T=0:0:*:*"
    yield f"ReqTRES={told.tres(row)}"
    yield f"AllocTRES={NULL if isinstance(job.phase, Queued) else told.tres(row)}"
    yield "Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=*"
    memory = "0" if spec.memory_mb is None else facts.memory(spec.memory_mb)
    if details:
        kind = f":{spec.gpu_type}" if spec.gpu_type else ""
        gpus = f"gpu{kind}:{spec.gpus}" if spec.gpus else ""
        yield f"JOB_GRES={gpus or NULL}"
        if isinstance(job.phase, Begun):
            ids = ",".join(map(str, job.phase.run.gpu_ids))
            held = f"{gpus}(IDX:{ids})" if gpus else ""
            yield f"  Nodes={told.node} CPU_IDs=N/A Mem={spec.memory_mb or 0} GRES={held}"
    yield f"MinCPUsNode={max(spec.cpus, 1)} MinMemoryNode={memory} MinTmpDiskNode=0"
    yield f"Features={NULL} DelayBoot=00:00:00"
    shared = "NO" if spec.exclusive else "OK"
    yield f"OverSubscribe={shared} Contiguous=0 Licenses={NULL} Network={NULL}"
