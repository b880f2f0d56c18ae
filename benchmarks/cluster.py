"""What it costs to hand jobs over to a real Slurm and to follow them there, and how late their ends are known here.

python benchmarks/cluster.py [JOBS [ELEMENTS]]

The Slurm is that of the tests: three nodes on this machine, which Slurm's own programs and the jobs share with us. Of
the bridge and the scheduler CPU time is measured, which their work costs whatever else runs; polls are 0.2 s apart.
Needs root and Slurm's programs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import rig

sys.path.insert(0, os.path.join(rig.ROOT, "tests"))

from support import cluster_machine, slurm_cluster  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

JOBS, ELEMENTS, ONE_BY_ONE = 100, 1000, 20
TICK = os.sysconf("SC_CLK_TCK")
ALIVE = ("PENDING", "RUNNING", "COMPLETING")
PROCESSES = ("cluster_bridge", "scheduler")


def main() -> int:
    if why := slurm_cluster.obstacle():
        print(f"no Slurm: {why}", file=sys.stderr)
        return 0
    given = [int(word) for word in sys.argv[1:3]]
    jobs, elements = given + [JOBS, ELEMENTS][len(given) :]
    with slurm_cluster.new_cluster() as cluster:
        commands(cluster)
        with cluster_machine.new_cluster_machine(cluster, max_pending=max(jobs, elements)) as machine:
            machine.start()
            idle(machine)
            one_by_one(machine, cluster)
            many(machine, f"{jobs} jobs", jobs, lambda: machine.submit_all(*words("true"), count=jobs))
            many(
                machine, f"an array of {elements}", elements,
                lambda: cluster_machine.array(machine, "--array", f"1-{elements}", *words("true")),
            )  # fmt: skip
    return 0


def words(text: str) -> tuple[str, ...]:
    return "--cluster", cluster_machine.NAME, "-m", "100", "--wrap", text


def commands(cluster: Any) -> None:
    """What a call costs by itself."""
    for name, options in (("squeue", ["--me", "-t", "all", "-r"]), ("sbatch", ["--hold", "--wrap", "true"])):
        began = time.monotonic()
        for _ in range(20):
            subprocess.run([str(cluster.bin / name), *options], check=True, capture_output=True, cwd=cluster.root)
        tell(f"one call of {name}", f"{(time.monotonic() - began) / 20 * 1000:.1f} ms")
    cluster.clear()


def idle(machine: Any) -> None:
    """Configured, and nothing to do there."""
    before = cpu(machine)
    time.sleep(5)
    after = cpu(machine)
    tell("CPU of bridge and scheduler with no job", f"{(sum(after) - sum(before)) / 5 * 1000:.2f} ms per second")


def one_by_one(machine: Any, cluster: Any) -> None:
    """From Slurm's word that a job is over to the end of `gflowctl wait`; and from the job's own end."""
    ours, whole = [], []
    for number in range(ONE_BY_ONE):
        job_id = machine.submit(*words(f"until [ -e go.{number} ]; do sleep 0.02; done; date +%s.%N >end"))
        there = machine.until(job_id, "running")["cluster_id"]
        waits = machine.begin("wait", str(job_id))
        (machine.work / f"go.{number}").touch()
        while cluster.run("squeue", "-h", "-t", "all", "-j", there, "-o", "%T").strip() in ALIVE:
            time.sleep(0.02)
        slurm = time.time()
        waits.communicate()
        ours.append(time.time() - slurm)
        whole.append(time.time() - float((machine.work / "end").read_text()))
    for what, late in (("Slurm's end of a job", ours), ("a job's own end", whole)):
        late.sort()
        tell(f"from {what} to the end of `wait`", f"median {late[len(late) // 2]:.2f} s, most {late[-1]:.2f} s")


def many(machine: Any, what: str, count: int, submit: Any) -> None:
    """All at once: what each costs us, until the last has ended."""
    before, began = cpu(machine), time.monotonic()
    ids = submit()
    submitted = time.monotonic()
    while any(job["ended_at"] is None for job in machine.jobs().values()):
        time.sleep(0.5)
    took, after = time.monotonic() - began, cpu(machine)
    assert {machine.jobs()[i]["state"] for i in ids} == {"finished"}
    each = ", ".join(
        f"{name} {(late - early) / count * 1000:.2f} ms"
        for name, early, late in zip(PROCESSES, before, after, strict=True)
    )
    tell(f"{what}: submitted in {submitted - began:.1f} s, all ended after {took:.1f} s", f"CPU per job: {each}")


def cpu(machine: Any) -> list[float]:
    """Seconds of CPU time that each process has used, with its children that have ended."""
    pids = machine.pids()
    found = []
    for name in PROCESSES:
        fields = Path(f"/proc/{pids[name]}/stat").read_text().rpartition(")")[2].split()
        found.append(sum(map(int, fields[11:15])) / TICK)
    return found


def tell(what: str, measured: str) -> None:
    print(f"{what}: {measured}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
