"""The bridge and the whole daemon killed at random among many jobs: each runs once, and ends as it must."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest
from support import cluster_machine
from support.cluster_machine import NAME, RAN, all_ended, array, counts, handed_over_twice
from support.machine import GATE, Machine, kill
from support.slurm_cluster import SlurmCluster, new_cluster

MANY, ELEMENTS = 500, 2000
WITHIN = 420.0  # seconds
BRIDGE = "cluster_bridge"
LEAST, MOST = 6, 60  # kills: however fast the jobs are, and so that a slow machine gets on, too
LAST = 20  # jobs that wait for the least


@pytest.fixture(scope="module")
def larger() -> Iterator[SlurmCluster]:
    """One that takes the array whole; the others' largest index is Slurm's default, 1000."""
    with new_cluster("MaxArraySize=5001") as found:
        yield found


def kill_at_random(machine: Machine, ids: list[int], seed: int) -> Counter[str]:
    """Until all have ended; the last ones do not before there were LEAST."""
    rng, killed, deadline = random.Random(seed), Counter[str](), time.monotonic() + WITHIN
    while any(job["ended_at"] is None for i, job in machine.jobs().items() if i in ids):
        assert time.monotonic() < deadline, (killed, machine.ctl("queue").stdout[-2000:])
        time.sleep(rng.uniform(0.2, 3))
        if killed.total() >= LEAST and killed[BRIDGE] > 2:
            machine.open_gate()
        if killed.total() >= MOST:
            continue
        name = rng.choice([BRIDGE, BRIDGE, "supervisor"])
        if (pid := machine.pids().get(name)) is None:
            continue
        with suppress(ProcessLookupError):
            kill(pid)
            killed[name] += 1
        if name == "supervisor":
            machine.gflowd("start", timeout=120)
    return killed


def test_five_hundred_jobs_run_once_each(cluster: SlurmCluster) -> None:
    with cluster_machine.new_cluster_machine(cluster) as machine:
        machine.start()
        line = f"{RAN}; [ $GFLOW_JOB_ID -le {MANY - LAST} ] || {GATE}; exit $((GFLOW_JOB_ID % 3))"
        words = ("--cluster", NAME, "-m", "100", "--wrap", line)
        ids = machine.submit_all(*words, count=MANY)
        kill_at_random(machine, ids, seed=1)
        jobs = machine.jobs()
        assert {i: jobs[i]["exit_code"] for i in ids} == {i: i % 3 for i in ids}
        assert counts(machine) == Counter(ids)
        assert handed_over_twice(machine, cluster) == {}


@pytest.mark.parametrize("is_split", [True, False])
def test_an_array_of_two_thousand_runs_once(cluster: SlurmCluster, larger: SlurmCluster, is_split: bool) -> None:
    """With 1001 it must be split."""
    where = cluster if is_split else larger
    with cluster_machine.new_cluster_machine(where, max_pending=ELEMENTS) as machine:
        machine.start()
        ids = array(machine, "--cluster", NAME, "-m", "100", "--array", f"1-{ELEMENTS}",
                    "--wrap", f"{RAN}; [ $SLURM_ARRAY_TASK_ID -le {ELEMENTS - LAST} ] || {GATE}; "
                              "[ $((SLURM_ARRAY_TASK_ID % 10)) != 3 ]")  # fmt: skip
        kill_at_random(machine, ids, seed=2)
        found = all_ended(machine, within=5)
        assert Counter(found[i] for i in ids) == {
            ("finished", None, 0): ELEMENTS * 9 // 10, ("failed", "NonZeroExit", 1): ELEMENTS // 10,
        }  # fmt: skip
        assert counts(machine) == Counter(ids)
        assert handed_over_twice(machine, where) == {}
        batches = {job["cluster_id"].partition("_")[0] for job in machine.jobs().values()}
        assert (len(batches) > 1) == is_split, batches
