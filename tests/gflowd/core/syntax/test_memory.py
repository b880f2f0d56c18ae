import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.errors import Refused
from gflowd.core.syntax import memory


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("512", 512),
        ("800M", 800),
        ("24G", 24 * 1024),
        ("1.5T", 1536 * 1024),
        ("24g", 24 * 1024),
        ("24GB", 24 * 1024),
        ("24GiB", 24 * 1024),
        ("24 G", 24 * 1024),
        (" 8M ", 8),
        ("1k", 1),
        ("1025K", 2),
        ("0.1G", 103),
        ("0", 0),
    ],
)
def test_the_forms_of_the_manual(text: str, mib: int) -> None:
    assert memory.parse(text) == mib


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "G", "-1", "+1", "1P", "1.G", ".5G", "1e3", "inf", "nan", "1,5G", "1GG", "٣G", "1\N{KELVIN SIGN}",
        "\N{EM SPACE}1", "9" * 40, "9" * 400, "9" * 400 + "G", "9" * 5000, "1\n2", "\0", "2000000T",
    ],
)  # fmt: skip
def test_nonsense_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        memory.parse(text)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 200


@given(st.text() | st.text(alphabet="0123456789.kKmMgGtTiIbB ", max_size=12))
def test_any_text_is_memory_or_refused(text: str) -> None:
    try:
        mib = memory.parse(text)
    except Refused:
        return
    assert 0 <= mib <= memory.LARGEST


@given(st.integers(0, memory.LARGEST))
def test_what_is_shown_is_read_back(mib: int) -> None:
    assert memory.parse(memory.show(mib)) == mib


@pytest.mark.parametrize(
    ("mib", "shown"), [(0, "0M"), (800, "800M"), (1024, "1G"), (1536, "1.5G"), (1500, "1500M"), (1536 * 1024, "1.5T")]
)
def test_the_shortest_exact_form_is_shown(mib: int, shown: str) -> None:
    assert memory.show(mib) == shown


def test_bytes_are_exact_where_whole_mebibytes_are_not() -> None:
    assert [memory.parse_bytes(text) for text in ("1", "100K", "1.5M", "1K")] == [1 << 20, 100 << 10, 3 << 19, 1024]
