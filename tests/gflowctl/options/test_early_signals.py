from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gflowctl.options import signals
from gflowd.core.errors import Refused
from gflowd.core.job.model import EarlySignal

if TYPE_CHECKING:
    from support.ctl import Ctl


def early(number: int, before: float, *, command_only: bool = False) -> EarlySignal:
    return EarlySignal(number=number, before=before, command_only=command_only)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("USR1", early(10, 60)),
        ("USR1@5", early(10, 5)),
        ("sigusr2@90", early(12, 90)),
        ("15@1", early(15, 1)),
        ("B:TERM@30", early(15, 30, command_only=True)),
        ("b:10", early(10, 60, command_only=True)),
        ("INT@10m", early(2, 600)),
        ("INT@1.5s", early(2, 1.5)),
    ],
)
def test_a_warning_is_written_as_for_sbatch(text: str, meant: EarlySignal) -> None:
    assert signals.parse_early(text) == meant


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a signal"), ("NONE", "not a signal"), ("0", "not a signal"), ("99@5", "not a signal"),
        ("@5", "not a signal"),
        ("KILL@5", "cannot be caught"), ("STOP", "cannot be caught"), ("USR1@0", "before the time limit"),
        ("USR1@", "not a duration"), ("USR1@x", "not a duration"), ("USR1@-5", "not a duration"),
        ("USR1@99d", "before the time limit"), ("X:USR1", "not of the form"), ("B:B:USR1", "not of the form"),
        ("USR1@1:30", "not of the form"), ("USR1@" + "9" * 5000, "not a duration"), ("USR\u00b9", "not a signal"),
    ],
)  # fmt: skip
def test_what_warns_nobody_is_refused(text: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        signals.parse_early(text)


def test_it_is_kept_and_shown(ctl: Ctl) -> None:
    ctl.submit("--time", "1h", "--signal", "B:USR1@90", "true")
    assert ctl.spec(1).early_signal == early(10, 90, command_only=True)
    shown = " ".join(ctl.ok("show", "1").split())
    assert "Warning: SIGUSR1 90 s before the time limit, to the command alone" in shown
    assert ctl.jobs("1")[0]["early_signal"] == {"number": 10, "before": 90.0, "command_only": True}
    ctl.submit("true")
    assert ctl.jobs("2")[0]["early_signal"] is None
    assert "Warning" not in ctl.ok("show", "2")


def test_a_warning_before_the_start_is_refused(ctl: Ctl) -> None:
    assert "as it starts" in ctl.fails(1, "submit", "--time", "60s", "--signal", "USR1", "true")
    ctl.submit("--time", "61s", "--signal", "USR1", "true")
    assert "as it starts" in ctl.fails(1, "update", "1", "--time", "50s")
    assert "job 1: " in ctl.fails(1, "redo", "1", "--signal", "USR1@2m")


def test_without_a_time_limit_it_waits_for_one(ctl: Ctl) -> None:
    assert "the job has none (--time)" in ctl.run("submit", "--signal", "USR1", "true").stderr
    ctl.ok("update", "1", "--time", "2h")
    assert (ctl.spec(1).time_limit, ctl.spec(1).early_signal) == (7200, early(10, 60))


def test_it_can_be_changed_cleared_and_redone(ctl: Ctl) -> None:
    ctl.submit("--time", "1h", "true")
    ctl.run_job(1)
    ctl.ok("update", "1", "--signal", "TERM@30")
    assert ctl.spec(1).early_signal == early(15, 30)
    ctl.ok("update", "1", "--clear", "signal")
    assert ctl.spec(1).early_signal is None
    ctl.ok("update", "1", "--signal", "TERM@30")
    ctl.ok("redo", "1")
    ctl.ok("redo", "1", "--signal", "USR1@5")
    assert [ctl.spec(n).early_signal for n in (2, 3)] == [early(15, 30), early(10, 5)]


def test_nonsense_is_one_line(ctl: Ctl) -> None:
    assert "'ODD' is not a signal" in ctl.fails(2, "submit", "--signal", "ODD@5", "true")
