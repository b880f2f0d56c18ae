"""Scripts whose heads say what they need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import depth

from gflowd.core.job.model import Tasks

if TYPE_CHECKING:
    from support.ctl import Ctl


def script(ctl: Ctl, *lines: str, name: str = "job.sh") -> str:
    (ctl.home / name).write_text("\n".join(("#!/bin/sh", *lines, "true", "")))
    return name


def test_the_head_says_what_the_job_is(ctl: Ctl) -> None:
    job = script(
        ctl, "# GFLOW --gpus=2 --gpu-type=a100 --time 2h", "# a comment", "", "# GFLOW --name='two words' --hold",
        "#GFLOW -o out.txt --append --max-retries=2", "true", "# GFLOW --comment=late",
    )  # fmt: skip
    spec = ctl.spec(ctl.submit(job, "arg"))
    assert (spec.gpus, spec.gpu_type, spec.time_limit, spec.name) == (2, "a100", 7200, "two words")
    assert (spec.output, spec.append, spec.retry.max_retries) == (str(ctl.home / "out.txt"), True, 2)
    assert (spec.command, spec.comment, spec.slurm) == (("job.sh", "arg"), None, False)
    assert ctl.jobs("1")[0]["state"] == "held"


def test_the_command_line_wins_over_our_lines_and_those_over_slurm_s(ctl: Ctl) -> None:
    job = script(ctl, "# GFLOW --cpus=2 --name=ours", "#SBATCH -c 8 -J theirs -t 10 --comment=kept")
    spec = ctl.spec(ctl.submit(job))
    assert (spec.cpus, spec.name, spec.time_limit, spec.comment) == (2, "ours", 600, "kept")
    spec = ctl.spec(ctl.submit("--cpus", "1", "--name=mine", "--time=0", job))
    assert (spec.cpus, spec.name, spec.time_limit, spec.comment) == (1, "mine", None, "kept")


def test_what_the_command_line_asks_for_counts_where_the_head_multiplies(ctl: Ctl) -> None:
    job = script(ctl, "#SBATCH -c 2 --mem-per-cpu=1G")
    assert ctl.spec(ctl.submit(job)).memory_mb == 2048
    assert ctl.spec(ctl.submit("-c", "8", job)).memory_mb == 8192


def test_parameters_of_the_command_line_replace_those_of_the_head(ctl: Ctl) -> None:
    job = script(ctl, "# GFLOW --param lr=0.1,0.01", "# GFLOW --param seed=1,2")
    assert ctl.ok("submit", "--parsable", job) == "1-4\n"
    assert ctl.ok("submit", "--parsable", "--param", "lr=0.5", job) == "5\n"


def test_a_script_for_slurm_has_slurm_s_output_files(ctl: Ctl) -> None:
    (ctl.home / "sub").mkdir()
    plain = script(ctl, "#SBATCH -J x", name="plain.sh")
    array = script(ctl, "#SBATCH -a 1-3", name="array.sh")
    moved = script(ctl, "#SBATCH -D sub -e %x.err", name="moved.sh")
    assert ctl.spec(ctl.submit(plain)).output == str(ctl.home / "slurm-%j.out")
    assert ctl.ok("submit", "--parsable", array) == "2-4\n"
    assert ctl.spec(2).output == str(ctl.home / "slurm-%A_%a.out")
    spec = ctl.spec(ctl.submit(moved))
    assert (spec.output, spec.error) == (str(ctl.home / "sub/slurm-%j.out"), str(ctl.home / "sub/%x.err"))
    assert ctl.spec(ctl.submit("-o", "mine", plain)).output == str(ctl.home / "mine")
    assert all(ctl.spec(job_id).slurm for job_id in (1, 2, 5, 6))
    assert ctl.spec(ctl.submit(script(ctl, "# GFLOW -c 1"))).output is None


def test_the_cpus_of_all_tasks_are_the_job_s(ctl: Ctl) -> None:
    spec = ctl.spec(ctl.submit(script(ctl, "#SBATCH -N1 -n4 -c2")))
    assert (spec.cpus, spec.tasks) == (8, Tasks(count=4, cpus=2))
    both = script(ctl, "#SBATCH --ntasks-per-node=4 --mem-per-cpu=1G", name="both.sh")
    spec = ctl.spec(ctl.submit(both))
    assert (spec.cpus, spec.memory_mb, spec.tasks) == (4, 4096, Tasks(count=4, per_node=4))
    spec = ctl.spec(ctl.submit("--ntasks=2", "-c3", both))  # what the command line says takes precedence
    assert (spec.cpus, spec.memory_mb, spec.tasks) == (6, 6144, Tasks(count=2, per_node=4, cpus=3))
    assert ctl.spec(ctl.submit(script(ctl, "#SBATCH -N1"))).tasks is None
    assert ctl.spec(ctl.submit("--ntasks=4", "--overcommit", "--mincpus=3", "true")).cpus == 3
    ctl.ok("update", "--cpus=8", "2")
    assert [ctl.spec(job).tasks for job in (1, 2)] == [Tasks(count=4, cpus=2), Tasks(count=4, per_node=4, cpus=2)]
    ctl.ok("update", "--cpus=7", "1")
    assert (ctl.spec(1).cpus, ctl.spec(1).tasks) == (7, None)


def test_an_exclusive_job_has_what_the_machine_has(ctl: Ctl) -> None:
    alone = script(ctl, "#SBATCH --exclusive -n2")
    spec = ctl.spec(ctl.submit(alone))  # before gflowd ever ran
    assert (spec.cpus >= len(os.sched_getaffinity(0)), spec.memory_mb > 0) == (True, True)
    ctl.observe(capacity={"cpus": 64, "memory_mb": 1000})
    spec = ctl.spec(ctl.submit(alone))
    assert (spec.cpus, spec.memory_mb, spec.gpus, spec.exclusive, spec.all_memory) == (64, 1000, 0, True, True)
    spec = ctl.spec(ctl.submit("--mem=500", alone))
    assert (spec.cpus, spec.memory_mb, spec.all_memory) == (64, 500, False)
    spec = ctl.spec(ctl.submit(script(ctl, "#SBATCH --mem=0")))
    assert (spec.cpus, spec.memory_mb, spec.exclusive) == (1, 1000, False)
    ctl.observe(capacity={"cpus": 32, "memory_mb": 2000})  # what it gets is decided when it starts
    assert [(job["cpus"], job["memory_mb"]) for job in ctl.jobs("2,4")] == [(32, 2000), (1, 2000)]
    assert "all CPUs and memory of the machine" in ctl.ok("show", "2")
    ctl.observe(capacity={"cpus": 64, "memory_mb": 1000})
    assert "65 CPUs asked for" in ctl.fails(1, "submit", "-c", "65", "--ntasks=1", alone)
    ctl.ok("update", "--cpus=2", "--memory=10", "2")
    spec = ctl.spec(2)
    assert (spec.cpus, spec.memory_mb, spec.exclusive, spec.all_memory) == (2, 10, False, False)
    assert ctl.spec(int(ctl.ok("redo", "--parsable", "--cpus=4", "3"))).exclusive is False


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("# GFLOW --gpus=many", "job.sh: line 3: -g/--gpus/-G/--gpus-per-node/--gres: 'many' is not"),
        ("# GFLOW --hue=red", "job.sh: line 3: --hue=red: not an option of gflowctl submit; --ignore-unknown-"),
        ("# GFLOW --hold true", "job.sh: line 3: true: not an option of gflowctl submit"),
        ("# GFLOW --time", "job.sh: line 3: -t/--time"),
        ("# GFLOW --output=job.sh/x", "job.sh: line 3: --output job.sh/x: "),
        ("# GFLOW --chdir=none", "job.sh: line 3: --chdir: none is not a directory"),
        ("# GFLOW --array=1-", "job.sh: line 3: --array"),
        ("# GFLOW --array=1-3 --param a=1,2", "job.sh: give either an array or parameters, not both"),
        ("# GFLOW --begin=never", "job.sh: line 3: --begin"),
        ("# GFLOW --from=x", "job.sh: line 3: # GFLOW --from=x: not an option for a script"),
        ("#SBATCH --nodes=2", "job.sh: line 3: #SBATCH --nodes=2: gflow runs jobs on one machine; --ignore-unknown-"),
        ("#SBATCH --time=soon", "job.sh: line 3: #SBATCH --time=soon: 'soon' is not a duration"),
        ("#SBATCH --job-name='a", "job.sh: line 3: the directive has an unclosed quote"),
        ("#SBATCH -o .", "job.sh: line 3: --output .: is a directory"),
        ("#SBATCH --hold\r", "job.sh: line 3 ends in CR LF"),
    ],
)
def test_a_wrong_head_is_one_line_that_names_script_and_line(ctl: Ctl, line: str, said: str) -> None:
    assert ctl.fails(1, "submit", script(ctl, "# a comment", line)).startswith(said)
    assert ctl.fails(1, "submit", "--dry-run", script(ctl, "# a comment", line)).startswith(said)
    assert not Path(ctl.state.snapshot).exists()


@pytest.mark.parametrize("content", [b"#!/bin/sh\n# GFLOW --name=\xff\n", b"#!/bin/sh\n#SBATCH -J a\0b\n"])
def test_bytes_that_no_option_can_hold_are_refused(ctl: Ctl, content: bytes) -> None:
    (ctl.home / "job.sh").write_bytes(content)
    assert ctl.fails(1, "submit", "job.sh").startswith("job.sh: line 2: the directive ")


def test_an_option_of_the_command_line_is_not_blamed_on_the_head(ctl: Ctl) -> None:
    said = ctl.fails(1, "submit", "-o", "job.sh/x", script(ctl, "# GFLOW --output=fine"))
    assert said == f"--output job.sh/x: {ctl.home}/job.sh is not a directory"


def test_what_gflow_cannot_follow_can_be_ignored_and_is_named(ctl: Ctl) -> None:
    job = script(ctl, "#SBATCH -N 2 -c 3", "# GFLOW --hue=red --hold", "# GFLOW --name=x")
    done = ctl.run("submit", "--parsable", "--ignore-unknown-directives", job)
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert done.stderr.splitlines() == [
        "gflowctl: job.sh: line 2: ignored: #SBATCH --nodes=2: gflow runs jobs on one machine",
        "gflowctl: job.sh: line 3: ignored: --hue=red --hold: --hue=red: not an option of gflowctl submit",
    ]
    assert (ctl.spec(1).cpus, ctl.spec(1).name, ctl.jobs("1")[0]["state"]) == (3, "x", "queued")


def test_what_has_no_effect_is_said_to_who_looks(ctl: Ctl) -> None:
    job = script(ctl, "#SBATCH --partition=gpu --qos=high -N1 --ntasks=1")
    done = ctl.run("submit", "--dry-run", job)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"gflowctl: job.sh: line 2: {option} has no effect" for option in ("--partition=gpu", "--qos=high", "--nodes=1")
    ]
    assert ctl.ok("submit", job) == "Submitted batch job 1\n"  # nobody reads its stderr


def test_the_head_may_say_how_the_submission_answers(ctl: Ctl) -> None:
    assert ctl.ok("submit", script(ctl, "#SBATCH --parsable")) == "1\n"
    assert json.loads(ctl.ok("submit", script(ctl, "# GFLOW --json")))[0]["id"] == 2
    assert ctl.ok("submit", script(ctl, "# GFLOW --dry-run")).startswith("Would submit job.sh: ")
    head = script(ctl, "#SBATCH --parsable")
    assert json.loads(ctl.ok("submit", "--json", head))[0]["id"] == 3  # the command line takes precedence
    assert ctl.ok("submit", "--parsable", script(ctl, "# GFLOW --json")) == "4\n"
    assert "either --parsable or --json" in ctl.fails(2, "submit", script(ctl, "#SBATCH --parsable", "# GFLOW --json"))


def test_names_of_files_are_taken_as_they_are_written_and_it_is_told(ctl: Ctl) -> None:
    job = script(ctl, "#SBATCH -o $HOME/%j.out", "#SBATCH -e ~/x -i in-%a", "#SBATCH -a 1-2")
    done = ctl.run("submit", job)
    literal = "taken as it is written, neither ~ nor a variable stands for anything"
    assert done.stderr.splitlines() == [
        f"gflowctl: --output $HOME/%j.out: {literal}",
        f"gflowctl: --error ~/x: {literal}",
    ]
    found = ctl.spec(1)
    assert [found.output, found.error, found.input] == [
        str(ctl.home / each) for each in ("$HOME/%j.out", "~/x", "in-%a")
    ]
    assert "no such file" in ctl.fails(1, "submit", "-i", "in", "true")
    assert "%q is not a pattern" in ctl.fails(1, "submit", "-i", "in-%q", "true")


def test_the_script_is_kept_as_it_was(ctl: Ctl) -> None:
    job = script(ctl, "# GFLOW --gpus=1")
    content = (ctl.home / job).read_bytes()
    ctl.submit(job)
    (ctl.home / job).write_text("#!/bin/sh\necho changed\n")
    done = subprocess.run([sys.executable, "-m", "gflowctl", "show", "--script", "1"], cwd=ctl.home, env=ctl.env,
                          capture_output=True, check=True, timeout=30)  # fmt: skip
    assert done.stdout == content


def test_after_two_dashes_there_is_no_head(ctl: Ctl) -> None:
    assert ctl.spec(ctl.submit("--", "./" + script(ctl, "# GFLOW --gpus=1"))).gpus == 0


def test_a_job_may_wait_as_its_head_says(ctl: Ctl) -> None:
    ctl.submit("true")
    assert ctl.spec(ctl.submit(script(ctl, "#SBATCH --dependency=afterok:1"))).needs.ids == (1,)
    assert "no job 9" in ctl.fails(1, "submit", script(ctl, "#SBATCH --dependency=afterok:9"))


# GPUs and notification


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (["--gpu-type", "A100"], (1, "A100", None, False)),
        (["--gpu-memory", "20G"], (1, None, 20480, False)),
        (["--max-gpu-mem", "20G", "-g", "2"], (2, None, 20480, False)),
        (["--shared", "--max-gpu-memory", "1G"], (1, None, 1024, True)),
        (["--gpu-type", "A100", "--gpus", "0"], (0, None, None, False)),
        (["--gpu-memory", "0"], (0, None, None, False)),
    ],
)
def test_asking_for_a_kind_of_gpu_asks_for_one(ctl: Ctl, words: list[str], fields: tuple[object, ...]) -> None:
    spec = ctl.spec(ctl.submit(*words, "true"))
    assert (spec.gpus, spec.gpu_type, spec.gpu_memory_mb, spec.shared) == fields


def test_gpus_are_held_against_what_the_daemon_saw(ctl: Ctl) -> None:
    gpus = [{"index": n, "model": "NVIDIA A100", "memory_mb": 40960, "state": "idle"} for n in range(2)]
    ctl.observe(gpus=gpus)
    ctl.submit("--gpus", "2", "--gpu-type", "a100", "--gpu-memory", "40G", "true")
    assert "no GPU of this machine is of type 'h100'" in ctl.fails(1, "submit", "--gpu-type", "h100", "true")
    assert "the largest has 40G" in ctl.fails(1, "submit", "--gpu-memory", "80G", "true")
    assert "--gpu-memory MEM" in ctl.fails(1, "submit", "--shared", "--gpus", "1", "true")


def test_a_constraint_is_the_type_of_a_gpu_that_is_so_called(ctl: Ctl) -> None:
    job = script(ctl, "#SBATCH -C 'v100|a100' -G1")
    unknown = ctl.run("submit", job).stderr
    assert unknown == (
        "gflowctl: --constraint=v100|a100 has no effect: which GPUs there are is not known before gflowd has run\n"
    )
    models = ("Tesla V100-SXM2-16GB", "NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-40GB")
    ctl.observe(
        gpus=[{"index": n, "model": each, "memory_mb": 40960, "state": "idle"} for n, each in enumerate(models)]
    )
    cases = [
        ("-G1 -C v100", "v100", ""),
        ("-G1 -C 'skylake&a100*2'", "a100", ""),
        ("-G1 -C 'v100|a100'", "a100", "--constraint=v100|a100: of a100 and v100, a100 counts"),
        ("-G v100:1 -C a100", "v100", "--constraint=a100 has no effect: the job asks for GPUs of type v100"),
        ("-C a100", None, "--constraint=a100 has no effect"),
        ("-G1 -C h100", None,
         "--constraint=h100 has no effect: no GPU of this machine is so called, and it has several models"),
    ]  # fmt: skip
    for options, kind, said in cases:
        done = ctl.run("submit", "--dry-run", "--json", script(ctl, f"#SBATCH {options}"))
        assert (json.loads(done.stdout)[0]["gpu_type"], done.stderr) == (kind, said and f"gflowctl: {said}\n"), options
    assert ctl.run("submit", script(ctl, "#SBATCH -G1 -C h100")).stderr  # any GPU may be the wrong one
    ctl.observe(gpus=[{"index": 0, "model": models[0], "memory_mb": 16384, "state": "idle"}])
    assert ctl.run("submit", "--dry-run", "-g1", "-C", "avx2", "true").stderr.endswith("avx2 has no effect\n")


def test_what_a_job_wants_of_its_gpu_is_shown_and_can_be_changed(ctl: Ctl) -> None:
    ctl.submit("-g", "2", "--gpu-type", "a\x1b100", "--gpu-memory", "20G", "true")
    assert "Resources: 2 GPUs (a\\x1b100, 20G), 1 CPU\n" in ctl.ok("show", "1")
    ctl.ok("update", "--gpu-type", "h100", "--gpu-memory", "1G", "--shared", "1")
    assert "Resources: 2 GPUs (h100, 1G shared), 1 CPU\n" in ctl.ok("show", "1")
    ctl.ok("redo", "--gpu-memory", "2G", "1")
    assert (ctl.jobs("2")[0]["gpu_memory_mb"], ctl.jobs("2")[0]["gpu_type"]) == (2048, "h100")
    ctl.ok("update", "--clear", "gpu-type,gpu-memory,shared", "1")
    assert "Resources: 2 GPUs, 1 CPU\n" in ctl.ok("show", "1")


def test_who_is_to_be_told_of_what(ctl: Ctl) -> None:
    spec = ctl.spec(ctl.submit("--mail-user", "a@b.c", "--mail-type", "END,FAIL,end", "true"))
    assert (spec.notify_email, spec.notify_on) == ("a@b.c", ("end", "fail"))
    assert "Notify:    a@b.c of end, fail\n" in ctl.ok("show", "1")
    assert ctl.spec(ctl.submit("--notify-email", "a@b", "--notify-on", "NONE", "true")).notify_on == ("none",)
    assert ctl.spec(ctl.submit("--notify-email", "a@b, c", "true")).replace(name="x").notify_on == ("end",)
    assert "is not an event" in ctl.fails(2, "submit", "--notify-on", "e nd", "true")
    assert "'a b' is not an address" in ctl.fails(2, "submit", "--notify-email", "a b", "true")


def test_urls_to_be_told(ctl: Ctl) -> None:
    urls = ("https://hooks.example.org/geheim", "http://[::1]/x")
    spec = ctl.spec(ctl.submit("--notify", urls[0], "--notify", urls[1], "--notify", urls[0], "true"))
    assert (spec.notify, spec.notify_email, spec.notify_on) == (urls, None, ("end",))
    shown = ctl.ok("show", "1")
    assert "Notify:    https://hooks.example.org/..., http://[::1]/... of end\n" in shown
    assert "geheim" not in shown + ctl.ok("queue", "--json") + ctl.ok("queue")
    ctl.ok("redo", "1")
    assert ctl.spec(2).notify == urls
    ctl.ok("update", "2", "--notify", f"{urls[1]} https://b/", "--notify-on", "fail")
    assert (ctl.spec(2).notify, ctl.spec(2).notify_on) == ((urls[1], "https://b/"), ("fail",))
    ctl.ok("update", "2", "--clear", "notify,notify-on")
    assert (ctl.spec(2).notify, ctl.spec(2).notify_on) == ((), ())
    assert "is not a URL" in ctl.fails(2, "submit", "--notify", "example.org", "true")
    if depth.IS_FULL:  # apprise reads 190 modules for that
        said = ctl.fails(2, "submit", "--notify", "nonsense://geheim", "true")
        assert "apprise does not take the URL nonsense://..." in said
    assert ctl.spec(ctl.submit(script(ctl, "# GFLOW --notify https://c/d"))).notify == ("https://c/d",)


def test_mail_of_slurm_s_scripts(ctl: Ctl) -> None:
    head = "#SBATCH --mail-user=a@b"
    assert ctl.spec(ctl.submit(script(ctl, head))).notify_on == ()  # as in Slurm
    assert ctl.spec(ctl.submit(script(ctl, head, "#SBATCH --mail-type=ALL"))).notify_on == ("all",)
    ctl.submit(script(ctl, "#SBATCH --mail-type=END"))
    assert f"Notify:    {ctl.spec(3).user} of end\n" in ctl.ok("show", "3")
    blotted = script(ctl, "#SBATCH --mail-user=<your_address>", "#SBATCH --mail-type=END")
    assert ctl.spec(ctl.submit(blotted)).notify_email is None
    assert "--mail-user=<your_address>" in ctl.run("submit", "--dry-run", blotted).stderr
