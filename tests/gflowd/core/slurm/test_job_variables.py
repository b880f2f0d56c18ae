"""The variables of sbatch(1), as a real Slurm 22.05 of one node was seen to set them for the same heads."""

from __future__ import annotations

import pytest
from support import specs

from gflowd.core.job.arrays import Family
from gflowd.core.job.model import Job, Queued, Run, Tasks, Wish
from gflowd.core.slurm import job_variables
from gflowd.core.slurm.sbatch_options import Option

HOST = job_variables.Host(node="vm", uid=1000, gid=100)
SPEC = specs.SPEC.replace(name="plain.sh", user="ada", cwd="/w", cpus=1, slurm=True)
RUN = Run(executor="tmux", launched_at=1000.5)
PLAIN = {
    "SLURMD_NODENAME": "vm", "HOSTNAME": "vm", "ENVIRONMENT": "BATCH", "SLURM_CLUSTER_NAME": "gflow",
    "SLURM_CPUS_ON_NODE": "1", "SLURM_GTIDS": "0", "SLURM_JOBID": "42", "SLURM_JOB_CPUS_PER_NODE": "1",
    "SLURM_JOB_GID": "100", "SLURM_JOB_ID": "42", "SLURM_JOB_NAME": "plain.sh", "SLURM_JOB_NODELIST": "vm",
    "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_PARTITION": "gflow", "SLURM_JOB_UID": "1000", "SLURM_JOB_USER": "ada",
    "SLURM_LOCALID": "0", "SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_NODELIST": "vm",
    "SLURM_NODE_ALIASES": "(null)", "SLURM_PRIO_PROCESS": "0", "SLURM_PROCID": "0", "SLURM_SUBMIT_DIR": "/w",
    "SLURM_SUBMIT_HOST": "vm", "SLURM_TASKS_PER_NODE": "1", "SLURM_TOPOLOGY_ADDR": "vm",
    "SLURM_TOPOLOGY_ADDR_PATTERN": "node",
    # of a Slurm with accounting, and of later releases
    "SLURM_JOB_QOS": "normal", "SLURM_JOB_START_TIME": "1000",
}  # fmt: skip
GPU = {"SLURM_GPUS_ON_NODE": "1", "SLURM_JOB_GPUS": "3"}
HEADS = [
    ("", {}, {}),
    ("ntasks=2", {"cpus": 2, "tasks": Tasks(count=2)},
     {"CPUS_ON_NODE": "2", "JOB_CPUS_PER_NODE": "2", "NPROCS": "2", "NTASKS": "2", "TASKS_PER_NODE": "2"}),
    ("cpus-per-task=2", {"cpus": 2, "tasks": Tasks(cpus=2)},
     {"CPUS_ON_NODE": "2", "JOB_CPUS_PER_NODE": "2", "CPUS_PER_TASK": "2"}),
    ("ntasks-per-node=2", {"cpus": 2, "tasks": Tasks(per_node=2)},
     {"CPUS_ON_NODE": "2", "JOB_CPUS_PER_NODE": "2", "NPROCS": "2", "NTASKS": "2", "NTASKS_PER_NODE": "2",
      "TASKS_PER_NODE": "2"}),
    ("exclusive=", {"cpus": 2}, {"CPUS_ON_NODE": "2", "JOB_CPUS_PER_NODE": "2", "TASKS_PER_NODE": "2"}),
    ("mem=100M", {"memory_mb": 100, "time_limit": 300.0}, {"MEM_PER_NODE": "100", "JOB_END_TIME": "1300"}),
    ("gpus=1 cpus-per-gpu=2 mem-per-cpu=50M", {"gpus": 1, "cpus": 2, "memory_mb": 100},
     {"CPUS_ON_NODE": "2", "CPUS_PER_GPU": "2", "GPUS": "1", "JOB_CPUS_PER_NODE": "2", "MEM_PER_CPU": "50",
      "TASKS_PER_NODE": "2"}),
    ("ntasks=1 gpus-per-task=1 cpus-per-task=2 mem-per-gpu=50M export=ALL,ZZ=1",
     {"gpus": 1, "cpus": 2, "memory_mb": 50, "tasks": Tasks(count=1, cpus=2)},
     {"CPUS_ON_NODE": "2", "CPUS_PER_TASK": "2", "EXPORT_ENV": "ALL,ZZ=1", "GPUS_PER_TASK": "1",
      "JOB_CPUS_PER_NODE": "2", "MEM_PER_GPU": "50", "NPROCS": "1", "NTASKS": "1"}),
    ("gpus-per-node=a100:1", {"gpus": 1}, {"GPUS_PER_NODE": "a100:1"}),
    ("account=acc", {"project": "acc"}, {"JOB_ACCOUNT": "acc"}),
]  # fmt: skip


def found(run: Run = RUN, **fields: object) -> dict[str, str]:
    return job_variables.of_job(Job(42, SPEC.replace(**fields), Wish(), Queued()), run, HOST)


@pytest.mark.parametrize(("head", "fields", "more"), HEADS, ids=[head or "plain" for head, _, _ in HEADS])
def test_a_script_finds_what_slurm_sets_for_its_head(
    head: str, fields: dict[str, object], more: dict[str, str]
) -> None:
    asked = job_variables.kept([Option(1, *word.split("=", 1)) for word in head.split()])
    run = RUN.replace(gpu_ids=(3,)) if "gpu" in head else RUN
    expected = PLAIN | {f"SLURM_{name}": value for name, value in more.items()} | (GPU if "gpu" in head else {})
    assert found(run, asked=asked, **fields) == expected


def test_of_an_option_that_is_given_twice_the_last_is_kept_and_of_those_without_variables_none() -> None:
    options = [Option(1, "gpus", "1"), Option(2, "gpus", "2"), Option(3, "time", "5"), Option(4, "overcommit", None)]
    assert job_variables.kept(options) == ("gpus=2", "overcommit=1")


@pytest.mark.parametrize(
    "asked", ["gpus=1", "gpus-per-node=x", "gpus-per-task=1", "cpus-per-gpu=2", "mem-per-cpu=50M", "mem-per-gpu=?"]
)
def test_what_the_command_line_or_an_update_has_changed_is_not_told(asked: str) -> None:
    names = found(RUN.replace(gpu_ids=(0, 1)), asked=(asked,), gpus=2, cpus=8, memory_mb=1000)
    assert f"SLURM_{job_variables.OF_OPTIONS[asked.partition('=')[0]]}" not in names
    assert names["SLURM_MEM_PER_NODE"] == "1000"


def test_a_later_attempt_knows_how_often_it_was_restarted_and_a_job_without_cpus_has_one() -> None:
    assert found(RUN.replace(attempt=3))["SLURM_RESTART_COUNT"] == "2"
    assert found(cpus=0)["SLURM_CPUS_ON_NODE"] == "1"


def test_those_of_an_array_are_not_among_them() -> None:
    assert not [name for name in found(family=Family(ranges=((1, 2, 1),))) if "ARRAY" in name]
