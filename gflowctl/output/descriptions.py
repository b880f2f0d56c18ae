"""Describes facts about jobs in words: resources, reasons, command lines."""

from __future__ import annotations

from gflowd.core.errors import BadUsage
from gflowd.core.job.model import AUTO, CANCELLED, FAILED, FINISHED, SHORT_STATES, STATES, TIMEOUT
from gflowd.core.syntax import durations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gflowd.core.job.model import EarlySignal, GitState, Job, Spec
    from gflowd.core.job.retry_policy import Retry

REASONS = {
    "BeginTime": "its begin time has not been reached",
    "Dependency": "a job it depends on has not finished yet",
    "RetryDelay": "it will be retried after a delay",
    "Drained": "the machine is drained; gflowctl resume starts jobs again",
    "Priority": "a job ahead of it comes first",
    "Reservation": "GPUs it needs are reserved",
    "Quota": "its user or project is at its quota",
    "Never": "it can never start as things stand",
    "Resources": "not enough GPUs, CPUs or memory are free",
    "GpuUnavailable": "the GPUs it could use are not available now",
    "Scheduling": "gflowd has not decided on it yet",
    "DaemonDown": "gflowd is not running; start it with gflowd start",
    "JobHeldUser": "held; gflowctl release lets it start",
    "NonZeroExit": "the command ended with an exit code other than 0",
    "Zombie": "it vanished without an exit code",
    "TimeLimit": "it exceeded its time limit",
    "IdleGpus": "its GPUs are idle",
    "NoOutput": "it wrote no output for too long",
    "Deadline": "it could no longer end by its deadline",
    "TerminalInput": "it waits for input from its terminal; open it with gflowctl attach",
    "TerminalLost": "its gflowctl run was lost, and it ended with that",
    "OutOfMemory": "it used more memory than it asked for",
    "CancelledByUser": "cancelled by a user",
    "DependencyFailed": "a dependency can no longer be satisfied",
    "Group": "its array is at its concurrency limit",
    "MaxFailures": "too many other jobs of its array failed",
    "Requeued": "it will be run again",
    "Cluster": "it waits on its cluster",
    "ClusterUnreachable": "its cluster does not answer; nothing is known of it until that does",
    "CancelledElsewhere": "cancelled on its cluster, not by gflow",
    "NodeFail": "the node of the cluster that it ran on failed",
    "Preempted": "its cluster made room for another job",
    "Completing": "its cluster clears up after it",
    "Strays": "its command has ended, but processes it left behind are still running",
    "Unkillable": "its processes survive even SIGKILL",
    "LaunchFailed": "it could not be launched",
    "Rejected": "it cannot run on this machine",
    "Signaled": "a signal killed it",
}
EXACT = {
    "Cluster:MaxPending": "as many jobs wait on its cluster as may (max_pending)",
    "Cluster:NotConfigured": "gflow.toml has no table of its cluster",
}
NEVER = {
    "Never:Reservation": "no gap between repeating reservations is long enough",
    "Never:Quota": "it asks for more than the quota of its user or project",
}
SHORT = {short: state for state, short in SHORT_STATES.items()}
SLURM_STATES = {
    "pending": "queued", "configuring": "starting", "completing": "stopping", "completed": FINISHED,
    "complete": FINISHED,
    "canceled": CANCELLED, "failure": FAILED, "timedout": TIMEOUT,
}  # fmt: skip


def states(words: Iterable[str] | None) -> Iterator[str]:
    """The states that `words` mean: our names, short codes, or Slurm's names. Raises `BadUsage`."""
    for word in words or ():
        name = SHORT.get(word.upper(), word.lower())
        name = SLURM_STATES.get(name, name)
        if name not in STATES:
            raise BadUsage(f"unknown state {word!r}; the states are {', '.join(STATES)}")
        yield name


def either(words: Sequence[str]) -> str:
    """`queued, held or running`."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def notification(spec: Spec) -> str:
    """`ada@example.org, https://example.org/... of end, fail`."""
    from gflowd.core.syntax import addresses

    whom = [spec.notify_email] if spec.notify_email else [] if spec.notify else [spec.user]
    whom += map(addresses.redacted, spec.notify)
    return f"{', '.join(whom)} of {', '.join(spec.notify_on) or 'nothing'}"


def resources(spec: Spec) -> str:
    """`2 GPUs (a100, 40G), 1 CPU, 24G memory, 2:00:00 at most`."""
    from gflowd.core.syntax import memory
    from gflowd.core.syntax.plurals import count

    kind = [spec.gpu_type] if spec.gpu_type is not None else []
    if spec.gpu_memory_mb is not None:
        kind.append(f"{memory.show(spec.gpu_memory_mb)} shared" if spec.shared else memory.show(spec.gpu_memory_mb))
    gpus = count(spec.gpus, "GPU") + (f" ({', '.join(kind)})" if kind else "")
    parts = [gpus, count(spec.cpus, "CPU")]
    if spec.memory_mb is not None:
        parts.append(f"{memory.show(spec.memory_mb)} memory")
    if spec.time_limit is not None:
        parts.append(f"{durations.clock(spec.time_limit)} at most")
    return ", ".join(parts)


def retries(retry: Retry) -> str:
    """`3 at most, after failure, zombie; 0:30 later, then each time 2 times as long`."""
    said = f"{retry.max_retries} at most, after {', '.join(map(str, retry.on))}"
    if retry.delay:
        said += f"; {durations.clock(retry.delay)} later"
        if retry.factor != 1:
            said += f", then each time {retry.factor:g} times as long"
    return said


def early_signal(early: EarlySignal) -> str:
    """`SIGUSR1 60 s before the time limit, to the command alone`."""
    from gflowd.core.syntax import signal_names

    whom = ", to the command alone" if early.command_only else ""
    return f"{signal_names.name(early.number)} {early.before:g} s before the time limit{whom}"


def cluster(job: Job) -> str | None:
    """`hpc, there job 123 on n2`; None for a job of this machine alone."""
    run, wanted = job.run, job.spec.cluster
    if run is None:
        return "auto: one that can have it, where it does not start here in time" if wanted == AUTO else wanted
    if run.cluster is None:
        return None if wanted is None else f"{wanted}, but it started on this machine"
    there = f", there job {run.cluster_id}" if run.cluster_id is not None else ", which has not named it yet"
    by = " (auto: it could not start here in time)" if wanted == AUTO else ""
    return f"{run.cluster}{by}{there}{f' on {run.node}' if run.node is not None else ''}"


def git_state(state: GitState) -> str:
    """`COMMIT on main, clean`."""
    how = {True: "modified", False: "clean", None: "not known whether modified"}[state.dirty]
    if state.commit is None:
        known = state.branch is not None
        return f"{state.branch}, without a commit, {how}" if known else "a work tree whose commit is not known"
    where = ", detached" if state.branch is None else f" on {state.branch}"
    return f"{state.commit}{where}, {how}"


def reason(word: str) -> str:
    """A reason with what it means: `Priority: a job ahead of it comes first`."""
    said = REASONS.get(word.split(":", maxsplit=1)[0])
    if word in EXACT:
        said = EXACT[word]
    if word in NEVER:
        said = f"{said}: {NEVER[word]}"
    return f"{word} ({said})" if said else word


def is_hidden(words: Sequence[str]) -> bool:
    """Whether a command is another user's where jobs are private."""
    if len(words) != 1 or not words[0].startswith("("):
        return False
    from gflowd.core.gateway.redaction import HIDDEN

    return words[0] == HIDDEN


def command_line(words: Sequence[str]) -> str:
    """A command as one could type it; what is hidden says so."""
    if is_hidden(words):
        return words[0]
    import shlex

    return shlex.join(words)
