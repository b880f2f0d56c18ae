"""A state directory on a file system on which nothing can be executed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.machine import Machine, unmount


@pytest.fixture
def mounted(machine: Machine) -> Iterator[Machine]:
    place = Path(machine.state.root)
    place.mkdir(mode=0o700)
    words = ["mount", "-t", "tmpfs", "-o", "noexec,mode=0700", "gflow-test", str(place)]
    if os.geteuid() or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        machine.start()
        yield machine
        machine.stop()
    finally:
        unmount(place)


def test_scripts_run_through_their_interpreters_and_doctor_tells(mounted: Machine) -> None:
    for name, text, said in (
        ("shell.sh", '#!/bin/sh -e\necho "shell $1"\n', "shell a b\n"),
        ("script.py", "#!/usr/bin/env python3\nimport sys\nprint('python', sys.argv[1])\n", "python a b\n"),
    ):
        script = mounted.work / name
        script.write_text(text)
        script.chmod(0o755)
        assert mounted.result(f"./{name}", "a b") == said
    script = mounted.work / "slurm.sh"
    script.write_text("#!/bin/sh\n#SBATCH -o slurm.txt\nsrun echo step; env scontrol show hostnames n1\n")
    mounted.result("./slurm.sh")
    assert mounted.lines("slurm.txt") == ["step", "n1"], "what is elsewhere can be executed"
    assert "mounted noexec" in mounted.ctl("doctor", check=False).stdout
