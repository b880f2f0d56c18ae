"""What Slurm's programs print, as values: the words with which they are asked, and how their lines are read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd.core.cluster import states
from gflowd.core.cluster.remote_observations import Nodes
from gflowd.core.cluster.states import Seen
from gflowd.core.cluster.submission import MARK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NONE = ("", "N/A", "(null)", "Unknown", "None assigned")

# The comment, which others may have written, comes last.
EPOCH = ("env", "SLURM_TIME_FORMAT=%s")  # times as seconds since the epoch
SQUEUE = (*EPOCH, "squeue", "--me", "--states=all", "--array", "--noheader", "--format=%A|%F|%K|%T|%N|%S|%e|%r|%k")
SACCT_FIELDS = "JobIDRaw,JobID,State,NodeList,Start,End,Reason"
NOT_FOUND = (126, 127)  # of a shell: there is no such program
NO_SACCT = re.compile(r"\S+: No such file")
SINFO = ("sinfo", "--noheader", "--Node", "--format=%c|%m|%l|%R|%t|%G")
CONFIG = ("scontrol", "show", "config")

_MIN_AGE = re.compile(r"^MinJobAge\s*=\s*([0-9]+)", re.MULTILINE)
_MAX_ARRAY = re.compile(r"^MaxArraySize\s*=\s*([0-9]+)", re.MULTILINE)
_GPU = re.compile(r"gpu(?::([A-Za-z][^:,()]*))?:([0-9]+)")
_LIMIT = re.compile(r"(?:([0-9]+)-)?(?:([0-9]+):)?([0-9]+):([0-9]+)")
DOWN = re.compile("down|drain|fail|inval|unk")


@dataclass(frozen=True, slots=True)
class Row:
    """A job of Slurm's: `task` is its index in an array, None outside of one; `mark` is ours, its comment."""

    raw_id: str
    given_id: str  # as sbatch has said it, of all of an array
    task: int | None
    mark: str
    seen: Seen


def jobs(text: str) -> Iterator[Row]:
    """The jobs in what `SQUEUE` has printed that may have a mark of ours."""
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) < 9 or not (mark := fields[-1]).startswith(MARK):
            continue
        raw_id, array_id, task, state, node, started, ended = fields[:7]
        reason = "|".join(fields[7:-1])
        element = int(task) if task.isdecimal() else None
        cluster_id = raw_id if element is None else f"{array_id}_{element}"
        seen = Seen(cluster_id, state, reason or "None", known(node), _time(started), _time(ended))
        yield Row(raw_id, array_id, element, mark, seen)


def is_waiting(seen: Seen) -> bool:
    """Whether it has not begun."""
    return seen.state in states.NOT_BEGUN or seen.state in states.HELD


def is_over(seen: Seen) -> bool:
    """Whether it has ended, by the cluster's word."""
    word = (seen.state.split() or [""])[0]
    return word in states.BY_WORD or word in states.BY_RECORD


def sacct(ids: list[str]) -> tuple[str, ...]:
    """The words that ask the accounting for jobs that the controller has forgotten."""
    return (
        *EPOCH, "sacct", "--noheader", "--parsable2", "--allocations", "--duplicates", f"--format={SACCT_FIELDS}",
        f"--jobs={','.join(ids)}",
    )  # fmt: skip


def has_no_accounting(status: int | None, complaint: str) -> bool:
    """Whether sacct has said, by its status and its words, that there is nothing to be asked."""
    return status in NOT_FOUND or "accounting storage is disabled" in complaint or NO_SACCT.match(complaint) is not None


def accounted(text: str) -> Mapping[str, Seen]:
    """What sacct has printed, by the ids of jobs as `123` or `123_4`; of several by one id the last."""
    found = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) == 7:
            _raw, job_id, state, node, started, ended, reason = fields
            found[job_id] = Seen(job_id, state, reason or "None", known(node), _time(started), _time(ended))
    return found


def max_array(text: str) -> int | None:
    """How large the index of an element may be, and one more, by `CONFIG`."""
    found = _MAX_ARRAY.search(text)
    return None if found is None else int(found[1])


def min_job_age(text: str) -> float | None:
    """For how many seconds the controller remembers a job that has ended, by `CONFIG`."""
    found = _MIN_AGE.search(text)
    return None if found is None else float(found[1])


def nodes(text: str, partition: str | None) -> tuple[Nodes, ...]:
    """The kinds of nodes that jobs may be sent to, by what `SINFO` has printed; without a partition, of all."""
    found: dict[Nodes, None] = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) < 6 or (partition is not None and fields[3] not in partition.split(",")):
            continue
        cpus, memory, limit, _name, state = fields[:5]
        if not cpus.isdecimal() or not memory.isdecimal() or DOWN.match(state):
            continue
        gpus = tuple((kind or None, int(count)) for kind, count in _GPU.findall("|".join(fields[5:])))
        found[Nodes(int(cpus), int(memory), gpus, seconds(limit))] = None
    return tuple(found)


def seconds(limit: str) -> float | None:
    """A time limit as Slurm prints it, `2-03:00:00`; None for an infinite one."""
    found = _LIMIT.fullmatch(limit)
    if found is None:
        return None
    days, hours, minutes, rest = (int(each or 0) for each in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + rest)


def known(word: str) -> str | None:
    """`word`, None where it says that nothing is known."""
    return None if word in NONE else word


def _time(word: str) -> float | None:
    return float(word) if word.isdecimal() else None
