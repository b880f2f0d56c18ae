"""A backup that is made while a real Slurm has jobs, restored where nothing else is known of them."""

from __future__ import annotations

import os
from collections import Counter

from support import cluster_machine
from support.cluster_machine import NAME, RAN, all_ended, array, at_work, counts
from support.slurm_cluster import SlurmCluster
from support.waiting import eventually

THERE = ("--cluster", NAME)
GATE = f"{RAN}; until [ -e gate ]; do sleep 0.05; done; echo log of $GFLOW_JOB_ID"


def test_what_a_backup_knows_of_runs_once_and_its_results_arrive(cluster: SlurmCluster) -> None:
    with cluster_machine.new_cluster_machine(cluster) as machine:
        machine.start()
        runs = machine.submit(*THERE, "--wrap", f"{GATE}; exit 3")
        ends_before = machine.submit(*THERE, "--wrap", f"{RAN}; exit 4")
        at_work(machine, runs)
        machine.wait(ends_before)
        ends_since = machine.submit(*THERE, "--wrap", f"{RAN}; until [ -e early ]; do sleep 0.05; done; exit 5")
        at_work(machine, ends_since)
        waits = machine.submit(*THERE, "-d", f"afterany:{runs}", "--wrap", f"{RAN}; exit 6")
        held = machine.submit(*THERE, "--hold", "--wrap", f"{GATE}; exit 7")
        elements = array(machine, *THERE, "--array", "1-3", "--hold", "--wrap", f"{GATE}; exit 8")
        backup = machine.root / "backup.tar"
        machine.ctl("backup", str(backup))
        (machine.work / "early").touch()
        machine.wait(ends_since)
        machine.ctl("release", str(held), str(elements[1]))  # of which the backup does not know
        at_work(machine, held)
        at_work(machine, elements[1])
        machine.stop()
        os.rename(machine.state.root, f"{machine.state.root}.lost")
        machine.ctl("restore", "--no-config", str(backup))
        machine.start()
        machine.ctl("release", str(held), *map(str, elements))
        eventually(lambda: counts(machine).keys() >= {held, *elements})
        machine.open_gate()
        wanted = {runs: 3, ends_before: 4, ends_since: 5, waits: 6, held: 7, **dict.fromkeys(elements, 8)}
        found = all_ended(machine, within=100)
        assert found == {job_id: ("failed", "NonZeroExit", code) for job_id, code in wanted.items()}
        assert counts(machine) == Counter(wanted.keys())
        assert machine.log(held).decode() == f"log of {held}\n"
        assert machine.log(runs).decode() == f"log of {runs}\n"
        assert not os.path.exists(machine.state.path("cluster", "restored"))
        eventually(lambda: os.listdir(machine.state.path("cluster", "batches")) == [])
        machine.stop()
