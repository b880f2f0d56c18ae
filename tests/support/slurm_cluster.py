"""A real Slurm of three nodes as ordinary processes of this machine: munged, slurmctld and three slurmd, on loopback.

Its ports, files and key are its own; nothing of the system's is read or written. The nodes n1 to n3 declare 32 CPUs and
32 GB each, n1 two GPUs of type a100, n2 two of type h100. Commands in `bin` speak to it. Knows nothing of gflow.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import slurm_accounting, slurm_keeper, slurm_programs
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = ("n1", "n2", "n3")
# A tick of a second everywhere: Slurm's own defaults are for thousands of nodes. Jobs that name no memory get some, not
# a node's whole. `config_overrides`: that the machine has fewer CPUs than a node declares is no fault of the node.
CONFIG = """\
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
AuthInfo=socket={root}/munge.sock
SlurmUser=root
SlurmdUser=root
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool.%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
SlurmctldPort={port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
KillWait=2
SlurmdTimeout=10
GresTypes=gpu
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=32 RealMemory=32000{gres}\n"
PARTITIONS = """\
PartitionName=usual Nodes=n1,n2,n3 Default=YES State=UP MaxTime=INFINITE
PartitionName=short Nodes=n3 State=UP MaxTime=5
"""
GPUS = {"n1": "a100", "n2": "h100"}
NUDGE = "nudge"  # the name of jobs that only make slurmctld write
FILES = ("/dev/null", "/dev/zero")  # a GPU is a device file; which one does not matter


def obstacle() -> str | None:
    """Why there can be no cluster here; None if there can."""
    return slurm_programs.obstacle()


class SlurmCluster:
    """The running cluster. Its daemons have the names of the nodes, `slurmctld` and `munged`; with `accounting`, those
    of `slurm_accounting.DAEMONS` too.
    """

    def __init__(self, root: Path, more: str = "", *, accounting: bool = False) -> None:
        self.root, self.bin = root, root / "bin"
        self.pids: dict[str, int] = {}
        self._words: dict[str, list[str]] = {}
        *ports, books = _free_ports(2 + len(NODES))
        self._accounting = slurm_accounting.Accounting(root, books) if accounting else None
        env = slurm_programs.environment() | {"SLURM_CONF": str(root / "slurm.conf"), "LANG": "C.UTF-8"}
        if self._accounting is not None:
            more = self._accounting.settings + more
            env |= slurm_accounting.environment() | {"MYSQL_UNIX_PORT": str(self._accounting.socket)}
            self._words |= self._accounting.words
        self._configure(more, ports)
        self._keeper = subprocess.Popen(
            [sys.executable, slurm_keeper.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
        )
        self.keeper = self._keeper.pid

    def _configure(self, more: str, ports: list[int]) -> None:
        root, host = self.root, os.uname().nodename.partition(".")[0]
        for name in ("state", "bin", *(f"spool.{node}" for node in NODES)):
            (root / name).mkdir()
        root.chmod(0o755)
        text = CONFIG.format(root=root, host=host, port=ports[0])
        if slurm_programs.PLUGINS.exists():
            text += f"PluginDir={slurm_programs.PLUGINS}\n"
        gpus = ""
        for name, port in zip(NODES, ports[1:], strict=True):
            model = GPUS.get(name)
            text += NODE.format(name=name, host=host, port=port, gres=f" Gres=gpu:{model}:2" if model else "")
            gpus += "".join(f"NodeName={name} Name=gpu Type={model} File={file}\n" for file in FILES if model)
        settings = dict(line.split("=", 1) for line in more.splitlines())
        for setting, value in settings.items():  # slurm.conf may name a setting only once
            text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith(f"{setting}="))
            text += f"{setting}={value}\n"
        (root / "slurm.conf").write_text(text + PARTITIONS)
        (root / "gres.conf").write_text(gpus)
        key = root / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self._words |= {
            "munged": ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={root}/munge.sock",
                       f"--pid-file={root}/munged.pid", f"--log-file={root}/munged.log", f"--seed-file={root}/seed"],
            "slurmctld": ["slurmctld", "-D"],
        }  # fmt: skip
        for node in NODES:
            self._words[node] = ["slurmd", "-D", "-N", node]
            if slurm_programs.PLUGINS.exists():
                self._words[node] += ["-d", str(slurm_programs.UNPACKED / "sbin" / "slurmstepd")]
        found = slurm_programs.environment()
        said = "".join(f"{name}='{value}' " for name, value in found.items() if name != "PATH")
        for name in ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr", "srun", "salloc"):
            program = shutil.which(name, path=found["PATH"])
            (self.bin / name).write_text(f"#!/bin/sh\nSLURM_CONF='{root}/slurm.conf' {said}exec {program} \"$@\"\n")
            (self.bin / name).chmod(0o755)

    def start(self, *names: str) -> None:
        """Starts daemons that do not run."""
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        for name in names:
            asked = {"words": self._words[name], "log": str(self.root / f"{name}.out")}
            print(json.dumps(asked), file=self._keeper.stdin, flush=True)
            self.pids[name] = int(self._keeper.stdout.readline())
            if name == "munged":
                eventually((self.root / "munge.sock").exists)
            elif self._accounting is not None and name in self._accounting.words:
                self._accounting.await_start(name)

    def kill(self, *names: str) -> None:
        """Kills daemons outright."""
        for name in names:
            self._kill([self.pids.pop(name)])

    def fail(self, node: str) -> None:
        """A node dies, with the slurmstepd of each of its jobs, and Slurm is told: it would notice in 10 to 60 s.
        The processes that jobs have started live on. `start` brings the node back.
        """
        shepherds = [pid for pid in slurm_keeper.below(self.keeper) if self._shepherd_of(pid) == node]
        self._kill([self.pids.pop(node), *shepherds])
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=died")

    def save(self) -> None:
        """Waits until slurmctld has written what it knows: killed before, it forgets, as real ones do. A new job, held,
        makes it write.
        """
        saved = self.root / "state" / "job_state"
        before = saved.stat().st_mtime_ns if saved.exists() else 0
        self.run("sbatch", "--hold", f"--job-name={NUDGE}", "--wrap", "true")
        eventually(lambda: saved.exists() and saved.stat().st_mtime_ns != before)

    def _kill(self, pids: list[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: set(pids).isdisjoint(slurm_keeper.below(self.keeper)))

    def _shepherd_of(self, pid: int) -> str | None:
        """The node whose slurmstepd the process is: it keeps that slurmd's log open."""
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"slurmstepd"):
                open_files = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
                return next((node for node in NODES if str(self.root / f"slurmd.{node}.log") in open_files), None)
        return None

    def run(self, name: str, *words: str, **settings: Any) -> str:
        """What one of Slurm's commands says."""
        done = subprocess.run([str(self.bin / name), *words], check=False, capture_output=True, text=True, **settings)
        assert done.returncode == 0, done
        return done.stdout

    @contextmanager
    def before(self, program: str, text: str) -> Iterator[None]:
        """Meanwhile whoever calls one of the commands does something else first, as shell script."""
        path = self.bin / program
        usual = path.read_text()
        self._put(path, usual.replace("\n", f"\n{text}\n", 1))
        yield
        self._put(path, usual)

    def _put(self, path: Path, text: str) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.chmod(0o755)
        fresh.rename(path)

    def is_idle(self) -> bool:
        """Whether all nodes are up and no job is known that has not ended."""
        return self.states() == dict.fromkeys(NODES, "idle") and not self._pending()

    def states(self) -> dict[str, str]:
        """What sinfo says of each node."""
        with suppress(AssertionError):
            return dict(line.split() for line in self.run("sinfo", "-hN", "-p", "usual", "-o", "%N %t").splitlines())
        return {}

    def _pending(self) -> set[str]:
        return set(self.run("squeue", "-ho", "%j").splitlines()) - {NUDGE}

    def jobs(self) -> dict[str, dict[str, str]]:
        """Each job and element that slurmctld knows, by its id: its state, reason, node and comment."""
        said = [
            line.split("|", 5)
            for line in self.run("squeue", "-ht", "all", "-r", "-o", "%i|%j|%T|%r|%N|%k").splitlines()
        ]
        names = ("state", "reason", "node", "comment")
        return {job: dict(zip(names, rest, strict=True)) for job, name, *rest in said if name != NUDGE}

    def ids_by_comment(self) -> dict[str, set[str]]:
        """The jobs, an array as one, that slurmctld knows by each comment."""
        found: dict[str, set[str]] = {}
        for job, shown in self.jobs().items():
            found.setdefault(shown["comment"], set()).add(job.partition("_")[0])
        return found

    def clear(self) -> None:
        """Cancels what is left, and waits until the nodes are free."""
        with suppress(AssertionError):
            self.run("scancel", "-u", "root")
        eventually(self.is_idle)

    def close(self) -> None:
        """Ends everything; nothing of it is left when this returns."""
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.wait(timeout=60)
        self._keeper.stdout.close()


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has; they are asked for together, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextmanager
def new_cluster(more: str = "", *, accounting: bool = False) -> Iterator[SlurmCluster]:
    """A cluster whose nodes are idle; `more` replaces settings of its slurm.conf, one a line; with `accounting`, it has
    slurmdbd.
    """
    root = Path(tempfile.mkdtemp(prefix="gf-slurm-", dir="/tmp"))
    try:
        cluster = SlurmCluster(root, more, accounting=accounting)
        try:
            cluster.start("munged", *(slurm_accounting.DAEMONS if accounting else ()), "slurmctld", *NODES)
            eventually(cluster.is_idle)
            yield cluster
        finally:
            cluster.close()
    finally:
        shutil.rmtree(root)
