"""The variables of a login: read from the user's shell, whatever its profile does."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gflowctl.submit import login_environment

if TYPE_CHECKING:
    from support.ctl import Ctl

SHELLS = [shell for shell in ("/bin/sh", "/bin/bash") if os.path.exists(shell)]
PATIENT = 60.0


def read(
    home: Path, profile: str, *, shell: str = "/bin/sh", patience: float = PATIENT
) -> tuple[dict[bytes, bytes], str | None]:
    (home / ".profile").write_text(profile)
    base = {b"HOME": os.fsencode(home), b"PATH": b"/usr/bin:/bin"}
    return login_environment.read(base, shell, patience, files=())


@pytest.mark.parametrize("shell", SHELLS)
def test_it_has_what_the_profile_exports(tmp_path: Path, shell: str) -> None:
    profile = "echo hello; echo MINE=no; export MINE='a\nb' PATH=\"/opt/bin:$PATH\"; UNSET=1; read x; cd /\n"
    found, why = read(tmp_path, profile, shell=shell)
    assert why is None
    assert (found[b"MINE"], found[b"PATH"].startswith(b"/opt/bin:")) == (b"a\nb", True)
    assert found.keys().isdisjoint((b"UNSET", *login_environment.NOT_A_JOBS))
    assert found[b"HOME"] == os.fsencode(tmp_path)


def test_what_a_profile_starts_keeps_nobody_waiting(tmp_path: Path) -> None:
    found, why = read(tmp_path, "export MINE=1; sleep 1000 & echo $! >$HOME/pid\n")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert (found[b"MINE"], why) == (b"1", None)


@pytest.mark.parametrize(
    ("profile", "patience", "said"),
    [
        ("echo $$ >$HOME/pid; sleep 1000", 0.3, "sh took longer than 0.3 s"),
        ("exit 3", PATIENT, "sh ended with its profile"),
        ("exec yes", PATIENT, "sh printed too much"),
    ],
)
def test_a_broken_profile_is_told_and_leaves_the_least(
    tmp_path: Path, profile: str, patience: float, said: str
) -> None:
    found, why = read(tmp_path, f"{profile}\n", patience=patience)
    assert (sorted(found), why) == ([b"HOME", b"PATH"], said)
    pid = tmp_path / "pid"
    if number := pid.read_text().strip() if pid.exists() else "":  # it may have ended before it wrote its own
        assert not os.path.exists(f"/proc/{number}")


def test_a_shell_that_lets_nobody_in_is_told(tmp_path: Path) -> None:
    false = shutil.which("false")
    assert false is not None
    assert read(tmp_path, "", shell=false)[1] == "false ended with its profile"
    assert read(tmp_path, "", shell="/no/such/shell")[1] == "shell: No such file or directory"
    gone = {b"HOME": b"/no/such/home", b"PATH": b"/usr/bin:/bin"}
    assert login_environment.read(gone, "/bin/sh", PATIENT, files=()) == (
        {**login_environment.read(gone, "/bin/sh", PATIENT, files=())[0]}, None,
    )  # fmt: skip


def test_the_machine_s_files_say_what_every_login_has(tmp_path: Path) -> None:
    (tmp_path / "environment").write_text("# a comment\nPATH=\"/a:/b\"\nexport PROXY='http://p'\n\nodd\n LANG = C \n")
    files = (str(tmp_path / "environment"), str(tmp_path / "missing"))
    found, why = login_environment.read({b"HOME": b"/"}, "/no/such/shell", PATIENT, files)
    assert found == {b"HOME": b"/", b"PATH": b"/a:/b", b"PROXY": b"http://p", b"LANG": b"C"}
    assert why is not None


def test_a_job_without_its_submitter_s_variables_has_those_of_a_login(ctl: Ctl) -> None:
    for name in (".profile", ".zprofile"):
        (ctl.home / name).write_text("export MODULES=/opt/modules\n")
    (ctl.home / "job.sh").write_text("#!/bin/sh\n#SBATCH --export=A=1\ntrue\n")
    (ctl.home / "all.sh").write_text("#!/bin/sh\n#SBATCH --get-user-env\ntrue\n")
    for script, has in (("job.sh", True), ("all.sh", False)):
        ctl.ok("submit", script)
        kept = Path(ctl.state.environment(ctl.spec(1 + (not has)).env)).read_bytes().split(b"\0")
        assert (b"MODULES=/opt/modules" in kept, b"A=1" in kept) == (True, has)
        assert any(each.startswith(b"PYTHONPATH=") for each in kept) != has
        assert not has or any(each.startswith(b"LOGNAME=") for each in kept), "as cron does not give it, but a login"
    (ctl.home / ".profile").write_text("exit 1\n")
    (ctl.home / ".zprofile").write_text("exit 1\n")
    done = ctl.run("submit", "--export=NONE", "true")
    assert (done.returncode, done.stdout) == (0, "Submitted batch job 3\n")
    assert "the job gets only the variables of a bare login: " in done.stderr
