"""The README's tour is true: its commands are run one after the other, and must print what it says they print."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import gflowctl.main
import gflowd.main

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PATIENCE = 60.0
HELD = "held"
DOCUMENTS = (
    "README.md", "examples/README.md", "man/gflowctl.inc", "man/gflowctl-reserve.inc", "man/gflowctl-stats.inc",
    "man/gflowctl-submit.inc", "man/gflowd.inc", "man/gflow.7",
)  # fmt: skip


def tour() -> list[tuple[str, str]]:
    """Each command of the README's console blocks with the output under it."""
    text = "".join(re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL))
    steps = text.removeprefix("$ ").split("\n$ ")
    return [(command, output.rstrip("\n")) for command, _, output in (step.partition("\n") for step in steps)]


def blurred(output: str) -> str:
    """Output without what differs from run to run: pids, times, the user, versions, the last digits of floats."""
    rules = (
        (r"pid \d+", "pid N"),
        (r"\b\d:\d\d\b", "TIME"),
        (rf"\b({re.escape(getpass.getuser())}|ada)\b", "NAME"),
        (r"python [\d.]+[^\s,]*", "python V"),
        (r"\d+\.\d+", "FLOAT"),
        (r"[ \t]+", " "),
    )
    for pattern, to in rules:
        output = re.sub(pattern, to, output)
    return output.strip()


@pytest.fixture
def shell_environment(tmp_path: Path, runtime_dir: str) -> Iterator[dict[str, str]]:
    """An environment with both programs on the PATH and a state directory of its own; its daemon is ended. Jobs of
    Python begin once `HELD`, beside the programs, is gone, so that the queue can be seen while they run.
    """
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("gflowctl", "gflowd"):
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {name} "$@"\n')
        (programs / name).chmod(0o755)
    (programs / HELD).touch()
    held = shlex.quote(str(programs / HELD))
    (programs / "python3").write_text(
        f'#!/bin/sh\nwhile [ -e {held} ]; do sleep 0.05; done\nexec {shlex.quote(sys.executable)} "$@"\n'
    )
    (programs / "python3").chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GFLOW_") or "TEST" in name}
    environ = {
        **kept,
        "PATH": f"{programs}:{kept.get('PATH', os.defpath)}",
        "PYTHONPATH": str(ROOT),
        "GFLOW_STATE_DIR": str(tmp_path / "state"),
        "GFLOW_RUNTIME_DIR": runtime_dir,
    }
    yield environ
    (programs / HELD).unlink(missing_ok=True)
    for command in (["gflowctl", "cancel", "--all"], ["gflowd", "stop"]):
        subprocess.run([programs / command[0], *command[1:]], env=environ, capture_output=True, check=False)


def test_the_tour_is_true(shell_environment: dict[str, str]) -> None:
    for command, expected in tour():
        deadline = time.monotonic() + PATIENCE
        while True:
            done = subprocess.run(
                ["sh", "-c", command], cwd=ROOT, env=shell_environment, capture_output=True, text=True, check=False
            )
            seen = blurred(done.stdout + done.stderr)
            # what only looks may be asked again: the tour has a reader's pace, this test has not
            if seen == blurred(expected) or not command.startswith("gflowctl queue") or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        assert seen == blurred(expected), command
        if command == "gflowctl queue":
            Path(shell_environment["PATH"].partition(":")[0], HELD).unlink(missing_ok=True)


def commands_of(text: str) -> Iterator[list[str]]:
    """The calls of gflowctl and gflowd in code of a document, as words."""
    text = re.sub(r"(?m)^\.(?!EX).*\n", "", text).replace("\\-", "-").replace("\\(aq", "'").replace("\\(dq", '"')
    text = re.sub(r"\\e?\n\s*", " ", text)
    for line in re.findall(r"(?m)^(?:    |\$ )(.*)$", text):
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        call: list[str] = []
        for word in (*lexer, ";"):
            if set(word) <= set("();<>|&"):
                if call[:1] in (["gflowctl"], ["gflowd"]):
                    yield call
                call = []
            else:
                call.append(word)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_in_documents_are_accepted(document: str) -> None:
    found = list(commands_of((ROOT / document).read_text()))
    assert found
    for program, verb, *words in found:
        {"gflowctl": gflowctl.main, "gflowd": gflowd.main}[program].parser(verb).parse_args(words)


def test_the_first_screen_has_the_two_commands() -> None:
    first_screen = (ROOT / "README.md").read_text().splitlines()[:24]
    assert [line.split()[:2] for line in first_screen if line.startswith("    make")] == [
        ["make", "demo"],
        ["make", "test"],
    ]
