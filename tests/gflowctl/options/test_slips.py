"""What is said of a mistyped option, wherever it stands: on the command line, in a head, in a line of --from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl

VAIN_SIGNAL = "gflowctl: note: --signal is sent before a time limit, but the job has none (--time)\n"


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


@pytest.mark.parametrize("words", [("--notify-on", "bogus"), ("--mail-type", "end,bogus"), ("--notify-on", ",")])
def test_an_event_that_does_not_exist_is_refused(ctl: Ctl, words: tuple[str, ...]) -> None:
    said = ctl.fails(2, "submit", *words, "true")
    assert "is not an event; the events are begin, end, fail, " in said
    (ctl.home / "a.sh").write_text(f"#!/bin/sh\n# GFLOW --mail-type={words[1]}\ntrue\n")
    assert "a.sh: line 2: --notify-on/--mail-type: " in ctl.fails(1, "submit", "a.sh")
    assert "did you mean begin?" in ctl.fails(2, "submit", "--notify-on", "begins", "true")


def test_every_event_of_slurm_is_known(ctl: Ctl) -> None:
    words = (
        "none",
        "begin",
        "END",
        "FAIL",
        "requeue",
        "ALL",
        "invalid_depend",
        "STAGE_OUT",
        "time_limit",
        "array_tasks",
    )
    shares = ("TIME_LIMIT_90", "time-limit-80", "TIME_LIMIT_50")
    ctl.submit("--mail-type", ",".join(words + shares), "true")
    assert ctl.spec(1).notify_on[:2] == ("none", "begin")


def test_a_warning_before_no_limit_is_told_wherever_the_option_stands(ctl: Ctl) -> None:
    (ctl.home / "a.sh").write_text("#!/bin/sh\n# GFLOW --signal USR1@60\ntrue\n")
    (ctl.home / "b.sh").write_text("#!/bin/sh\n#SBATCH --signal=B:USR1@60\ntrue\n")
    (ctl.home / "c.sh").write_text("#!/bin/sh\n#SBATCH --signal=B:USR1@60 --time=5\ntrue\n")
    line = json.dumps({"command": ["true"], "signal": "USR1"})
    for words in (("--signal", "USR1", "true"), ("a.sh",), ("b.sh",), ("--from", "-")):
        done = ctl.run("submit", *words, input=line)
        assert done.stderr == VAIN_SIGNAL
    for words in (("--time", "5", "a.sh"), ("c.sh",)):
        assert ctl.ok("submit", *words)


def test_a_warning_before_no_limit_is_told_by_every_command_that_gives_one(ctl: Ctl) -> None:
    assert ctl.run("submit", "--dry-run", "--signal", "USR1", "true").stderr == VAIN_SIGNAL
    ctl.submit("-t", "5", "--signal", "USR1", "true")
    assert ctl.run("redo", "1").stderr == ""
    assert ctl.run("redo", "1", "-t", "0").stderr == VAIN_SIGNAL
    assert ctl.run("update", "1", "--clear", "time").stderr == VAIN_SIGNAL
    assert ctl.run("update", "1", "--clear", "signal").stderr == ""
    assert ctl.run("update", "1", "--signal", "INT@5").stderr == VAIN_SIGNAL
