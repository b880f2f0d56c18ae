"""seff and sstat tell what jobs used, and use now."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

import pytest
from support.ctl import private_ctl

from gflowd.core.job.model import Run, Running, Started, Used
from gflowd.effects import proc
from gflowd.effects.kernel import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ctl import Ctl


@pytest.fixture(scope="module")
def some() -> Iterator[Ctl]:
    """1 finished, 2 runs as this very process, 3 queued, 4 and 5 an array that has ended, 6 cancelled while queued."""
    with private_ctl() as found:
        found.submit("-n", "train", "-m", "2G", "-c", "2", "true")
        used = Used(memory_mb=512, memory_source="cgroup", cpu_seconds=90.5, cpu_source="shell")
        found.end_job(1, exit_code=0, used=used)
        found.submit("-m", "1G", "true")
        own = processes.read(os.getpid())
        assert own is not None
        started = Started(at=time.time() - 5, mono=time.monotonic() - 5, identity=own.identity(proc.boot_id()))
        found.set_phase(2, Running(run=Run(executor="process", launched_at=time.time() - 5), started=started))
        found.submit("true")
        found.ok("submit", "--array", "0-1", "true")
        found.end_job(4, "failed", exit_code=3, reason="NonZeroExit")
        found.end_job(5, exit_code=0)
        found.submit("true")
        found.ok("cancel", "6")
        yield found


def test_seff_tells_what_a_job_used(some: Ctl) -> None:
    from gflowctl.slurm.report import facts

    user = some.store.read().of("spec")[1]["user"]
    head = f"Cluster: gflow\nUser/Group: {user}/{facts.group(user)[1]}\n"
    assert some.slurm("seff", "1").stdout == (
        f"Job ID: 1\n{head}State: COMPLETED (exit code 0)\nNodes: 1\nCores per node: 2\nCPU Utilized: 00:01:30\n"
        "CPU Efficiency: 75.42% of 00:02:00 core-walltime\nJob Wall-clock time: 00:01:00\n"
        "Memory Utilized: 512.00 MB\nMemory Efficiency: 25.00% of 2.00 GB\n"
    )
    shown = some.slurm("seff", "2").stdout
    assert re.search(r"State: RUNNING\nCores: 1\nCPU Utilized: (?!00:00:00)\d\d:\d\d:\d\d\n", shown)
    assert re.search(r"Memory Utilized: [1-9]\d*\.\d\d MB\nMemory Efficiency: \d+\.\d\d% of 1\.00 GB\nWARNING: ", shown)
    assert some.slurm("seff", "3").stdout == (
        f"Job ID: 3\n{head}State: PENDING\nCores: 1\nEfficiency not available for jobs in the PENDING state.\n"
    )
    assert some.slurm("seff", "4_0").stdout.startswith(
        f"Job ID: 4\nArray Job ID: 4_0\n{head}State: FAILED (exit code 3)\n"
    )
    assert "0.00% of 0.00 KB" in some.slurm("seff", "5").stdout
    assert some.slurm("seff", "6").stdout.endswith("Efficiency not available for jobs in the CANCELLED state.\n")
    done = some.slurm("seff", "99")
    assert (done.returncode, done.stdout) == (1, "Job not found.\n")
    assert some.slurm("seff").stderr == "seff: error: give one job, e.g. seff 42 or seff 42_3\n"


def test_sstat_tells_what_a_job_uses_now(some: Ctl) -> None:
    done = some.slurm("sstat", "-a", "-P", "-j", "2", "-o", "JobID,MaxRSS,AveCPU,NTasks,Pids")
    head, row = done.stdout.splitlines()
    assert (done.stderr, head) == ("", "JobID|MaxRSS|AveCPU|NTasks|Pids")
    assert re.fullmatch(rf"2\.batch\|[1-9]\d+K\|\d\d:\d\d:\d\d\|1\|(?:\d+,)*{os.getpid()}(?:,\d+)*", row)
    done = some.slurm("sstat", "-n", "2.batch", "1")
    assert done.stdout.startswith("2.batch ")
    assert done.stderr == "sstat: error: No steps running for job 1\n"
    assert some.slurm("sstat").stderr == "sstat: error: You didn't give me any jobs to stat.\n"
    assert some.slurm("sstat", "-j", "2", "-i").stdout.startswith(
        "JobID                    Nodelist                 Pids \n"
        "------------ -------------------- -------------------- \n2.batch "
    )
    assert "MaxRSS" in some.slurm("sstat", "--helpformat").stdout
