"""Open MPI's mpirun, as Debian has it, in scripts written for Slurm."""

from __future__ import annotations

import shutil

import pytest
from slurm_site import Site

pytestmark = pytest.mark.skipif(shutil.which("ompi_info") is None, reason="Open MPI is not installed (openmpi-bin)")
RANK = "echo rank $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE"
RANKS = ["rank 0 of 2", "rank 1 of 2"]


@pytest.mark.parametrize("head", ["#SBATCH -n 2", "#SBATCH --ntasks-per-node=2", "#SBATCH -n 1 -c 2"])
def test_it_starts_its_ranks(site: Site, head: str) -> None:
    many = "-n 2 --oversubscribe" if "-c" in head else ""
    (site.work / "mpi.sh").write_text(
        f"#!/bin/bash\n{head}\n#SBATCH -o mpi.out\n"
        f"export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1\nmpirun {many} sh -c '{RANK}'\n"
    )
    site.shell("sbatch --wait mpi.sh")
    assert sorted(site.lines("mpi.out")) == RANKS


def test_the_same_in_a_job_without_a_head(site: Site) -> None:
    command = f"OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun -n 2 --oversubscribe sh -c '{RANK}'"
    assert sorted(site.result("-c", "2", "--wrap", command).splitlines()) == RANKS
