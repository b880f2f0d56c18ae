"""What `info --cluster` and `doctor` say of clusters whose programs are played here."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from gflowd.core.job.model import SLURM, Run, Starting

if TYPE_CHECKING:
    from support.ctl import Ctl

NODES = "usual|up|2|idle|32|32000|infinite|gpu:a100:2(S:0-1)\nshort|up|1|mix|8|9000+|5:00|(null)\n"
ANSWERS = {
    "sinfo": f"cat <<'E'\n{NODES}E\n",
    "sbatch": "SLURMD_NODENAME=n2 sh >>calls 2>&1; echo $* >>calls; echo '12;hpc'\n",
    "squeue": "echo $* >>calls\n",
    "scancel": "echo scancel $* >>calls\n",
}


@pytest.fixture
def played(ctl: Ctl) -> Ctl:
    """The cluster `hpc` answers, `gone` does not."""
    there = ctl.home / "slurm"
    there.mkdir()
    (ctl.home / "shared").mkdir()
    for name, text in ANSWERS.items():
        play(ctl, name, text)
    prefix = f'["env", "-C", "{there}", "PATH={there}:{os.environ["PATH"]}"]'
    file = ctl.home / ".config/gflow/gflow.toml"
    file.parent.mkdir(parents=True)
    file.write_text(
        f'[cluster.hpc]\ndirectory = "{ctl.home}/shared"\npartition = "usual"\naccount = "ml"\n'
        f'command_prefix = {prefix}\n[cluster.gone]\ndirectory = "{ctl.home}/none"\n'
        f'command_prefix = "{there}/missing"\n'
    )
    return ctl


def play(ctl: Ctl, name: str, text: str) -> None:
    program = ctl.home / "slurm" / name
    program.write_text(f"#!/bin/sh\n{text}")
    program.chmod(0o755)


def findings(ctl: Ctl, *words: str) -> dict[str, str]:
    """Those that name a cluster, with their levels."""
    found = json.loads(ctl.run("doctor", "--json", *words).stdout)
    return {each["text"]: each["level"] for each in found if "cluster" in each["text"]}


def test_info_shows_the_nodes_of_clusters_and_the_jobs_there(played: Ctl) -> None:
    for _ in range(3):
        played.submit("--cluster", "hpc", "true")
    for job_id in (1, 2):
        run = Run(executor=SLURM, launched_at=time.time(), cluster="hpc", cluster_id=str(job_id))
        played.set_phase(job_id, Starting(run=run))
    hpc, gone = json.loads(played.ok("info", "--cluster", "--json"))
    assert (hpc["name"], hpc["jobs"], hpc["trouble"]) == ("hpc", {"starting": 2}, None)
    assert [(each["partition"], each["count"], each["gpus"]) for each in hpc["nodes"]] == [
        ("usual", 2, "gpu:a100:2(S:0-1)")
    ]
    assert gone["trouble"] == f"cluster gone: {played.home}/slurm/missing: No such file or directory"
    shown = played.ok("info", "--cluster", "hpc")
    assert shown.splitlines()[2:] == [
        "Jobs:      2 starting",
        "PARTITION  STATE  NODES  CPUS  MEMORY  TIMELIMIT  GPUS",
        "usual      idle       2    32   31.2G   infinite  gpu:a100:2(S:0-1)",
    ]
    assert played.fails(1, "info", "--cluster", "x") == "'x' is not a cluster of gflow.toml (they are hpc, gone)"


def test_without_clusters_there_is_nothing_to_ask(ctl: Ctl) -> None:
    assert ctl.fails(1, "info", "--cluster") == "no cluster is configured; see [cluster.NAME] in gflow.toml(5)"
    assert findings(ctl) == {}


def test_doctor_asks_each_and_tries_one_with_a_job(played: Ctl) -> None:
    assert findings(played) == {
        "cluster hpc answers (partition usual); gflowctl doctor --cluster hpc tries a job there": "ok",
        f"cluster gone: {played.home}/none is not a directory that you may write to": "FAIL",
        f"cluster gone: {played.home}/slurm/missing: No such file or directory": "WARN",
    }
    (tried,) = set(findings(played, "--cluster", "hpc")) - set(findings(played))
    shared = played.home / "shared"
    assert tried.startswith(f"cluster hpc: the probe job 12 ran on n2 and wrote into {shared} within ")
    calls = (played.home / "slurm/calls").read_text()
    assert "--partition=usual --account=ml\n" in calls
    assert "scancel 12\n" in calls
    assert list(shared.iterdir()) == []


def test_a_probe_that_wrote_nowhere_or_was_refused_is_told(played: Ctl) -> None:
    play(played, "sbatch", "echo 13\n")
    text = f"cluster hpc: the probe job 13 is over, but wrote nothing into {played.home}/shared"
    assert findings(played, "--cluster", "hpc")[text] == "FAIL"
    play(played, "sbatch", "echo 'sbatch: error: Invalid account' >&2; exit 1\n")
    assert findings(played, "--cluster", "hpc")["cluster hpc: sbatch: error: Invalid account"] == "FAIL"
