"""The reasons of a job's state; users and scripts match on them (`NODELIST(REASON)`)."""

BEGIN_TIME = "BeginTime"
RESOURCES = "Resources"
DEPENDENCY = "Dependency"
RETRY_DELAY = "RetryDelay"
DRAINED = "Drained"
GROUP = "Group"
QUOTA = "Quota"
PRIORITY = "Priority"
RESERVATION = "Reservation"
NEVER = "Never"  # followed by a colon and the cause
NEVER_RESERVATION = f"{NEVER}:{RESERVATION}"
NEVER_QUOTA = f"{NEVER}:{QUOTA}"
GPU_UNAVAILABLE = "GpuUnavailable"
DAEMON_DOWN = "DaemonDown"
CLUSTER_UNREACHABLE = "ClusterUnreachable"  # nothing is known of what is there
CLUSTER = "Cluster"  # followed by a colon and its own reason
CLUSTER_FULL = f"{CLUSTER}:MaxPending"
CLUSTER_UNKNOWN = f"{CLUSTER}:NotConfigured"
SCHEDULING = "Scheduling"  # the scheduler has not decided on it yet
HELD_BY_USER = "JobHeldUser"

NON_ZERO_EXIT = "NonZeroExit"
ZOMBIE = "Zombie"
TIME_LIMIT = "TimeLimit"
OUT_OF_MEMORY = "OutOfMemory"
IDLE_GPUS = "IdleGpus"
NO_OUTPUT = "NoOutput"
DEADLINE = "Deadline"
TERMINAL_INPUT = "TerminalInput"
TERMINAL_LOST = "TerminalLost"
CANCELLED_BY_USER = "CancelledByUser"
CANCELLED_ELSEWHERE = "CancelledElsewhere"  # by the cluster's own means
NODE_FAIL = "NodeFail"
PREEMPTED = "Preempted"
COMPLETING = "Completing"  # the cluster clears up after it
STRAYS = "Strays"
REQUEUED = "Requeued"
UNKILLABLE = "Unkillable"
MAX_FAILURES = "MaxFailures"  # followed by a colon and the number

LONGEST_WHY, WHY_END = 300, 100  # characters of a cause in others' words; of its end, where it is longer


def name(why: str) -> str:
    """A reason without what follows its colon: `Never`, `MaxFailures`, `LaunchFailed`."""
    return why.partition(":")[0]


def cluster(why: str) -> str:
    """`Cluster:Priority`: why a job waits on its cluster, in that one's word."""
    return f"{CLUSTER}:{why}"


def signalled(number: int) -> str:
    """`Signaled:SIGKILL`."""
    from gflowd.core.syntax import signal_names  # few jobs end so

    return f"Signaled:{signal_names.name(number)}"


def launch_failed(why: str) -> str:
    """`LaunchFailed:<why>`, clipped."""
    return f"LaunchFailed:{_clipped(why)}"


def dependency_failed(job_id: int) -> str:
    """`DependencyFailed:42`."""
    return f"DependencyFailed:{job_id}"


def max_failures(count: int) -> str:
    """`MaxFailures:3`: this many others of its array failed."""
    return f"{MAX_FAILURES}:{count}"


def rejected(why: str) -> str:
    """`Rejected:<why>`, clipped."""
    return f"Rejected:{_clipped(why)}"


def _clipped(why: str) -> str:
    """Without the middle where it is very long, as with the path of a file, after which the cause may be named."""
    return why if len(why) <= LONGEST_WHY else f"{why[: LONGEST_WHY - WHY_END - 3]}...{why[-WHY_END:]}"
