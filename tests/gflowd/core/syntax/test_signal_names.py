import signal
import sys

import pytest

from gflowd.core.syntax import signal_names

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the table is that of Linux")


@LINUX
def test_every_signal_of_the_system_has_its_name() -> None:
    plain = set(signal.Signals) - {signal.SIGRTMIN, signal.SIGRTMAX}
    assert len(plain) == 31
    assert {number: signal_names.name(number) for number in plain} == {number: number.name for number in plain}


@LINUX
def test_every_name_that_the_system_has_is_understood_second_names_too() -> None:
    for name, number in signal.Signals.__members__.items():
        for text in (name, name.lower(), name.removeprefix("SIG"), str(int(number)), f"SIG{int(number)}"):
            assert signal_names.number(text) == number


def test_a_name_leads_back_to_its_number() -> None:
    for number in (*range(1, 32), *range(signal_names.RTMIN, signal_names.RTMAX + 1)):
        assert signal_names.number(signal_names.name(number)) == number


def test_real_time_signals_go_by_number_or_by_their_place() -> None:
    assert [signal_names.name(number) for number in (34, 40, 64)] == ["SIG34", "SIG40", "SIG64"]
    assert [signal_names.number(text) for text in ("40", "SIG40", "RTMIN+6", "sigrtmax-24")] == [40] * 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIG",
        "SIGSIGINT",
        "0",
        "32",
        "33",
        "65",
        "010",
        "-1",
        "RTMIN-1",
        "RTMIN+",
        "RTMIN+31",
        "RTMAX+1",
        "RTMAX-31",
    ],
)
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a signal"):
        signal_names.number(text)
