"""What is said of a mistyped option, wherever it stands: on the command line, in a head, in a line of --from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("submit", "--gpsu", "1", "true"), "--gpus"),
        (("submit", "-gpus", "1", "true"), "--gpus"),
        (("submit", "-c", "x", "true", "-name"), None),
        (("queue", "--stat", "running"), None),  # --states or --start
        (("queue", "--statess", "running"), "--states"),
        (("queue", "--proj", "a"), "--project"),
        (("--confg", "x", "queue"), "--config"),
        (("reserve", "creat"), "create"),
        (("reserve", "create", "--strat", "1"), "--start"),
        (("update", "--tiem=3", "1", "--gpsu"), "--time"),
        (("gpus", "ignore", "--gup", "1"), "--gpu"),
        (("completion", "basj"), "bash"),
        (("submit", "--executor", "tmx", "true"), "tmux"),
        (("update", "--clear", "tiem", "1"), "time"),
    ],
)
def test_a_suggestion_is_made(ctl: Ctl, words: tuple[str, ...], meant: str | None) -> None:
    ctl.submit("true")
    said = ctl.fails(1 if "--clear" in words else 2, *words)
    if meant is None:
        assert said.count("did you mean") == ("--stat" in words)
    else:
        assert f"(did you mean {meant}?)" in said, said


@pytest.mark.parametrize(
    ("line", "meant"),
    [("# GFLOW --gpsu=1", "--gpus"), ("#SBATCH --tiem=3", "--time"), ("#SBATCH --cpu-per-task=3", "--cpus-per-task")],
)
def test_a_suggestion_is_made_for_the_head_of_a_script(ctl: Ctl, line: str, meant: str) -> None:
    (ctl.home / "a.sh").write_text(f"#!/bin/sh\n{line}\ntrue\n")
    assert f"(did you mean {meant}?)" in ctl.fails(1, "submit", "a.sh")
