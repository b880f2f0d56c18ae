"""The kinds of events, and their ids. An event is a JSON object with `id`, `at`, `kind` and the fields of its kind."""

from __future__ import annotations

from gflowd.core.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Event = dict[str, Any]
    Id = tuple[int, int]  # the scheduler's generation, and the number of the event in it; they compare as integers

JOB_SUBMITTED, JOB_UPDATED, JOB_HELD, JOB_RELEASED = "job_submitted", "job_updated", "job_held", "job_released"
JOB_STARTED, JOB_SUSPENDED, JOB_UNSUSPENDED = "job_started", "job_suspended", "job_unsuspended"
JOB_STOPPING, JOB_ENDED, JOB_REQUEUED = "job_stopping", "job_ended", "job_requeued"
JOB_KINDS = (
    JOB_SUBMITTED, JOB_UPDATED, JOB_HELD, JOB_RELEASED, JOB_STARTED, JOB_SUSPENDED, JOB_UNSUSPENDED, JOB_STOPPING,
    JOB_ENDED, JOB_REQUEUED,
)  # fmt: skip
GPU_APPEARED, GPU_VANISHED, GPU_FAULTY, GPU_RECOVERED = "gpu_appeared", "gpu_vanished", "gpu_faulty", "gpu_recovered"
GPU_DRAINED, GPU_UNDRAINED = "gpu_drained", "gpu_undrained"
RESERVATION_MADE, RESERVATION_CHANGED = "reservation_made", "reservation_changed"
RESERVATION_CANCELLED = "reservation_cancelled"
RESERVATION_BEGAN, RESERVATION_ENDED = "reservation_began", "reservation_ended"
DAEMON_STARTED, DAEMON_STOPPED, WORKER_RESTARTED = "daemon_started", "daemon_stopped", "worker_restarted"
MACHINE_KINDS = (
    GPU_APPEARED, GPU_VANISHED, GPU_FAULTY, GPU_RECOVERED, GPU_DRAINED, GPU_UNDRAINED, RESERVATION_MADE,
    RESERVATION_CHANGED, RESERVATION_CANCELLED, RESERVATION_BEGAN, RESERVATION_ENDED, DAEMON_STARTED, DAEMON_STOPPED,
    WORKER_RESTARTED,
)  # fmt: skip
KINDS = (*JOB_KINDS, *MACHINE_KINDS)
# The first words of kinds, each of which stands for all of its kinds.
FAMILIES = ("job", "gpu", "reservation", "daemon", "worker")

INNER = ("digest", "instance", "notify")  # fields for gflow itself
LONGEST = 18  # digits
FIRST: Id = (0, 0)  # before all events


def encode_id(event_id: Id) -> str:
    """`17-204`."""
    return f"{event_id[0]}-{event_id[1]}"


def decode_id(text: str) -> Id:
    """The id that `encode_id` wrote. Raises ValueError for anything else."""
    generation, dash, number = text.partition("-")
    if not (dash and _is_count(generation) and _is_count(number)):
        raise ValueError(f"{text[:40]!r} is not the id of an event")
    return int(generation), int(number)


def _is_count(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= LONGEST


def chosen(words: Iterable[str]) -> frozenset[str]:
    """The kinds that `words` mean: kinds, or families of them. Raises `Refused`."""
    found: set[str] = set()
    for word in words:
        of_family = [kind for kind in KINDS if kind.startswith(f"{word}_")] if word in FAMILIES else []
        if word not in KINDS and not of_family:
            raise Refused(
                f"unknown kind of event {word[:40]!r}; the kinds are {', '.join(FAMILIES)}, {', '.join(KINDS)}"
            )
        found.update(of_family or [word])
    return frozenset(found)


def shown(event: Mapping[str, Any]) -> Event:
    """An event without what is for gflow itself."""
    return {name: value for name, value in event.items() if name not in INNER}
