"""A job that is attended to from its submission to its end, in Slurm's words: what srun and salloc have in common."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gflowctl.commands import run, submit
from gflowctl.output import render
from gflowctl.submit import capture, enqueue
from gflowctl.submit.drafting import Batch
from gflowctl.view import reasons
from gflowd.core.job.model import PROCESS
from gflowd.core.job.reasons import SCHEDULING
from gflowd.core.slurm.sbatch_options import COMMAND_LINE, Option

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gflowctl.context import Context
    from gflowctl.view.views import View
    from gflowd.core.job.model import Job

    Pairs = Iterable[tuple[str, str | None]]

# Its output is here, so it goes to no file.
OWN = {"output": None, "error": None, "input": None, "append": False, "executor": PROCESS}


class Attended(run.Attendance):
    """As `gflowctl run` attends to a job. Mutable: what has been said."""

    def __init__(
        self, context: Context, command: tuple[str, ...], options: Pairs, *, name: str, pty: bool, quiet: bool
    ) -> None:
        super().__init__(argparse.Namespace(pty=pty, detach=False, quiet=quiet), context)
        self._batch = Batch(command, None, [Option(COMMAND_LINE, *pair) for pair in options], name=name)
        self._quiet = quiet
        self._waited = False

    def to_its_end(self) -> int:
        """Attends to it; returns its exit status."""
        try:
            return self.stay()
        finally:
            self.close()

    def _submit(self) -> int:
        drafter = submit.drafter_of(self._batch, self._context)
        draft = drafter.draft({**OWN, **({"export": "ALL,TERM"} if self._args.pty else {})})
        draft = draft.replace(spec=draft.spec.replace(relay=self._name, pty=self._args.pty))
        (new,) = enqueue.queue([draft], drafter, self._context)
        capture.tell(drafter.notes)
        self._context.ring(b"q")
        return new.first

    def _tell_wait(self, view: View, job: Job) -> None:
        if reasons.reason(view, job) in (None, SCHEDULING):
            return
        if not self._waited and not self._quiet:
            self.say_waits(job.id)
        self._waited = True
        super()._tell_wait(view, job)

    def _tell_start(self, job: Job) -> None:
        self._begun = True
        if not self._quiet:
            self.say_starts(job.id, waited=self._waited)

    def say_waits(self, job_id: int) -> None:
        """It is queued."""
        render.note(f"job {job_id} queued and waiting for resources")

    def say_starts(self, job_id: int, *, waited: bool) -> None:
        """It has what it asked for."""
        if waited:
            render.note(f"job {job_id} has been allocated resources")
