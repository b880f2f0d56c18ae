from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.execution import log_trimming
from gflowd.core.execution.log_trimming import BLOCK, SMALL_BLOCK, Mark

MIB = 1 << 20
sizes = st.integers(0, 1 << 44)
limits = st.integers(1024, 1 << 40) | st.integers(1024, 2 * MIB)


@given(sizes, limits)
def test_what_is_cut_brings_a_log_back_within_its_limit_and_leaves_both_its_ends(size: int, limit: int) -> None:
    piece = log_trimming.piece(size, limit)
    if piece is None:
        assert size <= limit
        return
    begin, end = piece
    block = BLOCK if limit >= 4 * BLOCK else SMALL_BLOCK if limit >= 4 * SMALL_BLOCK else 1
    assert begin % block == end % block == 0
    assert block <= begin < end < size
    assert begin <= limit // 2
    assert size - end >= min(limit // 4, log_trimming.LONGEST_END)
    assert size - (end - begin) <= limit
    assert len(log_trimming.line(end - begin, limit)) < begin


@given(st.integers(0, 1 << 62), st.integers(0, 1 << 62), limits)
def test_the_line_is_as_long_whatever_it_counts(one: int, other: int, limit: int) -> None:
    assert len(log_trimming.line(one, limit)) == len(log_trimming.line(other, limit))


def test_the_line_says_how_much_is_missing_and_why() -> None:
    said = log_trimming.line(12345, 100 * MIB)
    assert said.startswith(b"\n[gflow: ")
    assert b" 12345 bytes are cut out here; [logs] max_size is 100 MiB]\n" in said
    assert b"max_size is 100 KiB]\n" in log_trimming.line(1, 100 << 10)
    assert b"max_size is 1500 bytes]\n" in log_trimming.line(1, 1500)


@given(st.builds(Mark, sizes, sizes, sizes))
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert log_trimming.decode(log_trimming.encode(mark)) == mark


@given(st.binary(max_size=80))
def test_what_is_no_mark_is_none(text: bytes) -> None:
    found = log_trimming.decode(text)
    assert found is None or text.split() == log_trimming.encode(found).split() or b"0" in text


@pytest.mark.parametrize("text", [b"", b"1 2", b"1 2 x", b"1 2 3 4", b"1 2 -3", b"9" * 5000 + b" 1 1"])
def test_a_damaged_mark_is_none(text: bytes) -> None:
    assert log_trimming.decode(text) is None


@pytest.mark.parametrize(
    ("position", "goes_on"),
    [(0, 0), (50, 50), (99, 99), (100, 90), (120, 90), (199, 90), (200, 100), (250, 150)],
)
def test_a_reader_goes_on_at_the_same_byte_or_where_it_was_cut(position: int, goes_on: int) -> None:
    assert log_trimming.moved(position, 1000, Mark(90, 100, 1100)) == goes_on


def test_a_reader_stays_where_nothing_was_cut() -> None:
    assert log_trimming.moved(500, 1000, Mark(90, 100, 1000)) == 500


def test_a_log_is_looked_at_more_often_the_sooner_it_may_be_full() -> None:
    assert log_trimming.next_look(0, MIB, 0) == log_trimming.LATEST
    assert log_trimming.next_look(0, MIB, -5) == log_trimming.LATEST
    assert log_trimming.next_look(0, 1 << 40, 100) == 2048
    assert log_trimming.next_look(0, 1000, 1000) == 0.5
    assert log_trimming.next_look(MIB, MIB, 1e9) == log_trimming.SOONEST
    assert log_trimming.next_look(2 * MIB, MIB, 1e9) == log_trimming.SOONEST
