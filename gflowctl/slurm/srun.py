"""Usage: srun [OPTIONS] COMMAND ARG ...

In a job: runs COMMAND as a step of it, once for each task, with the GPUs and CPUs that the step asks for. Steps side by
side share out what the job has, and wait for it. Outside of a job: queues one, waits for it, and runs the step in it,
here; srun --pty bash is an interactive shell. See gflow-slurm(7).
"""

from __future__ import annotations

import os

from gflowd.core.errors import Refused
from gflowd.core.slurm import srun_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gflowctl.context import Context

MARKS = ("GFLOW_JOB_ID", "GFLOW_ATTEMPT", "GFLOW_STATE_DIR")


def early(words: Sequence[str]) -> int | None:
    """The exit status of a step of the job that we are in; None outside of one. Needs no configuration."""
    environ = _normal(os.environ)
    if not all(environ.get(name, "").strip() for name in MARKS):
        return None
    step, given = srun_options.parse(words, environ)
    if step.job not in (None, environ["SLURM_JOB_ID"]):
        return None
    for name, value in given:
        if name == "mpi" and value == "list":
            from gflowctl.output import render

            render.write("MPI plugin types are...\n\tnone\n")
            return 0
        if name == "nodelist":
            from gflowd.core.slurm import hostlist, site

            if not srun_options.is_here(site.node(os.uname().nodename), hostlist.expand(value or "")):
                raise Refused(f"Unable to create step for job {environ['SLURM_JOB_ID']}: {value}: not a node of it")
    from gflowctl.slurm.step.run import run as run_step

    return run_step(step, environ)


def _normal(environ: Mapping[str, str]) -> dict[str, str]:
    found = dict(environ)
    if "GFLOW_JOB_ID" in found:
        found["SLURM_JOB_ID"] = found["GFLOW_JOB_ID"]
    return found


def run(words: Sequence[str], context: Context) -> int:
    """A job for the step."""
    srun_options.parse(words, context.environ)
    raise Refused("not in a job")
