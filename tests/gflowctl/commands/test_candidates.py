"""What the shells offer while a command line is typed: the hidden command that they ask, and the shells themselves."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gflowctl.commands import candidates
from gflowd.core.job.model import STATES

if TYPE_CHECKING:
    from support.ctl import Ctl

ROOT = Path(__file__).parent.parent.parent.parent
GPUS = [
    {"index": 0, "uuid": "a", "model": "NVIDIA A100-SXM4-80GB", "memory_mb": 1, "state": "idle"},
    {"index": 3, "uuid": "b", "model": "Tesla T4", "memory_mb": 1, "state": "busy"},
]


def offered(ctl: Ctl, kind: str, word: str = "", *line: str, shell: str = "bash") -> list[str]:
    return ctl.ok("__complete", shell, kind, word, *line).splitlines()


def some(ctl: Ctl) -> None:
    """1 queued, 2 held, 3 running, 4 ended, 5-7 an array."""
    ctl.submit("-n", "train", "-P", "vision", "true")
    ctl.submit("--hold", "true")
    ctl.submit("true")
    ctl.run_job(3)
    ctl.submit("true")
    ctl.end_job(4)
    ctl.ok("submit", "-a", "1-3", "-n", "sweep", "true")


def test_jobs_by_what_they_may_be_needed_for(ctl: Ctl) -> None:
    assert offered(ctl, "jobs") == []
    assert not ctl.state.has_snapshot()
    some(ctl)
    assert offered(ctl, "jobs") == ["5", "4", "3", "2", "1"]
    assert offered(ctl, "jobs-queued") == ["5", "2", "1"]
    assert offered(ctl, "jobs-held") == ["2"]
    assert offered(ctl, "jobs-running") == ["3"]
    assert offered(ctl, "jobs-live") == ["5", "3", "2", "1"]
    assert offered(ctl, "jobs-ended") == ["4"]
    assert offered(ctl, "jobs", "3") == ["3"]
    assert offered(ctl, "jobs", "5_") == ["5_3", "5_2", "5_1"]
    assert offered(ctl, "jobs", "1_") == []
    assert offered(ctl, "jobs", "1", shell="zsh") == ["1\ttrain (queued)"]
    assert offered(ctl, "jobs", "5", shell="fish") == ["5\tsweep (array of 3)"]
    assert offered(ctl, "event-kinds", "job_ended,worker") == ["job_ended,worker", "job_ended,worker_restarted"]


def test_the_last_part_of_a_list_is_completed(ctl: Ctl) -> None:
    some(ctl)
    assert offered(ctl, "jobs-held", "1,") == ["1,2"]
    assert offered(ctl, "jobs", "afterok:1:4") == ["afterok:1:4"]
    assert offered(ctl, "states", "queued,fin") == ["queued,finished"]


def test_other_words(ctl: Ctl) -> None:
    some(ctl)
    ctl.observe(gpus=GPUS, config={"known_projects": ["ml"], "clusters": ["hpc", "lab"]})
    assert offered(ctl, "states") == list(STATES)
    assert offered(ctl, "fields", "TIMEL") == ["TIMELEFT", "TIMELIMIT"]
    assert offered(ctl, "gpu-types") == ["A100-SXM4-80GB", "T4"]
    assert offered(ctl, "gpus", shell="fish") == ["0\tNVIDIA A100-SXM4-80GB (idle)", "3\tTesla T4 (busy)"]
    assert offered(ctl, "projects") == ["ml", "vision"]
    assert ctl.spec(1).user in offered(ctl, "users")
    assert offered(ctl, "clusters") == ["hpc", "lab", "auto", "none"]
    assert offered(ctl, "cluster-names", "l") == ["lab"]
    assert offered(ctl, "settings", "gpu.al") == ["gpu.allow", "gpu.allocation"]
    assert offered(ctl, "events", "be") == ["begin"]
    assert offered(ctl, "causes", "oo") == ["oom"]
    assert offered(ctl, "options", "tim") == ["time"]
    ctl.ok("reserve", "create", "--user", "root", "--gpus", "1", "--start", "now+1h", "--for", "1h")
    assert offered(ctl, "reservations") == ["1"]
    assert offered(ctl, "reservations", shell="zsh")[0].startswith("1\troot, ")


def test_the_options_of_the_line_count(ctl: Ctl, other: Ctl) -> None:
    some(ctl)
    for line in (
        ("--state-dir", other.state.root),
        (f"--state-dir={other.state.root}",),
        ("--state-dir", "=", other.state.root),
    ):
        assert offered(ctl, "jobs", "", "gflowctl", *line, "cancel") == []


@pytest.mark.parametrize(
    "words", [(), ("bash",), ("bash", "jobs"), ("bash", "nonsense", ""), ("bash", "gpus", "", "--config")]
)
def test_it_never_fails(ctl: Ctl, words: tuple[str, ...]) -> None:
    assert ctl.ok("__complete", *words) == ""
    ctl.submit("true")
    Path(ctl.state.snapshot).write_bytes(b"damage\n" * 9)
    Path(ctl.state.observed).write_bytes(b"damage")
    assert ctl.ok("__complete", *words) == ""
    assert ctl.ok("__complete", "bash", "jobs", "") == ""


def test_no_more_are_offered_than_anybody_reads(ctl: Ctl) -> None:
    ctl.ok("submit", "--from", "-", input='{"command": ["true"]}\n' * 1000)
    found = offered(ctl, "jobs-queued")
    assert (len(found), found[0]) == (candidates.MOST, "1000")


def test_it_gives_up_in_time(ctl: Ctl) -> None:
    """Whatever it is busy with: here with nothing, for ever."""
    program = (
        "import time\nfrom gflowctl.commands import candidates\ncandidates.LONGEST = 0.05\n"
        "candidates.KINDS['gpus'] = lambda context: [time.sleep(60)]\n"
        "candidates.run(['bash', 'gpus', ''], {'HOME': '/'})\nprint('too late')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=ctl.env, capture_output=True, text=True, check=False, timeout=50
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def shim(ctl: Ctl) -> dict[str, str]:
    """An environment in which gflowctl is on the PATH."""
    place = ctl.home / "bin"
    place.mkdir()
    program = place / "gflowctl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m gflowctl "$@"\n')
    program.chmod(0o755)
    some(ctl)
    ctl.observe(gpus=GPUS)
    return {**ctl.env, "PATH": f"{place}:{os.environ['PATH']}"}


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


LINES = [
    (("cancel", ""), {"1", "2", "3", "5"}),
    (("hold", "1,"), {"1,5", "1,2", "1,1"}),
    (("release", ""), {"2"}),
    (("show", "4"), {"4"}),
    (("queue", "--states", "fin"), {"finished"}),
    (("queue", "-f", "JOBI"), {"JOBID"}),
    (("submit", "--gpu-type", ""), {"A100-SXM4-80GB", "T4"}),
    (("gpus", "drain", ""), {"0", "3"}),
    (("help", "rel"), {"release"}),
]


@needs("bash")
@pytest.mark.parametrize(("words", "expected"), LINES, ids=[" ".join(words) for words, _ in LINES])
def test_bash_offers_them(ctl: Ctl, shim: dict[str, str], words: tuple[str, ...], expected: set[str]) -> None:
    script = 'source "$1"; shift; COMP_WORDS=(gflowctl "$@"); COMP_CWORD=$#; _shtab_gflowctl; echo "${COMPREPLY[@]}"'
    source = str(ROOT / "gflowctl/completions/gflowctl.bash")
    done = subprocess.run(
        ["bash", "-c", script, "bash", source, *words],
        env=shim,
        cwd=ctl.home,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == expected


@needs("fish")
@pytest.mark.parametrize(("words", "expected"), LINES, ids=[" ".join(words) for words, _ in LINES])
def test_fish_offers_them(ctl: Ctl, shim: dict[str, str], words: tuple[str, ...], expected: set[str]) -> None:
    script = f"source {ROOT}/gflowctl/completions/gflowctl.fish; complete -C 'gflowctl {' '.join(words)}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script], env=shim, cwd=ctl.home, capture_output=True, text=True, check=True
    )
    assert {line.partition("\t")[0] for line in done.stdout.splitlines()} == expected


@needs("zsh")
@pytest.mark.parametrize(("words", "expected"), LINES, ids=[" ".join(words) for words, _ in LINES])
def test_zsh_offers_them(ctl: Ctl, shim: dict[str, str], words: tuple[str, ...], expected: set[str]) -> None:
    """Typed on a terminal, since zsh completes nowhere else."""
    (ctl.home / "_gflowctl").symlink_to(ROOT / "gflowctl/completions/gflowctl.zsh")
    setup = (
        "PS1= PS2=; fpath=($HOME $fpath); autoload -Uz compinit; compinit -D -u; zstyle ':completion:*' verbose no;"
        "LISTMAX=1000; unsetopt beep; zmodload zsh/complist; bindkey '^I' complete-word; setopt listrowsfirst;"
        'compadd() { (( ${@[(I)-[OAD]*]} )) && { builtin compadd "$@"; return }; local -a got;'
        'builtin compadd -O got "$@"; for each in $got; do print -r -- "<$each>"; done; builtin compadd "$@" };'
        "print READY\n"
    )
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        ["zsh", "-f", "-i"], env={**shim, "TERM": "dumb", "HOME": str(ctl.home)}, cwd=ctl.home,
        stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    try:
        os.write(leader, setup.encode())
        read_until(leader, "\nREADY")
        os.write(leader, f"gflowctl {' '.join(words)}\t".encode())
        shown = ""
        for each in expected:
            shown = read_until(leader, f"<{each}>", shown)
        found = set(re.findall("<([^<>]*)>", shown))  # it may be read up to the middle of another
        assert found == expected
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(leader)


def read_until(leader: int, word: str, shown: str = "") -> str:
    """What a terminal shows until a word is among it."""
    deadline = time.monotonic() + 60
    while word not in shown.replace("\r", ""):
        assert time.monotonic() < deadline, shown
        if select.select([leader], [], [], 1)[0]:
            shown += os.read(leader, 65536).decode(errors="replace")
    return shown
