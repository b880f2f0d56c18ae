"""How Slurm's programs are called on a cluster, with what is put before them, and what sinfo says of its partitions."""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gflowd.core.cluster.cluster_settings import Cluster

SHELLS = ("ssh", "gsissh", "autossh", "sshpass")  # they give what they are told to a shell, with blanks between
PARTITIONS = ("sinfo", "--noheader", "--format=%R|%a|%D|%t|%c|%m|%l|%G")


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of a partition in one state, and how large each is at least; `gpus` and `time_limit` as Slurm says."""

    partition: str
    state: str
    count: int
    cpus: str
    memory_mb: str
    time_limit: str
    gpus: str | None


def words(cluster: Cluster, program: Sequence[str]) -> tuple[str, ...]:
    """The whole command."""
    prefix = cluster.command_prefix
    by_shell = any(posixpath.basename(word) in SHELLS for word in prefix)
    return (*prefix, *(map(shlex.quote, program) if by_shell else program))


def submission(cluster: Cluster) -> tuple[str, ...]:
    """The options of sbatch that the configuration of a cluster asks for."""
    return (*places(cluster), *cluster.options)


def places(cluster: Cluster, project: str | None = None) -> Iterator[str]:
    """Those of them that say where jobs go, and on whose account: the cluster's, unless a job has a project."""
    asked = {"partition": cluster.partition, "account": project or cluster.account, "qos": cluster.qos}
    return (f"--{name}={value}" for name, value in asked.items() if value is not None)


def partitions(text: str) -> Iterator[Nodes]:
    """What `PARTITIONS` has printed."""
    for line in text.splitlines():
        fields = line.split("|", 7)
        if len(fields) == 8 and fields[2].isdecimal():
            name, up, count, state, cpus, memory, limit, gpus = (field.strip() for field in fields)
            shown = state if up == "up" else f"{state} (partition {up})"
            yield Nodes(name, shown, int(count), cpus, memory, limit, None if gpus == "(null)" else gpus)
