"""The variables that a job gets in addition to its submitter's: gflow's, and in an array Slurm's names for the same.
What else a script written for Slurm finds is in `core.slurm.job_variables`.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from gflowd.core.job import array_task, arrays
from gflowd.core.job.model import OPEN_FILES

if TYPE_CHECKING:
    from gflowd.core.job.model import Job, Run


def variables(job: Job, run: Run, state_dir: str, term: str | None) -> dict[str, str]:
    """By name. `term` is the terminal that the job runs in, None if there is none.

    `GFLOW_JOB_ID`, `GFLOW_ATTEMPT` and `GFLOW_STATE_DIR` together also mark the job's processes as its own.
    """
    spec = job.spec
    submit_dir = spec.submit_dir or spec.cwd
    gpus = ",".join(run.gpu_uuids if run.by_uuid else map(str, run.cuda_ids or run.gpu_ids))
    found = {
        "GFLOW_JOB_ID": str(job.id),
        "GFLOW_JOB_NAME": array_task.name(job),
        "GFLOW_JOB_CPUS": str(spec.cpus),
        "GFLOW_JOB_GPUS": gpus,
        "GFLOW_ATTEMPT": str(run.attempt),
        "GFLOW_SUBMIT_DIR": submit_dir,
        "GFLOW_STATE_DIR": state_dir,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": gpus,
        "PWD": spec.cwd,
    }
    found.update(_of_array(job))
    if spec.script is not None:
        found.update(_of_script(spec.command[0], submit_dir))
    if term is not None:
        found["TERM"] = term
    return found


def _of_script(name: str, submit_dir: str) -> dict[str, str]:
    """Where a kept script came from: a file, or a descriptor that the job does not have."""
    if name.startswith(OPEN_FILES):
        return {"GFLOW_SCRIPT_DIR": submit_dir}
    path = posixpath.normpath(posixpath.join(submit_dir, name))
    return {"GFLOW_SCRIPT": path, "GFLOW_SCRIPT_DIR": posixpath.dirname(path)}


def _of_array(job: Job) -> dict[str, str]:
    index, family = array_task.index(job), job.spec.family
    if index is None or family is None:
        return {}
    found = {f"GFLOW_PARAM_{name}": value for name, value in array_task.parameters(job).items()}
    found |= {f"{prefix}_ARRAY_JOB_ID": str(job.array_id) for prefix in ("GFLOW", "SLURM")}
    found |= {f"{prefix}_ARRAY_TASK_ID": str(index) for prefix in ("GFLOW", "SLURM")}
    return found | {
        "SLURM_ARRAY_TASK_COUNT": str(arrays.size(family)),
        "SLURM_ARRAY_TASK_MIN": str(arrays.least(family)),
        "SLURM_ARRAY_TASK_MAX": str(arrays.greatest(family)),
        "SLURM_ARRAY_TASK_STEP": str(arrays.stride(family)),
    }
