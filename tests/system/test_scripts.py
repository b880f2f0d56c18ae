"""Job scripts as people bring them: with heads of ours and of Slurm's, run as they are."""

from __future__ import annotations

import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.machine import ROOT, Machine
from support.waiting import eventually

EXAMPLES = ROOT / "examples" / "slurm"


@pytest.fixture
def gpu(machine: Machine) -> Machine:
    machine.start("--simulate-gpus", "2x24G")
    for path in EXAMPLES.iterdir():
        shutil.copy(path, machine.work)
    return machine


def write(machine: Machine, name: str, text: str) -> str:
    (machine.work / name).write_text(text)
    return name


def files(machine: Machine, ending: str) -> set[str]:
    return {path.name for path in machine.work.glob(f"*{ending}")}


def test_the_examples_run_as_they_are(gpu: Machine) -> None:
    assert gpu.ctl("submit", "--wait", "single.sh", "1000").stdout == "Submitted batch job 1\n"
    first, second = gpu.lines("slurm-1.out")
    assert first == f"job 1 (primes) with 1 CPU and 1 task, from {gpu.work}"
    assert second == "168 primes below 1000"

    done = gpu.ctl("submit", "--wait", "array.sh", check=False)
    assert (done.returncode, done.stdout) == (3, "Submitted batch jobs 2-5\n")
    assert files(gpu, ".txt") == {f"pi-2_{index}.txt" for index in (1, 3, 5, 7)}
    assert gpu.lines("pi-2_3.txt")[0] == "element 3 of 1 to 7 by 2, 4 in all"
    assert [gpu.job(job_id)["exit_code"] for job_id in range(2, 6)] == [0, 0, 0, 3]

    gpu.ctl("submit", "--wait", "gpu.sh")
    assert gpu.lines("train.6.out")[0] == "GPUs given: 1"
    assert gpu.lines("train.6.out")[-1] == "epoch 5: loss 0.333"
    assert gpu.lines("train.6.err") == ["a warning goes where warnings go"]


@pytest.mark.parametrize("status", [0, 4])
def test_the_pipeline_goes_on_after_each_step(gpu: Machine, status: int) -> None:
    done = gpu.run("sh", "pipeline.sh", str(status), env={**gpu.env, "SUBMIT": "gflowctl submit"})
    assert (done.returncode, done.stdout) == (0, "1 2 3\n")
    gpu.wait(3)
    assert [gpu.job(job_id)["exit_code"] for job_id in (1, 2, 3)] == [0, status, 0]
    assert gpu.lines("clean.log") == ["cleaned by job clean"]
    assert gpu.lines("slurm-2.out") == ["model: mean 50.5"]


def test_srun_is_there_for_scripts_with_lines_for_slurm(either: Machine) -> None:
    text = "#!/bin/sh\n#SBATCH -n1\nsrun -n1 --mpi=none sh -c 'echo $SLURM_PROCID $SLURM_NTASKS; exit 7'\n"
    job_id = either.submit(write(either, "slurm.sh", text))
    assert either.wait(job_id) == 7
    node = os.uname().nodename.partition(".")[0]
    assert either.lines(f"slurm-{job_id}.out") == ["0 1", f"srun: error: {node}: task 0: Exited with exit code 7"]
    write(either, "slurm.sh", "#!/bin/sh\n#SBATCH -o hosts.txt\nscontrol show hostnames n[1-2]\n")
    either.result("./slurm.sh")
    assert either.lines("hosts.txt") == ["n1", "n2"]
    text = "#!/bin/sh\n# GFLOW -c 1\necho $PATH\n"
    assert either.result(write(either, "plain.sh", text)).strip() == either.env["PATH"]


def test_sbatch_makes_any_script_one_for_slurm_and_jobs_can_call_it(either: Machine) -> None:
    done = either.slurm("sbatch", "--wait", "--wrap", "srun echo $SLURM_JOBID; exit 3")
    assert (done.returncode, done.stderr) == (3, "")
    job_id = int(done.stdout.split()[3])
    assert either.lines(f"slurm-{job_id}.out") == [str(job_id)]
    text = "#!/bin/sh\n#SBATCH --wait\n[ $SLURM_ARRAY_TASK_ID = 1 ] && kill -9 $$; exit 0\n"
    done = either.slurm("sbatch", "--parsable", "-a", "0-1", write(either, "array.sh", text))
    assert (done.returncode, done.stdout) == (1, f"{job_id + 1}\n")
    outer = "#!/bin/sh\n#SBATCH -o outer.txt\nsbatch --parsable --wrap 'echo inner' && scontrol ping\n"
    either.result(write(either, "outer.sh", outer))
    inner, ping = either.lines("outer.txt")
    assert ping.endswith("is UP")
    assert either.wait(int(inner)) == 0


def test_scancel_signals_the_script_alone_or_everything(either: Machine) -> None:
    child = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); print('ready', flush=True); "
    child += "signal.sigwait([signal.SIGUSR1]); print('child')"  # it starts no program, which the signal would end
    run = f"{sys.executable} -c {shlex.quote(child)}"
    text = f"#!/bin/sh\n#SBATCH -o signal.txt\ntrap 'echo script' USR1\n{run} & wait; wait; wait\n"
    done = either.slurm("sbatch", "--parsable", write(either, "signal.sh", text))
    job_id = done.stdout.strip()
    eventually(lambda: (either.work / "signal.txt").exists() and either.lines("signal.txt") == ["ready"])
    either.until(int(job_id), "running")
    assert either.slurm("scancel", "-b", "-s", "USR1", job_id).returncode == 0
    eventually(lambda: either.lines("signal.txt") == ["ready", "script"])
    assert either.slurm("scancel", "--full", "--signal=USR1", job_id).returncode == 0
    either.wait(int(job_id))
    assert sorted(either.lines("signal.txt")) == ["child", "ready", "script", "script"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_srun_is_there_for_login_shells_too(either: Machine) -> None:
    text = "#!/bin/bash -l\n#SBATCH -o out.txt\nenv scontrol show hostnames n0; echo ${BASH_ENV-}\n"
    text += "PATH=/usr/bin:/bin\nsrun echo found; scontrol show hostnames n1\n"
    (either.home / ".bash_profile").write_text("PATH=/usr/bin:/bin\n")
    either.result(write(either, "login.sh", text))
    assert either.lines("out.txt") == ["n0", "", "found", "n1"]


STEPS = """\
#!/bin/bash
#SBATCH --gres=gpu:2
export CUDA_VISIBLE_DEVICES=9
mkfifo meet
srun -n1 --gres=gpu:1 -o s-%J.txt sh -c 'echo $CUDA_VISIBLE_DEVICES; read -r x <meet' &
srun -n1 --gres=gpu:1 -o s-%J.txt --cpu_bind=none sh -c 'echo $CUDA_VISIBLE_DEVICES; echo >meet' &
wait
srun -l -n1 sh -c 'echo $SLURM_STEP_ID $CUDA_VISIBLE_DEVICES; kill -TERM 0; sleep 60'
trap 'echo told; exit 5' TERM INT
srun sh -c 'trap "echo task told; exit 0" TERM INT; echo up; while :; do sleep 0.05; done'
wait
"""


def test_steps_are_steps_and_end_with_their_job(gpu: Machine) -> None:
    job_id = gpu.submit("--grace", "60s", write(gpu, "steps.sh", STEPS))
    log = gpu.work / f"slurm-{job_id}.out"
    eventually(lambda: "up" in gpu.lines(log.name))
    gpu.until(job_id, "running")
    assert sorted((gpu.work / f"s-{job_id}.{step}.txt").read_text() for step in (0, 1)) == ["0\n", "1\n"]
    gpu.ctl("cancel", str(job_id))
    gpu.wait(job_id)
    lines = [line for line in gpu.lines(log.name) if line != "Terminated"]  # what a shell says of its sleep
    assert lines[0] == "0: 2 0,1"
    assert lines[2:] == ["up", "task told", "told"], "each once, and nothing else is said"


def test_a_srun_that_was_removed_is_written_anew(own: Machine) -> None:
    script = write(own, "job.sh", "#!/bin/sh\n#SBATCH -o out.txt\nsrun echo found\n")
    own.result(script)
    shutil.rmtree(own.state.path("bin"))
    (own.work / "out.txt").unlink()
    own.result(script)
    assert own.lines("out.txt") == ["found"]


def test_a_srun_of_somebody_else_s_making_is_no_job_s(own: Machine) -> None:
    os.symlink("/tmp", own.state.path("bin"))
    job = own.ended(own.submit(write(own, "job.sh", "#!/bin/sh\n#SBATCH -n1\nsrun true\n")))
    assert (job["state"], job["reason"].partition(":")[0]) == ("failed", "LaunchFailed")


def test_a_script_runs_as_it_was_submitted(up: Machine) -> None:
    script = write(up, "job.sh", "#!/bin/sh\n# GFLOW --name=before\necho before\n")
    job_id = up.submit("--hold", script)
    write(up, "job.sh", "#!/bin/sh\necho after\n")
    up.ctl("release", str(job_id))
    assert up.ended(job_id)["name"] == "before"
    assert up.log(job_id) == b"before\n"
    assert up.ctl("show", "--script", str(job_id)).stdout == "#!/bin/sh\n# GFLOW --name=before\necho before\n"


def test_what_has_no_effect_is_told_at_a_terminal(up: Machine) -> None:
    write(up, "job.sh", "#!/bin/sh\n#SBATCH --partition=gpu\n")
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as terminal:
        command = [str(up.bin / "gflowctl"), "submit", "--wait", "job.sh"]
        done = subprocess.run(command, cwd=up.work, env=up.env, stderr=theirs, stdout=subprocess.DEVNULL,
                              check=True, timeout=60)  # fmt: skip
        os.close(theirs)
        said = terminal.read(1000)
    assert done.returncode == 0
    assert said == b"gflowctl: job.sh: line 2: --partition=gpu has no effect\r\n"


def test_a_new_script_runs_as_it_is(up: Machine) -> None:
    up.ctl("new", "try")
    assert re.fullmatch(r"job \d+ on .+, GPUs: none\n", up.result("try.sh"))


def test_a_head_that_is_refused_leaves_nothing(machine: Machine) -> None:
    write(machine, "two.sh", "#!/bin/sh\n#SBATCH -N 2\n")
    assert "gflow runs jobs on one machine" in machine.refused(1, "submit", "two.sh")
    assert not Path(machine.state.snapshot).exists()


def test_a_script_on_standard_input_runs_where_it_was_submitted(either: Machine) -> None:
    text = "#!/bin/sh\n# GFLOW --name=piped\ncat lib.txt\necho $1 $GFLOW_JOB_NAME $GFLOW_SCRIPT_DIR $GFLOW_SCRIPT.\n"
    write(either, "lib.txt", "beside it\n")
    write(either, "s.sh", text)
    for line in ("- x <s.sh", "<(cat s.sh) x", "/dev/stdin x <s.sh"):
        done = either.run("bash", "-c", f"gflowctl submit --parsable {line}")
        assert done.returncode == 0, done
        job_id = int(done.stdout)
        assert either.wait(job_id) == 0
        assert either.log(job_id).decode() == f"beside it\nx piped {either.work} .\n"
    assert either.run("bash", "-c", "gflowctl submit --wait <s.sh").returncode == 0
