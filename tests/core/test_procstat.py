import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core import procstat
from gflowd.core.model import Identity

LINE = "42 (sh) S 7 42 40 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3\n"


def test_a_line_of_proc_is_read() -> None:
    found = procstat.parse(LINE)
    assert found == procstat.Process(pid=42, parent=7, session=40, start=98765, zombie=False)
    assert found is not None
    assert found.identity("boot") == Identity("boot", 42, 98765)


@pytest.mark.parametrize("name", ["a b", ")", "(", ") S 1 1 1", "a\nb", "((x) ) R 2", ""])
def test_a_name_cannot_mislead(name: str) -> None:
    assert procstat.parse(LINE.replace("(sh)", f"({name})")) == procstat.parse(LINE)


@pytest.mark.parametrize(("state", "zombie"), [("Z", True), ("X", True), ("R", False), ("D", False), ("T", False)])
def test_a_corpse_is_told_from_the_living(state: str, zombie: bool) -> None:
    found = procstat.parse(LINE.replace(" S ", f" {state} "))
    assert found is not None
    assert found.zombie is zombie


@pytest.mark.parametrize(
    "line",
    [
        "", "42", "42 (sh)", "42 (sh) S 7 42 40", "x (sh) S 7 42 40 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 9 1",
        LINE.replace("98765", "soon"), LINE.replace("98765", str(1 << 64)), LINE.replace("42 (", f"{1 << 40} ("),
        LINE.replace("42 (", "0 ("), LINE.replace("42 (", "-42 ("), LINE.replace("98765", "-1"),
    ],
)  # fmt: skip
def test_what_is_no_process_is_none(line: str) -> None:
    assert procstat.parse(line) is None


@given(st.text())
def test_no_text_raises(text: str) -> None:
    procstat.parse(text)
    procstat.parse(LINE.replace("98765", text))


def test_the_kernel_agrees() -> None:
    with open("/proc/self/stat", encoding="ascii") as file:
        found = procstat.parse(file.read())
    assert found is not None
    assert (found.pid, found.parent, found.session) == (os.getpid(), os.getppid(), os.getsid(0))
