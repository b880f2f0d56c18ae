"""What a script finds around it, as under Slurm: its variables, TMPDIR, no terminal, and the signals that end it."""

from __future__ import annotations

import os
import pwd
import sys
from contextlib import suppress
from pathlib import Path

from support.machine import Machine, end
from support.waiting import eventually

HEAD = "#!/bin/sh\n#SBATCH -o out-%j.txt\n"
# Of these companions each was looked for by a library or tool that had found another (Open MPI: JOBID).
SET = {
    "SLURM_JOBID", "SLURM_JOB_ID", "SLURM_JOB_NODELIST", "SLURM_NODELIST", "SLURM_TASKS_PER_NODE", "SLURM_NNODES",
    "SLURM_JOB_CPUS_PER_NODE", "SLURM_JOB_PARTITION", "SLURM_SUBMIT_HOST", "SLURM_JOB_USER", "SLURM_JOB_UID",
    "SLURM_JOB_GID", "SLURM_CLUSTER_NAME", "SLURM_TASK_PID", "SLURM_SUBMIT_DIR", "SLURMD_NODENAME", "HOSTNAME",
}  # fmt: skip


def write(machine: Machine, text: str, name: str = "job.sh") -> str:
    (machine.work / name).write_text(text)
    (machine.work / name).chmod(0o755)
    return name


def said(machine: Machine, job_id: int) -> list[str]:
    return machine.lines(f"out-{job_id}.txt")


def variables(lines: list[str]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in lines if "=" in line)


def scratch(machine: Machine) -> set[str]:
    """What is there of directories for temporary files."""
    record = Path(machine.state.path("scratch"))
    parents = map(Path, record.read_text().splitlines()) if record.exists() else ()
    found: set[str] = set()
    for parent in parents:
        with suppress(FileNotFoundError):  # removed meanwhile
            found |= set(map(str, parent.iterdir()))
    return found


def test_a_script_for_slurm_finds_the_whole_set_and_other_jobs_nothing_of_it(either: Machine) -> None:
    """And as much of its surroundings as one job can tell."""
    text = "#SBATCH -c 2\nenv\necho PID=$$\nreadlink /proc/self/fd/0\n(: </dev/tty) 2>/dev/null || echo no tty\n"
    text += "stat -c 'mode %a' $TMPDIR\ncat\n"
    job_id = either.submit(write(either, HEAD + text))
    assert either.wait(job_id) == 0
    lines = said(either, job_id)
    found = variables(lines)
    assert found.keys() >= SET
    assert found["SLURM_JOB_NODELIST"] == found["HOSTNAME"] == os.uname().nodename.partition(".")[0]
    assert (found["SLURM_TASKS_PER_NODE"], found["SLURM_JOB_CPUS_PER_NODE"]) == ("1", "2")
    assert (found["SLURM_TASK_PID"], found["SLURM_JOB_UID"]) == (found["PID"], str(os.getuid()))
    assert found["SLURM_JOB_USER"] == pwd.getpwuid(os.getuid()).pw_name
    assert lines[-3:] == ["/dev/null", "no tty", "mode 700"], "and cat had nothing to wait for"
    plain = variables(either.result("-c", "2", "--wrap", "env").splitlines())
    assert not [name for name in plain if name.startswith("SLURM")]
    assert (plain["GFLOW_JOB_CPUS"], plain["TMPDIR"]) == ("2", plain["GFLOW_JOB_TMPDIR"])
    eventually(lambda: not scratch(either))


def test_tmpdir_goes_after_the_last_attempt_also_when_nobody_was_there(own_default: Machine) -> None:
    text = "ls $TMPDIR >>left; ln -s $PWD $TMPDIR/link; mkdir $TMPDIR/tree; touch $TMPDIR/tree/file\n"
    text += "chmod 500 $TMPDIR/tree; echo $SLURM_RESTART_COUNT $TMPDIR >>ran\n"
    text += "until [ -e gate ]; do sleep 0.02; done; [ -e twice ] || { touch twice; rm gate; exit 1; }\n"
    script = write(own_default, HEAD + text)
    job_id = own_default.submit("--max-retries", "1", "--retry-on", "failure", script)
    eventually(lambda: len(own_default.lines("ran")) == 1)
    assert scratch(own_default) == {own_default.lines("ran")[0].strip()}
    own_default.open_gate()
    eventually(lambda: len(own_default.lines("ran")) == 2)
    first, second = own_default.lines("ran")
    assert second == f"1 {first.strip()}", "the second attempt has the same directory"
    assert own_default.lines("left") == ["link", "tree"], "with what the first left there"
    end(*own_default.pids().values())
    own_default.open_gate()
    eventually(Path(own_default.state.attempt(job_id, 2), "exit").exists)
    assert scratch(own_default) == {first.strip()}
    own_default.start()
    assert own_default.wait(job_id) == 0
    eventually(lambda: not scratch(own_default) and not Path(first.strip()).parent.exists())
    assert (own_default.work / "twice").exists(), "behind the link"


def test_a_tmpdir_of_the_submitters_wins_and_that_of_a_job_is_not_handed_on(up: Machine) -> None:
    given = up.work / "given"
    assert up.result("--wrap", "echo $TMPDIR", env={**up.env, "TMPDIR": str(given)}) == f"{given}\n"
    assert given.is_dir(), "as Slurm does"
    lent = {**up.env, "TMPDIR": "/tmp/gone/7", "GFLOW_JOB_TMPDIR": "/tmp/gone/7"}
    path = up.result("--wrap", "echo $TMPDIR; [ $TMPDIR = $GFLOW_JOB_TMPDIR ]", env=lent)
    assert not path.startswith("/tmp/gone")


def test_the_stop_ladder_of_a_script_for_slurm_begins_with_term(up: Machine) -> None:
    text = "trap 'echo saved >>saved; exit 3' TERM; touch ready; sleep 100 & wait\n"
    job_id = up.submit("--grace", "60s", write(up, HEAD + text))
    eventually((up.work / "ready").exists)
    up.until(job_id, "running")
    up.cancel(job_id)
    assert up.lines("saved") == ["saved"]
    job = up.job(job_id)
    assert (job["state"], job["exit_code"]) == ("cancelled", 3)


def test_a_signal_spares_the_script_whatever_language_it_is_in(up: Machine) -> None:
    python = f"#!{sys.executable}\n#SBATCH -o out-%j.txt\nimport subprocess, sys\nopen('ready', 'w').close()\n"
    python += "print(subprocess.call(['sleep', '100']))\n"
    shell = f"{HEAD}trap 'echo bye' EXIT\ntouch ready\nsleep 100\necho $?\n"
    for text, last in ((python, ["-10"]), (shell, ["138", "bye"])):
        job_id = up.submit(write(up, text))
        up.until(job_id, "running")
        eventually(lambda: any(words.startswith("sleep 100") for words in up.of_job(job_id).values()))  # noqa: B023
        up.ctl("cancel", "--signal", "USR1", str(job_id))
        assert up.wait(job_id) == 0
        assert said(up, job_id)[-len(last) :] == last


def test_options_that_nobody_would_read_are_refused_and_those_of_others_told(up: Machine) -> None:
    """By `--dry-run` too, and by those who give a script to a shell."""
    headless = write(up, "echo x\n")
    assert up.result(f"./{headless}") == "x\n", "it has none"
    for text, line in (("#SBATCH -c 2\ntrue\n", 1), ("\n#!/bin/sh\n# GFLOW -c 2\ntrue\n", 3)):
        said = up.refused(1, "submit", f"./{write(up, text)}")
        assert said == (
            f"./job.sh: line {line} holds options, but they would not be read: line 1 is not #! and an interpreter, "
            "such as #!/bin/bash"
        )
    told = "job.sh: line 3: ignored: all #PBS lines; write #SBATCH or # GFLOW\n"
    for head in ("#SBATCH -n 1\n", "# a comment\n"):
        script = write(up, f"#!/bin/sh\n{head}#PBS -l nodes=4\n#PBS -N x\n")
        assert told in up.ctl("submit", "--dry-run", script).stderr
        assert told in up.ctl("submit", "--hold", script).stderr
    script = write(up, "#!/bin/sh\n#SBATCH --ignore-pbs\n#PBS -l nodes=4\n")
    assert "#PBS" not in up.ctl("submit", "--dry-run", script).stderr
    for words in (("bash", script), ("--", "/bin/sh", script, "x")):
        said = up.ctl("submit", "--dry-run", *words).stderr
        assert "job.sh: line 2 holds options, which count only where the script itself is submitted" in said
    for words in (("sh", "-c", ":"), ("sh", str(up.work)), ("sh", write(up, "echo #SBATCH\n")), ("sh", "none")):
        assert "options" not in up.ctl("submit", "--dry-run", *words).stderr
    up.ctl("cancel", "--all")


def test_a_missing_interpreter_is_named_at_submission_and_at_the_end(up: Machine) -> None:
    script = write(up, "#!/no/such/thing\n#SBATCH -n 1\n")
    done = up.ctl("submit", script)
    assert "job.sh: its interpreter /no/such/thing is missing or cannot be executed; it will be" in done.stderr
    job = up.ended(int(done.stdout.split()[-1]))
    assert (job["state"], job["reason"]) == (
        "failed", "LaunchFailed:its interpreter is missing or cannot be executed: /no/such/thing",
    )  # fmt: skip
