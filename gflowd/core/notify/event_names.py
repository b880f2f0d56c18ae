"""The words of `--notify-on` and of `events` in gflow.toml, and which of them an event fits.

They are Slurm's (sbatch(1), --mail-type), the kinds of the journal, and the names that gflow's Rust original has.
"""

from __future__ import annotations

from gflowd.core.errors import Refused, meant
from gflowd.core.events.kinds import JOB_KINDS, MACHINE_KINDS
from gflowd.core.slurm.sbatch_semantics import EVENTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

EVERYTHING = "*"
NONE, ALL, END = "none", "all", "end"
ARRAY_TASKS = "array_tasks"
OF_ALL = ("begin", "end", "fail", "invalid_depend", "requeue", "stage_out")  # what ALL means in Slurm
TIME_MARKS = {"time_limit_50": 0.5, "time_limit_80": 0.8, "time_limit_90": 0.9}

ENDS = {"finished": "job_completed", "failed": "job_failed", "cancelled": "job_cancelled", "timeout": "job_timeout"}
OF_THE_ORIGINAL = {
    "gpu_appeared": "gpu_available", "gpu_recovered": "gpu_available", "gpu_undrained": "gpu_available",
    "reservation_made": "reservation_created", "daemon_started": "scheduler_online",
}  # fmt: skip

FOR_A_JOB = (*EVENTS, *JOB_KINDS, *ENDS.values(), EVERYTHING)
FOR_A_TABLE = tuple(dict.fromkeys((*FOR_A_JOB, *MACHINE_KINDS, *OF_THE_ORIGINAL.values())))


def parse(texts: Iterable[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """The words in `texts`, each once. Raises `Refused` for one that is not among `known`, and for none at all."""
    found = tuple(dict.fromkeys(text.strip().lower().replace("-", "_") for text in texts))
    wrong = next((word for word in found if word not in known), None if found else "")
    if wrong is not None:
        raise Refused(f"{wrong!r} is not an event{meant(wrong, known)}; the events are {', '.join(known)}")
    return found


def fitting(event: Mapping[str, Any]) -> frozenset[str]:
    """The words that `event` fits, ALL aside."""
    kind = event["kind"]
    words = {kind, EVERYTHING}
    if kind in OF_THE_ORIGINAL:
        words.add(OF_THE_ORIGINAL[kind])
    if kind == "job_started":
        words.add("begin")
    elif kind == "job_requeued":
        words.add("requeue")
    elif kind == "job_ended" and event.get("final", True):
        words |= _of_end(event)
    return frozenset(words)


def _of_end(event: Mapping[str, Any]) -> set[str]:
    state = event.get("state")
    words = {END, ENDS.get(state or "", END)}
    if state in ("failed", "timeout"):
        words.add("fail")
    if state == "timeout":
        words.add("time_limit")
    if state == "cancelled" and str(event.get("reason") or "").startswith("DependencyFailed"):
        words.add("invalid_depend")
    return words


def of_array(states: Mapping[str, int]) -> frozenset[str]:
    """The words that the end of a whole array fits, by how many of its jobs ended in each state."""
    words = {END, *(ENDS[state] for state in states if state in ENDS)}
    if not words.isdisjoint((ENDS["failed"], ENDS["timeout"])):
        words.add("fail")
    if ENDS["timeout"] in words:
        words.add("time_limit")
    return frozenset({"job_ended", EVERYTHING, *words})


def expanded(asked: Iterable[str]) -> frozenset[str]:
    """`asked` with ALL written out; NONE anywhere means none, as in Slurm."""
    words = set(asked)
    if NONE in words:
        return frozenset()
    return frozenset(words | set(OF_ALL) if ALL in words else words)


def told(asked: Iterable[str], event: Mapping[str, Any]) -> str | None:
    """The first of the words asked for that `event` fits, None for none of them."""
    fits = expanded(asked) & fitting(event)
    return min(fits, key=FOR_A_TABLE.index) if fits else None
