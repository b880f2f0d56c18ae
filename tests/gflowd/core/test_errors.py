from __future__ import annotations

from gflowd.core.errors import brief, meant


def test_an_error_gives_back_a_word_without_end_in_brief() -> None:
    said = brief(f"'{'x' * 130_000}' is not a list of jobs")
    assert len(said) < 600
    assert said.startswith("'xxx")
    assert said.endswith("xxx' is not a list of jobs")


def test_an_error_of_many_words_is_left_whole() -> None:
    said = f"no job {', '.join(map(str, range(1000)))}"
    assert brief(said) == said
    assert brief("no job 1") == "no job 1"


def test_a_word_that_nobody_knows_is_answered_with_the_one_that_is_like_it() -> None:
    assert meant("strt", ("stop", "start")) == " (did you mean start?)"
    assert meant("verb", ("verbose",), "--") == " (did you mean --verbose?)"
    assert meant("proj", ("project", "priority", "prio")) == " (did you mean project?)", "the only one that begins so"
    assert meant("stat", ("states", "start")) == " (did you mean states?)"
    assert meant("frobnicate", ("stop", "start")) == ""
