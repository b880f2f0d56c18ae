"""What is done, counted: system calls, syncs, bytes, calls of tmux. No times, which a busy machine would change.

A ceiling is a little above what is seen. Where a count depends on how the work of a moment falls together, it is held
against what each event may cost.
"""

from __future__ import annotations

import compileall
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import depth
from support.machine import ROOT, TMUX, Machine
from support.waiting import eventually

from gflowd.storage.store import HEAD, TAIL

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = 100
LARGE = 5000  # jobs that make the snapshot ten times as long as what a commit reads of it
STRACE = shutil.which("strace")
EXECUTORS = [
    pytest.param("tmux", marks=pytest.mark.skipif(TMUX is None, reason="tmux is not installed")),
    "process",
]
START = "from gflowctl.__main__ import program; program()"
# A call that is not answered in time is made again.
PATIENT_DAEMON = f"""\
#!{sys.executable}
import sys
sys.path.insert(0, {str(ROOT)!r})
from gflowd.daemon import children
from gflowd.effects.attempt import tmux
from gflowd.main import main
tmux.CALL_TIMEOUT = children.SILENCE = 3600.0
sys.exit(main())
"""


def can_trace() -> bool:
    """Whether this machine lets us trace a process of ours."""
    if STRACE is None:
        return False
    words = [STRACE, "-f", "-y", "-o", os.devnull, "true"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


traced = pytest.mark.skipif(not can_trace(), reason="strace is not installed, or may not trace here")


def trace(machine: Machine, into: Path, *words: str) -> list[str]:
    """The system calls of a command, one a line, each descriptor with the file that it is."""
    machine.run(str(STRACE), "-f", "-y", "-s", "256", "-o", str(into), *words)
    return [line for line in into.read_text(errors="replace").splitlines() if "(" in line]


def installed(place: Path) -> str:
    """Our packages as an installation has them, compiled."""
    for package in ("gflowctl", "gflowd"):
        shutil.copytree(ROOT / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(place, quiet=1)
    return str(place)


def bare(*words: str) -> list[str]:
    """The interpreter of the tests, without what is installed beside it."""
    return [sys.executable, "-S", "-c", *words]


def queue_all(machine: Machine, *options: str, count: int = JOBS) -> None:
    """Queues many jobs, each on a line of its own, in one commit."""
    lines = '{"command": ["true"], "cpus": 0}\n' * count
    machine.ctl("submit", "--from", "-", *options, input=lines)


def commits(machine: Machine) -> list[list[bytes]]:
    """What is in the snapshot, the JSON of its lines by commit."""
    found: list[list[bytes]] = [[]]
    for line in Path(machine.state.snapshot).read_bytes().splitlines():
        found[-1].append(line[9:])
        if line[9:].startswith(b"[0,"):
            found.append([])
    return found[:-1]


@traced
def test_a_plain_submission_makes_few_system_calls(machine: Machine, tmp_path: Path) -> None:
    machine.env["PYTHONPATH"] = installed(tmp_path / "lib")
    del machine.env["GFLOW_CONFIG"]  # the file is read where no daemon has told what is in it
    for _ in range(2):  # the first keeps the environment
        calls = trace(machine, tmp_path / "calls", *bare(START, "submit", "true"))
    ours = [line for line in calls if machine.state.root in line and "/environ>" not in line]
    assert [line for line in calls if "sync(" in line] == [line for line in ours if "fdatasync(" in line]
    assert sum("fdatasync(" in line for line in ours) == 1
    assert len(ours) <= 32, "\n".join(ours)  # 29 are seen
    none = trace(machine, tmp_path / "none", *bare("pass"))
    assert len(calls) - len(none) <= 1010  # 928 are seen with Python 3.11: a module costs 13, a folder 20


@traced
def test_outside_of_a_work_tree_git_costs_one_call_for_each_directory_above(machine: Machine, tmp_path: Path) -> None:
    machine.env["PYTHONPATH"] = installed(tmp_path / "lib")
    calls = trace(machine, tmp_path / "calls", *bare(START, "submit", "true"))
    asked = [line for line in calls if "/.git" in line]
    assert len(asked) == len(Path(os.path.realpath(machine.work)).parts), "\n".join(asked)


def test_a_submission_adds_one_short_line(machine: Machine) -> None:
    machine.submit("true")
    path = Path(machine.state.snapshot)
    before = path.read_bytes()
    machine.submit("true")
    added = path.read_bytes().removeprefix(before)
    assert added.count(b"\n") == 1
    assert len(added) <= 212 + len(str(machine.work))  # 195 are seen, with a user of four letters and five limits


@pytest.mark.parametrize("executor", depth.some(EXECUTORS[::-1], 1))
def test_a_job_takes_four_short_lines_from_its_submission_to_its_end(machine: Machine, executor: str) -> None:
    queue_all(machine)
    found = os.stat(machine.state.snapshot).st_ino
    machine.write_config(executor={"type": executor})
    machine.start()
    machine.wait(*range(1, JOBS + 1))
    done = commits(machine)
    lines = [line for commit in done for line in commit if b'"spec"' in line or b'"phase"' in line]
    assert len(lines) <= 4 * JOBS  # a quick job's `running` may be missing
    # 91 are seen of `starting`, 240 of `running`, 275 of `ended`, and 195 with the directory of `spec`
    assert max(map(len, lines)) <= 300 + len(str(machine.work))
    assert sum(any(b'"starting"' in line for line in commit) for commit in done) == 1, "they were not started at once"
    assert os.stat(machine.state.snapshot).st_ino == found, "it was written anew"


@pytest.mark.skipif(TMUX is None, reason="tmux is not installed")
def test_a_hundred_jobs_are_started_and_watched_in_few_calls_of_tmux(machine: Machine) -> None:
    calls = machine.root / "calls"
    wrapper = machine.bin / "tmux"
    wrapper.write_text(f'#!/bin/sh\necho "$*" >>{shlex.quote(str(calls))}\nexec {TMUX} "$@"\n')
    wrapper.chmod(0o700)
    (machine.bin / "gflowd").write_text(PATIENT_DAEMON)
    queue_all(machine)
    machine.write_config(executor={"type": "tmux"}, daemon={"zombie_interval": 3600})
    machine.start()
    machine.wait(*range(1, JOBS + 1))
    assert len(calls.read_text().splitlines()) <= 6  # 3 are seen


@traced
@pytest.mark.parametrize("executor", depth.some(EXECUTORS[::-1], 1))
def test_the_daemon_syncs_once_a_commit_and_reads_only_what_is_new(
    machine: Machine, tmp_path: Path, executor: str
) -> None:
    queue_all(machine, "--hold", count=LARGE)
    queue_all(machine)
    before = len(commits(machine))
    machine.write_config(executor={"type": executor})
    log = tmp_path / "calls"
    with traced_daemon(machine, log):
        machine.wait(*range(LARGE + 1, LARGE + JOBS + 1))
    calls = [line for line in log.read_text(errors="replace").splitlines() if "/snapshot.jsonl" in line]
    added = len(commits(machine)) - before
    size = os.stat(machine.state.snapshot).st_size
    # Of a worker that is killed amid a call the bytes are not told.
    read = sum(int(told[1]) for line in calls if "pread64(" in line and (told := re.search(r"= (\d+)$", line)))
    assert not [line for line in calls if "rename(" in line], "it was written anew"
    assert sum("fdatasync(" in line for line in calls) == added
    assert read <= 3 * size + added * (HEAD + TAIL)  # twice the size is seen: once by who starts it, once by itself


@contextmanager
def traced_daemon(machine: Machine, into: Path) -> Iterator[None]:
    """The daemon, its system calls on files written down as it makes them."""
    words = [str(STRACE), "-f", "-y", "--seccomp-bpf", "-s", "1", "-e", "trace=fdatasync,rename,pread64"]
    command = [*words, "-o", str(into), str(machine.bin / "gflowd"), "run"]
    running = subprocess.Popen(command, env=machine.env, cwd=machine.work)
    try:
        eventually(lambda: machine.gflowd("status", check=False).returncode == 0)
        yield
    finally:
        machine.gflowd("stop", check=False)
        running.wait(60)
