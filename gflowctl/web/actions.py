"""What the page can do to jobs, always as the user who started it: cancel, hold, release, redo. Asks nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd.core.syntax import job_ids
from gflowd.core.syntax.plurals import noun

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gflowctl.api import Changes, Job, Queue


@dataclass(frozen=True, slots=True)
class Action:
    """`verb` as on a button, `done` as in a sentence about what was done, `what` it means."""

    verb: str
    done: str
    what: str
    is_grave: bool = False


ACTIONS = {
    "cancel": Action(
        "Cancel", "Cancelled", "A queued job is taken out of the queue. A running job is stopped, with all its "
        "processes; what it has not saved is lost.", is_grave=True,
    ),
    "hold": Action("Hold", "Held", "It does not start until it is released."),
    "release": Action("Release", "Released", "It may start again."),
    "redo": Action("Redo", "Redone", "A new job like it is queued: same command, script, environment and directory."),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Preview:
    """The ids of the jobs that would change, and what else there is to say."""

    ids: Sequence[int]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, in sentences; `label`: of the one job to show next, if it is one."""

    lines: list[str]
    label: str | None


class Actions:
    """Carries them out on one state directory."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def preview(self, what: str, labels: Sequence[str]) -> Preview:
        """What `act` would do now. Raises `GflowError`."""
        if what == "redo":
            return Preview([job.id for job in self._queue.jobs(labels)], [])
        changes = _changing(self._queue)[what](labels, dry_run=True)
        return Preview([job.id for job in changes.jobs], [*changes.notes, *_with_it(changes, "would be")])

    def act(self, what: str, labels: Sequence[str]) -> Done:
        """Does it. Raises `GflowError`, and then nothing was changed."""
        alone = labels[0] if len(labels) == 1 else None
        if what == "redo":
            made = self._queue.redo(labels)
            line = f"Queued {noun(len(made.ids), 'job')} {_span(made.ids)} like {', '.join(labels)}."
            return Done([line, *made.notes], str(made.id) if alone is not None else None)
        changes = _changing(self._queue)[what](labels)
        stopping = [job for job in changes.jobs if what == "cancel" and job.started_at is not None]
        plain = [job for job in changes.jobs if job not in stopping]
        lines = [f"{ACTIONS[what].done} {_named(plain)}."] if plain else []
        lines += [f"Stopping {_named(stopping)}."] if stopping else []
        return Done([*lines, *_with_it(changes, "are"), *changes.notes], alone)


def _changing(queue: Queue) -> dict[str, Callable[..., Changes]]:
    return {"cancel": queue.cancel, "hold": queue.hold, "release": queue.release}


def _with_it(changes: Changes, are: str) -> list[str]:
    """What falls with jobs that are cancelled."""
    lines = []
    if changes.cascaded:
        named = f"{noun(len(changes.cascaded), 'Job')} {job_ids.show(list(changes.cascaded))}"
        lines.append(f"{named}, which can then never run, {_number(are, changes.cascaded)} cancelled too.")
    if changes.stuck:
        named = f"{noun(len(changes.stuck), 'Job')} {job_ids.show(list(changes.stuck))}"
        lines.append(f"{named} can then never run, and {noun(len(changes.stuck), 'stays', 'stay')} queued.")
    return lines


def _number(are: str, found: Sequence[int]) -> str:
    return "is" if are == "are" and len(found) == 1 else are


def _named(found: Sequence[Job]) -> str:
    return f"{noun(len(found), 'job')} {job_ids.show([job.id for job in found])}"


def _span(ids: range) -> str:
    return str(ids[0]) if len(ids) == 1 else f"{ids[0]}-{ids[-1]}"
