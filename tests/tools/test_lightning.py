"""Lightning in a job of Slurm's: what its environment class sees, and its requeue at the early warning."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import pytest
from slurm_site import Site
from support.waiting import eventually

pytest.importorskip("lightning_utilities")
PROGRAM = Path(__file__).parent / "programs" / "by_lightning.py"
SCRIPT = f"""\
#!/bin/bash
#SBATCH --ntasks-per-node=1 --time=10 --signal=SIGUSR1@90 --open-mode=append
#SBATCH -o lightning%a.out -J training
{{more}}
srun {sys.executable} {{program}}
"""


def prepare(site: Site, more: str) -> str:
    (site.work / "train.sh").write_text(SCRIPT.format(program=PROGRAM, more=more))
    return site.shell("sbatch --parsable train.sh").strip()


def test_a_training_is_requeued_at_its_warning_and_resumes(site: Site) -> None:
    number = prepare(site, "#SBATCH -o lightning.out")
    eventually((site.work / "training").exists)
    site.shell(f"scancel --signal USR1 {number}")
    job = site.until(int(number), "finished")
    assert job["attempt"] == 2
    said = site.lines("lightning.out")
    seen = [1, 0, 0, 0, True, platform.node().partition(".")[0]]
    assert [json.loads(line) for line in said if line.startswith("[")] == [seen, seen]
    assert said[-1] == "resumed after 3"


def test_an_element_of_an_array_requeues_itself_alone(site: Site) -> None:
    number = int(prepare(site, "#SBATCH --array=4,7"))
    for index in (4, 7):
        eventually((site.work / f"training{index}").exists)
    site.shell(f"scancel --signal USR1 {number}_7")
    assert site.until(number + 1, "finished")["attempt"] == 2
    assert site.job(number)["state"] == "running"
    site.shell(f"scancel {number}_4")
    site.until(number, "cancelled")
