"""Why a job is where it is, in words with figures: which quota, which reservation, which GPU. For `gflowctl show`."""

from __future__ import annotations

from gflowctl.machine import drain, quotas
from gflowctl.output import descriptions, place_in_line
from gflowctl.view import dependencies, jobs, views
from gflowctl.view import reasons as why_jobs
from gflowd.core.job import reasons
from gflowd.core.job.model import CANCELLED, FAILED, FINISHED, TIMEOUT, Ended, Queued
from gflowd.core.job.records import PHASE, PROMISE, RESERVATION, is_live
from gflowd.core.request import gpu_match, validation
from gflowd.core.syntax import durations, memory, ranges
from gflowd.core.syntax.plurals import count, noun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gflowctl.view.views import View
    from gflowd.core.job.model import Job, Spec
    from gflowd.core.planning.reservations import Window
    from gflowd.storage.observed_reader import SeenGpu

ADVISED = (reasons.NEVER, reasons.RESERVATION, reasons.PRIORITY)  # of which a place in line may tell what would help
MOST = 3  # reservations, or promised jobs, that are named
ENDED = {FAILED: "failed", CANCELLED: "was cancelled", TIMEOUT: "exceeded its time limit", FINISHED: "finished"}
UNAVAILABLE = {
    "unmanaged": "is used by others", "drained": "is drained", "faulty": "is faulty",
    "restricted": "is not among those that gflow may use (gflowctl gpus allow)",
}  # fmt: skip


class Explainer:
    """Explains the reasons of jobs of one view, from the snapshot and from what the daemon last saw."""

    def __init__(self, view: View, whole: View | None = None) -> None:
        """`whole`: a view that has all jobs, if there is one already."""
        self._view = view
        self._whole = whole

    @property
    def whole(self) -> View:
        """All jobs: the view may have only those that are shown."""
        if self._whole is None:
            self._whole = views.View(self._view.context, self._view.context.store.read())
        return self._whole

    def words(self, job: Job, why: str) -> str:
        """`Quota (user ada runs 2 of 2 jobs (max_running_jobs); gflowctl quota list)`."""
        explain = WORDS.get(why) or WORDS.get(reasons.name(why))
        said = None if explain is None else explain(self, job, why)
        whole = descriptions.reason(why) if said is None else f"{why} ({said})"
        advice = place_in_line.advice(self._view, job) if reasons.name(why) in ADVISED else None
        return whole if advice is None else f"{whole}; {advice}"

    def _local(self, at: float) -> str:
        return self._view.clock.stamp(at)

    # of queued jobs

    def begin_time(self, job: Job, _: str) -> str | None:
        if job.begin_at is None:
            return None
        what = "it begins" if not isinstance(job.phase, Queued) or job.phase.attempt == 1 else "it is tried again"
        return f"{what} at {self._local(job.begin_at)}, {_in(job.begin_at - self._view.now)}"

    def retry_delay(self, job: Job, _: str) -> str | None:
        if job.begin_at is None:
            return None
        number = jobs.attempt(job)
        return f"attempt {number} begins at {self._local(job.begin_at)}, {_in(job.begin_at - self._view.now)}"

    def dependency(self, job: Job, _: str) -> str | None:
        return f"it waits for {dependencies.words(self._view, job)}" if job.spec.needs is not None else None

    def drained(self, _: Job, __: str) -> str | None:
        found = drain.of(self.whole.fold)
        if found is None:
            return None
        return f"the machine is drained {drain.words(found, self._view.clock)}; gflowctl resume starts jobs again"

    def group(self, job: Job, _: str) -> str | None:
        most, whole = self.whole.max_concurrent(job), self.whole
        if most is None or job.array_id is None:
            return None
        phases = whole.records.of(PHASE)
        running = sum(is_live(phases.get(each)) for each in whole.ids_of(job.array_id))
        return f"{running} of its array are running, {most} may at a time; gflowctl limit {job.array_id} N changes that"

    def quota(self, job: Job, _: str) -> str | None:
        used = quotas.usage(self.whole.fold)
        running = {owner: (each.running_jobs, each.running_gpus) for owner, each in used.items()}
        found = quotas.in_force(self._view.context, self.whole.fold).reached(job.spec, running)
        return f"{'; '.join(found)}; gflowctl quota list" if found else None

    def never_quota(self, job: Job, _: str) -> str | None:
        why = quotas.in_force(self._view.context, self.whole.fold).too_large(job.spec)
        return None if why is None else f"it can never start as things stand: {why}; it waits until that changes"

    def reservation(self, job: Job, _: str) -> str | None:
        found = [window for window in self._windows() if not window.is_for((job.spec.user, job.spec.uid))]
        limit = job.spec.time_limit
        if limit is not None:
            found = [window for window in found if window.start < self._view.now + limit] or found
        return _and_more([self._window(each) for each in found]) or None

    def never_reservation(self, job: Job, _: str) -> str | None:
        found = [
            window for window in self._windows() if window.again and not window.is_for((job.spec.user, job.spec.uid))
        ]
        named = _and_more([self._window(each) for each in found])
        said = "it can never start as things stand: no gap between repeating reservations is long enough"
        return f"{said}: {named}" if named else said

    def priority(self, job: Job, _: str) -> str | None:
        said = descriptions.REASONS[reasons.PRIORITY]
        promised = self.whole.records.of(PROMISE)
        rank = why_jobs.rank(self._view, job)
        ahead = why_jobs.order(self._view)[: rank - 1 if rank is not None else None]
        found = [
            f"job {each} is promised a start by {self._local(promised[each]['at'])}"
            for each in ahead
            if each in promised and promised[each]["at"] is not None and each != job.id
        ]
        return f"{said}: {_and_more(found)}" if found else said

    def resources(self, job: Job, _: str) -> str | None:
        short = list(self._short(job.spec))
        return f"waits for {', '.join(short)}" if short else None

    def gpu_unavailable(self, job: Job, _: str) -> str | None:
        seen, spec = self._view.observed, job.spec
        if seen.gpu_trouble:
            return f"the GPUs cannot be seen: {seen.gpu_trouble}"
        suiting = self._suiting(spec)
        if len(suiting) < spec.gpus and seen.gpus:
            limits = validation.Limits(gpus=len(seen.gpus), gpu_models=seen.gpu_models)
            return validation.why_impossible(spec, limits)
        away = [words for gpu in suiting if (words := _why_away(gpu)) is not None]
        left = len(suiting) - len(away)
        return f"it asks for {_kind(spec)}, {left} of {len(suiting)} can be used: {'; '.join(away)}" if away else None

    def _suiting(self, spec: Spec) -> list[SeenGpu]:
        return [gpu for gpu in self._view.observed.gpus if gpu_match.suits(spec, gpu.model, gpu.memory_mb)]

    def _short(self, spec: Spec) -> Iterator[str]:
        seen = self._view.observed
        if not seen.is_known:
            return
        idle = sum(gpu.state == "idle" for gpu in self._suiting(spec))
        if idle < spec.gpus:
            yield f"{_kind(spec)}, {idle} idle"
        cpus, free = seen.free_cpus, seen.free_memory_mb
        if cpus is not None and cpus < spec.cpus:
            yield f"{count(spec.cpus, 'CPU')}, {cpus} free"
        if free is not None and spec.memory_mb is not None and free < spec.memory_mb:
            yield f"{memory.show(spec.memory_mb)} memory, {memory.show(max(free, 0))} free"

    def _windows(self) -> list[Window]:
        """Each reservation's present or next one, those first that begin first."""
        from gflowd.core.planning import reservations

        every = reservations.decode_all(self.whole.records.of(RESERVATION))
        return reservations.upcoming(every, self._view.now, self._view.context.calendar)

    def _window(self, window: Window) -> str:
        gpus = count(window.gpus, "GPU") if window.gpu_list is None else f"GPU {ranges.fold(window.gpu_list)}"
        if window.start <= self._view.now:
            when = f"until {self._local(window.end)}"
        else:
            when = f"from {self._local(window.start)} to {self._local(window.end)}"
        return f"reservation {window.id} keeps {gpus} for {window.user} {when}"

    def cluster_unreachable(self, job: Job, _: str) -> str | None:
        name = job.spec.cluster if job.run is None else job.run.cluster
        why = (self._view.observed.clusters.get(name or "") or {}).get("unreachable")
        said = descriptions.REASONS[reasons.CLUSTER_UNREACHABLE]
        return None if not isinstance(why, str) else f"{said}: {why}"

    # of those that run, or did

    def daemon_down(self, _job: Job, _: str) -> str | None:
        start = self._view.context.start_command
        return None if self._view.context.state.shared is None else f"gflowd is not running; {start}"

    def idle_gpus(self, job: Job, _: str) -> str | None:
        if job.run is None or not job.run.gpu_ids:
            return None
        ids, number = ",".join(map(str, job.run.gpu_ids)), len(job.run.gpu_ids)
        return f"its {noun(number, 'GPU')} {ids} {noun(number, 'does', 'do')} nothing"

    def cancelled(self, job: Job, _: str) -> str | None:
        return None if job.wish.cancelled_by is None else f"cancelled by {job.wish.cancelled_by}"

    def time_limit(self, job: Job, _: str) -> str | None:
        limit = job.spec.time_limit
        return None if limit is None else f"it exceeded its time limit of {durations.clock(limit)}"

    def no_output(self, job: Job, _: str) -> str | None:
        limit = job.spec.quiet_limit
        return None if limit is None else f"it wrote no output for {durations.clock(limit)} (--quiet-limit)"

    def deadline(self, job: Job, _: str) -> str | None:
        if job.spec.deadline is None:
            return None
        said = f"it could no longer end by {self._local(job.spec.deadline)} (--deadline)"
        limit = job.spec.time_limit
        return said if limit is None else f"{said} with its time limit of {durations.clock(limit)}"

    def out_of_memory(self, job: Job, _: str) -> str | None:
        most = job.spec.memory_mb
        return None if most is None else f"it used more than the {memory.show(most)} of memory that it asked for"

    def non_zero_exit(self, job: Job, _: str) -> str | None:
        code = job.phase.exit_code if isinstance(job.phase, Ended) else None
        return None if code is None else f"the command ended with exit code {code}"

    def dependency_failed(self, _: Job, why: str) -> str | None:
        number = why.partition(":")[2]
        if not number.isdecimal() or not self.whole.knows(int(number)):
            return None
        other = self.whole.job(int(number))
        if other.id in self.whole.families:
            how = ", ".join(views.counts(self.whole, self.whole.ids_of(other.id)))
            return f"its dependency can no longer be satisfied: of array {other.id} {how}"
        state = ENDED.get(jobs.state(other), f"is {jobs.state(other)}")
        return f"its dependency can no longer be satisfied: job {jobs.label(other)} {state}"

    def max_failures(self, _: Job, why: str) -> str | None:
        number = why.partition(":")[2]
        return f"{number} others of its array failed (--max-failures)" if number else None

    def signaled(self, _: Job, why: str) -> str | None:
        return f"{why.partition(':')[2]} ended it" if ":" in why else None


WORDS: dict[str, Callable[[Explainer, Job, str], str | None]] = {
    reasons.BEGIN_TIME: Explainer.begin_time,
    reasons.RETRY_DELAY: Explainer.retry_delay,
    reasons.DEPENDENCY: Explainer.dependency,
    reasons.DRAINED: Explainer.drained,
    reasons.GROUP: Explainer.group,
    reasons.QUOTA: Explainer.quota,
    reasons.NEVER_QUOTA: Explainer.never_quota,
    reasons.RESERVATION: Explainer.reservation,
    reasons.NEVER_RESERVATION: Explainer.never_reservation,
    reasons.PRIORITY: Explainer.priority,
    reasons.RESOURCES: Explainer.resources,
    reasons.GPU_UNAVAILABLE: Explainer.gpu_unavailable,
    reasons.DAEMON_DOWN: Explainer.daemon_down,
    reasons.CLUSTER_UNREACHABLE: Explainer.cluster_unreachable,
    reasons.IDLE_GPUS: Explainer.idle_gpus,
    reasons.CANCELLED_BY_USER: Explainer.cancelled,
    reasons.TIME_LIMIT: Explainer.time_limit,
    reasons.OUT_OF_MEMORY: Explainer.out_of_memory,
    reasons.NO_OUTPUT: Explainer.no_output,
    reasons.DEADLINE: Explainer.deadline,
    reasons.NON_ZERO_EXIT: Explainer.non_zero_exit,
    "DependencyFailed": Explainer.dependency_failed,
    reasons.MAX_FAILURES: Explainer.max_failures,
    "Signaled": Explainer.signaled,
}


def _kind(spec: Spec) -> str:
    """`2 GPUs of type 'a100' with 40G`."""
    said = count(spec.gpus, "GPU")
    said += f" of type {spec.gpu_type!r}" if spec.gpu_type is not None else ""
    if spec.gpu_memory_mb is None:
        return said
    return f"{said} with {memory.show(spec.gpu_memory_mb)}{' to share' if spec.shared else ''}"


def _why_away(gpu: SeenGpu) -> str | None:
    """Why a GPU cannot be given to anybody; None for one that can, or has been."""
    said = UNAVAILABLE.get(gpu.state)
    if said is None:
        return None
    cause = f": {gpu.cause}" if gpu.cause else ""
    again = f"; gflowctl gpus resume {gpu.index}" if gpu.state == "drained" or gpu.lasting else ""
    return f"GPU {gpu.index} {said}{cause}{again}"


def _in(seconds: float) -> str:
    return f"in {durations.clock(seconds)}" if seconds > 0 else "now"


def _and_more(found: list[str]) -> str:
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return ", ".join(found[:MOST]) + more
