"""The series that a submission begins, or an update changes: its rule, its time zone, and when its first run is due."""

from __future__ import annotations

from gflowctl.options import job_options
from gflowd.core.admission import spec_contents
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job.model import SKIP, Repeat
from gflowd.core.syntax import instants, recurrence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from gflowctl.context import Context


def asked(args: Namespace, context: Context, begin_at: float) -> Repeat:
    """What `--repeat` and `--overlap` of a new job ask for; its first run is due at `begin_at` at the earliest.

    Raises `BadUsage` for options that do not go together, `Refused` for a rule that is none or cannot be followed.
    """
    if args.repeat is None:
        raise BadUsage("--overlap needs --repeat")
    if job_options.asks_for_many(args):
        raise BadUsage("--repeat is for single jobs, not for arrays and sweeps")
    if job_options.dependencies(args) is not None:
        raise BadUsage(spec_contents.NO_DEPENDENCIES)
    if args.deadline is not None:
        raise BadUsage(spec_contents.NO_DEADLINE)
    return repeat(args.repeat, args.timezone or context.zone_name, begin_at).replace(overlap=args.overlap or SKIP)


def repeat(text: str, zone: str | None, at: float) -> Repeat:
    """That a job repeats so, with its first run at or after `at`. Raises `Refused`."""
    try:
        rule = recurrence.checked(text)
        due = recurrence.first(rule, at, instants.zone(zone))
    except Refused as error:
        raise Refused(f"--repeat: {error}") from None
    if due is None:
        raise Refused(f"--repeat: {rule!r} never comes")
    return Repeat(rule=rule, due=due, zone=zone)
