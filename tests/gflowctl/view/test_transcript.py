from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowctl.view.transcript import Transcript

ASKED = b"\x1b[c\x1b[6n"
ECHOED = b"^[[?1;2c^[[1;1R"
PAIRS = [
    (b"\x1b[c", b"^[[?1;2c"), (b"\x1b[0c", b"^[[?1;2;4c"), (b"\x1b[>c", b"^[[>84;0;0c"), (b"\x1b[5n", b"^[[0n"),
    (b"\x1b[6n", b"^[[24;80R"), (b"\x1b[?6n", b"^[[?24;80R"), (b"\x1b[>q", b"^[P>|tmux 3.3a^[\\"),
    (b"\x1b[18t", b"^[[8;50;200t"), (b"\x1b[?2026$p", b"^[[?2026;2$y"),
    (b"\x1b]11;?\x07", b"^[]11;rgb:0000/0000/0000^G"), (b"\x1b]10;?\x1b\\", b"^[]10;rgb:ffff/ffff/ffff^[\\"),
    (b"\x1bP$qm\x1b\\", b"^[P1$r0m^[\\"),
]  # fmt: skip


def said(*pieces: bytes) -> bytes:
    transcript = Transcript()
    return b"".join([*map(transcript.feed, pieces), transcript.finish()])


@pytest.mark.parametrize(("question", "answer"), PAIRS)
def test_an_answer_is_left_out_and_its_question_is_not(question: bytes, answer: bytes) -> None:
    whole = b"a" + question + b"b\r\nc" + answer + b"d\r\n"
    assert said(whole) == b"a" + question + b"b\ncd\n"
    for place in range(len(whole)):
        assert said(whole[:place], whole[place:]) == b"a" + question + b"b\ncd\n", place
    assert said(*(bytes([each]) for each in whole)) == b"a" + question + b"b\ncd\n"


@pytest.mark.parametrize(("_question", "answer"), PAIRS)
def test_what_nobody_asked_for_is_the_job_s_own(_question: bytes, answer: bytes) -> None:
    assert said(b"see " + answer + b"\r\n") == b"see " + answer + b"\n"
    assert said(ASKED, ECHOED + answer) == ASKED + answer


def test_questions_before_the_part_that_is_shown_count() -> None:
    transcript = Transcript()
    transcript.pass_over(ASKED + b"\r\nx\x1b[")
    assert transcript.feed(ECHOED + b"end\r\n") + transcript.finish() == b"end\n"


def test_half_a_question_is_shown_at_the_end() -> None:
    assert said(b"a\r", b"b\x1b[3", b"") == b"a\rb\x1b[3"


TEXT = st.lists(
    st.sampled_from([b"a", b"^", b"[", b"\x1b", b"\r", b"\n", b"c", b"1;1R", b"^[[", b"]11;", b"P>|", b"\\"])
)


@given(TEXT, st.lists(st.integers(0, 40), max_size=5))
def test_how_it_comes_in_pieces_makes_no_difference(words: list[bytes], cuts: list[int]) -> None:
    whole = ASKED + b"".join(words)
    places = sorted({min(cut, len(whole)) for cut in cuts})
    pieces = [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]
    assert said(*pieces) == said(whole)


@given(TEXT)
def test_without_a_question_only_line_ends_change(words: list[bytes]) -> None:
    whole = b"".join(words).replace(b"\x1b", b"")
    assert said(whole) == whole.replace(b"\r\n", b"\n")
