"""Write a commented job script to edit and submit with gflowctl submit.

The script is NAME.sh in the current directory (or NAME, if that already ends in .sh). An existing file is left alone.
The script can be submitted as it is: all options except the name are commented out.
"""

from __future__ import annotations

import os

from gflowctl.output import render
from gflowd.core.errors import BadUsage, Refused, SystemFailed
from gflowd.core.request import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.context import Context

ENDING = ".sh"
TEMPLATE = """\
#!/bin/sh
# A job for gflow:  gflowctl submit {file}
#
# Lines before the first command that begin with "# GFLOW" are options of gflowctl submit; options on the command line
# take precedence. Lines that begin with "## GFLOW" are comments: remove one # to use such an option.

# GFLOW --name={name}

## Resources, and the time limit.
## GFLOW --gpus=1
## GFLOW --gpu-memory=20G
## GFLOW --cpus=4
## GFLOW --memory=16G
## GFLOW --time=2:00:00

## When to start: after job 41 has finished with exit status 0, not before 22:00; higher priorities start first.
## GFLOW --depends-on=afterok:41
## GFLOW --begin=22:00
## GFLOW --priority=20

## Many jobs: one for each index, at most two at a time. $GFLOW_ARRAY_TASK_ID is the index.
## GFLOW --array=1-10%2

## Write the output to a file instead of the log that gflowctl log shows: %x is the name, %j the id.
## GFLOW --output=%x-%j.out

## Retry the job if it fails.
## GFLOW --max-retries=2
## GFLOW --retry-delay=30s

set -eu

echo "job $GFLOW_JOB_ID on $(uname -n), GPUs: ${{CUDA_VISIBLE_DEVICES:-none}}"
# python3 train.py
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.add_argument("name", metavar="NAME", help="name of the job; its script is NAME.sh")


def run(args: argparse.Namespace, context: Context) -> int:  # noqa: ARG001 -- every command has both
    """Makes the file."""
    name = os.path.basename(args.name).removesuffix(ENDING)
    if name in ("", ".", "..") or name.startswith("-"):
        raise BadUsage(f"{args.name!r} cannot be the name of a job")
    validation.check_text(args.name)
    if not args.name.isprintable():
        raise Refused(f"{args.name!r} contains a control character")
    path = args.name if args.name.endswith(ENDING) else f"{args.name}{ENDING}"
    _write(path, _content(path, name))
    render.write(f"Wrote {render.escape(path)}\n")
    if render.notes_are_read():
        render.note(f"edit it, then: gflowctl submit {_quoted(path)}")
    return 0


def _content(path: str, name: str) -> bytes:
    return TEMPLATE.format(file=_quoted(path), name=_quoted(name)).encode()


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


def _write(path: str, content: bytes) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o777)
    except FileExistsError:
        raise Refused(f"{path} already exists; gflow does not overwrite it") from None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    try:
        with open(fd, "wb") as file:
            file.write(content)
    except OSError as error:
        os.unlink(path)
        raise SystemFailed(f"{path}: {error.strerror}") from None
