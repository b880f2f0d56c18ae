"""The tools that agents call, by `gflowctl.api`. What changes anything has a preview, or is easily undone."""

import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from gflowctl.agents import answers, diagnosis
from gflowctl.agents.answers import (
    CancellationPreview,
    Changed,
    FailReason,
    Gpus,
    JobDetails,
    JobList,
    LogTail,
    PastAttempt,
    Pressure,
    Reservations,
    SubmissionPreview,
    Submitted,
    WaitReason,
)
from gflowctl.agents.confirmations import LIFETIME, Previews
from gflowctl.output.failure_output import plain_lines
from gflowctl.output.render import rfc3339
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job.model import ENDED_STATES, FAILURES, FINISHED

if TYPE_CHECKING:
    from gflowctl.api import Changes, Job, Queue

SHOWN, MOST = 50, 200  # jobs
FEW = 5  # jobs of a preview of a submission
LINES, MOST_LINES = 40, 200
LOOKED_AT = 400  # lines in which a cause is looked for
LARGEST = 1 << 15  # characters of a log
LONGEST_LINE = 500
WAITING = ("queued", "held")

JobName = Annotated[str, Field(description="a job: 42, 42_3 (element of an array), or @ (your last submission)")]
JobNames = Annotated[
    list[str],
    Field(min_length=1, max_length=100, description='jobs, e.g. ["42", "50-52", "60_[1-3]"]; 42 means all of array 42'),
]
Token = Annotated[str, Field(description="the token of the preview")]


class Tools:
    """The tools of one server, for one queue."""

    def __init__(self, queue: "Queue", previews: Previews | None = None) -> None:
        self._queue = queue
        self._previews = Previews() if previews is None else previews

    def list_jobs(
        self,
        *,
        states: Annotated[list[str] | None, Field(description="e.g. queued, held, running, failed, timeout")] = None,
        users: list[str] | None = None,
        names: list[str] | None = None,
        projects: list[str] | None = None,
        ended: Annotated[bool, Field(description="include jobs that have ended")] = False,
        within_hours: Annotated[float | None, Field(gt=0, description="only what was submitted or ended since")] = None,
        limit: Annotated[int, Field(ge=1, le=MOST)] = SHOWN,
    ) -> JobList:
        """List jobs of the queue; without arguments those that have not ended."""
        found = self._queue.jobs(
            states=states or (),
            users=users or (),
            names=names or (),
            projects=projects or (),
            ended=ended,
            since=None if within_hours is None else time.time() - 3600 * within_hours,
            limit=None if not ended else -10 * MOST,
        )
        shown = found[-limit:]
        return JobList(jobs=answers.job_lines(shown, limit), total=len(found), is_truncated=len(shown) < len(found))

    def show_job(self, job: JobName) -> JobDetails:
        """Show one job: state and why, resources, times, attempts, what it used."""
        found, used = self._queue.job(job), None
        used = found.used
        fields = {
            name: answers.cleaned(getattr(found, name))
            for name in (
                "attempt", "max_retries", "cpus", "memory_mb", "gpu_type", "gpu_memory_mb", "time_limit", "time_left",
                "priority", "rank", "signal", "cwd", "log",
            )
        }  # fmt: skip
        return JobDetails.model_validate(
            {
                **answers.job_fields(found),
                **fields,
                "explanation": self._why(found),
                "dependencies": [f"{each.kind}:{each.id}" for each in found.dependencies[: answers.MOST_IDS]],
                "earlier_attempts": [
                    PastAttempt(
                        attempt=each.attempt,
                        state=each.state,
                        reason=each.reason,
                        exit_code=each.exit_code,
                        signal=each.signal,
                        ended_at=rfc3339(each.ended_at),
                    )
                    for each in self._queue.attempts(found)[-10:]
                ],
                "used_memory_mb": None if used is None else used.memory_mb,
                "used_cpu_seconds": None if used is None else used.cpu_seconds,
                "gpu_percent": None if used is None else used.gpu_percent,
            }
        )

    def log_tail(
        self,
        job: JobName,
        *,
        lines: Annotated[int, Field(ge=1, le=MOST_LINES)] = LINES,
        attempt: Annotated[int | None, Field(ge=1, description="default: the last")] = None,
        errors: Annotated[bool, Field(description="of its file of errors, if it has one")] = False,
    ) -> LogTail:
        """Read the last lines of a job's output."""
        found = self._queue.job(job)
        piece = self._queue.log(found, attempt=attempt, error=errors, lines=MOST_LINES + 1)
        whole = plain_lines(piece.text, whole=True)
        shown = _bounded(whole[-lines:])
        return LogTail(
            job=found.label,
            attempt=piece.attempt,
            is_over=piece.is_over,
            is_truncated=len(shown) < len(whole),
            untrusted_lines=shown,
        )

    def why_waiting(self, job: JobName) -> WaitReason:
        """Say why a job has not started, and when it is expected to."""
        found = self._queue.job(job)
        return WaitReason(
            job=found.label,
            state=found.state,
            is_waiting=found.state in WAITING,
            reason=found.reason,
            explanation=self._why(found),
            rank=found.rank,
            expected_start=rfc3339(found.expected_start),
            promised_start=rfc3339(found.promised_start),
        )

    def why_failed(self, job: JobName) -> FailReason:
        """Say why a job failed: how it ended, its last lines, and the cause if its output names a known one."""
        found = self._queue.job(job)
        has_failed = found.state in ENDED_STATES and found.state != FINISHED
        lines = self._last_lines(found) if has_failed and found.started_at is not None else []
        ending = diagnosis.Ending(found.state, found.reason, found.exit_code, found.signal, found.gpus)
        cause = diagnosis.of(ending, lines) if has_failed else None
        return FailReason(
            job=found.label,
            state=found.state,
            has_failed=has_failed,
            reason=found.reason,
            exit_code=found.exit_code,
            signal=found.signal,
            explanation=self._why(found) if has_failed else None,
            cause=None if cause is None else cause.cause,
            meaning=None if cause is None else cause.meaning,
            advice=None if cause is None else cause.advice,
            attempt=found.attempt,
            untrusted_evidence=None if cause is None or cause.evidence is None else _line(cause.evidence),
            untrusted_lines=_bounded(lines[-LINES:]) if found.state in FAILURES else [],
        )

    def preview_submit(  # noqa: PLR0913 -- one argument per option
        self,
        *,
        command: Annotated[list[str] | None, Field(description="the program and its arguments")] = None,
        shell: Annotated[str | None, Field(description="a line for sh -c, instead of command")] = None,
        cwd: Annotated[str | None, Field(description="directory; default: the server's")] = None,
        name: str | None = None,
        gpus: Annotated[int, Field(ge=0)] = 0,
        gpu_type: str | None = None,
        gpu_memory_mb: int | None = None,
        cpus: Annotated[int | None, Field(ge=0)] = None,
        memory_mb: int | None = None,
        time_limit: Annotated[float | None, Field(gt=0, description="seconds; jobs with one start earlier")] = None,
        depends_on: Annotated[list[str] | None, Field(description='e.g. ["42"] or ["afterany:42"]')] = None,
        priority: Annotated[int | None, Field(ge=0, le=255, description="default 10, higher first")] = None,
        begin_at: Annotated[str | None, Field(description="e.g. tomorrow 9:00, now+2h or RFC 3339")] = None,
        array: Annotated[str | None, Field(description="one job for each index, e.g. 1-10")] = None,
        params: Annotated[
            dict[str, list[str]] | None,
            Field(description="one job for each combination; {lr} in the command is replaced by the value of lr"),
        ] = None,
        max_concurrent: Annotated[int | None, Field(ge=1)] = None,
        max_retries: Annotated[int | None, Field(ge=0)] = None,
        project: str | None = None,
        comment: str | None = None,
        conda_env: str | None = None,
        cluster: Annotated[str | None, Field(description="of gflow.toml, or auto; default: this machine")] = None,
        hold: Annotated[bool, Field(description="queue it held")] = False,
    ) -> SubmissionPreview:
        """Check a submission and say what it would queue. Changes nothing; submit with the token queues it."""
        wanted = shell if command is None else command
        if wanted is None or None not in (command, shell):
            raise BadUsage("give either command or shell")
        asked: dict[str, Any] = {
            "cwd": cwd, "name": name, "gpus": gpus, "gpu_type": gpu_type, "gpu_memory_mb": gpu_memory_mb, "cpus": cpus,
            "memory_mb": memory_mb, "time_limit": time_limit, "depends_on": depends_on, "priority": priority,
            "begin_at": begin_at, "array": array, "params": params, "max_concurrent": max_concurrent,
            "max_retries": max_retries, "project": project, "comment": comment, "conda_env": conda_env,
            "cluster": cluster, "hold": hold,
        }  # fmt: skip
        given = {option: value for option, value in asked.items() if value is not None and value is not False}
        prepared = self._queue.prepare(wanted, **given)

        def act() -> Submitted:
            made = prepared.submit()
            return Submitted(
                job=str(made.id),
                first_id=made.ids[0],
                last_id=made.ids[-1],
                count=len(made.ids),
                notes=[answers.clipped(note, answers.LONGEST_TEXT) for note in made.notes],
            )

        return SubmissionPreview(
            token=self._previews.keep("submit", act),
            valid_seconds=int(LIFETIME),
            count=prepared.count,
            jobs=answers.new_lines(prepared.jobs, FEW),
            cwd=answers.cleaned(prepared.jobs[0].cwd),
            notes=[answers.clipped(note, answers.LONGEST_TEXT) for note in prepared.notes],
        )

    def submit(self, token: Token) -> Submitted:
        """Queue what preview_submit showed. The same token again answers the same, and queues nothing more."""
        found: Submitted = self._previews.carry_out("submit", token)
        return found

    def preview_cancel(self, jobs: JobNames) -> CancellationPreview:
        """Say which jobs would be cancelled or stopped, and which with them. Changes nothing."""
        would = self._queue.cancel(jobs, dry_run=True)
        promised = _fingerprint(would)

        def act() -> Changed:
            if _fingerprint(self._queue.cancel(jobs, dry_run=True)) != promised:
                raise Refused("what would be cancelled has changed since the preview: call preview_cancel again")
            return answers.changed(self._queue.cancel(jobs), SHOWN)

        return CancellationPreview(
            token=self._previews.keep("cancel", act) if would.jobs else None,
            valid_seconds=int(LIFETIME),
            jobs=answers.job_lines(would.jobs, SHOWN),
            total=len(would.jobs),
            running=sum(job.state not in WAITING for job in would.jobs),
            cascaded_ids=list(would.cascaded[: answers.MOST_IDS]),
            notes=[answers.clipped(note, answers.LONGEST_TEXT) for note in would.notes],
        )

    def cancel(self, token: Token) -> Changed:
        """Cancel what preview_cancel showed: queued jobs, and running ones with all their processes. Cannot be undone.
        The same token again answers the same.
        """
        found: Changed = self._previews.carry_out("cancel", token)
        return found

    def hold(self, jobs: JobNames) -> Changed:
        """Keep queued jobs from starting, until they are released."""
        return answers.changed(self._queue.hold(jobs), SHOWN)

    def release(self, jobs: JobNames) -> Changed:
        """Let held jobs start."""
        return answers.changed(self._queue.release(jobs), SHOWN)

    def gpus(self) -> Gpus:
        """Show the GPUs: state, memory, load, which jobs and other processes are on them, reservations."""
        machine = self._queue.machine()
        return Gpus(
            gpus=list(map(answers.gpu_line, self._queue.gpus())),
            trouble=machine.gpu_trouble,
            daemon_running=machine.daemon_running,
            seen_at=rfc3339(machine.seen_at),
        )

    def reservations(
        self,
        *,
        all: Annotated[bool, Field(description="also those that are over")] = False,  # noqa: A002 -- as an agent expects it
    ) -> Reservations:
        """List GPU reservations, by id."""
        found = (each for each in self._queue.reservations() if all or each.status in ("active", "pending"))
        return Reservations(reservations=[answers.reservation_line(each) for each in found][-MOST:])

    def queue_pressure(self) -> Pressure:
        """Say how full the machine is: GPUs in use, jobs by state, what waits, for whom, why and how long."""
        machine, states = self._queue.machine(), self._queue.summary()
        waiting = self._queue.jobs(states=WAITING)
        why: Counter[str] = Counter()
        for state in states:
            why.update(state.reasons if state.state in WAITING else {})
        drained = machine.drained
        return Pressure(
            daemon_running=machine.daemon_running,
            drained=None if drained is None else answers.clipped(f"by {drained.by}: {drained.reason or '-'}", 200),
            gpus=machine.gpus,
            busy_gpus=machine.busy_gpus,
            cpus=machine.cpus,
            used_cpus=machine.used_cpus,
            jobs_by_state={state.state: state.jobs for state in states},
            waiting_gpus=sum(state.gpus for state in states if state.state in WAITING),
            waiting_reasons=dict(why.most_common(20)),
            waiting_users=dict(Counter(job.user for job in waiting).most_common(20)),
            oldest_waiting_seconds=int(time.time() - min(job.submitted_at for job in waiting)) if waiting else None,
        )

    def _why(self, job: "Job") -> str | None:
        found = self._queue.why(job)
        return None if found is None else answers.clipped(found.replace("\n", "; "), 4 * answers.LONGEST_TEXT)

    def _last_lines(self, job: "Job") -> list[str]:
        """Of its output and, if it has one, of its file of errors, which says more."""
        found: list[str] = []
        for error in (False, True) if job.error is not None else (False,):
            try:
                piece = self._queue.log(job, error=error, lines=LOOKED_AT)
            except Refused:  # it is no longer there
                continue
            found += plain_lines(piece.text, whole=True)
        return found


def _fingerprint(would: "Changes") -> object:
    """What must not change between a preview and its act."""
    return [(job.id, job.attempt, job.state in WAITING) for job in would.jobs], would.cascaded


def _line(line: str) -> str:
    return answers.clipped(line, LONGEST_LINE)


def _bounded(lines: list[str]) -> list[str]:
    """The last of these lines, as many as fit."""
    shown: list[str] = []
    left = LARGEST
    for line in map(_line, reversed(lines)):
        left -= len(line)
        if left < 0:
            break
        shown.append(line)
    return shown[::-1]
