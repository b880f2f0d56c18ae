"""Runs the same scripts under gflow and under the real Slurm and compares what becomes of them: `make slurm-parity`.

Compared are the exit status of each job and array element, the names of the files that it leaves and what is in them;
job ids, directories and the sayings of srun are not. Where no cluster answers, root gets one of a single node, in a
temporary directory, for as long as this runs.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import real_slurm  # noqa: E402 -- it is beside us, not installed
from support.machine import Machine  # noqa: E402 -- it is beside us, not installed
from support.waiting import eventually  # noqa: E402 -- it is beside us, not installed

if TYPE_CHECKING:
    from collections.abc import Callable

    Ends = dict[str, str]  # by array index, or "" for a job in no array: exit status and signal
    Result = tuple[Ends, dict[str, str]]
    Run = Callable[[list[str], Path], tuple[str, Ends]]

EXAMPLES = {
    "single": [["single.sh", "20000"]],
    "array": [["array.sh"]],
    "gpu": [["gpu.sh"]],
    "steps": [["prepare.sh"], ["--dependency=afterok:{}", "train.sh", "4"], ["--dependency=afterany:{}", "clean.sh"]],
}
ODD = {
    "login shell": "#!/bin/bash -l\n#SBATCH -n1\nsrun -u echo found; srun sh -c 'exit 7'\n",
    "killed": "#!/bin/sh\n#SBATCH -J killed\nkill -9 $$\n",
    "errors apart": "#!/bin/sh\n#SBATCH -e %x.err -J 'a b'\necho out; echo err >&2\n",
    "two steps": "#!/bin/bash\n#SBATCH --ntasks=1\n"
    "srun -n1 -o step.txt echo one & srun sh -c 'exit 3'; s=$?; wait; exit $s\n",
    "variables": "#!/bin/sh\n#SBATCH --ntasks-per-node=1\n#SBATCH -a 2,4\n"
    'echo "$SLURM_ARRAY_TASK_ID $SLURM_ARRAY_TASK_COUNT ${SLURM_NTASKS-none} $SLURM_NNODES $SLURM_PROCID $1"\n',
    "into nothing": "#!/bin/sh\n#SBATCH -o none\necho lost\n",
    "elsewhere": "#!/bin/sh\n#SBATCH -D sub\npwd\n",
    "after the head": "#!/bin/sh\n#SBATCH -t 1\n\nexit 5\n#SBATCH --output=never\n",
}

def main() -> int:
    if not real_slurm.find():
        print("slurm-parity: no Slurm is to be had here (Debian: slurm-wlm), so there is nothing to compare with")
        return 0
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parity-")))
        if subprocess.run(["sinfo"], capture_output=True, check=False, timeout=60).returncode:
            if not real_slurm.can_make_one():
                print("slurm-parity: no Slurm cluster answers, and only root can make one, so nothing is compared")
                return 0
            stack.enter_context(real_slurm.own_cluster(place / "cluster"))
        machine = Machine(Path(tempfile.mkdtemp(prefix="gf-")))
        stack.callback(machine.close)
        machine.start("--simulate-gpus", "1x24G")
        found = scenarios(place / "odd")
        wrong = 0
        for name, (source, steps) in found.items():
            theirs = result(source, steps, place / f"slurm {name}", sbatch)
            ours = result(source, steps, place / f"gflow {name}", lambda words, cwd: gflow(machine, words, cwd))
            wrong += theirs != ours
            print(f"same: {name}" if theirs == ours else f"DIFFERENT: {name}\n  Slurm {theirs}\n  gflow {ours}")
    print(f"slurm-parity: {len(found) - wrong} of {len(found)} the same")
    return int(wrong > 0)


def scenarios(place: Path) -> dict[str, tuple[Path, list[list[str]]]]:
    """By name: a directory of scripts, and what is submitted from a copy of it, step by step."""
    found = {name: (ROOT / "examples" / "slurm", steps) for name, steps in EXAMPLES.items()}
    for name, text in ODD.items():
        (place / name / "sub").mkdir(parents=True)
        (place / name / "job.sh").write_text(text)
        found[name] = (place / name, [["job.sh", "argument"]])
    return found


def result(source: Path, steps: list[list[str]], work: Path, run: Run) -> Result:
    """How each job of a scenario ends, and the files that are left, with job ids as their place in it."""
    shutil.copytree(source, work)
    before = {path.name for path in work.rglob("*")}
    ends: Ends = {}
    ids: list[str] = []
    for place, words in enumerate(steps):
        job_id, found = run([word.format(*ids[-1:]) for word in words], work)
        ids.append(job_id)
        ends |= {f"{place}/{index}": end for index, end in found.items()}
    files = {}
    for path in work.rglob("*"):
        if path.is_file() and path.name not in before:
            name, content = str(path.relative_to(work)), path.read_text().replace(str(work), "DIR")
            content = re.sub(r"(?m)^srun: .*\n", "", content)  # it speaks of what gflow need not do
            for place, job_id in enumerate(ids):
                name, content = (re.sub(rf"\b{job_id}(?=\b|_)", f"<{place}>", text) for text in (name, content))
            files[name] = content
    return ends, files


def gflow(machine: Machine, words: list[str], work: Path) -> tuple[str, Ends]:
    ids = machine.ctl("submit", "--parsable", *words, cwd=work).stdout.split("-")
    machine.ctl("wait", "-".join(ids).strip(), check=False)
    jobs = json.loads(machine.ctl("queue", "--json", "-a", "-r", "-".join(ids).strip()).stdout)
    ends = {str(job["array_index"] if job["array_index"] is not None else ""): end(job) for job in jobs}
    return ids[0].strip(), ends


def end(job: dict[str, object]) -> str:
    return f"{job['exit_code'] or 0}:{job['signal'] or 0}"


def sbatch(words: list[str], work: Path) -> tuple[str, Ends]:
    job_id = subprocess.run(["sbatch", "--parsable", *words], cwd=work, capture_output=True, text=True, check=True,
                            timeout=60).stdout.strip().partition(";")[0]  # fmt: skip

    def look() -> Ends | None:
        done = subprocess.run(["scontrol", "show", "job", "-o", job_id], capture_output=True, text=True, check=True,
                              timeout=60)  # fmt: skip
        found = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in done.stdout.splitlines()]
        if any(job["JobState"] in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING") for job in found):
            return None
        return {job.get("ArrayTaskId", ""): job["ExitCode"] for job in found}

    ends = eventually(look, within=120)
    assert ends is not None
    return job_id, ends


if __name__ == "__main__":
    sys.exit(main())
