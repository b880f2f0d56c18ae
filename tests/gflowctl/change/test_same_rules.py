"""A job that is changed, or redone with changes, is held to what holds for a new one, and refused in the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl

GPUS = [
    {"index": n, "model": f"NVIDIA {name}", "memory_mb": 40960, "state": "idle"}
    for n, name in enumerate(("L4", "H200"))
]
WRONG = [
    ["--gpu-type", "zzz"],
    ["--gpu-memory", "80G"],
    ["--gpu-type", "L4", "--gpu-memory", "80G"],
    ["--gpu-type", "L4", "--gpus", "2"],
    ["--shared"],
    ["--shared", "--gpus", "2"],
    ["--shared", "--gpu-memory", "0"],
    ["--shared", "--gpu-memory", "41G"],
    ["--gpus", "3"],
    ["--cpus", "5"],
    ["--memory", "9G"],
    ["--time", "5s", "--signal", "USR1@5"],
    ["--name", ""],
    ["--name", "x" * 256],
    ["--comment", "a\udcff"],
    ["--depends-on", "99"],
]
FILES = [
    ["--output", "plain.txt/x"],
    ["--error", "plain.txt/%j/x"],
    ["--input", "none"],
]
COMMANDS = [
    "./work",
    "'echo hi | cat'",
    "'a && b'",
    "./none.sh",
    "plain.txt",
    "pipe",
    "dos.sh",
    "/dev/zero",
    "''",
]


@pytest.fixture
def two(ctl: Ctl) -> Ctl:
    """1 without GPUs, 2 with one; some files that are no commands."""
    ctl.observe(gpus=GPUS)
    ctl.submit("true")
    ctl.submit("--gpus", "1", "true")
    (ctl.home / "work").mkdir()
    (ctl.home / "plain.txt").write_text("words\n")
    (ctl.home / "dos.sh").write_bytes(b"#!/bin/sh\r\ntrue\r\n")
    (ctl.home / "run.sh").write_text("#!/bin/sh\necho run\n")
    (ctl.home / "slurm.sh").write_text("#!/bin/sh\n#SBATCH --time=1\nsrun true\n")
    (ctl.home / "pipe").write_text("words\n")
    return ctl


@pytest.mark.parametrize("words", [*WRONG, *FILES], ids=" ".join)
def test_what_submit_refuses_update_and_redo_refuse(two: Ctl, words: list[str]) -> None:
    raw = [word.encode(errors="surrogateescape") for word in words]
    said = two.fails(1, "submit", *raw, "true")
    before = two.store.read().lines
    for command in ("update", "redo") if words not in FILES else ("update",):
        assert two.fails(1, command, *raw, "1").endswith(said)
    assert two.store.read().lines == before


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_submit_refuses_update_refuses(two: Ctl, command: str) -> None:
    import shlex

    said = two.fails(1, "submit", *shlex.split(command))
    before = two.store.read().lines
    assert two.fails(1, "update", f"--command={command}", "1").endswith(said)
    assert two.store.read().lines == before


@pytest.mark.parametrize("job_id", [1, 2])
@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (["--gpu-type", "l4"], (1, "l4", None, False)),
        (["--gpu-memory", "20G"], (1, None, 20480, False)),
        (["--shared", "--gpu-memory", "1G"], (1, None, 1024, True)),
        (["--gpu-type", "l4", "--gpus", "0"], (0, None, None, False)),
        (["--gpus", "2", "--gpu-memory", "1G"], (2, None, 1024, False)),
    ],
)
def test_asking_for_a_kind_of_gpu_asks_for_one(
    two: Ctl, job_id: int, words: list[str], fields: tuple[object, ...]
) -> None:
    two.ok("redo", *words, str(job_id))
    assert two.run("update", *words, str(job_id)).returncode == 0
    for each in (3, job_id):
        spec = two.spec(each)
        assert (spec.gpus, spec.gpu_type, spec.gpu_memory_mb, spec.shared) == fields


def test_without_gpus_there_is_no_kind_of_them(two: Ctl) -> None:
    job_id = two.submit("--gpus", "2", "--gpu-memory", "1G", "--shared", "true")
    two.ok("update", "--gpus", "0", str(job_id))
    spec = two.spec(job_id)
    assert (spec.gpus, spec.gpu_type, spec.gpu_memory_mb, spec.shared) == (0, None, None, False)
    job_id = two.submit("--gpus", "2", "--gpu-memory", "1G", "true")
    two.ok("update", "--clear", "gpus", str(job_id))  # its default beside other options of GPUs
    assert (two.spec(job_id).gpus, two.spec(job_id).gpu_memory_mb) == (1, 1024)
    two.ok("update", "--comment", "x", str(job_id))
    assert two.spec(job_id).gpus == 1


def test_a_script_is_kept_by_a_new_command_too(two: Ctl) -> None:
    two.ok("update", "--command", "run.sh a 'b c'", "1")
    assert two.spec(1).command == ("run.sh", "a", "b c")
    assert two.ok("show", "--script", "1") == "#!/bin/sh\necho run\n"
    assert not two.spec(1).slurm


def test_a_script_for_slurm_finds_srun(two: Ctl) -> None:
    done = two.run("update", "--script", "slurm.sh", "1")
    assert (done.returncode, two.spec(1).slurm, two.spec(1).time_limit) == (0, True, None)
    two.ok("update", "--script", "run.sh", "1")
    assert not two.spec(1).slurm
    two.ok("update", "--command", "slurm.sh", "1")
    assert two.spec(1).slurm
    two.ok("update", "--command", "true", "1")
    assert not two.spec(1).slurm
    assert two.fails(1, "update", "--script", "dos.sh", "1").endswith("convert it (sed -i 's/\\r$//')")


def test_what_may_come_may_be_missing_yet(two: Ctl) -> None:
    two.ok("hold", "1")
    done = two.run("update", "--command", "./none.sh", "1")
    assert (done.returncode, done.stderr) == (
        0, "gflowctl: ./none.sh: there is no such file yet; it will be looked for when the job starts\n",
    )  # fmt: skip
    done = two.run("update", "--command", "no-such-program", "2")
    assert (done.returncode, done.stderr) == (
        0, "gflowctl: no-such-program: not found on the job's PATH; it will be looked for when the job starts\n",
    )  # fmt: skip


def test_reservations_that_leave_no_gap_are_told_of_changed_jobs_too(two: Ctl) -> None:
    two.ok("cancel", "2")
    two.observe(gpus=GPUS, reservations=[{"again": True}])
    two.ok("reserve", "create", "--user", "nobody", "--gpus", "2", "--start", "tomorrow 9:00", "--for", "12h",
           "--repeat", "daily")  # fmt: skip
    for words in (["submit", "--gpus=1", "--time=2d", "true"], ["update", "--gpus=1", "--time=2d", "1"],
                  ["redo", "--time=2d", "2"]):  # fmt: skip
        assert " can never start as things stand: reservation 1 leaves no gap" in two.run(*words).stderr
    assert two.run("update", "--time", "1h", "1").stderr == ""
