"""What is the same for all of Slurm's programs: how one is found, its help and version, its errors and exit status.

A program is a module of this folder with `run(words, context)`, which returns the exit status; its docstring is the
help. What needs no context may be answered by `early(words)`, which returns None for the rest. A `GflowError` is one
line, `NAME: error: ...`, and status 1, as of Slurm's own.
"""

from __future__ import annotations

import os
import sys

from gflowctl.output import render
from gflowd.core.errors import GflowError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED = 1
INTERRUPTED = 130  # 128 + SIGINT
HELP = ("--help", "--usage")
VERSION = ("--version", "-V")


def main(name: str, words: Sequence[str]) -> int:
    """Runs the program `name` with the words after it; returns the exit status."""
    render.reopen_closed_streams()
    render.speak_as(name)
    try:
        status = _run(name, words)
        render.flush()
    except GflowError as error:
        render.fail(f"error: {error}")
        status = FAILED
    except BrokenPipeError:
        render.abandon_stdout()
        status = 0
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception as error:
        from gflowd import command_line

        render.fail(f"error: {command_line.unexpected(error)}")
        status = FAILED
    return status


def _run(name: str, words: Sequence[str]) -> int:
    if words and words[0] in VERSION:
        render.write(version())
        return 0
    module_name = f"gflowctl.slurm.{name}"
    __import__(module_name)
    module = sys.modules[module_name]
    if words and words[0] in HELP:
        render.write(f"{(module.__doc__ or '').strip()}\n")
        return 0
    early = getattr(module, "early", None)
    if early is not None and (settled := early(words)) is not None:
        done: int = settled
        return done
    from gflowctl.context import Context

    context = Context(os.environ)
    context.check_config()
    status: int = module.run(words, context)
    for note in context.notes():
        render.note(note)
    return status


def version() -> str:
    """What `--version` prints: first the words that others look for in it."""
    from gflowd import __version__
    from gflowd.core.slurm import site

    return f"slurm {site.VERSION} (as spoken by gflow {__version__})\n"
