"""Nonsense in the options of a job is one clear line, and nothing is queued."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl

Words = tuple["str | bytes", ...]
WRONG: list[tuple[int, Words, str]] = [
    (1, ("-a", "1-"), "--array: '1-' is not an index or range"),
    (1, ("-a", "5-1"), "--array: '5-1' runs backwards"),
    (1, ("-a", "1-5%0"), "'0' after % must be a number of elements"),
    (1, ("-a", "1-5%"), "'' after % must be a number of elements"),
    (1, ("-a", "1-5:0"), "has a step of 0"),
    (1, ("-a", "1-2000000"), "2000000 elements are too many"),
    (1, ("-a", ""), "'' is not an index"),
    (1, ("-d", "99"), "no job 99"),
    (1, ("-d", "1_9"), "no job 1_9"),
    (1, ("-d", "1_[2-9]"), "no job 1_[4-9]"),
    (1, ("-d", "2-9"), "no job 4-9"),
    (1, ("-d", "aftercorr:1_7"), "no job 1_7"),
    (1, ("-a", "1-5", "-d", "aftercorr:1"), "aftercorr:1: no job 1_[4-5]"),
    (1, ("--param", "x=1:9", "-d", "aftercorr:1"), "aftercorr:1: no job 1_[0,4-8]"),
    (1, ("-d", "afterwards:1"), "'afterwards' is not a kind of dependency"),
    (2, ("--max-retries", "-1"), "--max-retries: '-1' is not a number from 0"),
    (2, ("--max-retries", "some"), "--max-retries: 'some' is not a number"),
    (2, ("--max-retries", "1", "--retry-on", "weather"), "'weather' is not a kind of failure"),
    (2, ("--max-retries", "1", "--retry-on", "256"), "'256' is not a kind of failure"),
    (2, ("--max-retries", "1", "--retry-delay", "5sx0"), "'0' is not a factor"),
    (1, ("--param-file", "headless.csv"), "cannot be a parameter's name; the first line must name the columns"),
    (1, ("--param-file", "ragged.csv"), "line 3 has 1 values, the header 2"),
    (1, ("--param-file", "bare.csv"), "there is no row of values below the header"),
    (1, ("--param-file", "missing.csv"), "No such file"),
    (1, ("--param-file", "."), "Is a directory"),
    (1, ("--param-file", "twice.csv"), "the header names a twice"),
    (1, ("--param", "x=1", "--param", "x=2"), "the parameter x is given twice"),
    (1, ("--param", "a=1", "--param-file", "good.csv"), "the parameter a is given twice"),
    (1, ("--param", "x=1,2", "--name-template", "{missing}"), "uses 'missing', which is not a parameter"),
    (1, ("--param", "x=1,,2"), "the parameter x has an empty value"),
    (1, ("--param", "1x=1"), "'1x' cannot be a parameter's name"),
    (1, ("--param", b"x=\xff"), "is not valid UTF-8"),
    (1, ("-n", b"\xff\xfe"), "is not valid UTF-8"),
    (1, ("--comment", b"\xff"), "is not valid UTF-8"),
    (2, ("--conda-env", "-x"), "conda-env"),
]


@pytest.fixture
def array(ctl: Ctl) -> Ctl:
    """An array of three, and tables."""
    ctl.ok("submit", "-a", "1-3", "true")
    for name, content in (
        ("headless", "0.1,2\n3,4\n"), ("ragged", "a,b\n1,2\n3\n"), ("bare", "a,b\n"), ("good", "a,b\n1,2\n"),
        ("twice", "a,a\n1,2\n"),
    ):  # fmt: skip
        (ctl.home / f"{name}.csv").write_text(content)
    return ctl


@pytest.mark.parametrize(("status", "words", "said"), WRONG, ids=lambda value: str(value)[:40])
def test_it_is_refused_and_nothing_is_queued(array: Ctl, status: int, words: Words, said: str) -> None:
    before = os.stat(array.state.snapshot)
    line = array.fails(status, "submit", *words, "true")
    assert said in line
    assert len(line) < 300
    assert line.isprintable()
    after = os.stat(array.state.snapshot)
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x" * 131072, "is 131072 bytes long; the limit is 131071"),
        (f"{'x' * 100_000} " * 21, "the limit is 2000000"),
        ("a\0b", "contains a NUL character"),
    ],
)
def test_what_no_kernel_would_run_comes_by_a_table_too(array: Ctl, content: str, said: str) -> None:
    """No argument list holds two megabytes or a NUL, but a table of parameters may make one."""
    words = content.split(" ")
    (array.home / "large.csv").write_text(f"{','.join(f'p{n}' for n in range(len(words)))}\n{','.join(words)}\n")
    line = array.fails(
        1, "submit", "--param-file", "large.csv", "--", "echo", *(f"{{p{n}}}" for n in range(len(words)))
    )
    assert said in line
    assert len(array.jobs()) == 3


def test_two_megabytes_on_the_command_line_are_refused(array: Ctl) -> None:
    line = array.fails(1, "submit", "--", "echo", *["x" * 99_990] * 20, env={**array.env, "FILL": "y" * 10_000})
    assert "the limit is 2000000" in line
    assert len(array.jobs()) == 3
