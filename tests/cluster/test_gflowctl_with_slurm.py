"""What gflowctl itself says to a real Slurm: `info`, `doctor`, and a queue that is exported."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.ctl import Ctl, private_ctl
from support.slurm_cluster import SlurmCluster
from support.waiting import eventually


@pytest.fixture
def ctl(cluster: SlurmCluster) -> Iterator[Ctl]:
    """With the cluster as `hpc`."""
    with private_ctl() as found:
        (found.home / "shared").mkdir()
        file = found.home / ".config/gflow/gflow.toml"
        file.parent.mkdir(parents=True)
        prefix = f'["env", "PATH={cluster.bin}:{os.environ["PATH"]}"]'
        file.write_text(
            f'[cluster.hpc]\ndirectory = "{found.home}/shared"\npartition = "usual"\ncommand_prefix = {prefix}\n'
        )
        yield found
        cluster.clear()


def test_info_and_doctor_ask_slurm(ctl: Ctl) -> None:
    (hpc,) = json.loads(ctl.ok("info", "--cluster", "--json"))
    assert hpc["trouble"] is None
    assert sum(nodes["count"] for nodes in hpc["nodes"]) == 3
    assert {nodes["gpus"] and nodes["gpus"].split(":")[1] for nodes in hpc["nodes"]} == {"a100", "h100", None}
    found = json.loads(ctl.run("doctor", "--cluster", "hpc", "--json").stdout)
    told = {each["text"]: each["level"] for each in found if "cluster" in each["text"]}
    assert set(told.values()) == {"ok"}, told
    assert any("ran on n" in text for text in told), told
    assert list((ctl.home / "shared").iterdir()) == []


def test_an_exported_queue_runs_as_it_would_have_here(ctl: Ctl, cluster: SlurmCluster) -> None:
    script = ctl.home / "train.sh"
    script.write_text('#!/bin/sh\necho "$1 $HELLO $CUDA_VISIBLE_DEVICES"\n')
    env = ctl.env | {"HELLO": "it's a  'b'"}
    ctl.ok(
        "submit", "-n", 'a #1 "\\', "-g", "a100:2", "-c", "4", "-o", "a.txt", "-t", "90s", str(script), "x y", env=env
    )
    ctl.ok("submit", "--array", "1-5:2%2", "-d", "1", "-o", "b %a #.txt", "--wrap", "echo $GFLOW_ARRAY_TASK_ID")
    ctl.ok("submit", "--param", "lr=0.1,1", "-d", "2_3", "-o", "c%a.txt", "--", "echo", "{lr}")
    ctl.submit("-n", "bad", "-d", "afterany:5", "--wrap", "exit 3")
    ctl.submit("-n", "lost", "-d", "7", "true")
    ctl.submit("-n", "saved", "-d", "afternotok:7", "-o", "d.txt", "--append", "echo", "saved")
    ctl.submit("-n", "held", "--hold", "--comment", "two\nlines", "true")
    ctl.ok("export", "--to", "slurm")
    place = ctl.home / "gflow-export"
    path = {"PATH": f"{cluster.bin}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", place / "submit.sh"], env=path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    ids = dict(line.split() for line in (place / "submitted").read_text().splitlines())
    eventually(lambda: (ctl.home / "d.txt").exists() and cluster.jobs()[ids["8"]]["state"] == "CANCELLED")
    eventually(lambda: cluster.jobs()[ids["9"]]["state"] == "COMPLETED")
    late = ("b 5 #.txt", "c1.txt")  # nothing waits for these
    eventually(lambda: all((ctl.home / name).exists() and read(ctl.home, name) for name in late))
    assert {name: read(ctl.home, name) for name in ("a.txt", "b 3 #.txt", "b 5 #.txt", "c1.txt")} == {
        "a.txt": "x y it's a  'b' 0,1\n", "b 3 #.txt": "3\n", "b 5 #.txt": "5\n", "c1.txt": "1\n",
    }  # fmt: skip
    assert cluster.jobs()[ids["10"]] == {
        "state": "PENDING",
        "reason": "JobHeldUser",
        "node": "",
        "comment": "two lines",
    }
    assert cluster.run("squeue", "-hj", ids["10"], "-o", "%j").strip() == "held"


def test_an_array_beyond_slurms_bound_runs_in_parts_one_after_the_other(ctl: Ctl, cluster: SlurmCluster) -> None:
    ctl.ok("submit", "--array", "998,1001,1002,2000%1", "-o", "p-%a-%5a.txt", "--wrap", "echo $SLURM_ARRAY_TASK_ID")
    ctl.submit("-n", "all", "-d", "1", "-o", "all.txt", "--wrap", "ls p-*")
    ctl.ok("submit", "--array", "998,2000", "-n", "each", "-d", "aftercorr:1", "-o", "e-%a.txt", "--wrap", "echo each")
    assert "in 3 parts" in ctl.run("export", "--to", "slurm", "-o", "parts").stderr
    place = ctl.home / "parts"
    path = {"PATH": f"{cluster.bin}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", place / "submit.sh"], env=path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    ids = dict(line.split() for line in (place / "submitted").read_text().splitlines())
    eventually(lambda: cluster.jobs()[ids["5"]]["state"] == "COMPLETED" and (ctl.home / "e-2000.txt").exists())
    names = ["p-1001-01001.txt", "p-1002-01002.txt", "p-2000-02000.txt", "p-998-00998.txt"]
    assert read(ctl.home, "all.txt").split() == names
    assert [read(ctl.home, name) for name in names] == ["1001\n", "1002\n", "2000\n", "998\n"]
    assert read(ctl.home, "e-998.txt") == "each\n"


def read(home: Path, name: str) -> str:
    return (home / name).read_text()
