"""Restore a backup that gflowctl backup wrote: all of it, or nothing if it is incomplete or damaged.

Refused while gflowd runs. With --force an existing queue is replaced, and kept in a directory beside it; job
directories and logs stay. So that no job id is given twice, new ids continue after the greatest known id, or a thousand
after it if the old queue is missing.

Jobs that ran when the backup was made and are still running go on. Those that are gone, after a reboot or on another
machine, fail as Zombie when gflowd starts, or are retried if they asked for that. Jobs that were queued then are queued
again, including those that have run since and whose directory is missing. Jobs that a cluster has are found there
again, with their results, and run no second time; for that the directory of the cluster must be as gflowd left it. A
backup of another machine needs gflowd start --adopt. A backup decides which commands are run: restore only one that you
trust.
"""

from __future__ import annotations

from gflowctl.admin import restore
from gflowctl.output import render
from gflowd import command_line, paths
from gflowd.core.job.records import SPEC
from gflowd.core.syntax.plurals import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.add_argument("file", metavar="FILE", help="the backup file")
    parser.add_argument("--force", action="store_true", help="replace an existing queue or configuration")
    parser.add_argument("--no-config", action="store_true", help="do not restore the configuration")
    command_line.add_timezone(parser, command_line.SHOWS)


def run(args: argparse.Namespace, context: Context) -> int:
    """Restores it."""
    done = restore.restore(context, args.file, force=args.force, with_config=not args.no_config)
    when = context.clock.stamp(done.about["at"])
    jobs = count(len(done.fold.of(SPEC)), "submission")
    render.write(f"Restored {jobs} from {when}; the next job is {done.fold.next_id}\n")
    if done.fold.aside:
        render.note("this version cannot make sense of some of its records; gflowctl doctor names them")
    if done.kept:
        render.note(f"the old files are kept in {done.kept}")
    if done.about.get("machine") not in (None, paths.machine()):
        render.note("the backup is from another machine; if gflow no longer runs there: gflowd start --adopt")
    return 0
