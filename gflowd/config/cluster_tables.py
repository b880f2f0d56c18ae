"""The tables `[cluster.NAME]`: their keys, and the clusters that they make. Knows nothing of Slurm."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gflowd.config import value_types
from gflowd.config.value_types import ValueType
from gflowd.core.cluster.cluster_settings import Cluster
from gflowd.core.errors import Refused
from gflowd.core.job.record_rules import CLUSTER_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

SECTION = "cluster"
NOT_NAMES = ("auto", "none", "local")  # words of --cluster


def words() -> ValueType:
    """The words of a command: a list of texts, or one text with quotes as in a shell."""

    def check(value: object) -> tuple[str, ...]:
        try:
            found = shlex.split(value) if isinstance(value, str) else value
        except ValueError:
            found = None
        if not isinstance(found, list) or not all(isinstance(each, str) and each.isprintable() for each in found):
            raise Refused(f"{value_types.shown(value)} is not a list of words")
        return tuple(found)

    return ValueType(check)


def _one_word() -> ValueType:
    def check(value: object) -> str:
        if not isinstance(value, str) or not value.isprintable() or len(value.split()) != 1:
            raise Refused(f"{value_types.shown(value)} is not one word")
        return value.strip()

    return ValueType(check, unset="none")


@dataclass(frozen=True)
class Key:
    """One key of such a table; `written`: its default as TOML writes it."""

    kind: ValueType
    written: str
    about: str


# fmt: off
KEYS = {
    "engine": Key(value_types.choice("slurm"), '"slurm"', "What runs the cluster's jobs."),
    "directory": Key(value_types.directory(), '"/shared/gflow"',
                     "A directory of yours that this machine and all nodes see; jobs have their files below it."),
    "partition": Key(_one_word(), '"none"', "The partition for jobs; none: the cluster's default."),
    "account": Key(_one_word(), '"none"', "The account of jobs without a project."),
    "qos": Key(_one_word(), '"none"', "The quality of service of jobs."),
    "options": Key(words(), "[]", 'Further options of sbatch, e.g. ["--constraint=a100"].'),
    "poll_interval": Key(value_types.duration(least=0.1), "5", "How often the cluster is asked how jobs fare."),
    "max_pending": Key(value_types.whole(least=1), "1000",
                       "How many jobs at most wait there for their start; the others wait here."),
    "after": Key(value_types.duration(unset="never"), '"10m"',
                 "How long a job of --cluster auto waits for this machine before it goes there, or never."),
    "command_prefix": Key(words(), "[]",
                          'What Slurm\'s programs are called with, e.g. ["ssh", "login"], where they are not here.'),
}
# fmt: on


def is_name(name: str) -> bool:
    """Whether a cluster may be called so."""
    return CLUSTER_NAME.fullmatch(name) is not None and name not in NOT_NAMES


def made(name: str, values: Mapping[str, Any]) -> Cluster:
    """The cluster of a table; raises `Refused` for one that says too little."""
    if not is_name(name):
        raise Refused(
            f"[cluster.{name}]: not a cluster's name (letters, digits, '_' and '-'; not {', '.join(NOT_NAMES)})"
        )
    if "directory" not in values:
        raise Refused(f"[cluster.{name}]: directory is missing: one that this machine and the nodes see")
    return Cluster(name=name, **values)
