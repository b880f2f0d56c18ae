"""A job: a spec (what was submitted), a wish (what the user wants now) and a phase (the actual state).

Plain classes with slots, because every import slows down gflowctl's start; they are never changed after they are
made (`Final` says so to mypy), `replace` makes a changed copy. Times are seconds since the epoch; those named `mono`
are seconds of the monotonic clock and mean something only together with the boot id beside them.
"""

from __future__ import annotations

from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from gflowd.core.job.arrays import Family
    from gflowd.core.job.dependencies import Needs
    from gflowd.core.job.retry_policy import Retry

TMUX = "tmux"
PROCESS = "process"
EXECUTORS = (TMUX, PROCESS)  # those of this machine
SLURM = "slurm"  # a cluster runs the attempt, see `core.cluster`
AUTO = "auto"  # any cluster, where it cannot start here in time
HERE = "none"  # said of the cluster: this machine
STDIN = "/dev/stdin"
OPEN_FILES = (STDIN, "/dev/fd/", "/proc/self/fd/")  # what a script's name begins with when it came from no file

# The variables that are a job's own (`execution.job_environment` sets most): whoever starts something from within a job
# does not pass them on. By how they begin, and whole.
OWN_PREFIXES = ("GFLOW_JOB_", "GFLOW_ARRAY_", "GFLOW_PARAM_", "SLURM_", "TMUX")
OWN_NAMES = ("GFLOW_ATTEMPT", "GFLOW_PROGRESS_FILE", "GFLOW_SUBMIT_DIR", "GFLOW_SCRIPT", "GFLOW_SCRIPT_DIR")

# What the fields of a spec may be, of a new submission (`validation`) as of a record (`record_rules`).
LONGEST_STRING = 131072  # bytes with the closing zero: MAX_ARG_STRLEN of execve(2)
LONGEST_NAME = 255  # bytes: it may become a file's name
LARGEST_COUNT = 1_000_000
LONGEST = 100 * 365 * 86400  # seconds, as `durations.LONGEST`; to import that takes a module more
EARLIEST, LATEST = -62135683200, 253402387200  # seconds since the epoch: the years 1 to 9999, in any zone
RANGES = {  # of the numbers in a spec
    "gpus": (0, LARGEST_COUNT),
    "cpus": (0, LARGEST_COUNT),
    "priority": (0, 255),
    "umask": (0, 0o777),
    "memory_mb": (0, 1 << 40),  # as `memory.LARGEST`
    "gpu_memory_mb": (0, 1 << 40),
    "time_limit": (0.0, float(LONGEST)),
    "grace": (0.0, float(LONGEST)),
    "begin_at": (float(EARLIEST), float(LATEST)),
    "deadline": (float(EARLIEST), float(LATEST)),
    "quiet_limit": (0.0, float(LONGEST)),
}
ALWAYS = ("gpus", "cpus", "priority", "umask")  # those that every spec has


def is_text(text: str) -> bool:
    """Whether execve(2) and the snapshot can hold `text`."""
    try:
        return "\0" not in text and bool(text.isascii() or text.encode())
    except UnicodeEncodeError:
        return False


class EarlySignal(Value):
    """A signal sent `before` seconds before the time limit, to all processes of the job or only to its command."""

    __slots__ = ("before", "command_only", "number")

    def __init__(self, *, number: int, before: float, command_only: bool = False) -> None:
        self.number: Final = number
        self.before: Final = before
        self.command_only: Final = command_only


class GitState(Value):
    """What the work tree of a job's directory was at its submission: `commit` in hex, None where there is none yet or
    it is not known; `branch`, None where HEAD is detached or not known; `dirty`, whether tracked files had been
    changed, None where that is not known.
    """

    __slots__ = ("branch", "commit", "dirty")

    def __init__(self, *, commit: str | None = None, branch: str | None = None, dirty: bool | None = None) -> None:
        self.commit: Final = commit
        self.branch: Final = branch
        self.dirty: Final = dirty


SKIP, QUEUE = OVERLAPS = ("skip", "queue")  # what becomes of a run that is due while the one before goes on


class Repeat(Value):
    """That a job is a run of a series. `rule`: when the runs are due, as `core.syntax.recurrence` reads it, in the time
    zone called `zone` (None: the machine's); `due`: when this one is; `series`: the first run's id, None of itself.
    """

    __slots__ = ("due", "overlap", "rule", "series", "zone")

    def __init__(
        self, *, rule: str, due: float, zone: str | None = None, overlap: str = SKIP, series: int | None = None
    ) -> None:
        self.rule: Final = rule
        self.due: Final = due
        self.zone: Final = zone
        self.overlap: Final = overlap
        self.series: Final = series


class Tasks(Value):
    """The tasks that a job was asked to have, as sbatch(1) counts them: `count` in all and `per_node`, and the CPUs of
    each, `cpus`; None where that was not asked. Of the job's CPUs they say nothing more than `Spec.cpus`.
    """

    __slots__ = ("count", "cpus", "per_node")

    def __init__(self, *, count: int | None = None, per_node: int | None = None, cpus: int | None = None) -> None:
        self.count: Final = count
        self.per_node: Final = per_node
        self.cpus: Final = cpus


class Spec(Value):
    """What was submitted. `env` and `script` are the names of content-addressed files, never their content."""

    __slots__ = (
        "all_memory", "append", "asked", "batch", "begin_at", "cluster", "command", "comment", "conda_env", "cpus",
        "cwd", "deadline", "early_signal", "env", "error", "exclusive", "executor", "family", "git", "gpu_memory_mb",
        "gpu_prefer", "gpu_type", "gpus", "grace", "input", "limits", "memory_mb", "name", "name_template", "needs",
        "notify", "notify_email", "notify_on", "once", "output", "priority", "project", "pty", "quiet_limit",
        "redone_from", "relay", "repeat", "retry", "script", "shared", "slurm", "submit_dir", "submitted_at", "tasks",
        "time_limit", "uid", "umask", "user",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913, PLR0915 -- one argument per thing that a submission can say
        self,
        *,
        command: tuple[str, ...],
        name: str,
        user: str,
        cwd: str,
        env: str,
        submitted_at: float,
        umask: int = 0o022,
        script: str | None = None,
        project: str | None = None,
        comment: str | None = None,
        priority: int = 10,
        gpus: int = 0,
        cpus: int = 1,
        memory_mb: int | None = None,
        time_limit: float | None = None,
        grace: float | None = None,
        begin_at: float | None = None,
        output: str | None = None,
        error: str | None = None,
        input: str | None = None,  # noqa: A002 -- the option's name
        limits: str | None = None,
        append: bool = False,
        batch: int | None = None,
        executor: str | None = None,
        submit_dir: str | None = None,
        needs: Needs | None = None,
        retry: Retry | None = None,
        redone_from: int | None = None,
        family: Family | None = None,
        name_template: str | None = None,
        gpu_type: str | None = None,
        gpu_memory_mb: int | None = None,
        shared: bool = False,
        early_signal: EarlySignal | None = None,
        conda_env: str | None = None,
        slurm: bool = False,
        asked: tuple[str, ...] = (),
        notify_email: str | None = None,
        notify_on: tuple[str, ...] = (),
        notify: tuple[str, ...] = (),
        git: GitState | None = None,
        deadline: float | None = None,
        gpu_prefer: tuple[str, ...] = (),
        quiet_limit: float | None = None,
        repeat: Repeat | None = None,
        relay: str | None = None,
        pty: bool = False,
        tasks: Tasks | None = None,
        exclusive: bool = False,
        all_memory: bool = False,
        uid: int | None = None,
        once: str | None = None,
        cluster: str | None = None,
    ) -> None:
        self.command: Final = command  # argv; of a script job, what follows `script` is argv[1:]
        self.name: Final = name
        self.user: Final = user
        self.cwd: Final = cwd
        self.env: Final = env
        self.submitted_at: Final = submitted_at
        self.umask: Final = umask
        self.script: Final = script
        self.project: Final = project
        self.comment: Final = comment
        self.priority: Final = priority  # 0 to 255, higher first
        self.gpus: Final = gpus
        self.cpus: Final = cpus
        self.memory_mb: Final = memory_mb  # MiB
        self.time_limit: Final = time_limit  # seconds of running
        self.grace: Final = grace  # seconds between the first signal and KILL; None: the daemon's
        self.begin_at: Final = begin_at
        self.output: Final = output  # patterns, see `core.syntax.filename_patterns`
        self.error: Final = error
        self.input: Final = input
        self.limits: Final = limits  # soft ones of resources, see `core.execution.resource_limits`
        self.append: Final = append
        self.batch: Final = batch  # the first job of its submission, where that was of several specs
        self.executor: Final = executor
        self.submit_dir: Final = submit_dir  # the submitter's directory; None: `cwd`
        self.needs: Final = needs  # what it waits for
        self.retry: Final = retry
        self.redone_from: Final = redone_from  # the job that it repeats
        self.family: Final = family  # the spec of many jobs, with consecutive ids starting at its own
        self.name_template: Final = name_template  # of their names
        self.gpu_type: Final = gpu_type  # part of the model's name, in any case
        self.gpu_memory_mb: Final = gpu_memory_mb  # MiB: the amount to use of a shared GPU, else the least of each GPU
        self.shared: Final = shared  # shares its GPUs with other shared jobs
        self.early_signal: Final = early_signal
        self.conda_env: Final = conda_env
        self.slurm: Final = slurm  # its script was written for Slurm
        self.asked: Final = asked  # options of sbatch(1) that its variables tell of, `NAME=VALUE` each
        self.notify_email: Final = notify_email  # addresses, with commas between; None: its user's, if no URL is given
        self.notify_on: Final = notify_on  # words of `core.notify.event_names`
        self.notify: Final = notify  # URLs
        self.git: Final = git  # None: `cwd` was in no work tree
        self.deadline: Final = deadline  # it must have ended by then; seconds since the epoch
        self.gpu_prefer: Final = gpu_prefer  # GPUs to choose first, by index or part of the model's name, best first
        self.quiet_limit: Final = quiet_limit  # seconds of running without output
        self.repeat: Final = repeat  # another run follows
        self.relay: Final = (
            relay  # the directory that connects it with its `gflowctl run`, see `effects.attempt.relay_directory`
        )
        self.pty: Final = pty  # by a terminal, not by pipes
        self.tasks: Final = tasks
        self.exclusive: Final = exclusive  # all CPUs of the machine, however many these are when it starts
        self.all_memory: Final = all_memory  # likewise; `cpus` and `memory_mb` are what was known at submission
        self.uid: Final = uid  # the submitter's Unix user id, by the kernel's word; None where all jobs are one user's
        self.once: Final = once  # a word of the submitter's, who by it gets no second job for one request
        self.cluster: Final = cluster  # the name of the cluster that runs it, or AUTO; None: this machine


class Wish(Value):
    """What the user wants now, beyond the spec. Absent means `Wish()`."""

    __slots__ = (
        "begin_at", "cancelled_at", "cancelled_by", "held", "only_run", "released_at", "releases_cpus", "requeued",
        "suspended", "top_at",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 -- one argument per thing that can be wished
        self,
        *,
        held: bool = False,
        begin_at: float | None = None,
        cancelled_by: str | None = None,
        cancelled_at: float | None = None,
        requeued: int = 0,
        top_at: float | None = None,
        released_at: float | None = None,
        suspended: int = 0,
        releases_cpus: bool = False,
        only_run: bool = False,
    ) -> None:
        self.released_at: Final = released_at  # until then it was held
        self.held: Final = held
        self.begin_at: Final = begin_at  # takes precedence over the spec's
        self.cancelled_by: Final = cancelled_by
        self.cancelled_at: Final = cancelled_at
        self.only_run: Final = only_run  # cancelled is this run alone, and its series goes on
        self.requeued: Final = requeued  # another attempt is to follow the attempts up to this one
        self.top_at: Final = top_at  # moved to the front of the queue at this time; the latest comes first
        self.suspended: Final = suspended  # the attempt to suspend; later ones are not suspended
        self.releases_cpus: Final = releases_cpus  # and it gives its CPUs back until it goes on


class Identity(Value):
    """One process, unambiguously: a pid alone may be reused. `start` is in clock ticks since `boot` (proc(5))."""

    __slots__ = ("boot", "pid", "start")

    def __init__(self, boot: str, pid: int, start: int) -> None:
        self.boot: Final = boot
        self.pid: Final = pid
        self.start: Final = start


class Run(Value):
    """One attempt at a job: how it was launched and what it was allocated, or which cluster it was handed over to."""

    __slots__ = (
        "attempt", "by_uuid", "cluster", "cluster_id", "cuda_ids", "executor", "gpu_ids", "gpu_uuids", "launched_at",
        "node", "remote_gpus",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 -- one argument per thing that an attempt has
        self,
        *,
        executor: str,
        launched_at: float,
        attempt: int = 1,
        gpu_ids: tuple[int, ...] = (),
        gpu_uuids: tuple[str, ...] = (),
        by_uuid: bool = False,
        cuda_ids: tuple[int, ...] = (),
        cluster: str | None = None,
        cluster_id: str | None = None,
        node: str | None = None,
        remote_gpus: int = 0,
    ) -> None:
        self.attempt: Final = attempt
        self.executor: Final = executor
        self.gpu_ids: Final = gpu_ids
        self.gpu_uuids: Final = gpu_uuids  # of the same, by which they are known when the indices move
        self.by_uuid: Final = by_uuid  # the job was given UUIDs, since CUDA may number GPUs differently
        self.cuda_ids: Final = cuda_ids  # or was given these, as CUDA numbers them; (): the same as `gpu_ids`
        self.launched_at: Final = launched_at
        self.cluster: Final = cluster  # None: this machine
        self.cluster_id: Final = cluster_id  # as the cluster names it, `123` or `123_4`; None: it has not said yet
        self.node: Final = node  # of the cluster, where it is or was
        self.remote_gpus: Final = remote_gpus  # how many it has there, whichever these are


class Started(Value):
    """The moment at which a run's `job.sh` began, on both clocks, and its process."""

    __slots__ = ("at", "identity", "mono")

    def __init__(self, *, at: float, mono: float, identity: Identity) -> None:
        self.at: Final = at
        self.mono: Final = mono  # of boot `identity.boot`
        self.identity: Final = identity


class Pauses(Value):
    """The times at which a run stood still, so far: how many they were, their `seconds` together, and when the last of
    them was over (monotonic).
    """

    __slots__ = ("count", "last_mono", "seconds")

    def __init__(self, *, count: int = 0, seconds: float = 0.0, last_mono: float = 0.0) -> None:
        self.count: Final = count
        self.seconds: Final = seconds
        self.last_mono: Final = last_mono


NEVER = Pauses()


class Queued(Value):
    """Waiting to be started; whether it is held is the wish's to say. `begin_at`: a retry, and not before. `since`:
    when it was queued again. Of a first attempt: the run of a series that was to begin at `since` is put off until
    `begin_at`.
    """

    __slots__ = ("attempt", "begin_at", "since")

    def __init__(self, *, attempt: int = 1, begin_at: float | None = None, since: float | None = None) -> None:
        self.attempt: Final = attempt
        self.begin_at: Final = begin_at
        self.since: Final = since


class Starting(Value):
    """Resources are given and the launch is committed; nothing was seen of it yet."""

    __slots__ = ("run",)

    def __init__(self, *, run: Run) -> None:
        self.run: Final = run


class Running(Value):
    """Its `job.sh` was seen."""

    __slots__ = ("pauses", "run", "started")

    def __init__(self, *, run: Run, started: Started, pauses: Pauses = NEVER) -> None:
        self.run: Final = run
        self.started: Final = started
        self.pauses: Final = pauses


class Suspended(Value):
    """Stands still by its user's wish, and keeps what it has, perhaps without its CPUs. `pauses`: those before this."""

    __slots__ = ("pauses", "run", "since_at", "since_boot", "since_mono", "started", "without_cpus")

    def __init__(
        self,
        *,
        run: Run,
        started: Started,
        since_at: float,
        since_mono: float,
        since_boot: str,
        pauses: Pauses = NEVER,
        without_cpus: bool = False,
    ) -> None:
        self.run: Final = run
        self.started: Final = started
        self.since_at: Final = since_at
        self.since_mono: Final = since_mono
        self.since_boot: Final = since_boot
        self.pauses: Final = pauses
        self.without_cpus: Final = without_cpus  # they were given back


class Stopping(Value):
    """Must end: the stop ladder is at work. `why` is the reason that its end will carry (`STRAYS`: the command's)."""

    __slots__ = ("pauses", "run", "since_at", "since_boot", "since_mono", "started", "why")

    def __init__(
        self,
        *,
        run: Run,
        started: Started | None,
        why: str,
        since_at: float,
        since_mono: float,
        since_boot: str,
        pauses: Pauses = NEVER,
    ) -> None:
        self.run: Final = run
        self.started: Final = started
        self.why: Final = why
        self.since_at: Final = since_at
        self.since_mono: Final = since_mono
        self.since_boot: Final = since_boot
        self.pauses: Final = pauses


class Used(Value):
    """What an attempt used, as far as it was seen, and how that is known: `memory_mb` at its peak, `gpu_percent` the
    mean of `gpu_polls`, of its own GPUs. None: not known. What only samples tell is a floor.
    """

    __slots__ = ("cpu_seconds", "cpu_source", "gpu_percent", "gpu_polls", "memory_mb", "memory_source")

    def __init__(
        self,
        *,
        memory_mb: int | None = None,
        memory_source: str | None = None,
        cpu_seconds: float | None = None,
        cpu_source: str | None = None,
        gpu_percent: float | None = None,
        gpu_polls: int = 0,
    ) -> None:
        self.memory_mb: Final = memory_mb
        self.memory_source: Final = memory_source  # one of `SOURCES`, as the next
        self.cpu_seconds: Final = cpu_seconds
        self.cpu_source: Final = cpu_source
        self.gpu_percent: Final = gpu_percent
        self.gpu_polls: Final = gpu_polls


CGROUP, SHELL, SAMPLES = "cgroup", "shell", "samples"
SOURCES = (CGROUP, SHELL, SAMPLES)


class Ended(Value):
    """Final. `state` is one of `ENDED_STATES`; of `exit_code` and `signal` at most one is set."""

    __slots__ = (
        "attempt", "ended_at", "exit_code", "lingers", "paused", "reason", "run", "signal", "started_at", "state",
        "used",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 -- one argument per thing that an end tells
        self,
        *,
        state: str,
        ended_at: float,
        reason: str | None = None,
        run: Run | None = None,
        started_at: float | None = None,
        exit_code: int | None = None,
        signal: int | None = None,
        lingers: bool = False,
        attempt: int = 1,
        paused: float = 0.0,
        used: Used | None = None,
    ) -> None:
        self.state: Final = state
        self.ended_at: Final = ended_at
        self.reason: Final = reason
        self.run: Final = run  # None: it never had one
        self.started_at: Final = started_at
        self.exit_code: Final = exit_code
        self.signal: Final = signal
        self.attempt: Final = attempt  # of one without a run: the attempt that was queued; `last_attempt` is for all
        self.lingers: Final = lingers  # processes of it live on and keep its GPUs (`kill_strays = false`)
        self.paused: Final = paused  # seconds between its start and its end in which it stood still
        self.used: Final = used

    @property
    def last_attempt(self) -> int:
        """The attempt that this was the end of."""
        return self.attempt if self.run is None else self.run.attempt


Begun = Running | Suspended | Stopping  # it has its resources, and was started unless it was stopped before that
Phase = Queued | Starting | Begun | Ended

QUEUED, HELD, STARTING, RUNNING = "queued", "held", "starting", "running"
SUSPENDED, STOPPING = "suspended", "stopping"
FINISHED, FAILED, CANCELLED, TIMEOUT = "finished", "failed", "cancelled", "timeout"
ENDED_STATES = (FINISHED, FAILED, CANCELLED, TIMEOUT)
FAILURES = (FAILED, TIMEOUT)
STATES = (QUEUED, HELD, STARTING, RUNNING, SUSPENDED, STOPPING, *ENDED_STATES)
SHORT_STATES = dict(zip(STATES, ("PD", "H", "CF", "R", "S", "CG", "CD", "F", "CA", "TO"), strict=True))


class Job(Value):
    """Spec, wish and phase under one id. `array_id`: of the array or sweep that it is an element of (`array_task`)."""

    __slots__ = ("array_id", "id", "phase", "spec", "wish")

    def __init__(
        self,
        id: int,  # noqa: A002 -- the field's name
        spec: Spec,
        wish: Wish,
        phase: Phase,
        array_id: int | None = None,
    ) -> None:
        self.id: Final = id
        self.array_id: Final = array_id
        self.spec: Final = spec
        self.wish: Final = wish
        self.phase: Final = phase

    @property
    def state(self) -> str:
        """One of `STATES`: the phase, with held distinguished from queued by the wish."""
        match self.phase:
            case Queued():
                return HELD if self.wish.held and self.wish.cancelled_at is None else QUEUED
            case Starting():
                return STARTING
            case Running():
                return RUNNING
            case Suspended():
                return SUSPENDED
            case Stopping():
                return STOPPING
            case Ended(state=state):  # pragma: no branch -- exhaustive
                return state

    @property
    def wanted_state(self) -> str:
        """As `state`, but a queued job with a cancel wish already counts as cancelled, since it will not start."""
        return CANCELLED if self.wish.cancelled_at is not None and isinstance(self.phase, Queued) else self.state

    @property
    def is_waiting(self) -> bool:
        """Whether it is queued or held, and is to start."""
        return isinstance(self.phase, Queued) and self.wish.cancelled_at is None

    @property
    def is_settled(self) -> bool:
        """Whether it has ended, or will without having started."""
        return isinstance(self.phase, Ended) or self.wanted_state == CANCELLED

    @property
    def attempt(self) -> int:
        """The present or last attempt, from 1."""
        match self.phase:
            case Queued(attempt=attempt) | Ended(last_attempt=attempt):
                return attempt
            case _:
                return self.phase.run.attempt

    @property
    def latest_start(self) -> float | None:
        """When it must have started to end by its deadline: with a time limit, that much before; None without one."""
        spec = self.spec
        return None if spec.deadline is None else spec.deadline - (spec.time_limit or 0.0)

    @property
    def begin_at(self) -> float | None:
        """The earliest start: what was asked for; a retry may be later, and a run that is put off is, until somebody
        asks for another time.
        """
        asked = self.asked_begin
        if not isinstance(self.phase, Queued) or self.phase.begin_at is None:
            return asked
        if self.phase.attempt == 1:
            return self.phase.begin_at if asked == self.phase.since else asked
        return self.phase.begin_at if asked is None else max(asked, self.phase.begin_at)

    @property
    def asked_begin(self) -> float | None:
        """The earliest start by its user; the wish (`release --at`) takes precedence over the spec (`--begin`)."""
        return self.spec.begin_at if self.wish.begin_at is None else self.wish.begin_at

    @property
    def run(self) -> Run | None:
        """The current or last attempt."""
        return None if isinstance(self.phase, Queued) else self.phase.run

    @property
    def is_to_stand_still(self) -> bool:
        """Whether its user wants the present attempt suspended, whether or not it is yet."""
        run = self.run
        return run is not None and self.wish.suspended == run.attempt

    @property
    def series(self) -> int | None:
        """The id of the series that it is a run of, which is that of the first run."""
        repeat = self.spec.repeat
        return None if repeat is None else self.id if repeat.series is None else repeat.series

    @property
    def cpus(self) -> int:
        """The CPU slots that it has, if it is live: none of a suspended job that gave them back."""
        return 0 if isinstance(self.phase, Suspended) and self.phase.without_cpus else self.spec.cpus


def is_live(phase: Phase) -> bool:
    """Whether a phase holds resources."""
    return isinstance(phase, Starting | Begun)


def is_lent(directory: str, of_job: str) -> bool:
    """Whether a TMPDIR ends with the job whose directory for temporary files is `of_job`, if any."""
    return bool(of_job) and f"{directory}/".startswith(f"{of_job}/")


def is_own(name: str) -> bool:
    """Whether a variable is a job's own."""
    return name.startswith(OWN_PREFIXES) or name in OWN_NAMES


def session_name(job_id: int, attempt: int) -> str:
    """The tmux session of an attempt; the first, which is nearly always the only one, keeps the plain name."""
    return f"gflow-{job_id}" if attempt == 1 else f"gflow-{job_id}-{attempt}"
