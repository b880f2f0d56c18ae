"""What `gflowctl doctor` checks in the records of the queue, compared with the daemon, the clock and the files."""

from __future__ import annotations

import os
import time

from gflowctl.admin import sessions
from gflowctl.admin.checks import OK, WARN, Finding
from gflowctl.context import mtime_ns
from gflowctl.machine import drain as draining
from gflowctl.view.views import View
from gflowd import paths
from gflowd.core.errors import SystemFailed
from gflowd.core.job.model import TMUX
from gflowd.core.job.records import HEADER, PHASE, RUNNING, SPEC, STOPPING, SUSPENDED, is_queued, phase_name
from gflowd.core.syntax import job_ids
from gflowd.core.syntax.plurals import count, noun
from gflowd.effects import daemon, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from gflowctl.admin.checks import Check
    from gflowctl.context import Context

SLACK = 60.0  # seconds that a clock may be behind the last record
YEAR = 366 * 86400.0
MOST_NAMED = 20


def machine(context: Context) -> Iterator[Finding]:
    """The queue was last used here."""
    theirs = context.store.read().of(HEADER).get(0, {}).get("machine")
    if theirs not in (None, paths.machine()):
        remedy = "if gflow no longer runs there: gflowd start --adopt"
        yield Finding(WARN, f"the queue was last used on another machine ({theirs})", remedy)


def clock(context: Context) -> Iterator[Finding]:
    """The clock is after the last record, but not by years."""
    fold = context.store.read()
    records: list[Any] = [*fold.of(SPEC).values(), *fold.of(PHASE).values()]
    last = max((at for record in records for at in _times(record)), default=None)
    if last is None:
        return
    ahead = time.time() - last
    if ahead < -SLACK:
        remedy = "set the clock; begin times and reservations depend on it"
        yield Finding(WARN, f"the clock is {-ahead / 3600:.1f} h behind the last record of the queue", remedy)
    elif ahead > YEAR:
        remedy = "check `date` before starting gflowd; a wrong clock makes begin times and reservations expire"
        yield Finding(WARN, f"the clock is {ahead / 86400:.0f} days after the last record of the queue", remedy)


def _times(record: Any) -> Iterator[float]:
    for name in ("submitted_at", "ended_at"):
        at = record.get(name) if isinstance(record, dict) else None
        if isinstance(at, (int, float)):
            yield at


def drained(context: Context) -> Iterator[Finding]:
    """Jobs may start."""
    if (drain := draining.of(context.store.read())) is not None:
        yield Finding(WARN, f"no job is started: drained {draining.words(drain, context.clock)}", "gflowctl resume")


def what_jobs_need(context: Context) -> Iterator[Finding]:
    """Environments and scripts of the jobs that have not started exist."""
    view = View(context, context.store.read())
    phases = view.records.of(PHASE)
    lost: list[int] = []
    for spec_id, spec in view.records.of(SPEC).items():
        places = [context.state.environment(spec["env"], spec.get("uid"))]
        if spec.get("script") is not None:
            places.append(context.state.script(spec["script"], spec.get("uid")))
        if not all(map(os.path.isfile, places)):
            lost += [each for each in view.ids_of(spec_id) if is_queued(phases.get(each))]
    if lost:
        remedy = "they would fail; submit them again, or restore a backup (gflowctl restore)"
        yield Finding(WARN, f"the environment or script of {_named(lost)} is gone", remedy)


def observed(context: Context) -> Iterator[Finding]:
    """What gflowctl shows about the machine comes from the running daemon."""
    found = daemon.running(context.state)
    if found is None or found.elsewhere or found.pulse_fd is None:
        return
    seen = context.observed
    if seen.pid != found.pid:
        remedy = f"see {context.state.log}, and check whether the disk is full"
        yield Finding(WARN, f"{context.state.observed} was not written by the running gflowd", remedy)
        return
    told = seen.config or {}
    if isinstance(told.get("path"), str) and told.get("mtime_ns") != mtime_ns(told["path"]):
        yield Finding(WARN, f"{told['path']} was changed since gflowd read it", "gflowd reload")


def tmux_server(context: Context) -> Iterator[Finding]:
    """Jobs in tmux can be reached, and no leftover sessions exist."""
    if context.state.shared is not None:
        return  # each job has a server of its own, which is its user's
    view = View(context, context.store.read())
    inside = [job_id for job_id, phase in view.records.of(PHASE).items() if _is_in_tmux(phase)]
    socket = context.runtime.tmux_socket
    if not os.path.lexists(socket):
        if inside:
            pids = _servers(socket)
            again = f"kill -USR1 {pids[0]} creates it again" if pids else "cancel them, or wait for their end"
            yield Finding(WARN, f"{socket} is gone; {_named(inside)} cannot be attached to", again)
        return
    try:
        found = sessions.of_jobs(socket)
    except SystemFailed as error:
        yield Finding(WARN, str(error), "if it is stopped, kill -CONT continues it; its jobs are not affected")
        return
    left = {job_id for job_id in found.values() if not view.knows(job_id) or view.has_ended(job_id)}
    if left:
        yield Finding(WARN, f"{_named(left)} ended but left terminal sessions", "gflowctl close-sessions --all")


def _is_in_tmux(phase: Any) -> bool:
    return phase_name(phase) in (RUNNING, SUSPENDED, STOPPING) and bool(phase["run"]["executor"] == TMUX)


def _servers(socket: str) -> list[int]:
    """The tmux servers that were started on `socket`."""
    wanted = [b"-S", os.fsencode(socket)]
    lines = ((pid, proc.command_line(pid)) for pid, _ in proc.pids())
    return [pid for pid, words in lines if words[1:3] == wanted and words[-1] == b"start-server"]


def job_directories(context: Context) -> Iterator[Finding]:
    """Each job directory belongs to a known job. If there is a history, a directory with an unused id does not."""
    fold = context.store.read()
    view = View(context, fold)
    remembers = os.path.lexists(context.state.path("history.db"))
    place = context.state.jobs
    try:
        names = os.listdir(place)
    except (FileNotFoundError, PermissionError):  # of all users only root lists it
        return
    ids = [int(name) for name in names if name.isdecimal() and len(name) < 16]
    strange = [each for each in ids if each >= fold.next_id or not (remembers or view.knows(each))]
    if strange:
        text = f"{place} has directories of unknown jobs: {_shown(strange)}"
        yield Finding(WARN, text, "look at their content, then remove them")
    else:
        yield Finding(OK, f"{place}: {count(len(names), 'directory', 'directories')}, all of known jobs")


def _named(ids: Iterable[int]) -> str:
    known = sorted(ids)
    return f"{noun(len(known), 'job')} {_shown(known)}"


def _shown(ids: Iterable[int]) -> str:
    known = sorted(ids)
    more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
    return f"{job_ids.show(known[:MOST_NAMED])}{more}"


CHECKS: tuple[Check, ...] = (machine, clock, drained, what_jobs_need, observed, tmux_server, job_directories)
