"""A machine with gflow's front ends under Slurm's names on the PATH, and the tools of `make tools` beside them."""

from __future__ import annotations

import sys
from pathlib import Path

from support.machine import Machine

PROGRAMS = Path(__file__).parent / "programs"
LONGEST = 240  # seconds that a tool may take: those that poll do so every ten or more


class Site(Machine):
    """A machine whose users know Slurm's commands only."""

    def prepare(self) -> None:
        self.write_config(scheduler={"cpus": 8, "memory": "16G"}, gpu={"simulate": "2x24G"}, executor={"grace": 5})
        commands = self.root / "slurm"
        self.ctl("slurm-commands", "install", "--force", str(commands))
        self.env["PATH"] = f"{commands}:{Path(sys.executable).parent}:{self.env['PATH']}"
        self.env["USER"] = self.env["LOGNAME"] = "root"
        place = self.root / "tmp"  # dask leaves its locks there
        place.mkdir()
        self.env["TMPDIR"] = str(place)
        self.start()

    def shell(self, text: str, status: int = 0) -> str:
        """What a shell prints that runs `text`."""
        done = self.run("bash", "-c", text, timeout=LONGEST)
        assert done.returncode == status, (done, self.ctl("queue", "-a").stdout)
        return done.stdout

    def program(self, name: str, *words: str) -> str:
        """What one of the programs beside this prints; it must end well."""
        done = self.run(sys.executable, str(PROGRAMS / name), *words, timeout=LONGEST)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.ctl('queue', '-a').stdout}"
        return done.stdout
