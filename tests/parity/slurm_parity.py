"""Runs the same scripts under gflow and under the real Slurm and compares what becomes of them: `make slurm-parity`.

Both get them by `sbatch`. Compared are the exit status of each job and array element, the names of the files that it
leaves and what is in them; job ids, directories and what srun and slurmstepd say are not. Then the heads of real
scripts (`head_parity`). The differences must be those of the table in docs/from-slurm.md, no more and no fewer: else
the exit status is 1. The cluster is our own, of a single node, for as long as this runs. Only root may run one.
"""

from __future__ import annotations

import json
import os
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

import head_parity  # noqa: E402 -- it is beside us, not installed
import real_slurm  # noqa: E402 -- it is beside us, not installed
from support.machine import Machine, new_machine  # noqa: E402 -- it is beside us, not installed
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
# Of all but the variable that our own cluster needs.
NAMES = " | grep -o '^SLURM_[A-Z_]*' | grep -v '^SLURM_CONF$' | sort\n"
ODD = {
    "login shell": "#!/bin/bash -l\n#SBATCH -n1\nsrun -u echo found; srun sh -c 'exit 7'\n",
    "killed": "#!/bin/sh\n#SBATCH -J killed\nkill -9 $$\n",
    "errors apart": "#!/bin/sh\n#SBATCH -e %x.err -J 'a b'\necho out; echo err >&2\n",
    "two steps": "#!/bin/bash\n#SBATCH --ntasks=1\n"
    "srun -n1 -o step.txt echo one & srun sh -c 'exit 3'; s=$?; wait; exit $s\n",
    "variables": "#!/bin/sh\n#SBATCH --ntasks-per-node=1\n#SBATCH -a 2,4\n"
    'echo "$SLURM_ARRAY_TASK_ID $SLURM_ARRAY_TASK_COUNT ${SLURM_NTASKS-none} $SLURM_NNODES $SLURM_PROCID $1"\n',
    "names of variables": "#!/bin/sh\n#SBATCH -n 2 -c 1 --gres=gpu:1 --mem=100\nenv" + NAMES,
    "names of variables in a step": "#!/bin/sh\n#SBATCH -n 1\nsrun env" + NAMES,
    "names of variables in an array": "#!/bin/sh\n#SBATCH -a 3\nenv | grep -o '^SLURM_ARRAY[A-Z_]*' | sort\n",
    "values": "#!/bin/sh\n#SBATCH -n 2 --mem=100 -A lab -J v\n"
    "env | grep -E '^SLURM_(NTASKS|NPROCS|CPUS_ON_NODE|JOB_CPUS_PER_NODE|TASKS_PER_NODE|NNODES|JOB_NUM_NODES|NODEID|"
    "LOCALID|GTIDS|JOB_NODELIST|NODELIST|MEM_PER_NODE|JOB_NAME|JOB_USER|JOB_UID|JOB_GID|SUBMIT_DIR|SUBMIT_HOST)=' "
    "| sort\n",
    "into nothing": "#!/bin/sh\n#SBATCH -o none\necho lost\n",
    "into the null device": "#!/bin/sh\n#SBATCH -o /dev/null\necho lost\n",
    "elsewhere": "#!/bin/sh\n#SBATCH -D sub\npwd\n",
    "after the head": "#!/bin/sh\n#SBATCH -t 1\n\nexit 5\n#SBATCH --output=never\n",
    "nothing to read": "#!/bin/sh\n#SBATCH -n 1\ncat; echo end\n",
    "a directory for files": '#!/bin/sh\n#SBATCH -n 1\ncase $TMPDIR in /*) test -w "$TMPDIR" && echo yes;; esac\n',
    "padded index": "#!/bin/sh\n#SBATCH -a 7 -o p-%3a.txt\necho x\n",
    "directory of the output": "#!/bin/sh\n#SBATCH -o logs/%x/out.txt -J d\necho x\n",
    "tasks": "#!/bin/sh\n#SBATCH -n 2\n"
    "srun sh -c 'echo $SLURM_PROCID $SLURM_LOCALID $SLURM_NTASKS $SLURM_STEP_ID' | sort\n",
    "labels": "#!/bin/sh\n#SBATCH -n 2\nsrun -l echo x | sort\n",
    "files of steps": "#!/bin/sh\n#SBATCH -n 1\nsrun -o s-%J.txt echo one; srun -o s-%J.txt echo two\n"
    "srun -o t-%t-%s.txt echo three\n",
    "greatest status": "#!/bin/sh\n#SBATCH -n 2\nsrun sh -c 'exit $((SLURM_PROCID + 3))'\n",
    "bad exit": "#!/bin/sh\n#SBATCH -n 2\nsrun -K sh -c '[ $SLURM_PROCID = 0 ] || exit 9; sleep 100'; echo $?\n",
    "GPUs shared out": "#!/bin/sh\n#SBATCH -n 2 --gres=gpu:2\n"
    "one() { srun -n1 --exact --mem=100 --gres=gpu:1 sh -c 'echo $CUDA_VISIBLE_DEVICES; sleep 2' >$1; }\n"
    "one a & one b & wait; cat a b | sort; rm a b\n",
    "GPUs asked for twice": "#!/bin/sh\n#SBATCH --gres=gpu:1 --gpus-per-node=1\necho $CUDA_VISIBLE_DEVICES\n",
    "hosts": "#!/bin/sh\n#SBATCH -n 1\nscontrol show hostnames; scontrol show hostnames n[1-2,7]; hostname -s\n",
    "alone": "#!/bin/sh\n#SBATCH --exclusive\necho $SLURM_CPUS_ON_NODE $SLURM_JOB_CPUS_PER_NODE ${SLURM_NTASKS-none}\n",
    "few variables": "#!/bin/sh\n#SBATCH --export=THERE=x\necho ${THERE-none} ${HERE-none}\n",
    "no variables": "#!/bin/sh\n#SBATCH --export=NONE\necho ${HERE-none}\n",
    "cancels itself": "#!/bin/bash\n#SBATCH -n 1\ntrap 'echo saved; exit 3' TERM\n"
    "scancel $SLURM_JOB_ID\nsleep 100 & wait\n",
    "signal for steps": "#!/bin/bash\n#SBATCH -n 1\n"
    "srun bash -c 'trap \"echo told; exit 5\" USR1; touch ready; while :; do sleep 0.1; done' 2>/dev/null &\n"
    "until [ -e ready ]; do sleep 0.1; done; scancel -s USR1 $SLURM_JOB_ID; wait $!; echo $?\n",
    "no such interpreter": "#!/no/such/shell\n#SBATCH -n 1\ntrue\n",
    "not a script": "true\n#SBATCH -n 1\n",
    "two nodes": "#!/bin/sh\n#SBATCH -N 2\ntrue\n",
    "quotes": "#!/bin/sh\n#SBATCH -J 'a\\'b'\\#c\\z\"d e\" # f\necho $SLURM_JOB_NAME\n",
    "space behind a backslash": "#!/bin/sh\n#SBATCH -J a\\ b\ntrue\n",
    "empty word": "#!/bin/sh\n#SBATCH -J a '' -J b\necho $SLURM_JOB_NAME\n",
    "empty value": "#!/bin/sh\n#SBATCH -J ''\ntrue\n",
    "colon": "#!/bin/sh\n#SBATCH : -J a\ntrue\n",
    "unknown option": "#!/bin/sh\n#SBATCH --no-such-option\ntrue\n",
}
WORDS = {
    "text": ["-o", "w.txt", "--wrap", "echo $SLURM_JOB_NAME; basename $0"],
    "line over head": ["-J", "line", "--export=ALL,HERE=x", "job.sh"],
}
HEAD = "#!/bin/sh\n#SBATCH -J head -o %x.txt\necho $SLURM_JOB_NAME $HERE\n"
PAGE = ROOT / "docs" / "from-slurm.md"
TABLE = "| compared | Slurm 22.05 | gflow |"
UNSUBMITTED = "not submitted"
SECONDS, TRY_AGAIN = 40, 75
# By default it waits for three seconds whether more scripts come.
AT_ONCE = "SchedulerParameters=batch_sched_delay=0,sched_min_interval=0\n"
# A login shell of the cluster's finds its commands.
PROFILE = 'export PATH="{path}" LD_LIBRARY_PATH="{libraries}"\n'


def main() -> int:
    if not real_slurm.find():
        print("slurm-parity: no Slurm is to be had here (Debian: slurm-wlm), so there is nothing to compare with")
        return 0
    if not real_slurm.can_make_one():
        print("slurm-parity: only root can run a Slurm of its own, so nothing is compared")
        return 0
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parity-")))
        place.chmod(0o755)
        machine = stack.enter_context(new_machine())
        machine.write_config(scheduler={"cpus": 2, "memory": "1500M"}, gpu={"simulate": "2x24G"})
        machine.start()
        with real_slurm.own_cluster(place / "cluster", more=AT_ONCE):
            found, count = scripts(place, machine)
        texts = head_parity.heads()
        unused = stack.enter_context(new_machine())
        with real_slurm.controller(place / "controller", head_parity.nodes(texts)):
            found += head_parity.differences(place, unused)
    return report(found, count + len(texts))


def report(found: list[tuple[str, str, str]], count: int) -> int:
    """Prints the differences, and which are not documented, or are and were not found; the exit status."""
    rows = list(dict.fromkeys(f"| {' | '.join(map(cell, row))} |" for row in found))
    known = documented()
    print("\n".join([TABLE, *rows]))
    new, gone = [row for row in rows if row not in known], [row for row in known if row not in rows]
    for title, wrong in (("not documented", new), ("documented, but not so any more", gone)):
        if wrong:
            print("\n".join([f"\n{title}:", *wrong]))
    print(f"slurm-parity: {count} compared, {len(rows)} differences, {len(new)} not documented, {len(gone)} gone")
    return int(bool(new or gone))


def cell(text: str) -> str:
    """As it stands in a table of Markdown."""
    return "`" + text.replace("|", "\\|").replace("\n", "\\n") + "`" if text else ""


def documented() -> list[str]:
    """The rows of the page's table, less what each says of the reason."""
    _, _, rest = PAGE.read_text().partition(TABLE.removesuffix("|"))
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    return [re.sub(r" \|[^|]*\|$", " |", row) for row in rows]


def scripts(place: Path, machine: Machine) -> tuple[list[tuple[str, str, str]], int]:
    """What differs of the scripts, and how many there are."""
    found = []
    home = place / "home"
    home.mkdir()
    (home / ".bash_profile").write_text(
        PROFILE.format(path=os.environ["PATH"], libraries=os.environ.get("LD_LIBRARY_PATH", ""))
    )
    os.environ |= {"HOME": str(home), "HERE": "here"}
    machine.env["HERE"] = "here"
    cases = scenarios(place / "odd")
    for name, (source, steps) in cases.items():
        theirs = result(source, steps, place / f"slurm {name}", sbatch)
        ours = result(source, steps, place / f"gflow {name}", lambda words, cwd: gflow(machine, words, cwd))
        print(f"{'same' if theirs == ours else 'DIFFERENT'}: {name}", flush=True)
        found += [(f"{name}: {what}", *pair) for what, pair in apart(theirs, ours).items()]
    return found, len(cases)


def apart(theirs: Result, ours: Result) -> dict[str, tuple[str, str]]:
    """What differs, by what it is: an end, a file that only one has, the lines that only one wrote."""
    found = {}
    if theirs[0] != ours[0]:
        found["end"] = (" ".join(theirs[0].values()), " ".join(ours[0].values()))
    for name in sorted(theirs[1].keys() | ours[1].keys()):
        one, other = theirs[1].get(name), ours[1].get(name)
        if one is None or other is None:
            found[name] = ("no file" if one is None else one.strip(), "no file" if other is None else other.strip())
        elif one != other:
            left, right = one.splitlines(), other.splitlines()
            found[name] = (" ".join(line for line in left if line not in right),
                           " ".join(line for line in right if line not in left))  # fmt: skip
    return found


def scenarios(place: Path) -> dict[str, tuple[Path, list[list[str]]]]:
    """By name: a directory of scripts, and what is submitted from a copy of it, step by step."""
    found = {name: (ROOT / "examples" / "slurm", steps) for name, steps in EXAMPLES.items()}
    for name, text in ODD.items():
        (place / name / "sub").mkdir(parents=True)
        (place / name / "job.sh").write_text(text)
        found[name] = (place / name, [["job.sh", "argument"]])
    for name, words in WORDS.items():
        (place / name).mkdir()
        (place / name / "job.sh").write_text(HEAD)
        found[name] = (place / name, [words])
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
            content = re.sub(r"(?m)^(srun|slurmstepd.*): .*\n", "", content)  # they speak of what gflow need not do
            for place, job_id in enumerate(ids):
                name, content = (re.sub(rf"\b{job_id}(?=\b|_)", f"<{place}>", text) for text in (name, content))
            files[name] = content
    return ends, files


def gflow(machine: Machine, words: list[str], work: Path) -> tuple[str, Ends]:
    done = machine.slurm("sbatch", "--parsable", *words, cwd=work)
    if done.returncode:
        return UNSUBMITTED, {"": UNSUBMITTED}
    number = done.stdout.strip()
    if machine.ctl("wait", "--timeout", f"{SECONDS}s", number, check=False).returncode == TRY_AGAIN:
        machine.ctl("cancel", number)
        machine.ctl("wait", number, check=False)
        return number, {"": f"no end in {SECONDS} s"}
    jobs = json.loads(machine.ctl("queue", "--json", "-a", "-r", number).stdout)
    return number, {str(job["array_index"] if job["array_index"] is not None else ""): end(job) for job in jobs}


def end(job: dict[str, object]) -> str:
    if job["exit_code"] is None and job["signal"] is None:
        return f"{job['state']}, {job['reason']}"
    return f"{job['exit_code'] or 0}:{job['signal'] or 0}"


def sbatch(words: list[str], work: Path) -> tuple[str, Ends]:
    done = subprocess.run(["sbatch", "--parsable", *words], cwd=work, capture_output=True, text=True, check=False,
                          timeout=60)  # fmt: skip
    if done.returncode:
        return UNSUBMITTED, {"": UNSUBMITTED}
    job_id = done.stdout.strip().partition(";")[0]

    def look() -> Ends | None:
        done = subprocess.run(["scontrol", "show", "job", "-o", job_id], capture_output=True, text=True, check=True,
                              timeout=60)  # fmt: skip
        found = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in done.stdout.splitlines()]
        if any(job["JobState"] in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING") for job in found):
            return None
        return {job.get("ArrayTaskId", ""): job["ExitCode"] for job in found}

    try:
        ends = eventually(look, within=SECONDS)
    except AssertionError:
        subprocess.run(["scancel", job_id], check=True, timeout=60)
        ends = {"": f"no end in {SECONDS} s"}
    return job_id, ends or {}


if __name__ == "__main__":
    sys.exit(main())
