"""The columns of squeue: the title and the content of each, by its letter and by its name. Widths are the user's."""

from __future__ import annotations

from gflowctl.slurm.report import facts
from gflowctl.slurm.report.facts import NULL
from gflowd.core.job.model import Queued
from gflowd.core.slurm import job_states, site
from gflowd.core.syntax import durations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gflowctl.slurm.report.facts import Facts, Row

    Tell = Callable[[Facts, Row], str]
    Field = tuple[str, Tell]  # title, content

USUAL = "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R"
LONG = "%.18i %.9P %.8j %.8u %.8T %.10M %.9l %.6D %R"
START = "%.18i %.9P %.8j %.8u %.2t %.19S %.6D %20Y %R"
STEPS = "%.15i %.8j %.9P %.8u %.9M %N"
DURATIONS = ("M", "l", "L", "timeused", "timelimit", "timeleft")  # which Slurm does not cut
PRIORITY_UNIT = 2.0**-32  # of %p


def _always(text: str) -> Tell:
    return lambda _facts, _row: text


def _time(told: Facts, row: Row) -> str:
    return durations.clock(told.seconds(row))


def _time_left(told: Facts, row: Row) -> str:
    limit = row.job.spec.time_limit
    return "UNLIMITED" if limit is None else durations.clock(limit - int(told.seconds(row)))


def _time_limit(_told: Facts, row: Row) -> str:
    limit = row.job.spec.time_limit
    return "UNLIMITED" if limit is None else durations.clock(limit)


def _end(told: Facts, row: Row) -> str:
    if row.state not in job_states.OVER and row.job.spec.time_limit is None and told.start(row) is not None:
        return "NONE"
    return told.stamp(told.end(row))


def _pending_seconds(told: Facts, row: Row) -> str:
    started = told.started(row)
    until = told.end(row) if started is None and row.state in job_states.OVER else started
    return str(max(0, int((told.view.now if until is None else until) - row.job.spec.submitted_at)))


def _restarts(_told: Facts, row: Row) -> str:
    from gflowctl.view import jobs

    return str(jobs.attempt(row.job) - 1)


def _tasks(_told: Facts, row: Row) -> str:
    tasks = row.job.spec.tasks
    return str(1 if tasks is None else tasks.count or tasks.per_node or 1)


def _cpus_per_task(_told: Facts, row: Row) -> str:
    tasks = row.job.spec.tasks
    return str(row.job.spec.cpus if tasks is None else tasks.cpus or 1)


def _requeue(_told: Facts, row: Row) -> str:
    return "1" if row.job.spec.slurm else "0"


LETTERS: dict[str, Field] = {
    "a": ("ACCOUNT", lambda _, row: row.job.spec.project or NULL),
    "A": ("JOBID", lambda _, row: str(row.job.id)),
    "b": ("TRES_PER_NODE", lambda told, row: told.tres_per_node(row)),
    "B": ("EXEC_HOST", lambda told, row: told.nodes(row) or "n/a"),
    "c": ("MIN_CPUS", _cpus_per_task),
    "C": ("CPUS", lambda _, row: str(row.job.spec.cpus)),
    "d": ("MIN_TMP_DISK", _always("0")),
    "D": ("NODES", _always("1")),
    "e": ("END_TIME", _end),
    "E": ("DEPENDENCY", lambda told, row: told.dependency(row)),
    "f": ("FEATURES", _always(NULL)),
    "F": ("ARRAY_JOB_ID", lambda _, row: str(row.job.array_id or row.job.id)),
    "g": ("GROUP", lambda _, row: facts.group(row.job.spec.user)[1]),
    "G": ("GROUP", lambda _, row: facts.group(row.job.spec.user)[0]),
    "h": ("OVER_SUBSCRIBE", lambda _, row: "NO" if row.job.spec.exclusive else "OK"),
    "H": ("SOCKETS_PER_NODE", _always("*")),
    "i": ("JOBID", lambda told, row: told.label(row)),
    "I": ("CORES_PER_SOCKET", _always("*")),
    "j": ("NAME", lambda told, row: told.name(row)),
    "J": ("THREADS_PER_CORE", _always("*")),
    "k": ("COMMENT", lambda _, row: row.job.spec.comment or NULL),
    "K": ("ARRAY_TASK_ID", lambda told, row: told.indices(row) or "N/A"),
    "l": ("TIME_LIMIT", _time_limit),
    "L": ("TIME_LEFT", _time_left),
    "m": ("MIN_MEMORY", lambda _, row: facts.memory(row.job.spec.memory_mb) if row.job.spec.memory_mb else "0"),
    "M": ("TIME", _time),
    "n": ("REQ_NODES", _always("")),
    "N": ("NODELIST", lambda told, row: told.nodes(row)),
    "o": ("COMMAND", lambda told, row: told.command(row)),
    "O": ("CONTIGUOUS", _always("0")),
    "p": ("PRIORITY", lambda _, row: f"{row.job.spec.priority * PRIORITY_UNIT:.14f}"),
    "P": ("PARTITION", _always(site.PARTITION)),
    "q": ("QOS", _always(site.QOS)),
    "Q": ("PRIORITY", lambda _, row: str(row.job.spec.priority)),
    "r": ("REASON", lambda told, row: told.reason(row)),
    "R": ("NODELIST(REASON)", lambda told, row: told.nodes_or_reason(row)),
    "s": ("", _always("")),
    "S": ("START_TIME", lambda told, row: told.stamp(told.start(row))),
    "t": ("ST", lambda _, row: job_states.SHORT[row.state]),
    "T": ("STATE", lambda _, row: row.state),
    "u": ("USER", lambda _, row: row.job.spec.user),
    "U": ("UID", lambda _, row: facts.uid(row.job.spec.user)),
    "v": ("RESERVATION", _always(NULL)),
    "V": ("SUBMIT_TIME", lambda told, row: told.stamp(row.job.spec.submitted_at)),
    "w": ("WCKEY", _always(NULL)),
    "W": ("LICENSES", _always(NULL)),
    "x": ("EXC_NODES", _always("")),
    "X": ("CORE_SPEC", _always("N/A")),
    "y": ("NICE", _always("0")),
    "Y": ("SCHEDNODES", lambda told, row: told.node if is_queued(row) and told.start(row) is not None else NULL),
    "z": ("S:C:T", _always("*:*:*")),
    "Z": ("WORK_DIR", lambda _, row: row.job.spec.cwd),
}
_SAME = {  # names of --Format for the same as a letter
    "account": "a", "jobid": "A", "batchhost": "B", "mincpus": "c", "numcpus": "C", "mintmpdisk": "d",
    "numnodes": "D", "dependency": "E", "feature": "f", "arrayjobid": "F", "groupname": "g", "groupid": "G",
    "oversubscribe": "h", "shared": "h", "sockets": "H", "jobarrayid": "i", "cores": "I", "name": "j", "threads": "J",
    "comment": "k", "arraytaskid": "K", "timelimit": "l", "timeleft": "L", "minmemory": "m", "timeused": "M",
    "reqnodes": "n", "nodelist": "N", "command": "o", "contiguous": "O", "priority": "p", "partition": "P", "qos": "q",
    "prioritylong": "Q", "reason": "r", "reasonlist": "R", "selectjobinfo": "s", "starttime": "S", "statecompact": "t",
    "state": "T", "username": "u", "userid": "U", "reservation": "v", "submittime": "V", "wckey": "w", "licenses": "W",
    "corespec": "X", "nice": "y", "schednodes": "Y", "sct": "z", "workdir": "Z", "tres-per-node": "b",
}  # fmt: skip
NAMES: dict[str, Field] = {
    **{name: LETTERS[letter] for name, letter in _SAME.items()},
    "accruetime": ("ACCRUE_TIME", lambda told, row: told.stamp(told.eligible(row))),
    "admin_comment": ("ADMIN_COMMENT", _always(NULL)),
    "batchflag": ("BATCH_FLAG", _always("1")),
    "cluster": ("CLUSTER", _always(site.CLUSTER)),
    "cpus-per-task": ("CPUS_PER_TASK", _cpus_per_task),
    "deadline": ("DEADLINE", lambda told, row: told.stamp(row.job.spec.deadline)),
    "eligibletime": ("ELIGIBLE_TIME", lambda told, row: told.stamp(told.eligible(row))),
    "endtime": ("END_TIME", lambda told, row: told.stamp(told.end(row))),
    "exc_nodes": ("EXC_NODES", _always("")),
    "maxcpus": ("MAX_CPUS", lambda _, row: str(row.job.spec.cpus)),
    "maxnodes": ("MAX_NODES", _always("1")),
    "mintime": ("TIME_MIN", _always("0:00")),
    "numtasks": ("TASKS", _tasks),
    "pendingtime": ("PENDING_TIME", _pending_seconds),
    "preempttime": ("PREEMPT_TIME", _always("N/A")),
    "requeue": ("REQUEUE", _requeue),
    "restartcnt": ("RESTART_COUNT", _restarts),
    "stderr": ("STDERR", lambda told, row: told.output(row, row.job.spec.error or row.job.spec.output)),
    "stdin": ("STDIN", lambda _, row: row.job.spec.input or "/dev/null"),
    "stdout": ("STDOUT", lambda told, row: told.output(row, row.job.spec.output)),
    "system_comment": ("SYSTEM_COMMENT", _always(NULL)),
    "tres-alloc": ("TRES_ALLOC", lambda told, row: told.tres(row)),
    "tres": ("TRES_ALLOC", lambda told, row: told.tres(row)),
    "tres-per-job": ("TRES_PER_JOB", _always("N/A")),
    "tres-per-task": ("TRES_PER_TASK", _always("N/A")),
    "tres-per-socket": ("TRES_PER_SOCKET", _always("N/A")),
    "gres": ("TRES_PER_NODE", LETTERS["b"][1]),
}
STEP_LETTERS: dict[str, Field] = {  # of a job's batch step
    "i": ("STEPID", lambda told, row: f"{told.label(row)}.batch"),
    "j": ("NAME", _always("batch")),
    **{letter: LETTERS[letter] for letter in "APNuMSlU"},
}


def key(letter: str) -> Callable[[Facts, Row], object]:
    """By what --sort orders; numbers by their size."""
    numbers: dict[str, Callable[[Facts, Row], object]] = {
        "A": lambda _, row: row.job.id,
        "c": lambda _, row: row.job.spec.cpus,
        "C": lambda _, row: row.job.spec.cpus,
        "D": lambda _, _row: 1,
        "e": lambda told, row: told.end(row) or float("inf"),
        "i": lambda _, row: row.job.id,
        "l": lambda _, row: row.job.spec.time_limit or float("inf"),
        "L": lambda told, row: (row.job.spec.time_limit or float("inf")) - told.seconds(row),
        "m": lambda _, row: row.job.spec.memory_mb or 0,
        "M": lambda told, row: told.seconds(row),
        "p": lambda _, row: row.job.spec.priority,
        "Q": lambda _, row: row.job.spec.priority,
        "S": lambda told, row: told.start(row) or float("inf"),
        "t": lambda _, row: job_states.ORDER[row.state],
        "T": lambda _, row: job_states.ORDER[row.state],
        "V": lambda _, row: row.job.spec.submitted_at,
    }
    found = numbers.get(letter)
    return LETTERS[letter][1] if found is None else found


def is_queued(row: Row) -> bool:
    """Whether it waits to be started."""
    return isinstance(row.job.phase, Queued) and row.state == "PENDING"
