"""Arrays with a limit on a cluster: it holds over all arrays of Slurm's that they become, also when it is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from support import cluster_machine
from support.cluster_machine import NAME, RAN, all_ended, array
from support.machine import Machine
from support.slurm_cluster import SlurmCluster, new_cluster
from support.waiting import eventually

THERE = ("--cluster", NAME, "-m", "100")
BATCH = 10
NOTED = "echo b >>noted; {}; echo e >>noted"
MEET = 'case $SLURM_ARRAY_TASK_ID in [123]) until [ "$(grep -c b noted)" -ge 3 ]; do sleep 0.05; done;; esac'


@pytest.fixture(scope="module")
def small_arrays() -> Iterator[SlurmCluster]:
    with new_cluster(f"MaxArraySize={BATCH + 1}") as found:
        yield found


@pytest.fixture
def machine(small_arrays: SlurmCluster) -> Iterator[Machine]:
    with cluster_machine.new_cluster_machine(small_arrays) as found:
        found.start()
        yield found


def running(machine: Machine) -> list[int]:
    """How many were at work after each start or end."""
    found = [0]
    for line in machine.lines("noted"):
        found.append(found[-1] + (1 if line == "b" else -1))
    return found


def batches(machine: Machine, ids: list[int]) -> Counter[str]:
    """By Slurm's id: how many elements."""
    jobs = machine.jobs()
    return Counter(jobs[i]["cluster_id"].partition("_")[0] for i in ids)


def gated(machine: Machine, *words: str) -> list[int]:
    """An array whose elements each wait for a file with their index."""
    return array(machine, *THERE, *words, "--wrap",
                 NOTED.format("until [ -e go.$SLURM_ARRAY_TASK_ID -o -e go.all ]; do sleep 0.05; done"))  # fmt: skip


def let_go(machine: Machine, *names: object) -> None:
    for name in names:
        (machine.work / f"go.{name}").touch()


def until_running(machine: Machine, number: int) -> None:
    eventually(lambda: running(machine)[-1] == number)


def test_an_array_that_takes_several_goes_as_arrays_within_its_limit(machine: Machine) -> None:
    ids = array(machine, *THERE, "--array", "1-35%3", "--wrap", NOTED.format(f"{RAN}; {MEET}; sleep 0.1"))
    found = all_ended(machine, within=240)
    assert {found[i] for i in ids} == {("finished", None, 0)}
    machine.ran_exactly_once(ids)
    assert max(running(machine)) == 3
    assert sorted(batches(machine, ids).values()) == [5, 10, 10, 10]


def test_a_limit_that_is_changed_is_told_to_slurm(machine: Machine) -> None:
    ids = gated(machine, "--array", "1-9%2")
    until_running(machine, 2)
    machine.ctl("limit", str(ids[0]), "5")
    until_running(machine, 5)
    machine.ctl("limit", str(ids[0]), "1")
    eventually(lambda: throttle(machine, ids) == "1")
    let_go(machine, 1, 2, 3, 4)
    until_running(machine, 1)
    let_go(machine, 5)
    eventually(lambda: len(machine.lines("noted")) == 11)  # a sixth has begun
    assert max(running(machine)[11:]) == 1
    machine.ctl("update", str(ids[0]), "--clear", "max-concurrent")
    until_running(machine, 4)
    let_go(machine, "all")
    assert {end[0] for end in all_ended(machine, within=60).values()} == {"finished"}


def throttle(machine: Machine, ids: list[int]) -> str | None:
    """Slurm's own, of the first batch."""
    (there,) = batches(machine, ids[:1])
    shown = machine.run("scontrol", "show", "job", there).stdout
    return next((word.partition("=")[2] for word in shown.split() if word.startswith("ArrayTaskThrottle=")), None)


def test_a_limit_that_is_lowered_holds_the_last_of_several_arrays(machine: Machine) -> None:
    ids = gated(machine, "--array", "1-20%12")
    until_running(machine, 12)
    machine.until_in(ids[:12], "running")
    assert len(batches(machine, ids)) == 2
    machine.ctl("limit", str(ids[0]), "1")
    eventually(lambda: machine.job(ids[-1])["reason"] == "Cluster:JobHeldAdmin")
    let_go(machine, *range(2, 13))
    until_running(machine, 1)
    let_go(machine, 1)
    eventually(lambda: len(machine.lines("noted")) == 25)  # a thirteenth has begun
    assert running(machine)[-1] == 1
    machine.ctl("limit", str(ids[0]), "20")
    let_go(machine, "all")
    found = all_ended(machine, within=60)
    assert {found[i][0] for i in ids} == {"finished"}


def test_a_thousand_and_one_take_two(cluster: SlurmCluster) -> None:
    with cluster_machine.new_cluster_machine(cluster, max_pending=2000) as machine:
        machine.start()
        ids = array(machine, *THERE, "--array", "1-1001%40", "--wrap", NOTED.format(RAN))
        found = all_ended(machine, within=300)
        assert Counter(found[i] for i in ids) == {("finished", None, 0): 1001}
        machine.ran_exactly_once(ids)
        assert max(running(machine)) <= 40
        assert sorted(batches(machine, ids).values()) == [1, 1000]
