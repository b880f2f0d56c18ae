"""Each effect that the bridge has on the world as its last one, or the daemon's: every job still runs once."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from support import cluster_machine, depth
from support.cluster_machine import NAME, RAN, all_ended, counts
from support.slurm_cluster import SlurmCluster
from support.waiting import eventually

sys.path.append(str(Path(__file__).parent.parent / "reliability"))

import points
from crashing import DAEMON, PROCESS
from day import FaultyMachine

BRIDGE = "cluster_bridge|"
THERE = ("--cluster", NAME)
TRIALS, AT_ONCE, SEED = 24, 3, 1


@contextmanager
def faulty(cluster: SlurmCluster) -> Iterator[FaultyMachine]:
    machine = FaultyMachine(Path(tempfile.mkdtemp(prefix="gf-", dir="/tmp")), "process")
    try:
        cluster_machine.join(machine, cluster)
        yield machine
    finally:
        machine.close()


def day(machine: FaultyMachine, cluster: SlurmCluster, fault: str | None) -> None:
    """A few jobs of each kind, whatever dies meanwhile."""
    machine.gflowd("start", check=False, env=machine.faulty(fault), timeout=120)
    mend(machine)
    good = [machine.submit(*THERE, "--wrap", RAN) for _ in range(2)]
    good.append(machine.submit(*THERE, "-d", f"afterok:{machine.submit('--wrap', 'true')}", "--wrap", RAN))
    elements = cluster_machine.array(machine, *THERE, "--array", "1-3%2", "--wrap", RAN)
    bad = machine.submit(*THERE, "--max-retries", "1", "--wrap", f"{RAN}; exit 3")
    doomed = machine.submit(*THERE, "--grace", "1s", "--wrap", "echo x >>began; sleep 1000")
    eventually(lambda: mend(machine) and machine.lines("began"), within=100)
    machine.ctl("cancel", str(doomed))
    eventually(lambda: mend(machine) and all(j["ended_at"] is not None for j in machine.jobs().values()), within=100)
    wanted = dict.fromkeys([*good, *elements], ("finished", None, 0)) | {bad: ("failed", "NonZeroExit", 3)}
    found = all_ended(machine, within=5)
    assert {i: found[i] for i in wanted} == wanted
    assert found[doomed][:2] == ("cancelled", "CancelledByUser")
    assert counts(machine) == Counter([*good, *elements, bad, bad])
    assert cluster_machine.handed_over_twice(machine, cluster) == {}


def mend(machine: FaultyMachine) -> bool:
    """Starts the daemon again where the fault has killed it."""
    if not machine.is_up():
        assert machine.crashed(), machine.daemon_log()[-2000:]
        machine.gflowd("start", check=False, timeout=120)
    return True


def trial(cluster: SlurmCluster, fault: str) -> tuple[bool, str | None]:
    """Whether the fault came, and what was broken."""
    reached = False
    try:
        with faulty(cluster) as machine:
            try:
                day(machine, cluster, fault)
            finally:
                reached = machine.crashed()
    except AssertionError as why:
        return reached, f"{fault}: {why}"
    return reached, None


def test_a_bridge_that_dies_anywhere_hands_no_job_over_twice(cluster: SlurmCluster) -> None:
    with faulty(cluster) as machine:
        day(machine, cluster, None)
        seen = Counter(effect for effect in machine.effects() if effect.startswith(BRIDGE))
    every = [points.Point(key, place) for key, times in sorted(seen.items()) for place in range(1, times + 1)]
    assert any("|spawn|sbatch" in point.key for point in every), sorted(seen)
    chosen = points.pick(every, len(every) if depth.IS_FULL else TRIALS, SEED)
    faults = [fault for each in chosen for fault in points.kills([each])]
    faults = [fault.removesuffix(PROCESS) + DAEMON if number % 3 == 0 else fault for number, fault in enumerate(faults)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(lambda fault: trial(cluster, fault), faults))
    assert [broken for _, broken in outcomes if broken is not None] == []
    assert sum(reached for reached, _ in outcomes) > len(outcomes) // 2  # one poll more or less moves them
