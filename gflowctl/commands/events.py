"""Print what happened to jobs, GPUs, reservations and gflowd, the oldest first; with --follow, as it happens.

gflowd writes events to a journal in the state directory, of which [events] keep says how much is kept. It can be read
whether or not gflowd runs; what happens while it does not, such as a submission or the end of a job, is written when it
starts again, with the time at which it happened. With --follow the command goes on until it is interrupted, over stops
and restarts of gflowd, and begins with the next event, unless --after, --since or --last says where to begin.

An event has an id, such as 17-204, and later events have greater ids: both numbers count. An id never comes twice. To
miss nothing, keep the id of the last event that you have handled, and go on with --after. If events between are no
longer kept, a message says so, and the oldest that are kept follow. After a power cut, an event that was already read
may come again with another id.

--json prints an object for each event on a line of its own: id, at (when it happened), kind, and the fields of its
kind, which are named and mean the same as in gflowctl queue --json; job is the job's id. run_seconds are without
suspensions; wait_seconds go from the submission, or from when it was queued again, to the start; final says that no
other attempt will follow. An array or sweep has one job_submitted, with the number of its jobs in count; its elements
have events of their own from then on.
"""

from __future__ import annotations

import select
import time

from gflowctl.options import arguments
from gflowctl.output import event_lines, follow, render
from gflowd import command_line
from gflowd.core.errors import BadUsage
from gflowd.core.events import kinds
from gflowd.storage.journal.reader import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from gflowctl.context import Context
    from gflowd.core.events.kinds import Event, Id

    Fits = Callable[[Event], bool]


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    arguments.add_jobs(parser, nargs="*")
    group = parser.add_argument_group("which events")
    group.add_argument("--after", type=_event_id, metavar="ID", help="only events after the one with this id")
    group.add_argument("--since", metavar="INSTANT", help="only what happened since then, e.g. 9:00, or 2h or 7d ago")
    group.add_argument(
        "--kind",
        type=command_line.words,
        metavar="KIND,...",
        help=f"only these kinds, e.g. job_started,job_ended; {', '.join(kinds.FAMILIES)} mean all that begin so",
    )
    group.add_argument("--last", type=command_line.count, metavar="N", help="only the last N events")
    group = parser.add_argument_group("output")
    group.add_argument("-f", "--follow", action="store_true", help="keep printing new events until interrupted")
    command_line.add_timezone(group, "read and show times")
    command_line.add_json(group, "print a JSON object for each event, on a line of its own")


def run(args: argparse.Namespace, context: Context) -> int:
    """Prints them."""
    fits = _filter(args, context)
    context.state.check()
    reader = Reader(context.state, args.after)
    printer: Callable[[Iterable[Event]], None] = event_lines.write_json
    if not args.json:
        printer = event_lines.Table(context.clock, is_terminal=render.is_terminal(), color=args.color).write
    if args.follow and args.after is None and args.since is None and args.last is None:
        reader.skip()
    found = _read(reader, fits)
    printer(found if args.last is None else found[-args.last :])
    while args.follow:
        idle = time.monotonic()
        while not (found := _read(reader, fits)):
            if _is_closed(follow.pause(time.monotonic() - idle)):
                raise BrokenPipeError
        printer(found)
    return 0


def _event_id(text: str) -> Id:
    try:
        return kinds.decode_id(text)
    except ValueError as error:
        raise BadUsage(f"{error} (such as 17-204)") from None


def _filter(args: argparse.Namespace, context: Context) -> Fits:
    """Whether an event is to be printed. Raises `BadUsage` or `Refused`."""
    chosen = kinds.chosen(args.kind) if args.kind is not None else None
    since = None if args.since is None else context.past_instant(args.since, "--since")
    ids = frozenset(_ids(args.jobs, context)) if args.jobs else None

    def fits(event: Event) -> bool:
        return (
            (chosen is None or event["kind"] in chosen)
            and (since is None or event["at"] >= since)
            and (ids is None or _is_about(event, ids))
        )

    return fits


def _ids(texts: list[str], context: Context) -> list[int]:
    from gflowctl.view import lookup

    return lookup.view(context, texts).select(texts)


def _is_about(event: Event, ids: frozenset[int]) -> bool:
    """Whether an event is about one of these jobs; what is told of an array concerns all its elements."""
    first: int | None = event.get("job")
    if first is None or first in ids:
        return first is not None
    return any(first < each < first + event.get("count", 1) for each in ids)


def _read(reader: Reader, fits: Fits) -> list[Event]:
    found = reader.read()
    if reader.lost:
        render.flush()
        render.note("events were lost: they are no longer kept; the oldest that are kept follow")
        reader.lost = False
    return [event for event in found if fits(event)]


def _is_closed(seconds: float) -> bool:
    """Waits; whether whoever reads our output has gone."""
    poll = select.poll()
    poll.register(1, 0)  # errors alone
    return bool(poll.poll(seconds * 1000))
