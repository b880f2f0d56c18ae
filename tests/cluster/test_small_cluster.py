"""A Slurm that takes few jobs at a time, and forgets those that have ended after seconds; it has no accounting."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import cluster_machine
from support.cluster_machine import NAME, RAN, all_ended, array, at_work, ends
from support.machine import Machine
from support.slurm_cluster import SlurmCluster, new_cluster
from support.waiting import eventually

MOST = 6


@pytest.fixture(scope="module")
def small() -> Iterator[SlurmCluster]:
    with new_cluster(f"MaxJobCount={MOST}\nMinJobAge=2") as found:
        yield found


@pytest.fixture
def machine(small: SlurmCluster) -> Iterator[Machine]:
    with cluster_machine.new_cluster_machine(small) as found:
        found.start()
        yield found


def test_more_jobs_than_it_takes_run_once_each_in_the_end(machine: Machine) -> None:
    ids = [machine.submit("--cluster", NAME, "--wrap", f"{RAN}; sleep 0.2") for _ in range(2 * MOST)]
    found = all_ended(machine, within=240)
    assert {found[i] for i in ids} == {("finished", None, 0)}, found
    machine.ran_exactly_once(ids)


def test_the_exit_record_counts_where_slurm_has_forgotten_the_job(machine: Machine, small: SlurmCluster) -> None:
    gate = "until [ -e gate ]; do sleep 0.05; done"
    plain = machine.submit("--cluster", NAME, "--wrap", f"echo x >>began; {gate}; exit 6")
    elements = array(machine, "--cluster", NAME, "--array", "1-2", "--wrap", f"echo x >>began; {gate}")
    there = at_work(machine, plain)
    eventually(lambda: len(machine.lines("began")) == 3)
    machine.stop()
    machine.open_gate()
    eventually(lambda: there not in small.jobs())
    machine.start()
    assert ends(machine, plain, *elements) == [("failed", "NonZeroExit", 6), *[("finished", None, 0)] * 2]


def test_a_job_without_an_exit_record_that_slurm_has_forgotten_is_a_zombie(
    machine: Machine, small: SlurmCluster
) -> None:
    gate = "until [ -e gate ]; do sleep 0.05; done"
    job_id = machine.submit("--cluster", NAME, "--wrap", f"echo x >>began; {gate}")
    there = at_work(machine, job_id)
    eventually(lambda: machine.lines("began"))
    machine.stop()
    machine.open_gate()
    eventually(lambda: there not in small.jobs())
    os.unlink(Path(machine.attempt(job_id)) / "exit")
    machine.start()
    assert ends(machine, job_id) == [("failed", "Zombie", None)]
