"""Slurm on a private cluster of this one machine, made as for `make slurm-parity`."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

from peers.peer import (
    CORES,
    LONG,
    ONCE,
    SIZES,
    Missing,
    Scale,
    answer,
    debian,
    debian_version,
    private,
    processes,
    until,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from peers.peer import Words

PARITY = Path(__file__).resolve().parents[2] / "tests" / "parity"
DAEMONS = ("munged", "slurmctld", "slurmd")
# As Debian installs it, but for the room that a queue of 100,000 needs.
MORE = "MaxJobCount=200000\nMaxArraySize=200001\n"


class Slurm:
    """slurmctld, slurmd and munged."""

    name = "Slurm"
    scale = Scale(ONCE | {"growth"}, loop=10, links=5, rate=20, sizes=SIZES, calm=1.0)

    def __init__(self, place: str) -> None:
        self.place = place
        self.environ: dict[str, str] = {}
        self.running = ExitStack()

    def install(self) -> str:
        if os.getuid():
            raise Missing("only root can run a private Slurm")
        debian("sbatch", "slurm-wlm", "munge")
        return debian_version("slurm-wlm")

    def start(self) -> None:
        if str(PARITY) not in sys.path:
            sys.path.append(str(PARITY))
        real_slurm = importlib.import_module("real_slurm")
        self.environ = private(self.place) | {"SLURM_CONF": f"{self.place}/cluster/slurm.conf"}
        try:
            cluster = real_slurm.own_cluster(Path(self.place, "cluster"), cpus=CORES, scheduler="backfill", more=MORE)
            self.running.enter_context(cluster)
        except (AssertionError, OSError) as error:
            raise Missing(f"its daemons did not start: {error}") from None
        finally:
            os.environ.pop("SLURM_CONF", None)

    def stop(self) -> None:
        self.running.close()

    def submit(self, *command: str) -> Words:
        return ["sbatch", "--parsable", "--output=/dev/null", "--wrap", shlex.join(command)]

    def _with(self, *options: str) -> Words:
        return [*self.submit(*LONG)[:3], *options, "--wrap"]

    def after(self, *command: str) -> Words:
        newest = answer(self, "squeue", "-h", "-o", "%i", "-S", "-i").split()
        return [*self._with(*(["--dependency", f"afterany:{newest[0]}"] if newest else [])), shlex.join(command)]

    def burst(self, count: int, *command: str) -> list[Words]:
        return [[*self._with(f"--array=1-{count}"), shlex.join(command)]]

    def rate(self, count: int, *command: str) -> list[Words]:
        return self.burst(count, *command)

    def occupy(self, count: int) -> list[Words]:
        return [self.submit(*LONG) for _ in range(max(count, CORES))]

    def queued(self, count: int) -> list[Words]:
        return self.burst(count, "true") if count > 1 else [self.submit("true")]

    def listing(self) -> Words | None:
        return ["squeue", "-r"]

    def finish(self, *command: str) -> None:
        answer(self, *self.submit(*command))
        until(self.drained, 60, "to notice the end of a job")

    def drained(self) -> bool:
        return not answer(self, "squeue", "-h")

    def pids(self) -> list[int]:
        return [pid for pid, name in processes(self.place) if name in DAEMONS]
