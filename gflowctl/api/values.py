"""What `Queue` answers: frozen values with the names of `gflowctl queue --json`. Times are seconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Dependency:
    """What a job waits for: `kind` is `afterok`, `afterany` ...; `delay` in seconds; `element`: one job of an array."""

    kind: str
    id: int | None
    delay: float = 0.0
    element: bool = False


@dataclass(frozen=True, slots=True)
class EarlySignal:
    """A signal sent `before` seconds before the time limit."""

    number: int
    before: float
    command_only: bool


@dataclass(frozen=True, slots=True)
class Git:
    """What the work tree of a job's directory was at, at its submission; None where that is not known."""

    commit: str | None
    branch: str | None
    dirty: bool | None


@dataclass(frozen=True, slots=True)
class Repeat:
    """The series of which a job is a run; `due_at`: when this run is due."""

    series: int
    rule: str
    timezone: str | None
    overlap: str
    due_at: float


@dataclass(frozen=True, slots=True)
class Tasks:
    """The tasks that were asked for, as sbatch(1) counts them."""

    count: int | None
    per_node: int | None
    cpus: int | None


@dataclass(frozen=True, slots=True)
class Used:
    """What an attempt used, as far as it is known, and how that is known (`cgroup`, `shell`, `samples`: a floor)."""

    memory_mb: int | None
    memory_source: str | None
    cpu_seconds: float | None
    cpu_source: str | None
    gpu_percent: float | None
    gpu_polls: int


@dataclass(frozen=True, slots=True)
class Job:
    """A job at one moment. Memory in MiB, durations in seconds."""

    id: int
    array_id: int | None
    array_index: int | None
    name: str
    user: str
    project: str | None
    comment: str | None
    state: str  # queued, held, starting, running, suspended, stopping, finished, failed, cancelled, timeout
    reason: str | None
    command: tuple[str, ...]
    script: str | None  # the copy that was kept
    cwd: str
    params: Mapping[str, str]
    gpus: int
    gpu_ids: tuple[int, ...]
    gpu_memory_mb: int | None
    shared: bool
    cpus: int
    memory_mb: int | None
    time_limit: float | None
    time_left: float | None
    priority: int
    dependencies: tuple[Dependency, ...]
    dependency_mode: str | None
    begin_at: float | None
    submitted_at: float
    started_at: float | None
    ended_at: float | None
    expected_start: float | None
    exit_code: int | None
    signal: int | None
    attempt: int
    max_retries: int
    redone_from: int | None
    group: int | None
    max_concurrent: int | None
    session: str | None
    pid: int | None
    output: str | None
    error: str | None
    gpu_type: str | None
    gpu_prefer: tuple[str, ...]
    deadline: float | None
    quiet_limit: float | None
    conda_env: str | None
    early_signal: EarlySignal | None
    suspended_at: float | None
    suspended_seconds: float
    rank: int | None
    score: float | None
    promised_start: float | None
    estimated_start: float | None
    git: Git | None
    repeat: Repeat | None
    log: str | None  # the file
    executor: str | None
    grace: float | None
    retry_on: tuple[str | int, ...]
    retry_delay: float | None
    retry_factor: float | None
    auto_cancel: bool | None
    input: str | None
    append: bool
    submit_dir: str
    environment: str  # the file in which it is kept
    umask: str
    max_failures: int | None
    name_template: str | None
    notify_email: str | None
    notify_on: tuple[str, ...]
    notify: tuple[str, ...]  # URLs, without what may be secret in them
    tasks: Tasks | None
    exclusive: bool
    cancelled_by: str | None
    used: Used | None
    progress: float | None  # from 0 to 1
    progress_text: str | None
    progress_at: float | None
    progress_source: str | None  # job, or bar for one in its log
    expected_end: float | None
    cluster: str | None  # of its present or last attempt, before the first as it was submitted
    cluster_id: str | None
    node: str | None

    @property
    def label(self) -> str:
        """How users name it: `42`, or `42_3` for an element of an array."""
        return str(self.id) if self.array_id is None else f"{self.array_id}_{self.array_index}"

    @property
    def is_over(self) -> bool:
        """Whether it has ended, and no retry follows."""
        return self.ended_at is not None


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an earlier attempt of a job ended."""

    attempt: int
    state: str
    reason: str | None
    exit_code: int | None
    signal: int | None
    gpu_ids: tuple[int, ...]
    started_at: float | None
    ended_at: float
    log: str
    used: Used | None


@dataclass(frozen=True, slots=True)
class Submission:
    """What was submitted: the ids of the jobs, consecutive; `jobs`: the first of them, as they were submitted; `notes`:
    what may be worth knowing. `is_new` is false where `skip_if_queued` found these.
    """

    ids: range
    jobs: tuple[Job, ...]
    notes: tuple[str, ...]
    is_new: bool = True

    @property
    def id(self) -> int:
        """The first id, which also names an array as a whole."""
        return self.ids[0]


@dataclass(frozen=True, slots=True)
class Changes:
    """The jobs that were changed, as they are afterwards; notes on those that were not. Of a cancellation also the ids
    of what is cancelled with them (`cascaded`), and of what can then never run (`stuck`).
    """

    jobs: tuple[Job, ...]
    notes: tuple[str, ...] = ()
    cascaded: tuple[int, ...] = ()
    stuck: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LogPiece:
    """A part of a job's output. `next`: what to pass as `after` for the next part; `is_over`: there will be none;
    `missing`: how many bytes gflow cut out of a log that grew too long.
    """

    job: int
    attempt: int
    path: str
    data: bytes
    next: int
    is_over: bool
    missing: int

    @property
    def text(self) -> str:
        """The output as text; what is not UTF-8 is replaced."""
        return self.data.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `id`, such as `17-204`, never comes twice; `fields`: those of its kind, as in
    gflowctl-events(1), times in seconds since the epoch.
    """

    id: str
    at: float
    kind: str
    job: int | None
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Process:
    """A process on a GPU; `job_id` is None for one that gflow did not start."""

    pid: int
    user: str
    memory_mb: int | None
    job_id: int | None
    graphics: bool


@dataclass(frozen=True, slots=True)
class Window:
    """One occurrence of a reservation: any number of GPUs, or those of `gpu_list`."""

    id: int
    user: str
    start: float
    end: float
    gpus: int
    gpu_list: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as gflowd last saw it; `jobs` have it; `reserved` and `reserved_next` are reservations by index."""

    index: int
    uuid: str
    model: str
    memory_mb: int
    used_mb: int
    utilisation: int | None  # percent
    temperature: int | None  # degrees Celsius
    state: str  # idle, busy, shared, reserved, unmanaged, restricted, drained, faulty
    cause: str | None
    fault: str | None
    jobs: tuple[int, ...]
    idle_jobs: tuple[int, ...]
    processes: tuple[Process, ...]
    links: tuple[str, ...]
    simulated: bool
    reserved: Window | None
    reserved_next: Window | None


@dataclass(frozen=True, slots=True)
class Drain:
    """Since when no job starts, by whom and why."""

    at: float
    by: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine as gflowd last saw it, at `seen_at`; None where that is not known. `gpus_allowed`: None for all."""

    daemon_running: bool
    version: str | None
    executor: str | None
    seen_at: float | None
    cpus: int | None
    used_cpus: int | None
    memory_mb: int | None
    used_memory_mb: int | None
    gpus: int | None
    busy_gpus: int
    gpus_allowed: tuple[int, ...] | None
    gpu_trouble: str | None
    trouble: str | None
    drained: Drain | None


@dataclass(frozen=True, slots=True)
class StateSummary:
    """The jobs in one state: how many, what they ask for together, and how many have each reason."""

    state: str
    jobs: int
    gpus: int
    cpus: int
    reasons: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Reservation:
    """GPUs kept for a user; `window` is the present or the next occurrence, as begin and end."""

    id: int
    user: str
    status: str  # pending, active, completed, cancelled
    gpus: int
    gpu_list: tuple[int, ...] | None
    start: float
    duration: float
    repeat: str | None  # daily, weekly
    window: tuple[float, float] | None
    created_at: float
    created_by: str
    cancelled_at: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """The jobs of one user, project or day, or all (`name` None): how many are in each state, and sums of them."""

    name: str | None
    jobs: int
    queued: int
    held: int
    starting: int
    running: int
    suspended: int
    stopping: int
    finished: int
    failed: int
    cancelled: int
    timeout: int
    success_rate: float | None
    wait_mean: float | None
    wait_median: float | None
    wait_p95: float | None
    run_mean: float | None
    run_median: float | None
    run_p95: float | None
    gpu_hours: float
    peak_gpus: int
    gpu_percent: float | None
    cpu_hours: float
    peak_memory_mb: int | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """What jobs came to between two instants."""

    since: float | None
    until: float
    by: str | None
    groups: tuple[Group, ...]
    gpu_hours_by_day: Mapping[str, float]


Fields = dict[str, Any]


def job_of(found: Fields) -> Job:
    """The job of `json_records.values`, whose further fields are left out."""
    parts = dict(found)
    for name in ("command", "gpu_ids", "gpu_prefer", "retry_on", "notify_on", "notify"):
        parts[name] = tuple(found[name])
    if found["dependencies"]:
        parts["dependencies"] = tuple(Dependency(**each) for each in found["dependencies"])
    else:
        parts["dependencies"] = ()
    for name, kind in _NESTED:
        if found[name] is not None:
            parts[name] = kind(**found[name])
    return Job(*[parts[name] for name in JOB])


JOB = Job.__slots__
_NESTED: tuple[tuple[str, Any], ...] = (
    ("early_signal", EarlySignal), ("git", Git), ("repeat", Repeat), ("tasks", Tasks), ("used", Used),
)  # fmt: skip


def attempt_of(found: Fields) -> Attempt:
    """One of `json_records.past_attempts`."""
    used = found["used"]
    return Attempt(**{**found, "gpu_ids": tuple(found["gpu_ids"]), "used": used and Used(**used)})
