"""A queue as scripts for sbatch. Here gflow's own sbatch takes them, in another queue."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

from support.ctl import ROOT

from gflowd.core.job.dependencies import NOTHING

NAME = 'a #1 \\"q'
HELD = "it waits for 1 to finish (running), which is not written here: scontrol release lets it start"

if TYPE_CHECKING:
    from pathlib import Path

    from support.ctl import Ctl


def submitted(place: Path, there: Ctl, name: str = "submit.sh") -> subprocess.CompletedProcess[str]:
    """Queues what was exported in another queue, as a cluster would."""
    programs = there.home / "bin"
    programs.mkdir(exist_ok=True)
    sbatch = programs / "sbatch"
    sbatch.write_text(f'#!/bin/sh\nexec {sys.executable} -m gflowctl.slurm sbatch "$@"\n')
    sbatch.chmod(0o755)
    env = there.env | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return subprocess.run(["sh", place / name], env=env, capture_output=True, text=True, check=False, timeout=60)


def ran(place: Path, name: str, **more: str) -> str:
    """What a script of them prints."""
    env = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": "77", "GFLOW_EXPORT": str(place), **more}
    done = subprocess.run(["sh", place / name], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.stdout


def test_a_queue_is_the_same_in_slurms_words(ctl: Ctl, other: Ctl) -> None:
    script = ctl.home / "train.sh"
    script.write_text('#!/bin/sh\necho "$1 $HELLO $GFLOW_JOB_ID $GFLOW_SCRIPT"\n')
    env = ctl.env | {"HELLO": "it's a  'b'\nc", "SLURM_JOB_ID": "1"}
    ctl.ok("submit", "-n", NAME, "-g", "a100:2", "-c", "4", "-m", "8G", "-t", "90s", str(script), "x y", env=env)
    ctl.ok("submit", "-n", "many", "--array", "1-9:2%3", "-d", "1", "-P", "ml", "-o", "o%a #.txt", "--append", "true")
    ctl.submit("-d", "afternotok:2_3?afterany:1", "--no-auto-cancel", "--hold", "--comment", "two\nlines", "true")
    ctl.submit("--singleton", "--notify-email", "a@b", "--notify-on", "end,fail", "--wrap", "echo $HELLO")
    ctl.ok("submit", "--param", "lr=0.1,1", "--param", "s=a b", "-p", "200", "--", "echo", "{lr}", "{s}")
    place = ctl.home / "out"
    done = ctl.run("export", "--to", "slurm", "-o", "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Wrote 10 jobs to out; sh out/submit.sh queues them at Slurm\n"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700

    told = submitted(place, other)
    assert told.stderr == ""
    mine = {job["name"]: ctl.spec(job["group"] or job["id"]) for job in ctl.jobs()}
    found = {job["name"]: other.spec(job["group"] or job["id"]) for job in other.jobs()}
    assert found.keys() == mine.keys()
    for name, wanted in mine.items():
        for field in ("gpus", "cpus", "memory_mb", "project", "cwd", "output", "append"):
            if field != "output" or wanted.output is not None:
                assert getattr(found[name], field) == getattr(wanted, field), (name, field)
    assert (found[NAME].gpu_type, found[NAME].time_limit) == ("a100", 120)
    ids = dict(line.split() for line in (place / "submitted").read_text().splitlines())
    assert next(iter(ids)) == "9", "that with the highest priority is the first"
    needs = {
        name: [(each.kind, str(each.id)) for each in (spec.needs or NOTHING).dependencies]
        for name, spec in found.items()
    }
    assert needs["many"] == [("afterok", ids["1"])]
    assert needs["true"] == [("afternotok", str(int(ids["2"]) + 1)), ("afterany", ids["1"])]
    assert (found["true"].needs.mode, found["true"].needs.auto_cancel) == ("any", False)
    states = {job["id"]: (job["state"], job["comment"]) for job in other.jobs()}
    assert states[int(ids["7"])] == ("held", "two lines")
    assert (other.spec(int(ids["2"])).family.max_concurrent, found["wrap"].notify_on) == (3, ("end", "fail"))

    assert submitted(place, other).stdout == told.stdout, "nothing is queued twice"
    assert len(other.jobs()) == 10
    assert ran(place, "1.sh") == f"x y it's a  'b'\nc 77 {script}\n"
    assert ran(place, "9.sh", SLURM_ARRAY_TASK_ID="1", SLURM_ARRAY_JOB_ID="9") == "1 a b\n"


def test_what_slurm_has_not_is_said(ctl: Ctl) -> None:
    ctl.submit("sleep", "9")
    ctl.run_job(1)
    ctl.ok("submit", "-d", "1", "--max-retries", "2", "-g", "1", "--gpu-memory", "1G", "--array", "2000-2001", "true")
    ctl.submit("--repeat", "daily 02:00", "true")
    done = ctl.run("export", "--to", "slurm")
    assert done.returncode == 0
    assert sorted(line.removeprefix("gflowctl: note: ") for line in done.stderr.splitlines()) == [
        "job 2: not in Slurm: GPUs are whole there (--shared, --gpu-memory)",
        f"job 2: not in Slurm: {HELD}",
        "job 2: not in Slurm: retries after a failure",
        "job 4: not in Slurm: the runs after this one (--repeat); see scrontab(1)",
    ]
    assert "#SBATCH --array=0-1\n" in (ctl.home / "gflow-export/2.2000.sh").read_text()
    assert "queue 2.2000 --hold\n" in (ctl.home / "gflow-export/submit.sh").read_text()
    assert "already exists" in ctl.fails(1, "export", "--to", "slurm")
    assert ctl.fails(1, "export", "--to", "slurm", "1") == "none of these jobs is queued or held"


PARTS = """\
queue 1 job1=$id queue 1.1000 --dependency="afterany:${job1}" --kill-on-invalid-dep=yes job1_1000=$id
queue 1.2000 --dependency="afterany:${job1_1000}" --kill-on-invalid-dep=yes job1_2000=$id
queue 1002 --dependency="afterok:${job1}:${job1_1000}:${job1_2000}" --kill-on-invalid-dep=yes job1002=$id
queue 1003 --dependency="afterok:${job1_1000}_7" --kill-on-invalid-dep=yes job1003=$id
queue 1004 --dependency="aftercorr:${job1}" --kill-on-invalid-dep=yes job1004=$id
queue 1004.1000 --dependency="aftercorr:${job1_1000}" --kill-on-invalid-dep=yes job1004_1000=$id
queue 1004.2000 --dependency="aftercorr:${job1_2000}" --kill-on-invalid-dep=yes job1004_2000=$id
queue 1007 --hold job1007=$id queue 1008 --dependency="afterok:${job1002}" --kill-on-invalid-dep=yes job1008=$id
queue 1009 --dependency="afterok:${job1_1000}_7?afterany:${job1002}" --kill-on-invalid-dep=yes job1009=$id
"""


def test_an_array_larger_than_slurms_goes_in_parts_and_others_wait_for_all_of_them(ctl: Ctl) -> None:
    ctl.ok("submit", "--array", "0-998,1007,2000%3", "-o", "o-%a-%5a-%%a.txt", "--wrap", "env")
    ctl.submit("-d", "1", "true")
    ctl.submit("-d", "1_1007", "true")
    ctl.ok("submit", "--array", "1,1007,2000", "-d", "aftercorr:1", "true")
    ctl.submit("-d", "afterok:1?afterany:1002", "true")
    ctl.submit("-d", "1002", "true")
    ctl.submit("-d", "afterok:1_1007?afterany:1002", "true")
    done = ctl.run("export", "--to", "slurm")
    assert sorted(line.removeprefix("gflowctl: note: ") for line in done.stderr.splitlines()) == [
        "array 1 has the index 2000: in 3 parts, for a MaxArraySize of 1001",
        "array 1004 has the index 2000: in 3 parts, for a MaxArraySize of 1001",
        "job 1007: not in Slurm: it waits for one of several, one an array in parts: scontrol release lets it start",
    ]
    place = ctl.home / "gflow-export"
    text = (place / "submit.sh").read_text()
    assert text[text.index("queue 1\n") :].split() == PARTS.split()
    assert f"--output={ctl.home}/o-1%3a-01%3a-%%a.txt\n" in (place / "1.1000.sh").read_text()
    assert "#SBATCH --array=7%3\n" in (place / "1.1000.sh").read_text()
    told = ran(place, "1.1000.sh", SLURM_ARRAY_JOB_ID="5", SLURM_ARRAY_TASK_ID="7", SLURM_ARRAY_TASK_MAX="7")
    found = dict(line.split("=", 1) for line in told.splitlines() if "ARRAY" in line)
    assert found == {
        "GFLOW_ARRAY_JOB_ID": "5", "GFLOW_ARRAY_TASK_ID": "1007", "SLURM_ARRAY_JOB_ID": "5",
        "SLURM_ARRAY_TASK_ID": "1007", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "2000",
        "SLURM_ARRAY_TASK_COUNT": "1001", "SLURM_ARRAY_TASK_STEP": "1",
    }  # fmt: skip


def test_a_larger_slurm_takes_an_array_as_a_whole_and_a_smaller_one_in_more_parts(ctl: Ctl) -> None:
    ctl.ok("submit", "--array", "9-12", "-o", "o-%a-%1a-%3a", "true")
    ctl.ok("submit", "--param", "a=x,y,z", "-d", "afterok:1?afterok:2", "--max-concurrent", "2", "--", "echo", "{a}")
    for size, names in (("13", {"1.sh"}), ("10", {"1.sh", "1.10.sh"}), ("1", {f"1.{i}.sh" for i in range(9, 13)})):
        assert ctl.run("export", "--to", "slurm", "--max-array-size", size, "-o", size, "1").returncode == 0
        assert {each.name for each in (ctl.home / size).glob("1*.sh")} == names
    assert f"--output={ctl.home}/o-1%1a-1%1a-01%1a\n" in (ctl.home / "10/1.10.sh").read_text()
    assert f"--output={ctl.home}/o-12-12-012\n" in (ctl.home / "1/1.12.sh").read_text()
    assert ctl.run("export", "--to", "slurm", "--max-array-size", "2", "-o", "2").returncode == 0
    index = {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "0"}
    assert [ran(ctl.home / "2", name, **index) for name in ("5.1.sh", "5.2.sh")] == ["y\n", "z\n"]
    assert "#SBATCH --array=0%1\n" in (ctl.home / "2/5.1.sh").read_text()
    assert ctl.run("export", "--to", "slurm", "--max-array-size", "0", "-o", "x").returncode == 2


def test_what_waits_for_what_is_over_or_goes_along(ctl: Ctl) -> None:
    ctl.ok("submit", "--array", "0-2", "true")
    ctl.end_job(1)
    ctl.submit("-d", "1", "true")  # of whose array an element has ended well
    ctl.submit("-d", "afterok:1_0", "true")
    ctl.submit("-d", "afterany:1_0?afterok:1_2", "true")
    ctl.ok("export", "--to", "slurm")
    lines = (ctl.home / "gflow-export/submit.sh").read_text().splitlines()
    assert [line for line in lines if line.startswith("queue ") and "()" not in line] == [
        "queue 1", 'queue 4 --dependency="afterok:${job1}" --kill-on-invalid-dep=yes', "queue 5", "queue 6",
    ]  # fmt: skip
    assert "#SBATCH --array=1-2\n" in (ctl.home / "gflow-export/1.sh").read_text()
    ctl.end_job(2, "failed", exit_code=1)
    ctl.ok("export", "--to", "slurm", "-o", "two", "1", "5-6")
    assert ctl.run("export", "--to", "slurm", "-o", "three", "4").returncode == 0
    assert "queue 4 --hold" in (ctl.home / "three/submit.sh").read_text()
