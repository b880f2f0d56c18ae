"""Formats of squeue, sinfo and sacct. What is expected was seen of Slurm 22.05."""

from __future__ import annotations

import pytest

from gflowd.core.errors import Refused
from gflowd.core.slurm import column_forms

SHORT = [
    ("%.3i|%5t|%.10T|%i", "4_[|PD   |   PENDING|4_[1-9%2]", ()),
    ("abc %% %i %Zx %\\n", "abc % 4_[1-9%2] /wx %\\n", ("\\",)),
    ("%", "", ()),
    ("%i %9", "4_[1-9%2] %9", ("",)),
    ("", "", ()),
    ("%;i", "%;i", (";",)),
    ("50% %i", "50% 4_[1-9%2]", (" ",)),
]
UNCUT = [("%.3T|%3T|%.9T", "PENDING|PEN|  PENDING"), ("%T%.1t", "PENDINGP")]
CELLS = {"i": "4_[1-9%2]", "t": "PD", "T": "PENDING", "Z": "/w", "jobid": "3", "name": "a-very-long-job-name-indeed"}
LONG = [
    ("jobid:.5,name:10,foo", "    3a-very-lon", ("foo",)),
    ("JobID:|,Name:", "3|a-very-long-job-name-indeed", ()),
    ("jobid:.4|,name,", "   3|a-very-long-job-name", ()),
]


def told(form: column_forms.Form) -> str:
    return form.template % tuple(CELLS[cell.name] for cell in form.cells)


@pytest.mark.parametrize(("text", "line", "unknown"), SHORT)
def test_a_format_of_letters_makes_the_line_that_slurm_makes(text: str, line: str, unknown: tuple[str, ...]) -> None:
    form = column_forms.short(text, "itTZ")
    assert (told(form), form.unknown) == (line, unknown)


@pytest.mark.parametrize(("text", "line"), UNCUT)
def test_durations_at_the_right_are_not_cut(text: str, line: str) -> None:
    assert told(column_forms.short(text, "itTZ", "T")) == line
    assert column_forms.short("%.3T", "T", "T").header % "STATE" == "STA"
    assert told(column_forms.long("name:.2,jobid:.1,name:3", ("jobid", "name"), ("name",))) == f"{CELLS['name']}3a-v"


@pytest.mark.parametrize(("text", "line", "unknown"), LONG)
def test_a_format_of_names_makes_the_line_that_slurm_makes(text: str, line: str, unknown: tuple[str, ...]) -> None:
    form = column_forms.long(text, ("jobid", "name"))
    assert (told(form), form.unknown) == (line, unknown)


def test_sized_columns_are_named_by_a_beginning() -> None:
    known = ("JobID", "JobIDRaw", "State", "User", "UserCPU")
    assert column_forms.sized("jobidr%5,job,state%-20, user,,state%.3,jobidraw", known) == [
        ("JobIDRaw", 5, False), ("JobID", None, False), ("State", 20, True), ("User", None, False),
        ("State", 0, False), ("JobIDRaw", None, False),
    ]  # fmt: skip
    with pytest.raises(Refused, match='Invalid field requested: "foo"'):
        column_forms.sized("foo%3", known)
