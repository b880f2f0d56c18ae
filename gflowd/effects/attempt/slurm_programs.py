"""A directory of programs under Slurm's names, for the PATH of jobs: links to the gflowctl beside the gflowd that runs.

Where gflowd was started otherwise (`python -m gflowd`) the directory has a gflowctl of its own, by which the same
Python runs the same packages.
"""

from __future__ import annotations

import os
import sys

from gflowd import paths

_SHELL = """\
#!/bin/bash -p
exec %s -I %s "$0" "$@"
"""
_PYTHON = """\
import sys
sys.path += [place for place in %r if place not in sys.path]
del sys.argv[0]
from gflowctl.__main__ import program
program()
"""


def put(directory: str, names: tuple[str, ...], *, for_all: bool = False) -> None:
    """Makes the directory (0700; `for_all` users: 0755) hold them. Raises OSError, and as `paths.private_directory`."""
    if for_all:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        os.chmod(directory, 0o755)  # noqa: S103 -- programs for all
    else:
        paths.private_directory(directory)
    target = _installed() or _written(directory, 0o055 if for_all else 0)
    for name in names:
        paths.replace_link(os.path.join(directory, name), target)


def _installed() -> str | None:
    place, name = os.path.split(sys.argv[0])
    path = os.path.join(place, "gflowctl")
    return path if name == "gflowd" and place.startswith("/") and os.access(path, os.X_OK) else None


def _written(directory: str, others: int) -> str:
    import shlex

    code, path = os.path.join(directory, "gflowctl.py"), os.path.join(directory, "gflowctl")
    places = [place for place in map(os.path.abspath, sys.path) if os.path.isdir(place)]
    paths.replace_file(code, os.fsencode(_PYTHON % places), durable=False, mode=0o600 | (others & 0o044), is_exact=True)
    shell = _SHELL % (shlex.quote(sys.executable), shlex.quote(code))
    paths.replace_file(path, os.fsencode(shell), durable=False, mode=0o700 | others, is_exact=True)
    return path
