"""scontrol shows jobs and the machine in the lines and words in which scripts look for them."""

from __future__ import annotations

import os
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from support import elapsed
from support.ctl import private_ctl

from gflowd.core.slurm import clock_forms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ctl import Ctl

NODE = os.uname().nodename.partition(".")[0]


@pytest.fixture(scope="module")
def some() -> Iterator[Ctl]:
    """1 running with GPUs, 2 to 4 an array that waits for it, 5 failed, 6 held."""
    with private_ctl() as ctl:
        (ctl.home / "job.sh").write_text("#!/bin/sh\n#SBATCH -J script -c2 --mem=2G --gres=gpu:a100:2 -t 1-0 -A ml\n")
        ctl.slurm("sbatch", "--comment", "a b", "-e", "e.%j", "job.sh", "x")
        ctl.run_job(1, gpu_ids=(0, 1))
        ctl.slurm("sbatch", "-a", "1-5:2%2", "-d", "afterok:1", "-n", "4", "--wrap", "true")
        ctl.submit("true")
        ctl.end_job(5, "failed", exit_code=3, reason="NonZeroExit")
        ctl.submit("--hold", "true")
        gpu = {"index": 0, "model": "NVIDIA A100", "memory_mb": 81920, "jobs": [1]}
        ctl.observe(gpus=[gpu], used={"cpus": 2, "memory_mb": 2048}, capacity={"gpus": 1, "cpus": 4, "memory_mb": 8192})
        yield ctl


def fields(text: str) -> dict[str, str]:
    return dict(re.findall(r"(\S+?)=(.*?)(?=\s+\S+?=|\s*$)", text.replace("\n", " ")))


def test_a_job_is_shown(some: Ctl) -> None:
    began, asked = datetime.fromisoformat(some.jobs("1")[0]["started_at"]).timestamp(), time.time()
    shown = some.slurm("scontrol", "show", "job", "1").stdout
    assert shown.startswith("JobId=1 JobName=script\n   UserId=")
    assert shown.endswith("\n\n")
    found = fields(shown)
    home = str(some.home)
    expected = {
        "JobState": "RUNNING", "Reason": "None", "Dependency": "(null)", "Account": "ml", "QOS": "normal",
        "Partition": "gflow", "NodeList": NODE, "BatchHost": NODE, "NumCPUs": "2", "NumTasks": "1", "CPUs/Task": "2",
        "AllocTRES": "cpu=2,mem=2G,node=1,billing=2,gres/gpu=2", "MinMemoryNode": "2G", "TimeLimit": "1-00:00:00",
        "Command": f"{home}/job.sh x", "WorkDir": home, "StdOut": f"{home}/slurm-1.out", "StdErr": f"{home}/e.1",
        "StdIn": "/dev/null", "TresPerNode": "gres:gpu:a100:2", "Comment": "a b", "Restarts": "0", "ExitCode": "0:0",
    }  # fmt: skip
    assert {name: found.get(name) for name in expected} == expected
    assert elapsed.is_told(found["RunTime"], since=began, asked=asked, form=clock_forms.whole)
    over = some.slurm("scontrol", "show", "jobid=5").stdout  # of one that runs the time goes on
    assert over.startswith("JobId=5 ")
    assert over == some.slurm("scontrol", "show", "JobId", "5").stdout


def test_jobs_that_wait_or_are_over_and_one_line(some: Ctl) -> None:
    array = some.slurm("scontrol", "-o", "show", "job", "2").stdout
    assert array.count("\n") == 1
    found = fields(array)
    assert array.startswith("JobId=2 ArrayJobId=2 ArrayTaskId=1,3,5 ArrayTaskThrottle=2 JobName=wrap ")
    assert (found["NodeList"], found["NumTasks"], found["AllocTRES"]) == ("(null)", "4", "(null)")
    assert found["Dependency"] == "afterok:1(unfulfilled)"
    one = some.slurm("scontrol", "show", "job", "-o", "2_3").stdout
    assert one.startswith("JobId=3 ArrayJobId=2 ArrayTaskId=3 ArrayTaskThrottle=2 ")
    failed = fields(some.slurm("scontrol", "-d", "show", "job", "5").stdout)
    assert (failed["JobState"], failed["Reason"], failed["ExitCode"]) == ("FAILED", "NonZeroExitCode", "3:0")
    assert "GRES=gpu:a100:2(IDX:0,1)" in some.slurm("scontrol", "show", "-d", "job", "1").stdout
    everything = some.slurm("scontrol", "show", "job").stdout
    assert re.findall(r"(?m)^JobId=(\d+)", everything) == ["1", "5", "6", "2"]
    for word in ("77", "2_9", "x", "5_1"):
        done = some.slurm("scontrol", "show", "job", word)
        said = "slurm_load_jobs error: Invalid job id specified\n"
        assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def test_the_machine_is_shown(some: Ctl) -> None:
    config = some.slurm("scontrol", "show", "config").stdout
    assert re.search(r"(?m)^MinJobAge               = 300 sec$", config)
    assert re.search(r"(?m)^MaxArraySize            = 1000001$", config)
    node = fields(some.slurm("scontrol", "show", "node", NODE).stdout)
    assert (node["NodeName"], node["CPUTot"], node["RealMemory"], node["Gres"]) == (
        NODE, "4", "8192", "gpu:nvidia_a100:1",
    )  # fmt: skip
    assert some.slurm("scontrol", "show", "nodes", "-o").stdout.count("\n") == 1
    partition = fields(some.slurm("scontrol", "show", "partition").stdout)
    assert (partition["PartitionName"], partition["State"], partition["TotalCPUs"]) == ("gflow", "UP", "4")
    assert some.slurm("scontrol", "show", "step", "1.batch").stdout.startswith("StepId=1.batch UserId=")
    told = {
        "show node far": "Node far not found\n",
        "show partition far": "Partition far not found\n",
        "show step 77.0": "Job step 77.0 not found\n",
        "--json show job": "scontrol: error: --json: gflow has its own JSON: gflowctl queue --json, gflowctl info "
        "--json\n",
        "reconfigure": "scontrol: error: reconfigure: gflow has no such command; gflowd reload reads the settings "
        "again\n",
        "-M far show job": "scontrol: error: No cluster 'far' known; the only one is gflow\n",
    }
    for words, said in told.items():
        done = some.slurm("scontrol", *words.split())
        assert (done.returncode, done.stderr) == (1, said)
