"""Reserve GPUs for a user during a time window: a number of GPUs, any of them, or certain GPUs, by index.

During the window, jobs of other users do not use these GPUs; jobs that are already running go on. Cancelling a
reservation ends its window at once.

A repeating reservation repeats at the same local time, even across daylight-saving changes. A reservation is refused if
at any time a GPU would be reserved twice, or more GPUs than the machine has. gflowd need not be running.
"""

from __future__ import annotations

import argparse
import time

from gflowctl.machine import reservations as reserving
from gflowctl.output import render
from gflowd import command_line
from gflowd.core.admission import machine_settings
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job.records import RESERVATION
from gflowd.core.planning import reservation_conflicts, reservations
from gflowd.core.syntax import ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflowctl.context import Context
    from gflowd.storage.store import Commit

MOST_GPUS = 1024
DEFAULT_RANGE = 86400.0  # seconds
SHORTEST_RANGE = 600.0  # seconds; a shorter axis would have no marks


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the actions and their options."""
    table = {
        "create": ("create a reservation", _configure_create),
        "list": ("list reservations", _configure_list),
        "show": ("show one reservation", _configure_show),
        "cancel": ("cancel a reservation", _configure_one),
    }
    command_line.add_actions(parser, table)


def _configure_create(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-u", "--user", metavar="USER", help="reserve for this user (default: you)")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("-g", "--gpus", type=command_line.count, metavar="N", help="this many GPUs, any of them")
    which.add_argument("--gpu-list", type=_indices, metavar="LIST", help="these GPUs, by index: 0,2 or 0-3")
    parser.add_argument(
        "--start", required=True, metavar="INSTANT", help="start, e.g. 18:30, 'tomorrow 9:00', now or now+2h"
    )
    parser.add_argument("--for", required=True, type=command_line.duration, metavar="DUR", dest="duration",
                        help="duration, e.g. 30m, 2h or 1d")  # fmt: skip
    parser.add_argument("--repeat", choices=tuple(reservations.PERIODS), help="repeat at the same time of day")
    command_line.add_timezone(parser, command_line.BOTH)
    command_line.add_json(parser)


def _configure_list(parser: argparse.ArgumentParser) -> None:
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--active", action="store_true", help="only active reservations")
    some.add_argument("--status", choices=reservations.STATUSES, help="only reservations with this status")
    parser.add_argument("-u", "--user", metavar="USER", help="only reservations for this user")
    parser.add_argument("--timeline", action="store_true", help="draw the coming reservations as bars")
    parser.add_argument(
        "--range", type=command_line.duration, metavar="DUR", help="length of the timeline (default 1d)"
    )
    command_line.add_timezone(parser, command_line.SHOWS)
    command_line.add_json(parser)


def _configure_show(parser: argparse.ArgumentParser) -> None:
    _configure_one(parser)
    command_line.add_timezone(parser, command_line.SHOWS)


def _configure_one(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", type=command_line.count, metavar="ID", help="number of the reservation")
    command_line.add_json(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Does what is asked."""
    {"create": _create, "list": _list, "show": _show, "cancel": _cancel}[args.action](args, context)
    return 0


def _create(args: argparse.Namespace, context: Context) -> None:
    now, zone = time.time(), context.calendar
    machine_gpus = context.observed.gpu_count
    asked = _asked(args, context, now)
    reservation_conflicts.check(asked, machine_gpus, now)

    def decide(commit: Commit) -> reservations.Reservation:
        records = commit.fold().of(RESERVATION)
        new = asked.replace(id=1 + max(records, default=0))
        machine_settings.check_reservation(new, records, machine_gpus, now, zone, context.clock)
        commit.put(RESERVATION, new.id, reservations.encode(new))
        for old in reservations.decode_all(records):
            if machine_settings.is_removable(old, now):
                commit.put(RESERVATION, old.id, None)
        return new

    new = context.change(decide)
    context.ring(b"w")
    if machine_gpus is None:
        render.note("the GPU count is not known yet; checked only against other reservations")
    _tell(args, f"Created reservation {new.id}", new, context)
    if new.repeat is not None:
        from gflowctl.machine import reservation_prospects

        fold = context.store.read()
        before = {number: each for number, each in fold.of(RESERVATION).items() if number != new.id}
        for words in reservation_prospects.newly_shut_out(context, fold, before):
            render.note(f"note: {words}")


def _asked(args: argparse.Namespace, context: Context, now: float) -> reservations.Reservation:
    """The reservation that the options describe, without its id. Raises `Refused` for an unknown user."""
    import pwd

    user, uid = context.user, context.uid  # a user without a name, as in a container
    try:
        if args.user not in (None, user):
            found = pwd.getpwnam(args.user)
            user, uid = found.pw_name, None if uid is None else found.pw_uid
    except (KeyError, ValueError):
        raise Refused(f"no user {args.user!r} on this machine") from None
    return reservations.Reservation(
        id=0,
        user=user,
        uid=uid,
        gpus=args.gpus or 0,
        gpu_list=args.gpu_list,
        start=context.instant(args.start, "--start"),
        duration=args.duration,
        repeat=args.repeat,
        created_at=now,
        created_by=context.user,
        creator_uid=context.uid,
    )


def _list(args: argparse.Namespace, context: Context) -> None:
    if args.timeline and args.json:
        raise BadUsage("give either --timeline or --json, not both")
    if args.range is not None and not args.timeline:
        raise BadUsage("--range is for --timeline")
    ahead = DEFAULT_RANGE if args.range is None else args.range
    if not SHORTEST_RANGE <= ahead <= reservation_conflicts.FURTHEST:
        raise BadUsage("--range: from 10 minutes to five years")
    now, zone = time.time(), context.calendar
    wanted = reservations.ACTIVE if args.active else args.status
    found = [
        each
        for each in reserving.every(context)
        if (args.user is None or each.user == args.user)
        and (wanted is None or reservations.status(each, now, zone) == wanted)
    ]
    color = render.use_color(args.color)
    if args.json:
        render.write_json([reserving.record(each, now, zone) for each in found])
    elif args.timeline:
        from gflowctl.machine import timeline

        render.write(timeline.draw(found, now, ahead, zone, context.clock, color=color))
    else:
        render.write(reserving.table(found, now, zone, context.clock, color=color))


def _show(args: argparse.Namespace, context: Context) -> None:
    one = reserving.find(reserving.every(context), args.id)
    now, zone = time.time(), context.calendar
    if args.json:
        render.write_json(reserving.record(one, now, zone))
    else:
        render.write(
            "".join(f"{key + ':':<11}{text}\n" for key, text in reserving.lines(one, now, zone, context.clock))
        )


def _cancel(args: argparse.Namespace, context: Context) -> None:
    reserving.find(reserving.every(context), args.id)  # so that no state directory is created needlessly
    zone = context.calendar
    now = time.time()

    def decide(commit: Commit) -> tuple[reservations.Reservation, str | None]:
        one = reserving.find(reservations.decode_all(commit.fold().of(RESERVATION)), args.id)
        found = machine_settings.cancelled(one, now, zone)
        if isinstance(found, str):
            return one, found
        commit.put(RESERVATION, one.id, reservations.encode(found))
        return found, None

    one, already = context.change(decide)
    if already is not None:
        render.note(f"reservation {one.id} {already}")
    context.ring(b"w")
    _tell(args, f"Cancelled reservation {one.id}" if already is None else None, one, context)


def _tell(args: argparse.Namespace, words: str | None, one: reservations.Reservation, context: Context) -> None:
    if args.json:
        render.write_json(reserving.record(one, time.time(), context.calendar))
    elif words is not None:
        render.write(f"{words}\n")


def _indices(text: str) -> tuple[int, ...]:
    """A type for argparse: GPU indices, ascending."""
    try:
        found = ranges.ascending(ranges.parse(text))
    except Refused as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if any(last >= MOST_GPUS for _, last, _ in found):
        raise argparse.ArgumentTypeError(f"{ranges.short(text)} goes beyond GPU {MOST_GPUS - 1}")
    return tuple(index for first, last, step in found for index in range(first, last + 1, step))
