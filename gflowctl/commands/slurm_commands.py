"""Link Slurm's commands (sbatch, squeue, scancel ...) into a directory, for people and programs that call them.

They are programs of gflow that read and write as Slurm's do; gflow-slurm(7) says how far. Scripts with #SBATCH lines
find them in any case. In other places nobody does until install has linked them, by default into ~/.local/bin.

Where a Slurm of its own is installed, install refuses: users would no longer reach it. With --force it links all the
same. It never replaces what is not its own, and uninstall removes only its own links.
"""

from __future__ import annotations

import os
import sys

from gflowctl.output import render
from gflowd import command_line, paths
from gflowd.core.errors import Refused, SystemFailed
from gflowd.core.slurm import front_ends

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from gflowctl.context import Context

PROGRAM = "gflowctl"
DEFAULT = "~/.local/bin"


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the actions."""
    command_line.add_actions(
        parser,
        {
            "install": ("link the commands into a directory", _configure_install),
            "uninstall": ("remove those links", _add_directory),
            "list": ("show the commands, and what is called by each name", _add_directory),
        },
    )


def _configure_install(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="install also where a real Slurm is on the PATH")
    _add_directory(parser)


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", nargs="?", metavar="DIR", help=f"the directory (default {DEFAULT})")


def run(args: argparse.Namespace, context: Context) -> int:
    """Does what was asked for."""
    directory = os.path.abspath(os.path.expanduser(args.directory or DEFAULT))
    match args.action:
        case "install":
            _install(directory, context.environ, force=args.force)
        case "uninstall":
            _uninstall(directory)
        case _:
            _list(directory, context.environ)
    return 0


def _install(directory: str, environ: Mapping[str, str], *, force: bool) -> None:
    target = _launcher(environ)
    for name in front_ends.NAMES:
        path = os.path.join(directory, name)
        if os.path.lexists(path) and not is_ours(path):
            raise Refused(f"{path} is not a link of gflow's; remove it, or name another directory")
        if not force and (other := next(_others(name, environ), None)):
            raise Refused(f"{other} is there already, perhaps of a real Slurm; --force installs ours all the same")
    try:
        os.makedirs(directory, exist_ok=True)
        for name in front_ends.NAMES:
            paths.replace_link(os.path.join(directory, name), target)
    except OSError as error:
        raise SystemFailed(f"{error.filename or directory}: {error.strerror}") from None
    render.write(f"{', '.join(front_ends.NAMES)} are now in {render.escape(directory)}\n")
    if directory not in map(os.path.normpath, _path(environ)):
        render.note(f"note: {directory} is not on your PATH")


def _launcher(environ: Mapping[str, str]) -> str:
    """The installed gflowctl, this one if it is that, else the one on the PATH. Raises `Refused`."""
    places = (os.path.dirname(sys.argv[0]) if os.path.basename(sys.argv[0]) == PROGRAM else "", *_path(environ))
    for place in places:
        path = os.path.join(place, PROGRAM)
        if place.startswith("/") and os.access(path, os.X_OK):
            return path
    raise Refused(f"no {PROGRAM} is installed that the commands could be linked to")


def _uninstall(directory: str) -> None:
    removed = []
    for name in front_ends.NAMES:
        path = os.path.join(directory, name)
        if is_ours(path):
            try:
                os.unlink(path)
            except OSError as error:
                raise SystemFailed(f"{path}: {error.strerror}") from None
            removed.append(name)
    if not removed:
        raise Refused(f"there are no links of gflow's in {directory}")
    render.write(f"Removed {', '.join(removed)} from {render.escape(directory)}\n")


def _list(directory: str, environ: Mapping[str, str]) -> None:
    rows = [["COMMAND", "LINK", "CALLED"]]
    for name in front_ends.NAMES:
        path = os.path.join(directory, name)
        link = path if is_ours(path) else "-"
        found = next((each for each in _found(name, environ)), "-")
        rows.append([name, link, found])
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, link, found in rows:
        render.write(f"{name:<{widths[0]}}  {render.escape(link):<{widths[1]}}  {render.escape(found)}\n")


def is_ours(path: str) -> bool:
    """Whether a path is a link to a gflowctl, or was one to a gflowctl that has gone."""
    try:
        return os.path.basename(os.readlink(path)) == PROGRAM
    except OSError:
        return False


def _others(name: str, environ: Mapping[str, str]) -> Iterator[str]:
    return (path for path in _found(name, environ) if os.path.basename(os.path.realpath(path)) != PROGRAM)


def _found(name: str, environ: Mapping[str, str]) -> Iterator[str]:
    paths = (os.path.join(place, name) for place in _path(environ))
    return (path for path in paths if os.access(path, os.X_OK))


def _path(environ: Mapping[str, str]) -> list[str]:
    return [place for place in environ.get("PATH", os.defpath).split(":") if place]
