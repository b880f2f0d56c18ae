"""From the options of a program to queued jobs, by the same way as `gflowctl submit`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from gflowctl.api import options as asking
from gflowctl.api.values import Job, Submission, job_of
from gflowd.core.errors import BadUsage, Refused

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

    from gflowctl.api.options import Options
    from gflowctl.api.reader import Reader
    from gflowctl.context import Context
    from gflowctl.submit.drafting import Draft, Drafter
    from gflowctl.submit.enqueue import New

TOLD = 20  # jobs of a submission


@cache
def _defaults() -> dict[str, Any]:
    """What the options of `gflowctl submit` are if they are not given, with the parser that reads the heads of scripts
    among them.
    """
    import argparse  # noqa: F401 -- before `command_line`, which would import it with messages of its own

    from gflowctl.options import job_options

    found: Namespace = job_options.parser_of_all("gflowctl submit").parse_args([])
    return vars(found)


class Prepared:
    """A submission that was checked, with all it takes, but is not queued. `jobs`: the first of them, with the id 0;
    `count`: how many they are; `notes`: what may be worth knowing.
    """

    __slots__ = ("_draft", "_drafter", "_reader", "_submitted", "count", "jobs", "notes")

    def __init__(self, reader: Reader, command: Sequence[str] | str, options: Options) -> None:
        """Raises as `Queue.submit`."""
        given = asking.command_of(command) | asking.given_by(options)
        with reader.changing() as context:
            self._reader = reader
            self._drafter = _drafter(context, given, options.get("environment"))
            self._draft = _drafted(self._drafter)
            self._submitted = False
            (new,) = _rehearsed(self._draft, context)
            self.count = len(new.ids)
            self.jobs = tuple(_first_jobs(context, new, id_known=False))
            self.notes = tuple(_notes(context, self._drafter, new))

    def submit(self) -> Submission:
        """Queues exactly these jobs, once. Raises as `Queue.submit`."""
        with self._reader.changing() as context:
            if self._submitted:
                raise Refused("this was submitted already")
            spec = self._draft.spec
            self._draft = self._draft.replace(spec=spec.replace(submitted_at=max(spec.submitted_at, time.time())))
            found = _queued(self._draft, self._drafter, context)
            self._submitted = True
            return found


def submit(reader: Reader, command: Sequence[str] | str, options: Options) -> Submission:
    """As `Queue.submit`."""
    given = asking.command_of(command) | asking.given_by(options)
    with reader.changing() as context:
        drafter = _drafter(context, given, options.get("environment"))
        return _queued(_drafted(drafter), drafter, context)


def _drafter(context: Context, given: dict[str, Any], environment: Mapping[str, str] | None) -> Drafter:
    from argparse import Namespace

    defaults = _defaults()
    from gflowctl.submit.drafting import Drafter

    if environment is not None:
        variables = _variables(environment)
    args = Namespace(**{**defaults, **given})
    return Drafter(args, context, given=given, environment=None if environment is None else variables)


def _variables(environment: Mapping[str, str]) -> dict[bytes, bytes]:
    """As a process has them. Raises `BadUsage` for what none can have."""
    if not isinstance(environment, Mapping):
        raise BadUsage("environment: names and values are text")
    found = {}
    for pair in environment.items():
        if not all(isinstance(word, str) for word in pair):
            raise BadUsage("environment: names and values are text")
        try:
            name, value = map(os.fsencode, pair)
        except UnicodeEncodeError as error:
            raise BadUsage(f"environment: {error.object!r} cannot be encoded") from None
        if not name or b"=" in name or b"\0" in name + value:
            raise BadUsage(f"environment: {pair[0]!r} cannot be the name of a variable, or its value has a NUL")
        found[name] = value
    return found


def _drafted(drafter: Drafter) -> Draft:
    draft = drafter.draft()
    if draft.answer.dry_run:
        raise Refused("the head of the script asks for a dry run")
    return draft


def _rehearsed(draft: Draft, context: Context) -> list[New]:
    from gflowctl.submit import enqueue, skipping

    try:
        return enqueue.rehearse([draft], context)
    except skipping.IsQueued as found:
        raise Refused(f"a job with this name has not ended: {found.ids[0]}") from None


def _queued(draft: Draft, drafter: Drafter, context: Context) -> Submission:
    from gflowctl.submit import enqueue, skipping

    try:
        (new,) = enqueue.queue([draft], drafter, context)
    except skipping.IsQueued as found:
        from gflowctl.output import json_records

        known = (found.view.job(job_id) for job_id in found.ids[:TOLD])
        jobs = tuple(job_of(json_records.values(found.view, job)) for job in known)
        return Submission(found.ids, jobs, (), is_new=False)
    context.ring(b"q")
    return submission_of(context, [new], _notes(context, drafter, new))


def submission_of(context: Context, made: Sequence[New], notes: Iterator[str] | Sequence[str]) -> Submission:
    """What was queued."""
    jobs = [job for new in made for job in _first_jobs(context, new, id_known=True)][:TOLD]
    return Submission(range(made[0].first, made[-1].ids.stop), tuple(jobs), tuple(notes))


def _first_jobs(context: Context, new: New, *, id_known: bool) -> Iterator[Job]:
    from itertools import islice

    from gflowctl.output import json_records
    from gflowctl.view import views
    from gflowd.storage.record_log import Fold

    view = views.View(context, Fold())
    unknown: dict[str, Any] = {} if id_known else {"id": 0, "array_id": None, "group": None}
    for job in islice(new.jobs, TOLD):
        yield job_of(json_records.values(view, job) | unknown)


def _notes(context: Context, drafter: Drafter, new: New) -> Iterator[str]:
    from gflowctl.options import job_options

    yield from drafter.notes
    if (vain := job_options.vain_signal([new.spec])) is not None:
        yield vain
    if context.observed.has_repeating_reservations and new.spec.gpus:
        from gflowctl.machine import reservation_prospects

        name = f"{new.first}-{new.ids[-1]}" if len(new.ids) > 1 else str(new.first)
        yield from reservation_prospects.shut_out(context, [(name if new.first else "", new.spec)])
