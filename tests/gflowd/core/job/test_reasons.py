import signal
import sys

import pytest

from gflowd.core import errors
from gflowd.core.job import reasons


@pytest.mark.skipif(sys.platform != "linux", reason="the table is that of Linux")
def test_signals_have_the_names_that_the_system_gives_them() -> None:
    named = [number for number in range(1, 65) if not reasons.signalled(number).endswith(f"SIG{number}")]
    assert named == list(range(1, 32)), "each but real-time signals"
    for number in named:
        assert reasons.signalled(number) == f"Signaled:{signal.Signals(number).name}"


def test_a_signal_without_a_name_is_shown_by_number() -> None:
    assert reasons.signalled(40) == "Signaled:SIG40"


def test_reasons_with_a_why() -> None:
    assert reasons.launch_failed("no tmux") == "LaunchFailed:no tmux"
    assert reasons.rejected("8 GPUs") == "Rejected:8 GPUs"


def test_a_very_long_why_is_clipped_where_neither_what_failed_nor_its_cause_is_lost() -> None:
    longest = "w" * reasons.LONGEST_WHY
    assert reasons.launch_failed(longest) == f"LaunchFailed:{longest}"
    for made in (reasons.launch_failed, reasons.rejected):
        why = made(f"cannot enter /{'d' * 3000}: No such file or directory").partition(":")[2]
        assert len(why) == reasons.LONGEST_WHY
        assert why.startswith("cannot enter /ddd")
        assert why.endswith("ddd: No such file or directory")
        assert "d...d" in why


def test_the_name_of_a_reason_is_what_comes_before_its_colon() -> None:
    assert [reasons.name(why) for why in (reasons.NEVER_QUOTA, reasons.launch_failed("no: sh"), reasons.ZOMBIE)] == [
        "Never", "LaunchFailed", "Zombie",
    ]  # fmt: skip


def test_the_words_of_the_manual() -> None:
    words = {reasons.BEGIN_TIME, reasons.RESOURCES, reasons.PRIORITY, reasons.DAEMON_DOWN, reasons.HELD_BY_USER}
    assert words == {"BeginTime", "Resources", "Priority", "DaemonDown", "JobHeldUser"}


def test_each_error_carries_its_exit_status() -> None:
    kinds = (errors.Refused, errors.BadUsage, errors.SystemFailed, errors.TryAgain)
    assert [kind.status for kind in kinds] == [1, 2, 3, 75]
    assert all(issubclass(kind, errors.GflowError) for kind in kinds)
