"""The directory of Slurm's programs that jobs have on their PATH."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gflowd.core.errors import Refused
from gflowd.effects.attempt import slurm_programs

NAMES = ("scontrol", "sbatch")


@pytest.mark.skipif(not os.access("/bin/bash", os.X_OK), reason="there is no /bin/bash")
def test_without_an_installed_gflowctl_the_same_python_runs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/gflowd/__main__.py"])
    place = tmp_path / "it's here"
    slurm_programs.put(str(place), NAMES)
    slurm_programs.put(str(place), NAMES)
    assert sorted(os.listdir(place)) == ["gflowctl", "gflowctl.py", "sbatch", "scontrol"]
    words = [place / "scontrol", "show", "hostnames", "n[1-2]"]
    done = subprocess.run(words, env={"PYTHONHOME": "/x"}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "n1\nn2\n", "")


def test_beside_an_installed_gflowd_they_are_links_to_its_gflowctl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, place = tmp_path / "bin", tmp_path / "tools"
    programs.mkdir()
    (programs / "gflowctl").touch(0o755)
    monkeypatch.setattr(sys, "argv", [str(programs / "gflowd")])
    place.mkdir(0o700)
    (place / "sbatch").write_text("an older release had a file here")
    (place / f"sbatch.new.{os.getpid()}").write_text("left by a process that was killed")
    slurm_programs.put(str(place), NAMES)
    assert {name: os.readlink(place / name) for name in NAMES} == dict.fromkeys(NAMES, str(programs / "gflowctl"))
    place.chmod(0o755)
    with pytest.raises(Refused):
        slurm_programs.put(str(place), NAMES)
