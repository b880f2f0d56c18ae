"""On a node Slurm's variables count, except for the index of an array's element."""

from __future__ import annotations

from gflowd.core.cluster import remote_job


def test_the_submitters_environment_goes_without_what_slurm_sets() -> None:
    data = b"A=1\0SLURM_JOB_ID=7\0CUDA_VISIBLE_DEVICES=0\0SBATCH_PARTITION=x\0\xff=2\0B=SLURM_"
    assert remote_job.environment(data) == b"A=1\0\xff=2\0B=SLURM_"


def test_of_our_variables_those_of_this_machine_stay_here() -> None:
    ours = {
        "GFLOW_JOB_ID": "7", "GFLOW_JOB_GPUS": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "",
        "SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MAX": "9",
    }  # fmt: skip
    assert remote_job.variables(ours) == {
        "GFLOW_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MAX": "9",
    }  # fmt: skip
