"""Usage: scancel [OPTIONS] [JOB ...].

Cancels jobs, or signals their processes. A JOB is 42, 42_3 or 42_[1-3,7]; 42 of an array is all of it.

  -u --user=USER; --me; -n --name=NAME; -A --account=ACCOUNT; -t --state=PENDING|RUNNING|SUSPENDED
  -p --partition, -q --qos, -w --nodelist, -R --reservation, --wckey: only jobs with all of these
  -s --signal=SIGNAL: send it to what the script runs; -b --batch: to the script alone; -f --full: to both
  -i --interactive: ask for each; -Q --quiet; -v --verbose; --ctld, -H --hurry, --cron, --sibling, -M --clusters

Without an option or a JOB nothing is cancelled. Variables such as SCANCEL_USER stand for the options.
"""

from __future__ import annotations

import os

from gflowctl.change import applied_wish_rules, wishes
from gflowctl.options import signals
from gflowctl.output import render
from gflowctl.slurm.control import job_control
from gflowctl.slurm.report import facts
from gflowctl.view import jobs, roles, series_runs, views
from gflowd.core.errors import Refused
from gflowd.core.job import array_ids
from gflowd.core.job.model import HELD, QUEUED, RUNNING, STARTING, STOPPING, SUSPENDED, Begun, Queued, Wish
from gflowd.core.slurm import job_words, site
from gflowd.core.slurm.getopt import Grammar
from gflowd.core.syntax import signal_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from gflowctl.context import Context
    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

GRAMMAR = Grammar(
    "scancel",
    short={
        "A": "account", "b": "batch", "c": "cron", "f": "full", "H": "hurry", "i": "interactive", "M": "clusters",
        "n": "name", "p": "partition", "q": "qos", "Q": "quiet", "R": "reservation", "s": "signal", "t": "state",
        "u": "user", "v": "verbose", "w": "nodelist",
    },
    flags=("batch", "cron", "ctld", "full", "hurry", "interactive", "me", "quiet", "verbose"),
    valued=("account", "admin-comment", "clusters", "jobname", "name", "nodelist", "partition", "qos", "reservation",
            "sibling", "signal", "state", "user", "wckey"),
    aliases={"cluster": "clusters", "jobname": "name"},
)  # fmt: skip
FILTERS = ("account", "me", "name", "nodelist", "partition", "qos", "reservation", "state", "user", "wckey")
BY_VARIABLE = ("account", "batch", "cron", "ctld", "full", "hurry", "interactive", "name", "partition", "qos", "state",
               "user", "verbose", "wckey")  # fmt: skip
STATES = {
    "PENDING": (QUEUED, HELD), "PD": (QUEUED, HELD), "RUNNING": (STARTING, RUNNING, STOPPING),
    "R": (STARTING, RUNNING, STOPPING), "SUSPENDED": (SUSPENDED,), "S": (SUSPENDED,),
}  # fmt: skip
UNKNOWN = "Invalid job id specified"
DENIED = "Access/permission denied"
IS_OVER = "Job/step already completing or completed"
IS_PENDING = "Job is pending execution"
KILL = signal_names.NUMBERS["KILL"]


def run(words: Sequence[str], context: Context) -> int:
    """Cancels or signals."""
    pairs, operands = GRAMMAR.parse(words)
    options = _of_variables(context.environ) | dict(pairs)
    if not operands and not any(name in options for name in FILTERS):
        raise Refused("No job identification provided")
    number = _signal(options.get("signal"))
    choice = Choice(operands, options, context)
    if "interactive" in options:
        choice.ask(context)
    if number == KILL and "batch" not in options:
        return _cancel(choice, context)
    return _send(choice, context, number)


def _of_variables(environ: Mapping[str, str]) -> dict[str, str | None]:
    found = ((name, environ.get(f"SCANCEL_{name.upper()}")) for name in BY_VARIABLE)
    return {name: value for name, value in found if value}


def _signal(text: str | None) -> int:
    if text is None:
        return KILL
    try:
        return signal_names.number(text)
    except ValueError:
        raise Refused(f"Unknown job signal: {text}") from None


class Choice:
    """The jobs that are meant, for `wishes.apply`. `unknown`: words that name none; `denied`: jobs of others."""

    __slots__ = (
        "_fits", "_only", "_words", "by_options", "denied", "is_by_options", "is_loud", "is_quiet", "options",
        "unknown",
    )  # fmt: skip

    def __init__(self, words: Sequence[str], options: Mapping[str, str | None], context: Context) -> None:
        """Raises `Refused` for what can mean no job."""
        self._words: Final = [_checked(each) for word in words for each in array_ids.split(word) if each]
        self._fits: Final = Filter(options, context)
        self._only: frozenset[int] | None = None
        self.unknown: list[str] = []
        self.denied: list[str] = []
        self.options: Final = options
        self.by_options: Final = not words
        self.is_by_options: Final = True  # one that cannot be cancelled does not keep the others
        self.is_quiet: Final = "quiet" in options
        self.is_loud: Final = "verbose" in options

    def select(self, view: View) -> list[int]:
        """Their ids."""
        found: dict[int, None] = {}
        self.unknown, self.denied = [], []
        if self.by_options:
            found = dict.fromkeys(job_id for job_id in view.ids() if not view.has_ended(job_id))
        for word in self._words:
            try:
                found.update(dict.fromkeys(job_control.meant(view, word, which=series_runs.ALL)))
            except Refused:
                self.unknown.append(word)
        if not self.by_options:
            mine = {*roles.changeable(view, found)}
            self.denied = [jobs.label(view.job(job_id)) for job_id in found if job_id not in mine]
            found = {job_id: None for job_id in found if job_id in mine}
        return [
            job_id
            for job_id in found
            if (self._only is None or job_id in self._only) and (view.has_ended(job_id) or self._fits(view.job(job_id)))
        ]

    def nothing(self) -> str:
        """What to say where no job is meant."""
        return "No active jobs match ALL job filters"

    def ask(self, context: Context) -> None:
        """Leaves those that the user names by `y`."""
        view = views.View(context, context.store.read())
        meant = set()
        for job_id in self.select(view):
            if view.has_ended(job_id):
                continue
            job = view.job(job_id)
            label, name = jobs.label(job), render.escape(jobs.name(job))
            render.write(f"Cancel job_id={label} name={name} partition={site.PARTITION} [y/n]? ")
            render.flush()
            if _answer().strip().lower().startswith("y"):
                meant.add(job_id)
        self._only = frozenset(meant)

    def complain_all(self) -> None:
        """As `complain`, of each word and job that cannot be meant."""
        for word in self.unknown:
            self.complain(word, UNKNOWN)
        for label in self.denied:
            self.complain(label, DENIED)

    def complain(self, label: str, what: str) -> None:
        """Tells that a job cannot be cancelled."""
        if not self.is_quiet:
            render.note(f"error: Kill job error on job id {label}: {what}")


def _checked(word: str) -> str:
    """Raises `Refused` for a word that can name no job."""
    for named in job_words.parse(word.removesuffix("_*")):
        if named.step is not None:
            raise Refused(f"{word}: gflow cancels jobs, not single steps")
    return word


def _answer() -> str:
    import sys

    return sys.stdin.readline()


class Filter:
    """What the options say of a job that has not ended."""

    __slots__ = ("_options", "_states", "_users")

    def __init__(self, options: Mapping[str, str | None], context: Context) -> None:
        """Raises `Refused`."""
        self._options: Final = options
        state = (options.get("state") or "").upper()
        if state and state not in STATES:
            raise Refused(f"Invalid job state specified: {state}; valid are PENDING, RUNNING and SUSPENDED")
        self._states: Final = STATES.get(state)
        users = {context.user} if "me" in options else set()
        if word := options.get("user"):
            user = facts.user(word)
            if user is None:
                raise Refused(f"Invalid user name: {word}")
            users.add(user)
        self._users: Final = users
        clusters = options.get("clusters")
        if clusters is not None and not {site.CLUSTER, "all"}.intersection(clusters.split(",")):
            raise Refused(f"No cluster '{clusters}' known; the only one is {site.CLUSTER}")

    def __call__(self, job: Job) -> bool:
        options, spec = self._options, job.spec
        return (
            (not self._users or spec.user in self._users)
            and (self._states is None or jobs.state(job) in self._states)
            and ("name" not in options or jobs.name(job) == options["name"])
            and ("account" not in options or spec.project == options["account"])
            and options.get("partition", site.PARTITION) == site.PARTITION
            and options.get("qos", site.QOS) == site.QOS
            and "reservation" not in options
            and "wckey" not in options
            and ("nodelist" not in options or (job.run is not None and _is_here(options["nodelist"] or "")))
        )


def _is_here(nodes: str) -> bool:
    from gflowd.core.slurm import hostlist

    return site.node(os.uname().nodename) in map(site.node, hostlist.expand(nodes))


def _cancel(choice: Choice, context: Context) -> int:
    def cancelled(view: View, job: Job) -> Wish | str:
        return applied_wish_rules.cancelled(view, job, is_alone=False)

    outcome = wishes.apply(context, choice, cancelled)
    choice.complain_all()
    if choice.is_loud:
        for job in outcome.changed:
            render.note(f"Terminating job {jobs.label(job)}")
        for note in outcome.notes:
            render.note(note)
    return 1 if choice.unknown or choice.denied else 0


def _send(choice: Choice, context: Context, number: int) -> int:
    options = choice.options
    whom = signals.COMMAND if "batch" in options else signals.EVERYONE if "full" in options else signals.HEEDING
    view = views.View(context, context.store.read())
    found = [view.job(job_id) for job_id in roles.changeable(view, choice.select(view))]
    failed = bool(choice.unknown or choice.denied)
    choice.complain_all()
    for job in found:
        if not isinstance(job.phase, Begun) and not choice.by_options:
            choice.complain(jobs.label(job), IS_PENDING if isinstance(job.phase, Queued) else IS_OVER)
            failed = True
    begun = [job for job in found if isinstance(job.phase, Begun)]
    sent = signals.send(context, begun, number, whom)
    if choice.is_loud:
        name = signal_names.name(number)
        for job in begun:
            render.note(f"Signal {name} to {'job' if sent[job.id] else 'no process of job'} {jobs.label(job)}")
    return 1 if failed else 0
