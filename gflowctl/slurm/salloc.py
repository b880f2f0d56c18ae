"""Usage: salloc [OPTIONS] [COMMAND ARG ...].

Queues a job, waits for its resources and runs COMMAND in it, here; by default an interactive shell. srun makes steps of
the job. When COMMAND ends, so does the job. Options are those of #SBATCH lines. See gflow-slurm(7).
"""

from __future__ import annotations

import os

from gflowctl.output import render
from gflowctl.slurm.attended_job import Attended
from gflowd.core.errors import Refused
from gflowd.core.slurm import sbatch_options, sbatch_variables
from gflowd.core.slurm.getopt import Grammar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gflowctl.context import Context

_SBATCHS = {
    "array",
    "batch",
    "error",
    "ignore-pbs",
    "input",
    "no-requeue",
    "output",
    "parsable",
    "requeue",
    "wait",
    "wrap",
}
_OWN = {"bell", "kill-command", "no-bell", "no-shell", "quiet", "verbose", "x11"}
GRAMMAR = Grammar(
    "salloc",
    short={**sbatch_options.SHORT, "K": "kill-command"},
    flags=(sbatch_options.GRAMMAR.flags - _SBATCHS) | {"bell", "no-bell", "no-shell"},
    valued=sbatch_options.GRAMMAR.valued - _SBATCHS,
    may_have_value=sbatch_options.GRAMMAR.may_have_value | {"kill-command", "x11"},
    aliases=sbatch_options.ALIASES,
)


class Allocation(Attended):
    """An allocation in salloc's words."""

    job: int | None = None

    def say_waits(self, job_id: int) -> None:
        """It is queued."""
        render.note(f"Pending job allocation {job_id}")
        super().say_waits(job_id)

    def say_starts(self, job_id: int, *, waited: bool) -> None:
        """It has what it asked for."""
        super().say_starts(job_id, waited=waited)
        render.note(f"Granted job allocation {job_id}")
        self.job = job_id


def run(words: Sequence[str], context: Context) -> int:
    """Queues the job and attends to it."""
    pairs, command = GRAMMAR.parse(words, mixed=False)
    names = {name for name, _ in pairs}
    if "no-shell" in names:
        raise Refused("--no-shell: a job of salloc ends with it; give sbatch --wrap 'sleep infinity'")
    quiet = "quiet" in names
    options = [*_variables(context.environ), *((name, value) for name, value in pairs if name not in _OWN)]
    shell = context.environ.get("SHELL") or "/bin/sh"
    terminal = os.isatty(0) and os.isatty(1)
    allocation = Allocation(
        context, tuple(command) or (shell,), options, name=_name(command), pty=terminal, quiet=quiet
    )
    try:
        return allocation.to_its_end()
    finally:
        if allocation.job is not None:
            render.note(f"Relinquishing job allocation {allocation.job}")


def _name(command: Sequence[str]) -> str:
    return os.path.basename(command[0]) if command else "interactive"


def _variables(environ: Mapping[str, str]) -> list[tuple[str, str | None]]:
    named = {f"SBATCH_{name[7:]}": value for name, value in environ.items() if name.startswith("SALLOC_")}
    found = sbatch_variables.options(named)
    return [(option.name, option.value) for option in found if option.name not in _SBATCHS]
