"""Write a backup of the queue, its environments and scripts, the history, the settings and the configuration.

FILE is a tar archive that only its owner can read, because environments may hold secrets. The daemon may keep running;
the backup holds the queue as it was at one instant, and what was handed over to clusters. gflowctl restore restores a
backup. Where gflowd is for all users, only root makes and restores backups, without logs.
"""

from __future__ import annotations

import os

from gflowctl.admin import backup
from gflowctl.output import render
from gflowd.core.errors import Refused, SystemFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.add_argument("file", metavar="FILE", help="the file to write; it must not exist yet")
    parser.add_argument("--logs", action="store_true", help="include the logs of jobs, which can be large")
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")


def run(args: argparse.Namespace, context: Context) -> int:
    """Writes it."""
    try:
        _write(args, context)
    except OSError as error:
        where = str(error.filename or "")
        if not where.startswith(os.path.join(context.state.root, "")):
            where = args.file
        raise SystemFailed(f"{where}: {error.strerror}") from error
    return 0


def _write(args: argparse.Namespace, context: Context) -> None:
    path = os.path.abspath(args.file)
    if os.path.lexists(path) and not (args.force and os.path.isfile(path)):
        raise Refused(f"{args.file} already exists; choose another name{'' if args.force else ', or give --force'}")
    fold = backup.save(context, path, logs=args.logs)
    if fold.dropped:
        render.note("the snapshot is damaged, and so is the backup; see gflowctl doctor")
    size = os.path.getsize(path) / (1 << 20)
    render.write(f"Backed up to {args.file} ({size:.1f}M)\n")
