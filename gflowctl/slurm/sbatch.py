"""Usage: sbatch [OPTIONS] [SCRIPT [ARG ...]], or --wrap TEXT, or a script on standard input.

Queues the script and prints `Submitted batch job ID`. Options on the command line are those of #SBATCH lines and take
precedence; SBATCH_ variables come between them. See gflow-slurm(7), and gflow(7) for what each option means here.
"""

from __future__ import annotations

import os

from gflowctl.commands import submit
from gflowctl.output import render
from gflowctl.slurm import main
from gflowctl.submit import capture, enqueue
from gflowctl.submit.drafting import Batch, Drafter
from gflowd.core.errors import Refused, SystemFailed
from gflowd.core.job.model import STDIN
from gflowd.core.request.validation import LARGEST_SCRIPT
from gflowd.core.slurm import sbatch_variables, site
from gflowd.core.slurm.sbatch_options import GRAMMAR, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gflowctl.context import Context
    from gflowctl.submit.drafting import Draft
    from gflowctl.submit.enqueue import New

OF_THE_PROGRAM = ("help", "quiet", "usage", "verbose", "version", "wrap")
NO_SCRIPT = "This does not look like a batch script: its first line must be #! and an interpreter, such as #!/bin/sh"


def run(words: Sequence[str], context: Context) -> int:
    """Queues one script."""
    pairs, operands = GRAMMAR.parse(words, mixed=False)
    own = {name: value for name, value in pairs if name in OF_THE_PROGRAM}
    if not own.keys().isdisjoint(("help", "usage")):
        render.write(__doc__ or "")
        return 0
    if "version" in own:
        render.write(main.version())
        return 0
    given = sbatch_variables.options(context.environ)
    given += [Option(0, *pair) for pair in pairs if pair[0] not in OF_THE_PROGRAM]
    batch = _batch(own.get("wrap"), operands, context.environ, given)
    drafter = submit.drafter_of(batch, context)
    draft = drafter.draft()
    if draft.answer.skip_if_queued:
        from gflowctl.submit import skipping

        try:
            return _submit(draft, drafter, given, context, quiet="quiet" in own)
        except skipping.IsQueued as found:
            found.tell(draft.answer)
            return 0
    return _submit(draft, drafter, given, context, quiet="quiet" in own)


def _submit(draft: Draft, drafter: Drafter, given: Sequence[Option], context: Context, *, quiet: bool) -> int:
    answer = draft.answer
    if not quiet:
        capture.tell(drafter.notes)
    if answer.dry_run:
        (new,) = enqueue.rehearse([draft], context)
        _rehearse(new)
        return 0
    (new,) = enqueue.queue([draft], drafter, context)
    context.ring(b"q")
    clusters = next((option.value for option in reversed(given) if option.name == "clusters"), None)
    if not quiet:
        _tell(new, parsable=answer.parsable, clusters=clusters)
        if not answer.parsable and render.notes_are_read() and not context.daemon_runs:
            render.note("note: gflowd is not running; the job will start when it does")
    return _wait(context, new.ids) if answer.wait else 0


def _batch(wrap: str | None, operands: list[str], environ: Mapping[str, str], given: list[Option]) -> Batch:
    if wrap is not None:
        if operands:
            raise Refused("Script arguments not permitted with --wrap option")
        if not wrap.strip():
            raise Refused("--wrap: the text is empty")
        return Batch(("sh", "-c", wrap), None, given, name="wrap", wrap=wrap)
    path = _found(operands[0], environ) if operands else STDIN
    content = _content(path)
    name = "sbatch" if path == STDIN else os.path.basename(path)
    return Batch((path, *operands[1:]), content, given, name=name)


def _found(path: str, environ: Mapping[str, str]) -> str:
    """The script that a word means: a file here, else one on the PATH."""
    if "/" in path or os.path.isfile(path):
        return path
    places = (os.path.join(place, path) for place in environ.get("PATH", "").split(":") if place)
    return next((place for place in places if os.path.isfile(place) and os.access(place, os.R_OK)), path)


def _content(path: str) -> bytes:
    """The whole of a script, however it comes. Raises `Refused` for what is none."""
    try:
        with open(0 if path == STDIN else path, "rb", closefd=path != STDIN) as file:
            content = file.read(LARGEST_SCRIPT + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Refused(f"Unable to open file {path}: {why}") from None
    if not content:
        raise Refused("Batch script is empty!")
    if not content.strip():
        raise Refused("Batch script contains only whitespace!")
    if not content.startswith(b"#!"):
        raise Refused(NO_SCRIPT)
    if b"\0" in content:
        raise Refused("The SLURM batch script contains a NULL character")
    if len(content) > LARGEST_SCRIPT:
        raise Refused(f"{path} is larger than {LARGEST_SCRIPT >> 20} MiB, too large for a script")
    return content


def _tell(new: New, *, parsable: bool, clusters: str | None) -> None:
    """Prints the first id alone, also of an array, which is what programs read."""
    if parsable:
        text = f"{new.first};{site.CLUSTER}" if clusters else f"{new.first}"
    else:
        text = f"Submitted batch job {new.first}{f' on cluster {site.CLUSTER}' if clusters else ''}"
    try:
        render.write(f"{text}\n")
        render.flush()
    except SystemFailed as error:
        raise SystemFailed(f"job {new.first} is queued, but {error}") from None


def _rehearse(new: New) -> None:
    from gflowctl.output.descriptions import resources

    count = len(new.ids)
    of = f", {count} array tasks" if new.spec.family is not None else ""
    render.note(f"the job would be accepted: {new.spec.name}, {resources(new.spec)}{of}")


def _wait(context: Context, ids: range) -> int:
    """Waits for the end of all; the greatest exit code, 1 for one that did not end by itself."""
    from gflowctl.output import follow
    from gflowctl.view import views
    from gflowd.core.job.model import FINISHED, Ended

    follow.wait(context, ids)
    view = views.View(context, context.store.read())
    worst = 0
    for job_id in ids:
        if not view.knows(job_id):  # it was removed
            continue
        phase = view.job(job_id).phase
        if isinstance(phase, Ended) and phase.state != FINISHED:
            worst = max(worst, phase.exit_code or 1)
    return worst
