"""The command that holds programs up, and what it holds up."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slow import held_up_tests, hold_up

ROOT = Path(__file__).parent.parent
EXEC, WAIT = 0, 3  # of the kinds of calls of the library; 8 and 13 are reads and connections
LOADED = "grep -c gflow-hold-up.so /proc/self/maps"

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to hold programs up with")


def held_up(place: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the command says, which has `place` for temporary files."""
    done = subprocess.run(
        [sys.executable, hold_up.__file__, *words],
        env={**os.environ, "TMPDIR": str(place), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if re.search("here: (a mount namespace|mounting)", done.stderr):
        pytest.skip("no mount namespace to hold programs up in")
    return done


def holds(library: ctypes.CDLL, test: str) -> list[int]:
    """How long the calls of a test are held up."""
    library.hold_up_test(test.encode())
    return [library.hold_up_next(call) for _ in range(100) for call in (EXEC, WAIT)]


@needs_compiler
def test_every_program_is_held_up_even_without_an_environment_and_nothing_is_left_behind(tmp_path: Path) -> None:
    names = Path("/etc/ld.so.preload")
    found = names.read_text() if names.exists() else None
    began = time.monotonic()
    done = held_up(tmp_path, "--seed", "7", "exec", "env", "-i", "/bin/sh", "-c", f"{LOADED}; id -u; exit 3")
    assert time.monotonic() - began >= 3 * 0.25, "sh, grep and id"
    assert done.returncode == 3, done.stderr
    mapped, user = map(int, done.stdout.split())
    assert mapped >= 1
    assert user == os.geteuid()
    assert "mode exec, SEED=7: exit status 3" in done.stderr
    assert (names.read_text() if names.exists() else None) == found
    assert not Path("/etc", hold_up.LIBRARY).exists()
    assert list(tmp_path.iterdir()) == []


@needs_compiler
def test_a_seed_says_how_a_test_is_held_up(tmp_path: Path) -> None:
    built = {seed: str(tmp_path / f"{seed}.so") for seed in (1, 2)}
    for seed, path in built.items():
        hold_up.build(path, "random", seed)
    one, other = map(ctypes.CDLL, built.values())
    lasting = holds(one, "a")
    assert 0 in lasting
    assert 0 < max(lasting) <= 400
    assert holds(one, "b") != lasting
    assert holds(one, "a") == lasting
    assert holds(other, "a") != lasting
    many = [one.hold_up_next(EXEC) for _ in range(1000)]
    assert any(many[:200])
    assert not any(many[200:]), "a shell that reads byte by byte would take for ever"


FAMILY = """
import ctypes, subprocess, sys
library = ctypes.CDLL(None)
child = "import ctypes; print(*map(ctypes.CDLL(None).hold_up_next, [8, 13] * 50))"
for test in sys.argv[1:]:
    library.hold_up_test(test.encode())
    for _ in range(2):
        subprocess.run(["env", "-i", "sh", "-c", '"$0" -Sc "$1"; true', sys.executable, child], check=True)
"""


@needs_compiler
def test_programs_of_a_test_are_held_up_as_they_were_whatever_pids_and_environments_they_have(tmp_path: Path) -> None:
    done = held_up(tmp_path, "--seed", "1", "io", sys.executable, "-Sc", FAMILY, "a", "b", "a")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == lines[4:]
    assert len(set(lines)) == 4, "each program in its own way"


def test_without_a_compiler_one_line_says_so(tmp_path: Path) -> None:
    done = held_up(tmp_path, "--seed", "1", "io", "true", PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "hold_up: nothing can be held up here: cc is not installed\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", held_up_tests.LEFT_OUT)
def test_what_is_left_out_exists(name: str) -> None:
    file, _, function = name.partition("::")
    assert f"def {function}" in (ROOT / file).read_text()
    modes, reason = held_up_tests.LEFT_OUT[name]
    assert set(modes) <= set(hold_up.MODES)
    assert reason
