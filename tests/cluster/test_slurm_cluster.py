"""The cluster of these tests itself: three nodes that run jobs, and nothing left when it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import slurm_keeper
from support.slurm_cluster import NODES, SlurmCluster, new_cluster
from support.waiting import eventually

from gflowd.effects import proc


@pytest.fixture(autouse=True)
def cleared(cluster: SlurmCluster) -> Iterator[None]:
    yield
    cluster.clear()


def test_a_job_runs_on_each_node(cluster: SlurmCluster, tmp_path: Path) -> None:
    for node in NODES:
        cluster.run("sbatch", "-w", node, "--cpus-per-task=32", f"--output={tmp_path}/{node}",
                    "--wrap", "echo $SLURMD_NODENAME; exit 3")  # fmt: skip
    eventually(cluster.is_idle)
    assert {node: (tmp_path / node).read_text() for node in NODES} == {node: f"{node}\n" for node in NODES}
    assert {job["state"] for job in cluster.jobs().values()} == {"FAILED"}


def test_a_gpu_is_given_by_its_type(cluster: SlurmCluster, tmp_path: Path) -> None:
    cluster.run("sbatch", "--gres=gpu:h100:1", f"--output={tmp_path}/out",
                "--wrap", "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES")  # fmt: skip
    eventually(cluster.is_idle)
    assert (tmp_path / "out").read_text() == "n2 0\n"


def test_a_node_can_die_and_come_back(cluster: SlurmCluster, tmp_path: Path) -> None:
    job = cluster.run("sbatch", "--parsable", "--no-requeue", "-w", "n3", f"--output={tmp_path}/out",
                      "--wrap", "echo $$; exec sleep 1000").strip()  # fmt: skip
    pid = int(eventually(lambda: _read(tmp_path)))
    cluster.fail("n3")
    assert cluster.jobs()[job]["state"] == "NODE_FAIL"
    os.kill(pid, signal.SIGKILL)  # it lived on
    cluster.start("n3")


def test_the_controller_can_die_and_come_back(cluster: SlurmCluster, tmp_path: Path) -> None:
    words = ("--output=/dev/null", "--wrap", f"until [ -e {tmp_path}/gate ]; do sleep 0.05; done; exit 7")
    job = cluster.run("sbatch", "--parsable", *words).strip()
    eventually(lambda: cluster.jobs()[job]["state"] == "RUNNING")
    cluster.save()
    cluster.kill("slurmctld")
    assert cluster.states() == {}
    (tmp_path / "gate").touch()
    cluster.start("slurmctld")
    eventually(cluster.is_idle)
    assert cluster.jobs()[job]["state"] == "FAILED"


def test_nothing_is_left_even_of_jobs_that_detach() -> None:
    with new_cluster() as own:
        own.run(
            "sbatch", "--output=/dev/null", "--wrap", f"setsid -f sleep 999 & echo $! >{own.root}/ran; wait; sleep 999"
        )
        eventually((own.root / "ran").exists)
        keeper = own.keeper
        eventually(lambda: len(_sleepers(keeper)) == 2)
        pids = slurm_keeper.below(keeper)
    assert [pid for pid in (keeper, *pids) if Path(f"/proc/{pid}").exists()] == []
    assert not own.root.exists()


def _read(place: Path) -> str:
    return (place / "out").read_text() if (place / "out").exists() else ""


def _sleepers(keeper: int) -> list[int]:
    return [pid for pid in slurm_keeper.below(keeper) if b"sleep\x00999" in b"\0".join(proc.command_line(pid))]
