"""sbatch: what it makes of scripts, options and variables, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl

HEAD = "#!/bin/bash\n#SBATCH -c 2 --mem=4G\n#SBATCH --gres=gpu:a100:1 --job-name=head --requeue\necho $1\n"


@pytest.fixture
def here(ctl: Ctl) -> Ctl:
    (ctl.home / "job.sh").write_text(HEAD)
    (ctl.home / "plain.sh").write_text("#!/bin/sh\ntrue\n")
    (ctl.home / "text").write_text("echo 1\n")
    (ctl.home / "empty").write_text("")
    (ctl.home / "blank").write_text("\n \n")
    (ctl.home / "nul").write_bytes(b"#!/bin/sh\n\0")
    (ctl.home / "wait.sh").write_text("#!/bin/sh\n#SBATCH --parsable\n#SBATCH --gres=craynetwork:1\n")
    return ctl


def fields(ctl: Ctl, job_id: int, *names: str) -> Any:
    spec = ctl.spec(job_id)
    return tuple(getattr(spec, name) for name in names)


def test_what_it_queues_is_a_script_for_slurm_whatever_is_in_it(here: Ctl) -> None:
    done = here.slurm("sbatch", "job.sh", "a", "-c9")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Submitted batch job 1\n", "")
    names = ("command", "name", "cpus", "memory_mb", "gpus", "gpu_type", "slurm")
    assert fields(here, 1, *names) == (("job.sh", "a", "-c9"), "head", 2, 4096, 1, "a100", True)
    assert here.slurm("sbatch", "plain.sh").stdout == "Submitted batch job 2\n"
    assert fields(here, 2, "name", "slurm", "output") == ("plain.sh", True, f"{here.home}/slurm-%j.out")
    assert here.slurm("sbatch", "--wrap", "echo $SLURM_JOB_ID", "-H").stdout == "Submitted batch job 3\n"
    assert fields(here, 3, "command", "name", "slurm") == (("sh", "-c", "echo $SLURM_JOB_ID"), "wrap", True)
    assert here.jobs()[2]["state"] == "held"
    assert here.slurm("sbatch", input="#!/bin/sh\necho here\n").stdout == "Submitted batch job 4\n"
    assert here.slurm("sbatch", "-a2-4%1", "/dev/stdin", "x", input="#!/bin/sh\n").stdout == "Submitted batch job 5\n"
    assert fields(here, 4, "name", "slurm") == ("sbatch", True)
    assert fields(here, 5, "command", "name", "output") == (
        ("/dev/stdin", "x"), "sbatch", f"{here.home}/slurm-%A_%a.out",
    )  # fmt: skip
    assert here.slurm("sbatch", "--parsable", "plain.sh").stdout == "8\n", "the ids of an array are not named"
    assert here.slurm("sbatch", "--parsable", "--clusters=all", "plain.sh").stdout == "9;gflow\n"
    assert here.slurm("sbatch", "-M", "x", "plain.sh").stdout == "Submitted batch job 10 on cluster gflow\n"
    assert here.slurm("sbatch", "-Q", "plain.sh").stdout == ""
    assert here.slurm("sbatch", "-c2", "-h").stdout.startswith("Usage: sbatch ")
    assert here.slurm("sbatch", "-c2", "-V").stdout.startswith("slurm 23.")


def test_the_command_line_is_over_variables_and_these_over_the_head(here: Ctl) -> None:
    here.env |= {"SBATCH_JOB_NAME": "variable", "SBATCH_MEM_PER_NODE": "2G", "SBATCH_WAIT_ALL_NODES": "1"}
    assert here.slurm("sbatch", "job.sh").stdout == "Submitted batch job 1\n"
    assert fields(here, 1, "name", "memory_mb", "cpus", "gpus") == ("variable", 2048, 2, 1)
    words = ("--mem-per-cpu=1G", "-c3", "--job-n=line", "-G2", "--no-requeue", "job.sh")
    assert here.slurm("sbatch", *words).stdout == "Submitted batch job 2\n"
    names = ("name", "memory_mb", "cpus", "gpus", "gpu_type", "retry")
    assert fields(here, 2, *names) == ("line", 3072, 3, 2, None, None)


def test_what_cannot_be_is_one_line_and_status_one(here: Ctl) -> None:
    told = {
        ("text",): "This does not look like a batch script",
        ("empty",): "Batch script is empty!",
        ("blank",): "Batch script contains only whitespace!",
        ("nul",): "The SLURM batch script contains a NULL character",
        ("gone.sh",): "Unable to open file gone.sh: No such file or directory",
        ("--wrap", "true", "job.sh"): "Script arguments not permitted with --wrap option",
        ("--wrap", " "): "--wrap: the text is empty",
        ("--gres=craynetwork:1", "job.sh"): "--gres=craynetwork:1: gflow supports GPUs of one type",
        ("wait.sh",): "wait.sh: line 3: #SBATCH --gres=craynetwork:1: gflow supports GPUs of one type",
        ("--array=x", "job.sh"): "--array=x: not indices",
        ("-d", "afterok:99", "job.sh"): "no job 99",
        ("--chdir=/nonexistent", "job.sh"): "--chdir: /nonexistent is not a directory",
        ("-c", "many", "job.sh"): "-c/--cpus/--cpus-per-task: 'many' is not a number from 0 to 1000000\n",
    }
    for words, said in told.items():
        done = here.slurm("sbatch", *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
        assert done.stderr.startswith(f"sbatch: error: {said}"), done
        assert "--ignore-unknown-directives" not in done.stderr
    assert here.jobs() == []


def test_a_test_queues_nothing_and_scripts_are_found_on_the_path(here: Ctl) -> None:
    done = here.slurm("sbatch", "--test-only", "-a0-3", "job.sh")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "sbatch: the job would be accepted: head, 1 GPU (a100), 2 CPUs, 4G memory, 4 array tasks\n"
    assert here.jobs() == []
    (here.home / "bin").mkdir()
    (here.home / "job.sh").rename(here.home / "bin" / "kept.sh")
    here.env["PATH"] += f":{here.home}/bin"
    assert here.slurm("sbatch", "kept.sh").returncode == 0
    assert fields(here, 1, "name", "command") == ("head", (f"{here.home}/bin/kept.sh",))
