"""The package is replaced while the daemon runs, as an upgrade does."""

from __future__ import annotations

import compileall
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.machine import GATE, ROOT, Machine, alive, kill, new_machine
from support.waiting import eventually

PACKAGES = ("gflowd", "gflowctl")


class Installed(Machine):
    """A machine with a copy of `packages` of its own."""

    def __init__(self, packages: Path, root: Path) -> None:
        super().__init__(root)
        self.site = root / "site"
        shutil.copytree(packages, self.site)
        for name in PACKAGES:
            program = self.bin / name
            program.write_text(program.read_text().replace(repr(str(ROOT)), repr(str(self.site))))
        self.env["PYTHONDONTWRITEBYTECODE"] = "1"

    def run(self, *words: str | bytes, **settings: Any) -> subprocess.CompletedProcess[str]:
        """By its own package: Python is started for it."""
        settings = {"cwd": self.work, "env": self.env, "timeout": 60, "capture_output": True, "text": True, **settings}
        return subprocess.run(words, check=False, stdin=subprocess.DEVNULL, **settings)

    def workers(self) -> dict[str, int]:
        """Their pids by name, without a program of the package: it may be in pieces."""
        parent = json.loads(Path(self.state.daemon_pid).read_bytes())["pid"]
        found = {}
        for pid in map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()):
            try:
                name = Path(f"/proc/{pid}/comm").read_text().strip().removeprefix("gflowd:")
            except OSError:  # it has ended meanwhile
                continue
            if name != "manager":  # whose end takes the others
                found[name] = pid
        return found

    def replace(self, version: str) -> None:
        """By a package of another version, whose parts do not go together with those of ours."""
        init = self.site / "gflowd" / "__init__.py"
        for path in (self.site / "gflowd").rglob("*.py"):
            path.write_text("raise ImportError('this is of another version')\n")
        init.write_text(f'__version__ = "{version}"\n')

    def put_back(self, version: str) -> None:
        """A package whose parts go together again."""
        shutil.copytree(ROOT / "gflowd", self.site / "gflowd", dirs_exist_ok=True)
        init = self.site / "gflowd" / "__init__.py"
        init.write_text(f'{init.read_text()}\n__version__ = "{version}"\n')


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both, compiled once: each program that a test starts would do that again."""
    place = tmp_path_factory.mktemp("packages")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(place, quiet=1)
    return place


@pytest.fixture
def installed(packages: Path) -> Iterator[Installed]:
    with new_machine(partial(Installed, packages)) as found:
        assert isinstance(found, Installed)
        yield found


def test_every_worker_can_be_started_again_after_the_package_was_replaced(installed: Installed) -> None:
    installed.start("--simulate-gpus", "1")
    job_id = installed.submit("-g", "1", "--wrap", f"{GATE}; exit 5")
    other = installed.submit("-g", "1", "--wrap", "exit 6")
    installed.until(job_id, "running")
    names = {each["name"][:8] for each in installed.status()["workers"]} - {"manager"}  # as much as the kernel keeps
    installed.replace("99.0")
    before = eventually(lambda: found if (found := installed.workers()).keys() == names else {})
    for pid in before.values():
        kill(pid)

    def are_all_new() -> bool:
        now = installed.workers()
        return (
            now.keys() == before.keys() and all(map(alive, now.values())) and not {*now.values()} & {*before.values()}
        )

    eventually(are_all_new)
    installed.open_gate()
    installed.put_back("99.0")
    assert (installed.wait(job_id), installed.wait(other)) == (5, 6)
    assert "cannot start" not in installed.daemon_log()
    said = installed.status()
    assert said["version"] != said["installed"] == "99.0"
    assert "99.0 is installed; gflowd restart completes the upgrade" in installed.gflowd("status").stdout
    assert "99.0 is installed" in installed.ctl("doctor", check=False).stdout
    installed.gflowd("restart")
    assert "upgrade" not in installed.gflowd("status").stdout
    assert installed.status()["version"] == "99.0"


def test_what_cannot_be_imported_is_told_by_who_starts_the_daemon(installed: Installed) -> None:
    (installed.site / "gflowd" / "workers" / "gpu_poller.py").write_text("import no_such_module\n")
    said = installed.refused(3, "start", program="gflowd")
    assert "gpu_poller cannot be imported: No module named 'no_such_module'" in said
    assert sys.executable in said
    assert "no_such_module" in installed.daemon_log()
    assert "gpu_poller cannot be imported: No module" in installed.ctl("doctor", check=False).stdout
    installed.put_back("1")
    installed.start()


def test_another_package_of_the_same_name_is_told_to_all_who_ask(installed: Installed) -> None:
    """With `python -m`, which reads PYTHONPATH."""
    installed.env["PYTHONPATH"] = str(installed.site)
    cases = [
        ("orjson", "raise ImportError('of another Python')", "cannot be imported: of another Python"),
        ("filelock", "raise ImportError('too old')", "cannot be imported: too old"),
        ("psutil", "x = (", "cannot be imported: SyntaxError: '(' was never closed (psutil.py, line 1)"),
        ("libtmux", "raise RuntimeError('odd')", "cannot be imported: RuntimeError: odd"),
        ("psutil", "", "scheduler cannot start: AttributeError: module 'psutil' has no attribute 'virtual_memory'"),
    ]
    for name, text, said in cases:
        path = installed.site / f"{name}.py"
        path.write_text(text)
        assert said in installed.refused(3, "start", program="gflowd")
        assert said in installed.daemon_log()
        doctor = installed.ctl("doctor", check=False).stdout
        assert [word for word in (said, str(path), "unset PYTHONPATH") if word not in doctor] == []
        path.unlink()
    installed.start()
    assert "cannot" not in installed.ctl("doctor", check=False).stdout
    installed.gflowd("stop")
    assert "cannot" not in installed.ctl("doctor", check=False).stdout
