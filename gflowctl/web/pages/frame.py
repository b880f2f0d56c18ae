"""What all pages have in common: what a page is, and what its frame says of the machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gflowctl.machine import drain
from gflowd.core.syntax import durations
from gflowd.core.syntax.clocks import SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gflowctl.view.views import View

Query = dict[str, list[str]]  # as `urllib.parse.parse_qs` has it


@dataclass(frozen=True, slots=True)
class Page:
    """`template` shows `values`; `fragments` are the parts of it, by the names of their templates, that are kept up to
    date; `tab` is the entry of the navigation.
    """

    template: str
    title: str
    tab: str
    values: Mapping[str, Any]
    fragments: tuple[str, ...] = ()
    status: int = 200
    links_back: bool = field(default=False)  # has a form: a browser may tell the origin


def one(query: Query, name: str) -> str:
    """The last value of a parameter; empty if it is missing."""
    return query.get(name, [""])[-1]


def number(query: Query, name: str) -> int:
    """A parameter as a number that is not negative; 0 for anything else."""
    text = one(query, name)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def time_of(view: View) -> str:
    """When it was looked, as the page has times."""
    return view.clock.show(view.now, SECONDS)


def notices(view: View) -> list[str]:
    """What everybody who looks at the queue has to know, in sentences; also what was noted while a page was built."""
    found, seen = [], view.observed
    if not view.daemon_runs:
        when = "" if seen.at is None else f" It last saw the machine {durations.clock(view.now - seen.at)} ago."
        found.append(f"gflowd is not running: no job starts until {view.context.start_command}.{when}")
    elif seen.trouble:
        found.append(seen.trouble)
    if seen.gpu_trouble:
        found.append(f"GPUs unknown: {seen.gpu_trouble}")
    if (ordered := drain.of(view.fold)) is not None:
        found.append(f"No job starts: the machine is drained {drain.words(ordered, view.clock)}.")
    return [*found, *dict.fromkeys(view.context.notes())]
