"""A Slurm of our own for as long as something is compared with it: its programs, and clusters of one node.

Knows nothing of gflow. Slurm's programs are those on the PATH, else those that `make slurm-parity` unpacked from
Debian's packages beside the sources. The cluster's daemons are plain processes with ports of their own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).resolve().parents[1]))

from support import slurm_programs
from support.slurm_programs import PLUGINS, ROOT, UNPACKED  # noqa: F401 -- ROOT is for those who import us
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONFIG = """\
ClusterName=parity
SlurmctldHost={host}(127.0.0.1)
AuthInfo=socket={root}/munge.sock
SlurmUser=root
SlurmdUser=root
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
SlurmctldPort={port}
SlurmdPort={next_port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/{scheduler}
MpiDefault=none
ReturnToService=2
GresTypes=gpu
"""
NODE = """\
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1500 Gres=gpu:2
PartitionName=debug Nodes=ALL Default=YES State=UP
"""
CONTROLLER = (["slurmctld", "-D"],)


def find() -> bool:
    """Whether Slurm's commands are to be had; those that were unpacked are put on our PATH."""
    os.environ.update(slurm_programs.environment())
    return all(map(shutil.which, slurm_programs.COMMANDS))


def can_make_one() -> bool:
    """Whether we may and can run a cluster of our own."""
    return not os.getuid() and all(map(shutil.which, slurm_programs.DAEMONS))


def host() -> str:
    return os.uname().nodename.partition(".")[0]


@contextmanager
def own_cluster(root: Path, cpus: int = 2, scheduler: str = "builtin", more: str = "") -> Iterator[None]:
    """A Slurm of one node, reachable through SLURM_CONF in our environment; `more` is added to its slurm.conf."""
    slurmd = ["slurmd", "-D", "-N", host()]
    if PLUGINS.exists():
        slurmd += ["-d", str(UNPACKED / "sbin" / "slurmstepd")]
    with _daemons(root, scheduler, NODE.format(host=host(), cpus=cpus) + more, [*CONTROLLER, slurmd]):
        eventually(lambda: b"idle" in _sinfo())
        yield


@contextmanager
def controller(root: Path, nodes: str) -> Iterator[None]:
    """A Slurm that takes jobs and never starts one; `nodes`: those lines of its slurm.conf that say what there is."""
    with _daemons(root, "builtin", nodes, CONTROLLER):
        eventually(_sinfo)
        yield


def _sinfo() -> bytes:
    return subprocess.run(["sinfo", "-h"], capture_output=True, check=False).stdout


@contextmanager
def _daemons(root: Path, scheduler: str, more: str, commands: Sequence[list[str]]) -> Iterator[None]:
    for name in ("state", "spool"):
        (root / name).mkdir(parents=True)
    root.chmod(0o755)
    port = 20000 + os.getpid() % 20000
    text = CONFIG.format(root=root, host=host(), port=port, next_port=port + 1, scheduler=scheduler)
    if PLUGINS.exists():
        text += f"PluginDir={PLUGINS}\n"
    (root / "slurm.conf").write_text(text + more)
    (root / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    key = root / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    os.environ["SLURM_CONF"] = str(root / "slurm.conf")
    munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={root}/munge.sock",
              f"--pid-file={root}/munged.pid", f"--log-file={root}/munged.log", f"--seed-file={root}/seed"]  # fmt: skip
    started = []
    try:
        for command in (munged, *commands):
            started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            if command is munged:
                eventually((root / "munge.sock").exists)
        yield
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(timeout=30)
