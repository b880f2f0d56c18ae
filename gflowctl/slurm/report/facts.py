"""The facts of jobs in Slurm's words, for squeue, sacct and those that tell the same. Prints nothing."""

from __future__ import annotations

import os
import posixpath
import pwd
import time

from gflowctl.view import jobs, reasons
from gflowd.core.job.model import Begun, Ended, Queued
from gflowd.core.job.reasons import BEGIN_TIME, DEPENDENCY, HELD_BY_USER, RETRY_DELAY
from gflowd.core.slurm import job_states, site

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

STANDARD = "%Y-%m-%dT%H:%M:%S"
CUT_AT = 64  # characters of a list of indices
NULL = "(null)"
WEEK = 7  # days


class Row:
    """One line: a job and its long state. `elements`: those of its array that it stands for, by id."""

    __slots__ = ("elements", "job", "state")

    def __init__(self, job: Job, elements: Sequence[int] = ()) -> None:
        self.job: Final = job
        self.elements: Final = elements
        phase = job.phase
        self.state: Final = job_states.name(jobs.state(job), phase.reason if isinstance(phase, Ended) else None)


class Facts:
    """Tells them. `view`: the jobs; `environ`: how times and lists of indices are wanted."""

    def __init__(self, view: View, environ: Mapping[str, str]) -> None:
        self.view = view
        self.node = site.node(os.uname().nodename)
        self._cut_at = _number(environ.get("SLURM_BITSTR_LEN"), CUT_AT)
        form = environ.get("SLURM_TIME_FORMAT") or "standard"
        self._form = STANDARD if form == "standard" else form

    def stamp(self, at: float | None, missing: str = "N/A") -> str:
        """An instant by the local clock, or what stands for none."""
        if at is None:
            return missing
        local = time.localtime(at)
        return time.strftime(self._relative(local) if self._form == "relative" else self._form, local)

    def _relative(self, local: time.struct_time) -> str:
        today = time.localtime(self.view.now)
        if local.tm_year != today.tm_year:
            return "%-d %b %Y"
        days = local.tm_yday - today.tm_yday
        named = {-1: "Ystday %H:%M", 0: "%H:%M:%S", 1: "Tomorr %H:%M"}
        return named.get(days) or ("%a %H:%M" if 0 < days < WEEK else "%-d %b %H:%M")

    def label(self, row: Row) -> str:
        """`42`, `42_3`, `42_[7-9%2]`."""
        if not row.elements:
            return jobs.label(row.job)
        return f"{row.job.array_id}_[{self.indices(row)}]"

    def indices(self, row: Row) -> str | None:
        """`3`, `7-9%2`; None of a job in no array."""
        job = row.job
        if not row.elements:
            index = jobs.index(job)
            return None if index is None else str(index)
        from gflowd.core.job import arrays
        from gflowd.core.slurm import job_words

        assert job.spec.family is not None
        assert job.array_id is not None
        family, first = job.spec.family, job.array_id
        shown = job_words.indices([arrays.index_of(family, each - first) for each in row.elements])
        limit = self.view.max_concurrent(job)
        return f"{job_words.cut(shown, self._cut_at)}{'' if limit is None else f'%{limit}'}"

    def name(self, row: Row) -> str:
        """The job's name."""
        return row.job.spec.name if row.elements else jobs.name(row.job)

    def reason(self, row: Row) -> str:
        """Why it waits or failed."""
        return job_states.reason(row.state, reasons.reason(self.view, row.job))

    def nodes(self, row: Row) -> str:
        """The node that it has, or had; empty before."""
        run = row.job.run
        return "" if run is None else self.node

    def nodes_or_reason(self, row: Row) -> str:
        """Where it runs or ran, or in brackets why it does not."""
        return f"({self.reason(row)})" if row.state in job_states.WITH_REASON else self.nodes(row)

    def seconds(self, row: Row) -> float:
        """How long it has run."""
        return self.view.elapsed(row.job) or 0.0

    def start(self, row: Row) -> float | None:
        """When it began, or is expected to."""
        began = self.started(row)
        return reasons.expected_start(self.view, row.job) if began is None else began

    def started(self, row: Row) -> float | None:
        """When it got its resources; None before. Of one that is over, when its command began."""
        phase = row.job.phase
        if isinstance(phase, Queued):
            return None
        began = jobs.started_at(row.job)
        return phase.run.launched_at if began is None and phase.run is not None else began

    def end(self, row: Row) -> float | None:
        """When it was over, or will be at the latest; None where nothing says so."""
        ended = jobs.ended_at(row.job)
        limit = row.job.spec.time_limit
        if ended is not None or limit is None:
            return ended
        start = self.start(row)
        if start is None:
            return None
        if isinstance(row.job.phase, Begun):
            return self.view.now + limit - self.seconds(row)
        return start + limit

    def eligible(self, row: Row) -> float | None:
        """Since when it could have started, or from when on it can; None where it is held, or waits for other jobs."""
        job = row.job
        waits_for = reasons.reason(self.view, job) if row.state == "PENDING" else None
        if waits_for in (HELD_BY_USER, DEPENDENCY):
            return None
        if waits_for in (BEGIN_TIME, RETRY_DELAY):
            return job.begin_at
        since = job.phase.since if isinstance(job.phase, Queued) else None
        return max(job.spec.submitted_at, job.asked_begin or 0.0, job.wish.released_at or 0.0, since or 0.0)

    def command(self, row: Row) -> str:
        """The script's file, or the program, with its arguments."""
        spec = row.job.spec
        words = spec.command if row.elements else jobs.command(row.job)
        if spec.script is not None and words:
            words = (posixpath.join(spec.submit_dir or spec.cwd, words[0]), *words[1:])
        return " ".join(words)

    def output(self, row: Row, pattern: str | None) -> str:
        """The file that a pattern of the job means, by default that of its output."""
        job, place = row.job, self.view.context.state
        named = jobs.file_name(job, pattern)
        if named is not None:
            return posixpath.join(job.spec.cwd, named)
        return jobs.log_path(place, job, jobs.attempt(job))

    def dependency(self, row: Row) -> str:
        """`afterok:3(unfulfilled)`; (null) where it waits for nothing."""
        needs = row.job.spec.needs
        if needs is None or not needs.dependencies or row.state != "PENDING":
            return NULL
        from gflowd.core.job.dependencies import ANY, SINGLETON

        parts = []
        for each in needs.dependencies:
            later = f"+{each.delay / 60:g}" if each.delay else ""
            target = "" if each.kind == SINGLETON else f":{self._target(each.id, element=each.element)}{later}"
            parts.append(f"{each.kind}{target}(unfulfilled)")
        return ("?" if needs.mode == ANY else ",").join(parts)

    def _target(self, job_id: int | None, *, element: bool) -> str:
        assert job_id is not None
        if self.view.array_of(job_id) is None or not self.view.knows(job_id):
            return str(job_id)
        return jobs.label(self.view.job(job_id)) if element else f"{job_id}_*"

    def tres(self, row: Row, separator: str = ",") -> str:
        """`cpu=1,mem=200M,node=1,billing=1,gres/gpu=1`: what it asks for."""
        spec = row.job.spec
        parts = [f"cpu={spec.cpus}"]
        if spec.memory_mb is not None:
            parts.append(f"mem={memory(spec.memory_mb)}")
        parts += ["node=1", f"billing={spec.cpus}"]
        if spec.gpus:
            parts.append(f"gres/gpu={spec.gpus}")
        return separator.join(parts)

    def tres_per_node(self, row: Row) -> str:
        """`gres:gpu:1`, `gres:gpu:a100:2`, `N/A`."""
        spec = row.job.spec
        if not spec.gpus:
            return "N/A"
        return f"gres:gpu:{spec.gpu_type}:{spec.gpus}" if spec.gpu_type else f"gres:gpu:{spec.gpus}"


def memory(mib: float, unit: str | None = None) -> str:
    """`200M`, `2G`: in the greatest unit in which it is whole, or in that asked for."""
    units = "KMGTP"
    if unit is not None:
        return f"{mib / 1024 ** (units.index(unit) - 1):.2f}{unit}"
    amount, place = int(mib), 1
    while amount and amount % 1024 == 0 and place < len(units) - 1:
        amount, place = amount // 1024, place + 1
    return f"{amount}{units[place]}"


def uid(user: str) -> str:
    """The number of a user; the name itself where this machine has no such user."""
    try:
        return str(pwd.getpwnam(user).pw_uid)
    except KeyError:
        return user


def group(user: str) -> tuple[str, str]:
    """Number and name of a user's group."""
    import grp

    try:
        number = pwd.getpwnam(user).pw_gid
        return str(number), grp.getgrgid(number).gr_name
    except KeyError:
        return user, user


def users(words: Sequence[str]) -> tuple[frozenset[str], list[str]]:
    """The names of users, given by name or number, and those that this machine does not know."""
    names = {word: user(word) for word in words}
    return frozenset(filter(None, names.values())), [word for word in words if names[word] is None]


def user(word: str) -> str | None:
    """The name of a user, given by name or number; None of one that this machine does not know."""
    try:
        return (pwd.getpwuid(int(word)) if word.isascii() and word.isdigit() else pwd.getpwnam(word)).pw_name
    except (KeyError, OverflowError, ValueError):  # ValueError: of thousands of digits
        return None


def _number(text: str | None, usual: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < len("1000000") else usual
