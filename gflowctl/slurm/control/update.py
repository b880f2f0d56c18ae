"""`scontrol update` of jobs: the verb update in Slurm's words."""

from __future__ import annotations

from gflowctl.change import spec_changes
from gflowctl.commands import update
from gflowctl.output import render
from gflowctl.slurm.control import job_control
from gflowctl.view import views
from gflowd import command_line
from gflowd.core.errors import BadUsage, Refused
from gflowd.core.job import array_ids
from gflowd.core.slurm import job_updates

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowctl.context import Context
    from gflowd.core.slurm.job_updates import Update

OF_OTHERS = {"node": "gflowctl drain", "partition": "gflowctl drain", "reservation": "gflowctl reserve"}


def run(words: Sequence[str], context: Context) -> int:
    """Changes the jobs that are named; of several, one that cannot be changed does not keep the others."""
    first = words[0].lower() if words else ""
    for what, remedy in OF_OTHERS.items():
        if first.startswith((f"{what}=", f"{what}name=")):
            raise Refused(f"gflow has one {what} for all jobs; see {remedy}")
    asked = job_updates.parse(words)
    for note in asked.notes:
        render.note(note)
    status = 0
    named = job_control.by_name(asked.name, context) if asked.name is not None else array_ids.split(asked.jobs)
    for word in named:
        try:
            status = max(status, _update(word, asked, context))
        except job_control.Unknown as error:
            render.say(f"{error} for job {word}")
            status = 1
        except Refused as error:
            render.note(f"error: {error}")
            status = 1
        except BadUsage as error:
            raise Refused(str(error).removesuffix(" (see scontrol --help)")) from None
    return status


def _update(word: str, asked: Update, context: Context) -> int:
    view = views.View(context, context.store.read())
    ids = job_control.meant(view, word)
    argv = list(asked.argv)
    if asked.minutes:
        limit = view.job(ids[0]).spec.time_limit
        if limit is None:
            raise Refused(f"job {word} has no time limit to change")
        argv.append(f"--time={max(round(limit) + 60 * asked.minutes, 1)}s")
    if argv:
        parser = command_line.Parser(prog="scontrol", write=render.write)
        update.configure(parser)
        spec_changes.commit(parser.parse_args([*argv, word]), context)
    return job_control.hold([word], context) if asked.holds else 0
