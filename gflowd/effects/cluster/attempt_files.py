"""What an attempt has written on its node, as far as it is seen here."""

from __future__ import annotations

import contextlib
import os

from gflowd.core.execution.observations import Observation
from gflowd.core.job.model import Identity, Started
from gflowd.effects.attempt import jobdir

NOTHING = Observation()


def look_afresh(directory: str) -> None:
    """Lets a network's file system ask its server for the names there, which it may remember from before."""
    with contextlib.suppress(OSError), os.scandir(directory) as found:
        next(found, None)


def observation(directory: str) -> Observation:
    """The start and the end of an attempt, by `pid` and `exit`."""
    begun, record = jobdir.beginning(directory), jobdir.exit_record(directory)
    started = None
    if begun is not None and begun.identity is not None:
        # Of another machine, and if it is this one, none of those who look after jobs here are to take it for theirs.
        identity = Identity(f"slurm:{begun.identity.boot}", begun.identity.pid, begun.identity.start)
        started = Started(at=begun.at, mono=0.0, identity=identity)
    barred = begun is not None and begun.identity is None
    seen = Observation(started=started, barred=barred)
    return seen if record is None else record.added_to(seen.replace(complete=True, used=jobdir.noted(directory)))


def real_id(directory: str) -> str | None:
    """Which job of Slurm's has begun, where one attempt was handed over twice: the other copy ends at once."""
    found = jobdir.read(directory, "pid")
    lines = [] if found is None else found[0].split("\n")
    words = lines[1].split() if len(lines) > 2 else []
    return words[0] if words and words[0].isdecimal() else None
