"""A cluster whose programs are only on a login node, reached by ssh (`command_prefix`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import cluster_machine, ssh_server
from support.cluster_machine import NAME, RAN, array, at_work, ends
from support.machine import Machine
from support.slurm_cluster import SlurmCluster
from support.waiting import eventually


@pytest.fixture(scope="module")
def machine(cluster: SlurmCluster) -> Iterator[Machine]:
    if why := ssh_server.obstacle():
        pytest.skip(f"no login node: {why}")
    with (
        ssh_server.new_ssh_server(f"{cluster.bin}:/usr/bin:/bin") as prefix,
        cluster_machine.new_cluster_machine(cluster, command_prefix=prefix) as found,
    ):
        found.env["PATH"] = found.env["PATH"].removeprefix(f"{cluster.bin}:")  # here they are not
        found.usual = dict(found.env)
        found.start()
        yield found


def test_jobs_and_arrays_run_and_are_cancelled_through_ssh(machine: Machine) -> None:
    plain = machine.submit("--cluster", NAME, "--name", "with 'quotes' $HOME", "--wrap", f"{RAN}; exit 3")
    elements = array(machine, "--cluster", NAME, "--array", "1-4%2", "--wrap", RAN)
    endless = machine.submit("--cluster", NAME, "--wrap", "echo x >>began; sleep 1000")
    at_work(machine, endless)
    eventually(lambda: machine.lines("began"))
    machine.ctl("cancel", str(endless))
    assert ends(machine, plain, *elements, endless) == [
        ("failed", "NonZeroExit", 3), *[("finished", None, 0)] * 4, ("cancelled", "CancelledByUser", None),
    ]  # fmt: skip
    machine.ran_exactly_once([plain, *elements])
