"""What a shell offers for a word that is being completed; the completion scripts call it as `gflowctl __complete`.

It prints a candidate per line, with a description behind a tab where the shell shows one. It never fails and takes no
longer than a second: a shell that waits for its user must not wait for us.
"""

from __future__ import annotations

import itertools
import os
import re
import signal

from gflowctl.context import Context
from gflowctl.output import render
from gflowd.core.job.model import AUTO, ENDED_STATES, HELD, HERE, QUEUED, SHORT_STATES, STATES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    Candidates = Iterable[tuple[str, str]]  # each with its description

LONGEST = 1.0  # seconds
MOST = 200  # candidates: nobody reads more
WITHOUT_DESCRIPTIONS = "bash"
FIRST_USER = 1000  # ids below are the system's, login.defs(5)
NOBODY = 65534
_SEPARATORS = re.compile(r".*[,:?]", re.DOTALL)


def run(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Prints what `words` ask for: the shell, a kind of KINDS, the word so far, and the words of the command line."""
    _end_in_time()
    try:
        shell, kind, word, *line = words
        head = match[0] if (match := _SEPARATORS.match(word)) else ""
        context = Context(
            environ, _option(line, "--config"), _option(line, "--state-dir"), daemon=_option(line, "--daemon")
        )
        found = (pair for pair in _found(context, kind, word[len(head) :]) if pair[0].startswith(word[len(head) :]))
        described = shell != WITHOUT_DESCRIPTIONS
        lines = [_line(head + name, about if described else "") for name, about in itertools.islice(found, MOST)]
        render.write("".join(lines))
        render.flush()
    except Exception:  # whatever is wrong: there is nothing to offer, and no place to say so
        render.abandon_stdout()
    return 0


def _end_in_time() -> None:
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, LONGEST)


def _option(line: Sequence[str], name: str) -> str | None:
    """The value of an option among the words of the command line, which a shell may have parted at `=`."""
    for place, word in enumerate(line):
        given, equals, value = word.partition("=")
        if given == name:
            following = [each for each in line[place + 1 : place + 3] if each != "="]
            return value if equals and value else next(iter(following), None)
    return None


def _line(name: str, about: str) -> str:
    return f"{render.escape(name)}\t{render.escape(about)}\n" if about else f"{render.escape(name)}\n"


def _found(context: Context, kind: str, word: str) -> Candidates:
    if kind.startswith("jobs"):
        return _jobs(context, kind.removeprefix("jobs").removeprefix("-"), word)
    return KINDS[kind](context)


def _jobs(context: Context, which: str, word: str) -> Iterator[tuple[str, str]]:
    """The newest first; an array as a whole, unless its elements are asked for (`42_`)."""
    from gflowctl.view import jobs, views
    from gflowd.core.job.records import PHASE, has_ended

    view = views.View(context, context.store.read())
    phases, states = view.records.of(PHASE), JOBS[which]
    told = set()
    for job_id in reversed(view.ids()):
        array_id = view.array_of(job_id)
        first = job_id if array_id is None else array_id
        if first in told or not (str(first).startswith(word) or word.startswith(f"{array_id}_")):
            continue
        if which and has_ended(phases.get(job_id)) != (which == "ended"):
            continue
        job = view.job(job_id)
        if jobs.state(job) not in states:
            continue
        if array_id is None or "_" in word:
            yield jobs.label(job), f"{jobs.name(job)} ({jobs.state(job)})"
        else:
            told.add(array_id)
            yield str(array_id), f"{job.spec.name} (array of {len(view.ids_of(array_id))})"


def _states(_context: Context) -> Candidates:
    return ((state, short) for state, short in SHORT_STATES.items())


def _fields(_context: Context) -> Candidates:
    from gflowctl.output.columns import FIELDS

    return ((name, "") for name in FIELDS)


def _users(context: Context) -> Candidates:
    """Those with jobs, then the people of this machine; only of its own file, as a directory service may be slow."""
    from gflowd.core.job.records import SPEC

    owners: dict[str, str] = {context.user: ""}
    owners |= dict.fromkeys((spec["user"] for spec in context.store.read().of(SPEC).values()), "")
    with open("/etc/passwd", encoding="utf-8", errors="replace") as file:
        for name, _, uid, _, about, *_ in (entry.split(":") for entry in file if entry.count(":") == 6):
            if uid.isdigit() and FIRST_USER <= int(uid) < NOBODY:
                owners.setdefault(name, about.partition(",")[0])
    return owners.items()


def _projects(context: Context) -> Candidates:
    from gflowd.core.job.records import SPEC

    named: dict[Any, str] = dict.fromkeys(context.settings["known_projects"], "")
    specs = context.store.read().of(SPEC).values()
    return (named | dict.fromkeys((spec["project"] for spec in specs if spec.get("project")), "")).items()


def _gpu_types(context: Context) -> Candidates:
    """Of each model the words that tell it from others: those with a digit."""
    found: dict[str, str] = {}
    for gpu in context.observed.gpus:
        words = gpu.model.split()
        found |= dict.fromkeys([word for word in words if re.search(r"\d", word)] or words, gpu.model)
    return found.items()


def _clusters(context: Context) -> Candidates:
    """What a job can be for."""
    names = [name for name, _ in _cluster_names(context)]
    return [*((name, "") for name in names), (AUTO, "one of them, if late here"), (HERE, "this machine")]


def _cluster_names(context: Context) -> Candidates:
    return [(name, "") for name in context.settings.get("clusters", ())]


def _gpus(context: Context) -> Candidates:
    return ((str(gpu.index), f"{gpu.model} ({gpu.state})") for gpu in context.observed.gpus)


def _reservations(context: Context) -> Candidates:
    import time

    from gflowctl.machine import reservations as reserving
    from gflowd.core.planning import reservations

    now, zone = time.time(), context.calendar
    over = (reservations.COMPLETED, reservations.CANCELLED)
    for one in reversed(reserving.every(context)):
        status = reservations.status(one, now, zone)
        yield str(one.id), f"{one.user}, {context.clock.stamp(one.start)}, {status}" if status not in over else status


def _settings(_context: Context) -> Candidates:
    from gflowd.config.loader import names

    return names()


def _options_to_clear(_context: Context) -> Candidates:
    from gflowd.core.request import update_rules

    return ((name, "") for name in update_rules.names())


def _events(_context: Context) -> Candidates:
    from gflowd.core.notify.event_names import FOR_A_JOB

    return ((name, "") for name in FOR_A_JOB)


def _event_kinds(_context: Context) -> Candidates:
    from gflowd.core.events import kinds

    return ((name, "") for name in (*kinds.FAMILIES, *kinds.KINDS))


def _causes(_context: Context) -> Candidates:
    from gflowd.core.job.retry_policy import CAUSES

    return ((name, "") for name in CAUSES)


WAITING = (QUEUED, HELD)
RUNNING = tuple(state for state in STATES if state not in (*WAITING, *ENDED_STATES))
JOBS = {
    "": STATES, "queued": WAITING, "held": (HELD,), "running": RUNNING, "live": (*WAITING, *RUNNING),
    "ended": ENDED_STATES,
}  # fmt: skip
KINDS: dict[str, Callable[[Context], Candidates]] = {
    "causes": _causes,
    "cluster-names": _cluster_names,
    "clusters": _clusters,
    "event-kinds": _event_kinds,
    "events": _events,
    "fields": _fields,
    "gpu-types": _gpu_types,
    "gpus": _gpus,
    "options": _options_to_clear,
    "projects": _projects,
    "reservations": _reservations,
    "settings": _settings,
    "states": _states,
    "users": _users,
}
