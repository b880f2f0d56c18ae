"""The queue of one user, for programs: what gflowctl does, as calls with typed answers."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from gflowctl.api.arguments import number, texts, word_of, words_of
from gflowctl.api.reader import Reader, environment_of
from gflowd.core.errors import BadUsage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Self, Unpack

    from gflowctl.api.arguments import JobName, Jobs
    from gflowctl.api.events import Events
    from gflowctl.api.options import Options
    from gflowctl.api.submission import Prepared
    from gflowctl.api.values import (
        Attempt,
        Changes,
        Gpu,
        Job,
        LogPiece,
        Machine,
        Reservation,
        StateSummary,
        Statistics,
        Submission,
    )
    from gflowctl.change.wishes import Change
    from gflowctl.view.listing import Listing

LARGEST_PIECE, SMALLEST_PIECE = 1 << 20, 1 << 10  # bytes of a log


class Queue:
    """The queue of a state directory. Reads nothing before it is asked; everything but the start of jobs works without
    gflowd. Several threads may share one: their calls take turns, except that nobody waits for one in `wait`.

    Every method raises `BadUsage` for what makes no sense, `Refused` for what cannot be, `SystemFailed` if the machine
    fails, and `TryAgain` if something stayed busy: all of them `GflowError`. Nothing is changed then.
    """

    def __init__(
        self,
        state_dir: str | os.PathLike[str] | None = None,
        config: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] | None = None,
        *,
        daemon: str | None = None,
    ) -> None:
        """As `--state-dir`, `--config` and `--daemon`. `environ`: in which GFLOW_STATE_DIR and the like are looked up,
        by default a copy of this process's variables.
        """
        config_path = None if config is None else os.fspath(config)
        place = None if state_dir is None else os.fspath(state_dir)
        self._reader = Reader(environment_of(environ), config_path, place, daemon)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the snapshot's file; a later call opens it again."""
        self._reader.close()

    def notes(self) -> list[str]:
        """What was noted since this was last asked, such as a history that cannot be read."""
        return self._reader.notes()

    # what there is

    def jobs(  # noqa: PLR0913 -- one argument per thing that may be asked
        self,
        jobs: Jobs | None = None,
        *,
        ended: bool = False,
        states: Iterable[str] = (),
        names: Iterable[str] = (),
        users: Iterable[str] = (),
        projects: Iterable[str] = (),
        group: int | str | None = None,
        since: float | None = None,
        limit: int | None = None,
    ) -> list[Job]:
        """The jobs that are named, else those that have not ended, with `ended` all; by id, the first `limit` of them
        (negative: the last). Elements of arrays are listed one by one.

        Asked again, it costs what has changed: a job that is as before is the same object.
        """
        from gflowctl.output import descriptions
        from gflowctl.view.listing import Listing

        asked = Listing(
            named=() if jobs is None else words_of(jobs),
            ended=ended,
            states=frozenset(descriptions.states(texts("states", states))),
            names=texts("names", names),
            users=texts("users", users),
            projects=texts("projects", projects),
            group=None if group is None else str(group),
            since=number("since", since),
            limit=number("limit", limit, whole=True) if not names else None,
        )
        if jobs is not None and not asked.named:
            return []
        found = self._listed(asked)
        return found if limit is None else found[:limit] if limit >= 0 else found[limit:]

    def _listed(self, asked: Listing) -> list[Job]:
        from gflowctl.view import listing

        with self._reader.view() as view:
            found = self._reader.jobs(view, listing.ids(view, asked))
        if asked.named:
            found.sort(key=lambda job: job.id)
        return [
            job
            for job in found
            if asked.fits(job.state, job.name, job.project, max(job.submitted_at, job.ended_at or 0))
        ]

    def job(self, job: JobName) -> Job:
        """One job. Raises `Refused` if there is none, `BadUsage` if several are meant, as by the id of an array."""
        word = word_of(job)
        with self._reader.view() as view:
            return self._reader.jobs(view, [view.one(word)])[0]

    def attempts(self, job: JobName) -> list[Attempt]:
        """How the earlier attempts of a job ended, as far as that is known."""
        from gflowctl.api.values import attempt_of
        from gflowctl.output import json_records

        word = word_of(job)
        with self._reader.view() as view:
            return list(map(attempt_of, json_records.past_attempts(view, view.job(view.one(word)))))

    def summary(self) -> list[StateSummary]:
        """The jobs that have not ended, by state: how many, what they ask for together, and why they wait."""
        from gflowctl.api.values import StateSummary
        from gflowctl.output import job_counts

        with self._reader.view() as view:
            found = [(view.job(job_id), 1) for job_id in view.ids() if not view.has_ended(job_id)]
            return [StateSummary(**each) for each in job_counts.by_state(view, found)]

    def why(self, job: JobName) -> str | None:
        """Why a job waits, or ended as it did, in words with figures, as `gflowctl show` says it."""
        from gflowctl.api import machine

        word = word_of(job)
        with self._reader.view() as view:
            return machine.why(view, view.job(view.one(word)))

    def log(
        self,
        job: JobName,
        *,
        attempt: int | None = None,
        error: bool = False,
        after: int = 0,
        lines: int | None = None,
        most: int = LARGEST_PIECE,
    ) -> LogPiece:
        """A part of a job's output: at most `most` bytes (but 1024 may come), after the first `after` bytes or, with
        `lines`, the end of the last so many lines; of its last attempt, or of another. `error`: of the file of its
        errors. Raises `Refused` while it has none.
        """
        from gflowctl.api import logs

        for name, given in (("attempt", attempt), ("after", after), ("lines", lines), ("most", most)):
            number(name, given, whole=True)
        if after < 0 or most < 1 or (lines is not None and lines < 0):
            raise BadUsage("after, lines and most are numbers from 0")
        word = word_of(job)
        with self._reader.view() as view:
            found = view.job(view.one(word))
            opened = logs.opened(view, found, attempt, error=error)
        return logs.piece(opened, after=after, lines=lines, most=max(most, SMALLEST_PIECE))

    def events(self, after: str | None = None, *, kinds: Iterable[str] = (), follow: bool = False) -> Events:
        """What happened after the event with that id, or all that is kept; with `follow`, which goes on for ever, what
        happens from now on. `kinds`: only these, such as `job_ended`. What happens while gflowd is down comes later.
        """
        from gflowctl.api.events import Events

        state = self._reader.fresh_context().state
        state.check()
        return Events(state, after, texts("kinds", kinds), follow=follow)

    def gpus(self) -> list[Gpu]:
        """The GPUs as gflowd last saw them; none before it has looked."""
        from gflowctl.api import machine

        with self._reader.view() as view:
            return machine.gpus(view)

    def machine(self) -> Machine:
        """The CPUs and the memory, whether gflowd runs, and whether it starts jobs."""
        from gflowctl.api import machine

        with self._reader.view() as view:
            return machine.machine(view)

    def reservations(self) -> list[Reservation]:
        """All reservations that are kept, by id."""
        from gflowctl.api import machine

        with self._reader.view() as view:
            return machine.reservations(view)

    def statistics(
        self, *, users: Iterable[str] | None = None, since: float | None = None, by: str | None = None
    ) -> Statistics:
        """What jobs came to, in the queue and in the history; of all users, or of some; `by` user, project or day."""
        from gflowctl.api import machine

        with self._reader.view() as view:
            chosen = None if users is None else tuple(texts("users", users))
            return machine.statistics(view, chosen, number("since", since), by)

    def wait(
        self,
        jobs: Jobs,
        *,
        timeout: float | None = None,
        running: bool = False,
        first: bool = False,
    ) -> list[Job]:
        """Waits until all the jobs have ended, with `first` one of them, with `running` until they run or have run;
        returns them as they are then. Raises `TryAgain` after `timeout` seconds.
        """
        from gflowctl.output import follow

        number("timeout", timeout)
        words = words_of(jobs)
        if not words:
            return []
        with self._reader.view() as view:
            ids = view.select(words)
        found = follow.wait(self._reader.fresh_context(), ids, running=running, first=first, timeout=timeout)
        if found is None:
            from gflowd.core.errors import TryAgain

            raise TryAgain(f"{','.join(words)} did not {'run' if running else 'end'} within {timeout:g} s")
        with self._reader.view() as view:
            return self._reader.jobs(view, [job_id for job_id in ids if view.knows(job_id)])

    # what is to be

    def submit(self, command: Sequence[str] | str, **options: Unpack[Options]) -> Submission:
        """Queues a command (a list of words, of which the first may be a script that begins with `#!`) or a line of
        shell (a text). It is on disk when this returns. See `Options` for the rest.
        """
        from gflowctl.api import submission

        return submission.submit(self._reader, command, options)

    def prepare(self, command: Sequence[str] | str, **options: Unpack[Options]) -> Prepared:
        """Checks a submission and says what would be queued; its `submit` then queues exactly that."""
        from gflowctl.api.submission import Prepared

        return Prepared(self._reader, command, options)

    def redo(
        self,
        jobs: Jobs,
        *,
        cascade: bool = False,
        clear_dependencies: bool = False,
        hold: bool = False,
    ) -> Submission:
        """Queues new jobs like old ones; with `cascade` also like those that were cancelled because of these."""
        from gflowctl.api import changes

        return changes.redo(
            self._reader, words_of(jobs), cascade=cascade, clear_dependencies=clear_dependencies, hold=hold
        )

    def cancel(self, jobs: Jobs, *, only_run: bool = False, dry_run: bool = False) -> Changes:
        """Cancels jobs that wait, and stops those that run. The id of a series ends it, with `only_run` only that run
        is cancelled. With `dry_run` nothing is changed.
        """
        from gflowctl.api import changes

        return changes.cancel(self._reader, words_of(jobs), only_run=only_run, dry_run=dry_run)

    def hold(self, jobs: Jobs, *, dry_run: bool = False) -> Changes:
        """Keeps queued jobs from starting."""
        from gflowctl.change import applied_wish_rules

        return self._change(jobs, applied_wish_rules.held, dry_run=dry_run, next_run=True)

    def release(self, jobs: Jobs, *, at: float | None = None, dry_run: bool = False) -> Changes:
        """Lets held jobs start; with `at` not before then, which also moves the begin time of a queued job."""
        from gflowctl.change import applied_wish_rules
        from gflowd.core.job.model import RANGES

        least, most = RANGES["begin_at"]
        number("at", at)
        if at is not None and not least <= at <= most:
            raise BadUsage(f"at: {at!r} is out of range ({least:.0f} to {most:.0f})")

        return self._change(jobs, applied_wish_rules.released(at), dry_run=dry_run, next_run=True)

    def top(self, jobs: Jobs, *, dry_run: bool = False) -> Changes:
        """Moves queued jobs to the front."""
        from gflowctl.change import applied_wish_rules

        return self._change(jobs, applied_wish_rules.put_first(time.time()), dry_run=dry_run, next_run=True)

    def requeue(self, jobs: Jobs, *, dry_run: bool = False) -> Changes:
        """Runs jobs once more under the same id; stops those that run."""
        from gflowctl.change import applied_wish_rules

        return self._change(jobs, applied_wish_rules.requeued, dry_run=dry_run)

    def suspend(self, jobs: Jobs, *, release_cpus: bool = False, dry_run: bool = False) -> Changes:
        """Lets running jobs stand still; they keep their GPUs, and their CPUs unless these are released."""
        from gflowctl.change import applied_wish_rules

        return self._change(jobs, applied_wish_rules.suspended(releases_cpus=release_cpus), dry_run=dry_run)

    def unsuspend(self, jobs: Jobs, *, dry_run: bool = False) -> Changes:
        """Lets suspended jobs go on."""
        from gflowctl.change import applied_wish_rules

        return self._change(jobs, applied_wish_rules.going_on, dry_run=dry_run)

    def _change(self, jobs: Jobs, wanted: Change, *, dry_run: bool, next_run: bool = False) -> Changes:
        from gflowctl.api import changes
        from gflowctl.view import series_runs

        chosen = changes.Named(words_of(jobs), series_runs.NEXT if next_run else None)
        return changes.change(self._reader, chosen, wanted, dry_run=dry_run)
