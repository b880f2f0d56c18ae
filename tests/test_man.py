"""The manual and the completions say what the programs do: generated ones are in step, written ones complete."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.pages import plain

import gflowctl.main
import gflowd.command_line
import gflowd.main
from gflowd.config.settings import QUOTA_KEYS, SETTINGS
from gflowd.core.job import model, reasons

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "man").glob("*.[1-9]"))
COMPLETIONS = sorted(ROOT.glob("gflow*/completions/*"))
COMMANDS = [
    (program, section, name) for program, section in ((gflowctl.main, 1), (gflowd.main, 8)) for name in program.COMMANDS
]


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def test_pages_and_completions_are_in_step_with_the_parsers() -> None:
    pytest.importorskip("shtab")
    pytest.importorskip("argparse_manpage")
    done = subprocess.run(
        [sys.executable, ROOT / "man" / "generate.py", "--check"],
        env={**os.environ, "FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize(("program", "section", "name"), COMMANDS, ids=lambda part: getattr(part, "__name__", part))
def test_every_option_of_a_command_is_in_its_page(program: object, section: int, name: str) -> None:
    parser = program.parser(name)  # type: ignore[attr-defined]
    page = plain((ROOT / "man" / f"{parser.prog.replace(' ', '-')}.{section}").read_text())
    parsers = (parser, *gflowd.command_line.actions_of(parser).values())
    options = {option for each in parsers for action in each._actions for option in action.option_strings}
    options -= {"-h", "--help"}
    assert {option for option in options if not re.search(rf"(?m)^(.*[ ,])?{re.escape(option)}\b", page)} == set()


def test_the_overview_pages_name_every_command() -> None:
    for program, section, name in COMMANDS:
        stem = program.__name__.split(".")[0]
        assert f"{stem}-{name} ({section})" in plain((ROOT / "man" / f"{stem}.{section}").read_text())


def settings_in_the_manual() -> dict[str, str | None]:
    """The default of each setting as gflow.toml(5) shows it, by the setting's name."""
    found, section = {}, ""
    for line in plain((ROOT / "man" / "gflow.toml.5").read_text()).splitlines():
        if match := re.match(r"\.S[SH] (?:\[([\w.]+)\])?", line):
            section = match[1] or ""
        elif match := re.match(r'\.BR?\s+(\w+)(?: " = (.*)")?$', line):
            found[f"{section}.{match[1]}".lstrip(".")] = match[2]
    return found


def test_every_setting_is_in_the_manual_with_its_default() -> None:
    found = settings_in_the_manual()
    assert {setting.name: setting.written for setting in SETTINGS} == {
        setting.name: found.get(setting.name) for setting in SETTINGS
    }
    assert {f"quota.{key}" for key in QUOTA_KEYS} <= set(found)


def test_the_manual_has_no_default_for_what_is_no_setting() -> None:
    known = {setting.name for setting in SETTINGS}
    assert {name for name, default in settings_in_the_manual().items() if default is not None} <= known


def test_every_state_and_reason_is_explained() -> None:
    page = plain((ROOT / "man" / "gflow.7").read_text())
    words = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    words |= {"Signaled:", "LaunchFailed:", "Rejected:"}
    words |= {f'{state} " ({model.SHORT_STATES[state]})"' for state in model.STATES}
    assert {word for word in words if not re.search(rf"(?m)^\.B[RI]? {re.escape(word)}", page)} == set()


@needs("mandoc")
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_mandoc_has_no_complaint(path: Path) -> None:
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "style", path], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "")


@needs("lexgrog")
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_whatis_can_read_the_name(path: Path) -> None:
    done = subprocess.run(["lexgrog", path], capture_output=True, text=True, check=False)
    assert f'"{path.stem} - ' in done.stdout


@pytest.mark.parametrize("path", COMPLETIONS, ids=lambda path: path.name)
def test_a_shell_accepts_its_completions(path: Path) -> None:
    shell = path.suffix.removeprefix(".")
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-n", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs("bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [(["gflowctl", "sub"], "submit"), (["gflowctl", "queue", "--js"], "--json"), (["gflowd", "star"], "start")],
)
def test_bash_completes(words: list[str], expected: str) -> None:
    script = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; '
        '"_shtab_$1"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    source = ROOT / words[0] / "completions" / f"{words[0]}.bash"
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", source, *words], capture_output=True, text=True, check=False
    )
    assert expected in done.stdout.split()
