"""The heads of real scripts, through the real sbatch and through ours: what each makes of them, and where they differ.

The jobs are submitted on hold, to a Slurm where every partition, feature and node that a head names exists, and to
gflow. Compared are acceptance, tasks, CPUs, GPUs, memory, time limit and array. Knows no other scripts.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import real_slurm

from gflowd.core.job import codec
from gflowd.core.slurm import hostlist
from gflowd.core.syntax import durations, memory, ranges
from gflowd.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.machine import Machine

    from gflowd.core.job.model import Spec

    Made = dict[str, object]

DATA = real_slurm.ROOT / "tests" / "data" / "sbatch-heads.jsonl"
REFUSED: Made = {"accepted": "no"}
CPUS, MEMORY_MB, GPUS = 1024, 8_000_000, 32
UNSAID = 1003  # MB for a job that asks for none, told by this number
RESERVATION = ["scontrol", "create", "reservation", "ReservationName=site", "StartTime=now", "Duration=1-0",
               "Users=root", "Nodes=ALL", "Flags=maint"]  # fmt: skip


def heads() -> list[str]:
    """The heads. Where mail addresses were replaced in them, so was what a signal looks like."""
    lines = DATA.read_text().splitlines()
    return [re.sub(r"(--signal=(?:B:)?)user@example\.org", r"\1USR1@60", json.loads(line)["head"]) for line in lines]


def nodes(texts: list[str]) -> str:
    """Lines of a slurm.conf that has what the heads name. Only the first of the nodes could run anything."""
    partitions = {name for value in _values(texts, "partition", "p") for name in value.split(",")}
    features = {name for value in _values(texts, "constraint", "C") for name in re.split(r"[,&|\[\]]", value) if name}
    named = {name for value in _values(texts, "(?:nodelist|exclude)", "[wx]") for name in hostlist.expand(value)}
    typed = re.compile(r"(?:gpu:|--gpus[-\w]*[= ]|-G ?)([A-Za-z]\w*):\d")
    types = {name for text in texts for name in typed.findall(text)}
    gres = ",".join([f"gpu:{GPUS}", *(f"gpu:{name}:{GPUS}" for name in sorted(types))])
    node = f"CPUs={CPUS} Sockets=16 CoresPerSocket={CPUS // 16} RealMemory={MEMORY_MB} Gres={gres}"
    lines = ["MaxArraySize=100001", f"DefMemPerNode={UNSAID}", "Licenses=project:10,SCRATCH:10"]
    lines += [f"NodeName={real_slurm.host()} NodeAddr=127.0.0.1 {node} Feature={','.join(sorted(features))}"]
    lines += [f"NodeName={name} NodeAddr=127.0.0.1 Port=1 State=DOWN {node}" for name in sorted(named)]
    lines += [f"PartitionName={name} Nodes=ALL State=UP" for name in sorted(partitions)]
    return "\n".join([*lines, f"PartitionName=usual Nodes={real_slurm.host()} Default=YES State=UP", ""])


def _values(texts: list[str], long: str, short: str) -> Iterator[str]:
    option = re.compile(rf"(?<!\S)(?:--{long}(?:=|\s+)|-{short}\s*)([^\s#]+)")
    for line in "\n".join(texts).splitlines():
        if line.startswith("#SBATCH"):
            yield from (value.strip("\"'") for value in option.findall(line))


def differences(place: Path, machine: Machine) -> list[tuple[str, str, str]]:
    """What differs, what Slurm makes of it and what we do; needs a cluster with `nodes`, and a machine of which nothing
    is known.
    """
    subprocess.run(RESERVATION, capture_output=True, check=True, timeout=60)
    texts, ids, theirs = heads(), [], []
    for number, head in enumerate(texts):
        work = place / str(number)
        work.mkdir()
        (work / "job.sh").write_text(f"{head}\ntrue\n")
        theirs.append(_slurm(work))
        done = machine.slurm("sbatch", "--parsable", "--hold", "job.sh", cwd=work)
        ids.append(int(done.stdout) if done.returncode == 0 else None)
    specs = Store(machine.state).read().of("spec")
    found = []
    for head, their, number in zip(texts, theirs, ids, strict=True):
        our = REFUSED if number is None else _made_of(codec.decode_spec(specs[number]))
        if REFUSED in (their, our):
            their, our = _acceptance(their), _acceptance(our)  # noqa: PLW2901 -- no more is to be compared
        found += [(f"{name}: {_gist(head, name)}", str(value), str(our[name]))
                  for name, value in their.items() if our[name] != value]  # fmt: skip
    return found


def _gist(head: str, what: str) -> str:
    """The lines of a head that bear on what differs."""
    bearing = {
        "memory": r"--mem|exclu", "GPUs": r"gres|gpu|-G", "time": r"time|-t", "array": r"array|-a",
        "accepted": r"depend|-d|chdir|-D|signal|begin",
        "tasks": r"task|-n|-N|node", "CPUs": r"task|-n|-N|node|-c|cpu|exclu|gpu",
    }  # fmt: skip
    lines = [line for line in head.splitlines() if line.startswith("#SBATCH")]
    chosen = [line for line in lines if re.search(bearing.get(what, ""), line)]
    return " ".join(re.split(r"\s#", line.removeprefix("#SBATCH"))[0].strip() for line in chosen)


def _slurm(work: Path) -> Made:
    done = subprocess.run(["sbatch", "--parsable", "--hold", "job.sh"], cwd=work, capture_output=True, text=True,
                          check=False, timeout=60)  # fmt: skip
    if done.returncode:
        return REFUSED
    number = done.stdout.strip().partition(";")[0]
    command = ["scontrol", "show", "job", "-o", number]
    shown = subprocess.run(command, capture_output=True, text=True, check=True,
                           timeout=60).stdout  # fmt: skip
    subprocess.run(["scancel", number], check=True, timeout=60)
    return told(dict(word.split("=", 1) for word in shown.split() if "=" in word))


def told(job: dict[str, str]) -> Made:
    """What `scontrol show job` of the real Slurm says of a job, in our words. It counts CPUs for each GPU, and those of
    the whole machine, only when the job starts.
    """
    whole = job["OverSubscribe"] == "NO"
    gpus = _gpus(job)
    cpus = max(int(job["NumCPUs"].partition("-")[0]), gpus * _last_number(job.get("CpusPerTres", "")))
    size = job.get("MinMemoryNode")
    asked = memory.parse(size) if size is not None else cpus * memory.parse(job["MinMemoryCPU"])
    indices, _, at_a_time = job.get("ArrayTaskId", "").partition("%")
    array = _expanded(ranges.ascending(ranges.parse(indices))) if indices else ()
    return {
        "tasks": int(job["NumTasks"]),
        "CPUs": "all" if whole else cpus,
        "GPUs": gpus,
        "memory": "all" if whole or asked == 0 else None if asked == UNSAID else asked,
        "time": None if job["TimeLimit"] in ("UNLIMITED", "Partition_Limit") else durations.parse(job["TimeLimit"]),
        "array": (array, int(at_a_time) if at_a_time else None) if array else None,
    }


def _gpus(job: dict[str, str]) -> int:
    """How many GPUs were asked for; where --gres and --gpus-per-node say it both, as many as one of them says."""
    times = int(job["NumTasks"]) if "TresPerTask" in job else 1
    asked = job.get("TresPerTask") or job.get("TresPerNode") or job.get("TresPerJob") or ""
    counts = [word.rpartition(":")[2] for word in asked.split(",") if "gpu" in word]
    return times * max((int(count) if count.isdigit() else 1 for count in counts), default=0)


def _last_number(text: str) -> int:
    found = re.findall(r"\d+", text)
    return int(found[-1]) if found else 0


def _expanded(spans: ranges.Ranges) -> tuple[int, ...]:
    return tuple(index for first, last, step in spans for index in range(first, last + 1, step))


def _acceptance(made: Made) -> Made:
    return {"accepted": made.get("accepted", "yes")}


def _made_of(spec: Spec) -> Made:
    """What gflow makes of a head."""
    family = spec.family
    return {
        "tasks": 1 if spec.tasks is None else spec.tasks.count or 1,
        "CPUs": "all" if spec.exclusive else spec.cpus,
        "GPUs": spec.gpus,
        "memory": "all" if spec.exclusive or spec.all_memory else spec.memory_mb,
        "time": spec.time_limit,
        "array": (_expanded(family.ranges), family.max_concurrent) if family is not None else None,
    }
