"""docs/from-slurm.md tells its readers to type what there is: every command line of gflow's on it can be parsed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import gflowctl.main
import gflowd.main
from gflowd.core.slurm import front_ends

PAGE = (Path(__file__).parent.parent / "docs" / "from-slurm.md").read_text()
PARSERS = {"gflowctl": gflowctl.main.parser, "gflowd": gflowd.main.parser}
# What people typed before, in the first column of a table; and scripts' options, which a test of heads knows.
TYPED = re.findall(r"(?m)^\$ (.*)$", PAGE)
SPANS = [span.replace("\\|", "|") for span in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", PAGE)]


def test_every_command_of_gflows_on_the_page_is_one() -> None:
    lines = [line for line in (*TYPED, *SPANS) if line.split()[0] in PARSERS and len(line.split()) > 1]
    assert len(lines) > 60
    for line in lines:
        program, command, *words = shlex.split(line)
        try:
            PARSERS[program](command).parse_args(words)
        except SystemExit:
            pytest.fail(line)


def test_the_commands_of_slurm_on_the_page_are_those_that_there_are() -> None:
    for line in TYPED:
        assert line.split()[0] in {*PARSERS, *front_ends.NAMES}, line
    for name in ("sbatch", "squeue", "scancel", "sacct", "srun", "salloc", "sacctmgr", "sshare", "sstat", "seff"):
        assert f"`{name}`" in PAGE
        assert name in front_ends.NAMES


def test_the_tables_are_whole() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(widths) == 1, table


def test_every_difference_that_was_measured_has_its_reason() -> None:
    rows = PAGE.partition("### Measured")[2].partition("## From gflow-rs")[0].split("|---|\n")[1].strip().splitlines()
    assert len(rows) > 5
    assert [row for row in rows if len(row.rpartition(" | ")[2]) < 10] == []


def test_every_tool_on_the_page_has_its_test() -> None:
    table = PAGE.partition("### Tools")[2].partition("### Measured")[0]
    named = {row.split("|")[1].split()[0].lower() for row in re.findall(r"(?m)^\| .*", table)} - {"tool"}
    tests = {path.stem.removeprefix("test_") for path in (Path(__file__).parent / "tools").glob("test_*.py")}
    assert {name.partition("-")[0] for name in named} == {name.partition("_mpi")[0] for name in tests}
