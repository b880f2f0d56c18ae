"""gflow in a plain environment of its own, its programs run and timed. What is measured with it is for the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import time
from contextlib import contextmanager

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from gflowd.paths import State  # noqa: E402 -- the tree that we stand in, installed or not

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

PROGRAMS = os.path.join(ROOT, "bin")  # as in setup.cfg


class Bench:
    """A plain environment in `root`, and state directories beside it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.python = os.path.join(root, "env", "bin", "python3")
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(("GFLOW_", "PYTHON"))}
        self.environ["PATH"] = f"{root}/env/bin:{self.environ.get('PATH', os.defpath)}"
        self._make_environment()

    def _make_environment(self) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", f"{self.root}/env"], check=True)
        places = {"base": f"{self.root}/env", "platbase": f"{self.root}/env"}
        with open(os.path.join(sysconfig.get_path("purelib", vars=places), "bench.pth"), "w", encoding="utf-8") as file:
            file.write(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
        for program in os.listdir(PROGRAMS):  # as pip installs them
            with open(os.path.join(PROGRAMS, program), encoding="utf-8") as file:
                text = file.read()
            path = os.path.join(self.root, "env", "bin", program)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text.replace("#!python\n", f"#!{self.python}\n", 1))
            os.chmod(path, 0o700)

    def use(self, name: str, **settings: str) -> State:
        """Makes a state directory of that name the one in use, with settings as GFLOW_ variables."""
        kept = {key: value for key, value in self.environ.items() if not key.startswith("GFLOW_")}
        state = State(os.path.join(self.root, name))
        self.environ = {**kept, "GFLOW_STATE_DIR": state.root, **settings}
        return state

    def run(self, *words: str) -> str:
        done = subprocess.run(words, env=self.environ, text=True, stdout=subprocess.PIPE, check=True, timeout=120)
        return done.stdout

    @contextmanager
    def daemon(self, name: str, **settings: str) -> Iterator[None]:
        """A daemon of that state directory, for as long as the block runs."""
        self.use(name, **settings)
        try:
            self.run("gflowd", "start", "--simulate-gpus", "4")
            yield
        except BaseException:  # cut short: no job is to outlive us
            subprocess.run(["gflowctl", "cancel", "--all"], env=self.environ, stdout=subprocess.DEVNULL, check=False)
            time.sleep(1)
            raise
        finally:
            subprocess.run(["gflowd", "stop"], env=self.environ, stdout=subprocess.DEVNULL, check=False)

    def took(self, *words: str) -> float:
        """Seconds that a command takes, its output thrown away."""
        path = os.path.join(self.root, "env", "bin", words[0])
        begun = time.perf_counter()
        null = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        status = os.waitpid(os.posix_spawn(path, [path, *words[1:]], self.environ, file_actions=null), 0)[1]
        spent = time.perf_counter() - begun
        if status:
            raise SystemExit(f"bench: {' '.join(words)} failed")
        return spent

    def jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("gflowctl", "queue", "--all", "--json"))
        return found


def seconds(rfc3339: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(rfc3339).timestamp()


def ticks(pid: int, *, children: bool = False) -> int:
    """Clock ticks of CPU time that a process has used; and those of its children that it has waited for."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return sum(map(int, fields[11 : 15 if children else 13]))


def pss(pid: int) -> float:
    """Megabytes of memory, shared pages divided among those that share them."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(int(row.split()[1]) for row in file if row.startswith("Pss:")) / 1000
