"""A machine of its own that hands jobs over to a real Slurm (`slurm_cluster`), whose nodes see its directories."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support.machine import Machine
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.slurm_cluster import SlurmCluster

NAME = "trial"
RAN = "echo $GFLOW_JOB_ID >>ran"
POLL = 0.2  # seconds


def join(machine: Machine, cluster: SlurmCluster, **settings: object) -> None:
    """Lets a machine know the cluster; `settings` of its table."""
    shared = machine.root / "shared"
    shared.mkdir(exist_ok=True)
    machine.write_config(**{f"cluster.{NAME}": {"directory": str(shared), "poll_interval": POLL, **settings}})
    machine.env["PATH"] = f"{cluster.bin}:{machine.env['PATH']}"
    machine.usual = dict(machine.env)


@contextmanager
def new_cluster_machine(cluster: SlurmCluster, kind: type[Machine] = Machine, **settings: object) -> Iterator[Machine]:
    """One whose daemon does not run yet; at the end the cluster has no job of it."""
    machine = kind(Path(tempfile.mkdtemp(prefix="gf-", dir="/tmp")))
    try:
        join(machine, cluster, **settings)
        yield machine
    finally:
        cluster.clear()
        machine.close()


def array(machine: Machine, *words: str) -> list[int]:
    """The ids of the elements of a new array."""
    first, _, last = machine.ctl("submit", "--parsable", *words).stdout.strip().partition("-")
    return list(range(int(first), int(last) + 1))


def at_work(machine: Machine, job_id: int) -> str:
    """Slurm's id of a job, once its command runs there and we know."""
    found: str = machine.until(job_id, "running", "finished", "failed", "cancelled", "timeout")["cluster_id"]
    return found


def ends(machine: Machine, *ids: int) -> list[tuple[str, str | None, int | None]]:
    """State, reason and exit code of jobs that have ended."""
    machine.wait(*ids)
    jobs = machine.jobs()
    return [(jobs[i]["state"], jobs[i]["reason"], jobs[i]["exit_code"]) for i in ids]


def all_ended(machine: Machine, within: float) -> dict[int, tuple[str, str | None, int | None]]:
    """The end of every job, once all have ended."""
    live = ("queued", "held", "starting", "running", "suspended", "stopping")
    eventually(lambda: not any(job["state"] in live for job in machine.jobs().values()), within=within)
    return {i: (job["state"], job["reason"], job["exit_code"]) for i, job in machine.jobs().items()}


def counts(machine: Machine, name: str = "ran") -> Counter[int]:
    """How often each job has left a line."""
    return Counter(map(int, machine.lines(name)))


def handed_over_twice(machine: Machine, cluster: SlurmCluster) -> dict[str, set[str]]:
    """What Slurm was given more than once, by its mark, as far as it remembers."""
    state_id = (Path(machine.state.root) / "cluster" / "id").read_text().strip()
    return {mark: ids for mark, ids in cluster.ids_by_comment().items() if f":{state_id}:" in mark and len(ids) > 1}
