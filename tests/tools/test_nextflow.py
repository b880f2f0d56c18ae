"""Nextflow's command lines as its Slurm executor writes them; its jar is in no registry that tests may use."""

from __future__ import annotations

import re

from slurm_site import Site
from support.machine import GATE
from support.waiting import eventually

HEAD = """\
#!/bin/bash
#SBATCH -J nf-{name}
#SBATCH -o {work}/.command.log
#SBATCH --no-requeue
#SBATCH --signal B:USR2@30
#SBATCH -c 2
#SBATCH -t 01:00:00
#SBATCH --mem 1024M
#SBATCH -p debug
#SBATCH -A lab
NXF_CHDIR={work}
cd $NXF_CHDIR
{text}
"""
ARRAY = """\
#!/bin/bash
#SBATCH --array 0-1
#SBATCH -J nf-array
#SBATCH -o /dev/null
#SBATCH --no-requeue
array=( {places} )
export nxf_array_task_dir=${{array[SLURM_ARRAY_TASK_ID]}}
bash $nxf_array_task_dir/.command.run 2>&1 >$nxf_array_task_dir/.command.log
"""
SUBMITTED = re.compile(r"Submitted batch job (\d+)")
CODES = {"PD", "R", "CA", "CF", "CG", "CD", "F", "TO", "NF", "S", "ST", "PR", "BF"}


def submitted(said: str) -> str:
    (number,) = SUBMITTED.findall(said)
    return number


def states(site: Site) -> dict[str, str]:
    """What its queue status parser makes of the two columns."""
    found = {}
    for line in site.shell("squeue --noheader -o '%i %t' -t all -p debug -u root").splitlines():
        number, code = line.split()
        assert code in CODES
        found[number] = code
    return found


def test_a_task_runs_and_another_is_cancelled(site: Site) -> None:
    (site.work / ".command.run").write_text(
        HEAD.format(name="one", work=site.work, text="echo done; echo 0 >.exitcode")
    )
    one = submitted(site.shell("sbatch .command.run"))
    eventually(lambda: states(site)[one] == "CD")
    assert site.lines(".command.log") == ["done"]
    (site.work / ".command.run").write_text(HEAD.format(name="two", work=site.work, text=GATE))
    two = submitted(site.shell("sbatch .command.run"))
    eventually(lambda: states(site)[two] == "R")
    assert site.shell(f"scancel {two}") == ""
    eventually(lambda: states(site)[two] == "CA")


def test_an_array_of_tasks(site: Site) -> None:
    places = [site.work / name for name in ("a", "b")]
    for place in places:
        place.mkdir()
        (place / ".command.run").write_text(f"echo {place.name}; echo 0 >{place}/.exitcode\n")
    (site.work / ".command.run").write_text(ARRAY.format(places=" ".join(map(str, places))))
    first = submitted(site.shell("sbatch .command.run"))
    eventually(lambda: all((place / ".exitcode").exists() for place in places))
    assert [(place / ".command.log").read_text() for place in places] == ["a\n", "b\n"]
    eventually(lambda: site.job(int(first))["state"] == "finished")
