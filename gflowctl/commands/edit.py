"""Change the options of a queued job, or of an array, in an editor.

The editor of $VISUAL or $EDITOR, else the system's (editor or vi), opens a text with a line for each option of gflowctl
update: those that are set, as "option = value", and the others as comments. What is changed there is applied as by
gflowctl update, with the same rules and refusals: a changed value as that option, an emptied or removed line as
--clear. All of it is applied, or nothing. What takes several lines goes on in lines that begin with four spaces.

If the text is unchanged, or holds no option any more, nothing is changed. If it is refused, it can be edited again on a
terminal; else it stays in the file that the error names. The job is not locked meanwhile: what others change in lines
that you leave alone stays as they made it.

The id of an array means all of it. The id of a series means its next run; with --run, the first run alone.
"""

from __future__ import annotations

import sys

from gflowctl.change import editor, option_text, spec_changes
from gflowctl.options import arguments, update_options
from gflowctl.output import render
from gflowctl.view import jobs, roles, views
from gflowd import command_line
from gflowd.core.admission import updates
from gflowd.core.errors import BadUsage, GflowError, Refused
from gflowd.core.job.model import ENDED_STATES
from gflowd.core.request import update_rules
from gflowd.storage.record_log import Fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gflowctl.change.editor import Draft
    from gflowctl.change.spec_changes import Outcome
    from gflowctl.context import Context
    from gflowd.core.job.model import Job

HOW = (
    "Change a value; remove a line, or its value, for the default. Lines that begin with # are comments, lines that "
    "begin with four spaces continue a value. All changes are applied, or none."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Names the options."""
    parser.add_argument("job", metavar="JOB", help="the id of a job or an array; @ is your last submission, @~2 the "
                        "one two before it")  # fmt: skip
    parser.add_argument("--run", action="store_true", dest="only_run",
                        help="edit the run with this id, not the next of its series")  # fmt: skip
    command_line.add_timezone(parser, command_line.BOTH)
    arguments.add_changed_json(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Runs the editor, and changes the job as its text says."""
    args.jobs = [args.job]
    fold = context.store.read() if context.state.has_snapshot() else Fold()
    view = views.View(context, fold)
    spec_id, job = _job(args, view)
    before = option_text.values(view, job)
    command = editor.chosen(context.environ)
    draft = editor.Draft(f"job-{spec_id}.txt", option_text.written(_head(job, spec_id, context), before, _parser()))
    try:
        found = _edited(draft, command, before, spec_id, context)
    except GflowError as error:
        raise type(error)(f"{error}; nothing is changed{_left(draft)}") from None
    except BaseException:
        if left := _left(draft):
            render.note(f"the text was not applied{left}")
        raise
    draft.remove()
    if found is None:
        if args.json:
            render.write_json([])
        render.note("nothing changed")
    else:
        asked, outcome = found
        asked.json = args.json
        spec_changes.tell(asked, context, outcome)
    return 0


def _job(args: argparse.Namespace, view: views.View) -> tuple[int, Job]:
    """The id of the spec that is meant, and the job that stands for it. Raises `Refused` where no change is possible,
    `BadUsage` for several jobs.
    """
    groups = views.by_spec(view, spec_changes.named(args, view))
    if len(groups) != 1:
        raise BadUsage("give one job or one array")
    ((spec_id, ids),) = groups.items()
    if len(ids) < len(view.ids_of(spec_id)):
        raise Refused(f"the elements of an array are edited together; give {spec_id}")
    try:
        roles.check(view, spec_id)
        view.check_changeable(spec_id)
    except Refused as error:
        raise Refused(f"job {spec_id} {error}") from None
    job = updates.foremost(view, ids)
    if (state := jobs.state(job)) in ENDED_STATES:
        raise Refused(f"job {spec_id} has ended ({state}); gflowctl redo makes a new job")
    return spec_id, job


def _head(job: Job, spec_id: int, context: Context) -> list[str]:
    """What the text says first."""
    state, what = jobs.state(job), "job" if job.array_id is None else "array"
    name = render.escape(job.spec.name)
    head = [f"The options of {what} {spec_id} ({name}), which is {state}, as for gflowctl update.", HOW]
    if context.clock.name is not None:
        head.append(f"Times are in the time zone {context.clock.name}.")
    if state not in update_rules.WAITING:
        names = [option.name for option in update_rules.OPTIONS if state in option.states]
        head.append(f"While it is {state}, only these can be changed: {', '.join(names)}.")
    return head


def _parser() -> command_line.Parser:
    """Reads the options."""
    parser = command_line.Parser(prog="gflowctl update")
    update_options.add(parser)
    return parser


def _edited(
    draft: Draft, command: list[str], before: dict[str, str], spec_id: int, context: Context
) -> tuple[argparse.Namespace, Outcome] | None:
    """What was asked for in the end and what came of it; None if that is nothing. Raises `GflowError`."""
    while True:
        draft.edit(command)
        try:
            after = option_text.read(draft.read())
            words = option_text.changes(before, after) if after else []
            if not words:
                return None
            asked = _parser().parse_args(words)
            asked.jobs, asked.only_run = [str(spec_id)], True
            return asked, spec_changes.commit(asked, context)
        except GflowError as error:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise
            render.note(str(error))
            if not _agreed("Edit it again? [Y/n] "):
                raise type(error)("not edited again") from None


def _agreed(question: str) -> bool:
    sys.stderr.write(question)
    sys.stderr.flush()
    answer = sys.stdin.readline()
    return bool(answer) and answer.strip().lower() in ("", "y", "yes")


def _left(draft: Draft) -> str:
    """Where the text is that would be lost else; removes it if there is none."""
    if draft.is_changed:
        return f"; your text is in {draft.path}"
    draft.remove()
    return ""
