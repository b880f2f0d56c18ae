"""The heads of real scripts, through the real sbatch and through ours: what each makes of them, and where they differ.

The jobs are submitted on hold, to a Slurm where every partition, feature and node that a head names exists, and to a
gflow without a daemon. Compared are acceptance, tasks, CPUs, GPUs, memory, time limit and array. Knows no other scripts.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import real_slurm

from gflowd.core.syntax import durations, memory, ranges

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.machine import Machine

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
    named = {name for value in _values(texts, "(?:nodelist|exclude)", "[wx]") for name in _split(value)}
    types = {name for text in texts for name in re.findall(r"(?:gpu:|--gpus[-\w]*[= ]|-G ?)([A-Za-z]\w*):\d", text)}
    gres = ",".join([f"gpu:{GPUS}", *(f"gpu:{name}:{GPUS}" for name in sorted(types))])
    node = f"CPUs={CPUS} Sockets=16 CoresPerSocket={CPUS // 16} RealMemory={MEMORY_MB} Gres={gres}"
    lines = ["MaxArraySize=100001", f"DefMemPerNode={UNSAID}", "Licenses=project:10,SCRATCH:10",
             f"NodeName={real_slurm.host()} NodeAddr=127.0.0.1 {node} Feature={','.join(sorted(features))}"]  # fmt: skip
    lines += [f"NodeName={name} NodeAddr=127.0.0.1 Port=1 State=DOWN {node}" for name in sorted(named)]
    lines += [f"PartitionName={name} Nodes=ALL State=UP" for name in sorted(partitions)]
    return "\n".join([*lines, f"PartitionName=usual Nodes={real_slurm.host()} Default=YES State=UP", ""])


def _values(texts: list[str], long: str, short: str) -> Iterator[str]:
    option = re.compile(rf"(?<!\S)(?:--{long}(?:=|\s+)|-{short}\s*)([^\s#]+)")
    for line in "\n".join(texts).splitlines():
        if line.startswith("#SBATCH"):
            yield from (value.strip("\"'") for value in option.findall(line))


def _split(hosts: str) -> list[str]:
    done = subprocess.run(["scontrol", "show", "hostnames", hosts], capture_output=True, text=True, check=False)
    return done.stdout.split()


def differences(place: Path, machine: Machine) -> list[tuple[str, str, str]]:
    """What differs, what Slurm makes of it and what we do; needs a cluster with `nodes`."""
    subprocess.run(RESERVATION, capture_output=True, check=True, timeout=60)
    found = []
    probe = machine.ctl("submit", "--parsable", "--hold", "--memory", "all", "true").stdout.strip()
    everything = machine.job(int(probe))["memory_mb"]
    for number, head in enumerate(heads()):
        work = place / str(number)
        work.mkdir()
        (work / "job.sh").write_text(f"{head}\ntrue\n")
        theirs, ours = _slurm(work), _gflow(machine, work, everything)
        if "no" in (theirs.get("accepted"), ours.get("accepted")):
            theirs, ours = ({"accepted": made.get("accepted", "yes")} for made in (theirs, ours))
        for name, value in theirs.items():
            if ours[name] != value:
                found.append((f"{name}: {_gist(head, name)}", str(value), str(ours[name])))
    return found


def _gist(head: str, what: str) -> str:
    """The lines of a head that bear on what differs."""
    bearing = {
        "memory": r"--mem|exclu", "GPUs": r"gres|gpu|-G", "time": r"time|-t", "array": r"array|-a",
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
    shown = subprocess.run(["scontrol", "show", "job", "-o", number], capture_output=True, text=True, check=True,
                           timeout=60).stdout  # fmt: skip
    subprocess.run(["scancel", number], check=True, timeout=60)
    return told(dict(word.split("=", 1) for word in shown.split() if "=" in word))


def told(job: dict[str, str]) -> Made:
    """What `scontrol show job` of the real Slurm says of a job in our words."""
    whole = job["OverSubscribe"] == "NO"
    cpus = int(job["NumCPUs"].partition("-")[0])
    size = job.get("MinMemoryNode")
    asked = memory.parse(size) if size is not None else cpus * memory.parse(job["MinMemoryCPU"])
    array, _, at_a_time = job.get("ArrayTaskId", "").partition("%")
    return {
        "tasks": int(job["NumTasks"]),
        "CPUs": "all" if whole else cpus,
        "GPUs": _gpus(job.get("TresPerNode") or job.get("TresPerJob") or "") if "TresPerTask" not in job else
                _gpus(job["TresPerTask"]) * int(job["NumTasks"]),
        "memory": "all" if whole or asked == 0 else None if asked == UNSAID else asked,
        "time": None if job["TimeLimit"] in ("UNLIMITED", "Partition_Limit") else durations.parse(job["TimeLimit"]),
        "array": (_indices(array), int(at_a_time) if at_a_time else None) if array else None,
    }  # fmt: skip


def _indices(array: str) -> tuple[int, ...]:
    spans = ranges.ascending(ranges.parse(array))
    return tuple(index for first, last, step in spans for index in range(first, last + 1, step))


def _gpus(tres: str) -> int:
    counts = [word.rpartition(":")[2] for word in tres.split(",") if "gpu" in word]
    return sum(int(count) if count.isdigit() else 1 for count in counts)


def _gflow(machine: Machine, work: Path, everything: int) -> Made:
    done = machine.run("sbatch", "--parsable", "--hold", "job.sh", cwd=work)
    if done.returncode:
        return REFUSED
    jobs: list[dict[str, Any]] = json.loads(machine.ctl("queue", "--json", "-r", done.stdout.strip()).stdout)
    machine.ctl("cancel", done.stdout.strip())
    job = jobs[0]
    indices = [each["array_index"] for each in jobs]
    whole = job["exclusive"]
    return {
        "tasks": (job["tasks"] or {}).get("count") or 1,
        "CPUs": "all" if whole else job["cpus"],
        "GPUs": job["gpus"],
        "memory": "all" if whole or job["memory_mb"] == everything else job["memory_mb"],
        "time": job["time_limit"],
        "array": (tuple(indices), job["max_concurrent"]) if job["array_id"] is not None else None,
    }
