"""`scontrol write batch_script`: the script of a job, as it was at submission."""

from __future__ import annotations

import os

from gflowctl.output import render
from gflowctl.slurm.control import job_control
from gflowctl.view import jobs, kept_submission, views
from gflowd.core.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowctl.context import Context
    from gflowd.core.job.model import Job

WHAT = "batch_script"
WRAPPED = "#!/bin/sh\n\n# This script was made of the text of --wrap.\n\n{}\n"


def run(words: Sequence[str], context: Context) -> int:
    """`batch_script ID [FILE|-]`: into a file, by default slurm-ID.sh."""
    if len(words) not in (2, 3) or not WHAT.startswith(words[0].lower()) or not words[0]:
        raise Refused(f"invalid arguments: scontrol write {WHAT} JOBID [FILE|-]")
    view = views.View(context, context.store.read())
    try:
        (job_id, *_) = job_control.meant(view, words[1], which=None)
    except job_control.Unknown as error:
        raise Refused(f"job script retrieval failed: {error}") from None
    job = view.job(job_id)
    content = script(context, job)
    path = words[2] if len(words) > 2 else f"slurm-{jobs.label(job)}.sh"
    if path == "-":
        render.write_bytes(content)
        return 0
    try:
        with open(path, "wb", opener=_for_us_alone) as file:
            file.write(content)
    except OSError as error:
        raise Refused(f"failed to open file `{path}`: {error.strerror}") from None
    render.write(f"batch script for job {jobs.label(job)} written to {render.escape(path)}\n")
    return 0


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o700)


def script(context: Context, job: Job) -> bytes:
    """The job's script; for a wrapped text what runs it. Raises `Refused` where it has none."""
    spec = job.spec
    if spec.script is not None:
        context.check_own(spec, jobs.label(job))
        try:
            return kept_submission.script(context.state, spec)
        except OSError as error:
            raise Refused(f"job script retrieval failed: {error.strerror}") from None
    if spec.command[:2] == ("sh", "-c") and len(spec.command) == 3:
        return os.fsencode(WRAPPED.format(spec.command[2]))
    raise Refused(f"job script retrieval failed: job {jobs.label(job)} has no batch script")
