import pytest

from gflowd.core.errors import Refused
from gflowd.core.progress import report
from gflowd.core.progress.report import LONGEST_TEXT, Report


@pytest.mark.parametrize(
    ("word", "part"),
    [("0.4", 0.4), ("0", 0.0), ("1", 1.0), ("1.", 1.0), (".5", 0.5), ("40%", 0.4), ("12.5%", 0.125), ("100%", 1.0),
     ("4/10", 0.4), ("0/3", 0.0), ("3/3", 1.0), ("1.5/3", 0.5)],
)  # fmt: skip
def test_a_fraction_is_a_number_a_percentage_or_a_count(word: str, part: float) -> None:
    assert report.fraction(word) == pytest.approx(part)


@pytest.mark.parametrize(
    "word",
    ["", "x", "-1", "+1", "1.1", "40", "101%", "4/3", "4/0", "0/0", "0/0.0", "0/", "/3", "nan", "inf", "1e-3", "0,4",
     "٤%", "40%%", "4/10/2", "4/10%", " 1", "9" * 400, "0." + "1" * 400, "1_0%", "."],
)  # fmt: skip
def test_nothing_else_is(word: str) -> None:
    with pytest.raises(Refused, match="is not a part of a whole") as caught:
        report.fraction(word)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"0.4 epoch 4/10\n", Report(0.4, "epoch 4/10")),
        (b"4/10", Report(0.4)),
        (b"  40%\tloss  0.3 \r\nmore\n", Report(0.4, "loss 0.3")),
        (b"1 \x1b[31mred\x07\x00 \xe2\x80\xaeback \xff\n", Report(1.0, "?[31mred?? ?back \ufffd")),
        (b"0.5 " + b"x" * 5000, Report(0.5, "x" * LONGEST_TEXT)),
        (b"0.5 " + b"a   " * 300, Report(0.5, " ".join("a" * 100))),
        (b"", None), (b"\n0.4\n", None), (b"loading data\n", None), (b"\x00\xff" * 4000, None), (b" " * 5000, None),
    ],
)  # fmt: skip
def test_whatever_a_file_holds_is_a_line_that_can_be_shown_or_nothing(data: bytes, found: Report | None) -> None:
    assert report.parse(data) == found


def test_what_is_written_is_read() -> None:
    for part, text in (
        (1 / 3, "epoch 1/3"),
        (0.0, ""),
        (1 - 1e-9, ""),
        (1.0, "ä\n b\udcff"),
        (0.999999, "x" * 999),
        (1e-5, "1/100000"),
        (1e-7, ""),
    ):
        line = report.line(Report(part, text))
        assert len(line) <= report.LARGEST
        assert line.count(b"\n") == 1
        read = report.parse(line)
        assert read is not None
        assert (read.fraction < 1) == (part < 1)
        assert (read.fraction, read.text) == (pytest.approx(part, abs=1e-6), report.printable(text))


def test_a_hundred_percent_is_all() -> None:
    assert [report.percent(part) for part in (0.0, 0.29, 0.999, 1.0)] == ["0%", "29%", "99%", "100%"]
