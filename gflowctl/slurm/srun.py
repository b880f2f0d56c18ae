"""Usage: srun [OPTIONS] COMMAND ARG ...

In a job: runs COMMAND as a step of it, once for each task, with the GPUs and CPUs that the step asks for. Steps side by
side share out what the job has, and wait for it. Outside of a job: queues one, waits for it, and runs the step in it,
here; srun --pty bash is an interactive shell. See gflow-slurm(7).
"""

from __future__ import annotations

import os

from gflowd.core.errors import Refused
from gflowd.core.slurm.step import srun_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gflowctl.context import Context
    from gflowd.core.slurm.step.srun_options import Step

# What a step is told by its own options; all others are of the job, which tells its steps by variables.
TO_STEP = (
    "disable-status", "error", "export", "gpu-bind", "input", "kill-on-bad-exit", "label", "mpi", "multi-prog",
    "ntasks", "open-mode", "output", "overcommit", "pty", "quiet", "quit-on-interrupt", "unbuffered", "wait",
)  # fmt: skip
TO_BOTH = ("gpu-bind", "ntasks", "overcommit", "quiet")
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
    """Queues a job for the step, and attends to it."""
    from gflowctl.slurm.attended_job import Attended
    from gflowd.core.slurm import sbatch_options

    step, given = srun_options.parse(words, {})
    if step.job is not None:
        return _attach(step, context)
    if not step.command:
        raise Refused("No command given to execute.")
    known = sbatch_options.GRAMMAR.flags | sbatch_options.GRAMMAR.valued | sbatch_options.GRAMMAR.may_have_value
    options = [(name, value) for name, value in given if name in known and (name in TO_BOTH or name not in TO_STEP)]
    pty = step.pty and os.isatty(0)
    inner = [f"--{name}" if value is None else f"--{name}={value}" for name, value in given if name in TO_STEP]
    command = ("sh", "-c", 'exec srun "$@"', "srun", *inner, "--", *step.command)
    name = os.path.basename(step.command[0])
    return Attended(context, command, options, name=name, pty=pty, quiet=step.quiet).to_its_end()


def _attach(step: Step, context: Context) -> int:
    """A step of another job of ours, which runs. Raises `Refused`."""
    from gflowctl.slurm.step.run import run as run_step
    from gflowctl.view import jobs, views
    from gflowd.core.execution import job_environment
    from gflowd.core.job.model import Running, is_own
    from gflowd.core.progress import report
    from gflowd.core.slurm import job_variables, site

    view = views.View(context, context.store.read())
    job = view.job(view.one(step.job or ""))
    if job.run is None or not isinstance(job.phase, Running):
        raise Refused(f"Unable to confirm allocation for job {job.id}: it is {jobs.state(job)}, not running")
    root = context.state.root
    environ = {name: value for name, value in context.environ.items() if not is_own(name)}
    environ |= job_environment.variables(job, job.run, root, None)
    environ[report.VARIABLE] = context.state.progress(job.id, job.run.attempt)
    host = job_variables.Host(node=site.node(os.uname().nodename), uid=os.getuid(), gid=os.getgid())
    environ |= {**job_variables.of_job(job, job.run, host), "PWD": os.getcwd()}
    if job.spec.slurm:
        environ["PATH"] = f"{context.state.path('bin')}:{environ.get('PATH', os.defpath)}"
    return run_step(step, environ)
