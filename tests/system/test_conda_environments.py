"""`--conda-env`, with a stand-in for conda on the submitter's PATH."""

from __future__ import annotations

from support.machine import GATE, Machine
from support.waiting import eventually

CONDA = r"""#!/bin/sh
case $1,$2 in
shell.posix,hook) echo 'conda() { conda_said="$("$CONDA_EXE" shell.posix "$@")" && eval "$conda_said"; }'
  echo "export CONDA_EXE='$0'" ;;
shell.posix,activate) [ "$3" = ml ] || { echo "EnvironmentNameNotFound: $3" >&2; exit 1; }
  echo "export CONDA_DEFAULT_ENV=ml CONDA_PREFIX=/envs/ml; echo chatter" ;;
esac
"""


def environment(machine: Machine) -> dict[str, str]:
    place = machine.root / "conda"
    place.mkdir(exist_ok=True)
    (place / "conda").write_text(CONDA)
    (place / "conda").chmod(0o700)
    return {**machine.env, "PATH": f"{place}:{machine.env['PATH']}"}


def test_the_environment_is_active_and_the_command_is_as_ever(either: Machine) -> None:
    env = environment(either)
    text = 'echo "$CONDA_DEFAULT_ENV $CONDA_PREFIX $GFLOW_JOB_NAME"; [ -z "$(cat)" ]; exit 5'
    job_id = either.submit("--conda-env", "ml", "-n", "nm", "-i", "/dev/null", "--wrap", text, env=env)
    assert either.wait(job_id) == 5
    assert either.log(job_id) == b"ml /envs/ml nm\n"
    assert either.job(job_id)["conda_env"] == "ml"
    assert "Conda:" in either.ctl("show", str(job_id)).stdout
    assert either.result("--conda-env", "ml", "--wrap", "echo ran", env=env) == "ran\n"


def test_what_is_active_at_submission_is_active_in_the_job_without_conda(either: Machine) -> None:
    env = {**either.env, "CONDA_DEFAULT_ENV": "other", "CONDA_PREFIX": "/envs/other"}
    job_id = either.submit("--wrap", "echo $CONDA_PREFIX", env=env)
    assert either.wait(job_id) == 0
    assert (either.log(job_id), either.job(job_id)["conda_env"]) == (b"/envs/other\n", "other")


def test_a_missing_conda_or_environment_is_a_failed_launch(either: Machine) -> None:
    without = either.submit("--conda-env", "ml", "true")
    unknown = either.submit("--conda-env", "none", "true", env=environment(either))
    assert either.wait(without, unknown) == 1
    assert either.job(without)["reason"] == "LaunchFailed:conda activate ml: there is no conda"
    assert either.job(unknown)["reason"] == "LaunchFailed:conda activate none: EnvironmentNameNotFound: none"


def test_a_job_in_an_environment_is_cancelled_like_any_other(either: Machine) -> None:
    job_id = either.submit("--conda-env", "ml", "--wrap", f"echo begun; {GATE}", env=environment(either))
    either.until(job_id, "running")  # before, it has no log
    eventually(lambda: b"begun" in either.log(job_id))
    either.cancel(job_id)
    assert either.job(job_id)["state"] == "cancelled"


def test_another_environment_for_a_job_that_waits(up: Machine) -> None:
    job_id = up.submit("--hold", "--wrap", "echo $CONDA_DEFAULT_ENV", env=environment(up))
    up.ctl("update", str(job_id), "--conda-env", "ml")
    up.ctl("release", str(job_id))
    assert up.wait(job_id) == 0
    assert up.log(job_id) == b"ml\n"
