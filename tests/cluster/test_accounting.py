"""A Slurm whose controller forgets what has ended after seconds, and whose accounting (slurmdbd, MariaDB) does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import cluster_machine, slurm_accounting
from support.cluster_machine import NAME, RAN, array, at_work, ends
from support.machine import Machine
from support.slurm_cluster import SlurmCluster, new_cluster
from support.waiting import eventually

GATE = "until [ -e gate ]; do sleep 0.05; done"
THERE = ("--cluster", NAME)


@pytest.fixture(scope="module")
def accounted() -> Iterator[SlurmCluster]:
    if why := slurm_accounting.obstacle():
        pytest.skip(f"no accounting: {why}")
    with new_cluster("MinJobAge=2", accounting=True) as found:
        yield found


@pytest.fixture
def machine(accounted: SlurmCluster) -> Iterator[Machine]:
    with cluster_machine.new_cluster_machine(accounted) as found:
        found.start()
        yield found


def began(machine: Machine, *words: str) -> tuple[int, str]:
    """A job that runs there, and its id there."""
    before = len(machine.lines("began"))
    job_id = machine.submit(*THERE, *words)
    there = at_work(machine, job_id)
    eventually(lambda: len(machine.lines("began")) > before)
    return job_id, there


def has_ended(cluster: SlurmCluster, there: str, state: str) -> bool:
    """Whether a job has ended in that state, or is forgotten, as it is soon after its end."""
    return cluster.jobs().get(there, {}).get("state", state) == state


def forget(cluster: SlurmCluster, *there: str) -> None:
    eventually(lambda: cluster.jobs().keys().isdisjoint(there))


def test_the_word_of_the_accounting_counts_where_the_controller_has_forgotten_the_job(
    machine: Machine, accounted: SlurmCluster
) -> None:
    """Cancelled there, by a record that holds 143; failed with its node, without a record; ended by itself."""
    cancelled, its = began(machine, "--wrap", f"echo x >>began; {GATE}")
    own, owns = began(machine, "--wrap", f"echo x >>began; {GATE}; exit 6")
    dies, dead = began(machine, "--wrap", "echo $$ >>pids; echo x >>began; exec sleep 1000")
    elements = array(machine, *THERE, "--array", "1-2", "--wrap", f"echo x >>began; {GATE}")
    eventually(lambda: len(machine.lines("began")) == 5)
    node = machine.until(dies, "running")["node"]
    machine.until_in(elements, "running")
    first, second = (machine.job(each)["cluster_id"] for each in elements)
    machine.stop()
    accounted.run("scancel", its, first)
    eventually(lambda: has_ended(accounted, its, "CANCELLED") and has_ended(accounted, first, "CANCELLED"))
    machine.open_gate()
    eventually(lambda: has_ended(accounted, owns, "FAILED") and has_ended(accounted, second, "COMPLETED"))
    accounted.fail(node)
    os.killpg(os.getpgid(int(machine.lines("pids")[0])), 9)  # it lived on
    accounted.start(node)
    forget(accounted, its, owns, dead, first)
    machine.start()
    assert [end[:2] for end in ends(machine, cancelled, own, dies, *elements)] == [
        ("cancelled", "CancelledElsewhere"), ("failed", "NonZeroExit"), ("failed", "NodeFail"),
        ("cancelled", "CancelledElsewhere"), ("finished", None),
    ]  # fmt: skip


def test_one_that_was_cancelled_there_before_it_began_is_known_to_be(machine: Machine, accounted: SlurmCluster) -> None:
    fills = [machine.submit(*THERE, "-c", "32", "--wrap", GATE) for _ in range(3)]
    machine.until_in(fills, "running")
    waits = machine.submit(*THERE, "-c", "32", "--wrap", RAN)
    there = eventually(lambda: machine.job(waits)["cluster_id"])
    eventually(lambda: there in accounted.jobs())
    machine.stop()
    accounted.run("scancel", there)
    machine.open_gate()
    forget(accounted, there)
    machine.start()
    assert ends(machine, waits)[0][:2] == ("cancelled", "CancelledElsewhere")
    assert machine.lines("ran") == []


def test_an_accounting_that_is_away_is_waited_for(machine: Machine, accounted: SlurmCluster) -> None:
    job_id, there = began(machine, "--wrap", f"echo x >>began; {GATE}")
    machine.stop()
    accounted.kill("slurmdbd")
    accounted.run("scancel", there)
    forget(accounted, there)
    (Path(machine.attempt(job_id)) / "exit").unlink(missing_ok=True)
    with accounted.before("sacct", f"echo x >>'{machine.work}/asked'"):
        machine.start()
        eventually(lambda: machine.lines("asked"))
        assert machine.job(job_id)["ended_at"] is None
        eventually(lambda: len(machine.lines("asked")) > 1)  # it was asked, and asked again
        accounted.start("slurmdbd")
        assert ends(machine, job_id)[0][:2] == ("cancelled", "CancelledElsewhere")
