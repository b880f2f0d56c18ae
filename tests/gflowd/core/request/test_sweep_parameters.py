from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.errors import Refused
from gflowd.core.request import sweep_parameters
from gflowd.core.syntax import templates

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)


def values(text: str) -> list[str]:
    return [row[0] for row in sweep_parameters.parse_param(text).rows]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x=a,b,c", ["a", "b", "c"]),
        ("x=a, b", ["a", "b"]),
        ("x=0.10", ["0.10"]),
        ("x=a=b", ["a=b"]),
        ("x=org:name", ["org:name"]),
        ("x=12:00,13:00", ["12:00", "13:00"]),
        ("x=1:3", ["1", "2", "3"]),
        ("x=1:10:4", ["1", "5", "9"]),
        ("x=3:1:-1", ["3", "2", "1"]),
        ("x=-1:1", ["-1", "0", "1"]),
        ("x=5:5", ["5"]),
        ("x=0:1:0.1", ["0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1"]),
        ("x=1:0:-.25", ["1", "0.75", "0.5", "0.25", "0"]),
        ("x=-0.5:0.5:0.5", ["-0.5", "0", "0.5"]),
        ("x=1e-5:3e-5:1e-5", ["0.00001", "0.00002", "0.00003"]),
        ("x=1e3:3e3:1E+3", ["1000", "2000", "3000"]),
        ("x=0.5:2", ["0.5", "1.5"]),
        ("x=1.:2.", ["1", "2"]),
    ],
)
def test_what_a_parameter_means(text: str, found: list[str]) -> None:
    axis = sweep_parameters.parse_param(text)
    assert axis.names == ("x",)
    assert values(text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x", "is not a parameter"),
        ("=1", "cannot be a parameter's name"),
        ("1x=1", "cannot be a parameter's name"),
        ("a-b=1", "cannot be a parameter's name"),
        ("ä=1", "cannot be a parameter's name"),
        ("x=", "has an empty value"),
        ("x=a,,b", "has an empty value"),
        ("x=1:", "is not start:stop"),
        ("x=1:2:3:4", "is not start:stop"),
        ("x=1:.:2", "is not start:stop"),
        ("x=1:1e99", "is not start:stop"),
        ("x=1--2:3", "is not start:stop"),
        ("x=1:5:0", "has a step of 0"),
        ("x=1:5:0.0", "has a step of 0"),
        ("x=5:1", "the step has the wrong sign"),
        ("x=1:5:-1", "the step has the wrong sign"),
        ("x=1:1000001", "has 1000001 values; the limit is 1000000"),
        ("x=0:1:1e-30", "the limit is 1000000"),
        ("x=a\0", "NUL"),
        ("x=\udcff", "not valid UTF-8"),
    ],
)
def test_a_wrong_parameter_is_refused(text: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        sweep_parameters.parse_param(text)
    assert said in str(caught.value)


def test_values_in_a_list_have_a_limit_too() -> None:
    with pytest.raises(Refused, match="the limit is 1000000"):
        sweep_parameters.parse_param("x=" + "a," * 1_000_000 + "a")


@given(
    st.decimals(min_value=-5, max_value=5, places=2),
    st.integers(min_value=0, max_value=50),
    st.decimals(min_value=-1, max_value=1, places=3).filter(bool),
)
def test_a_range_does_not_drift(start: Decimal, steps: int, step: Decimal) -> None:
    found = values(f"x={start}:{start + steps * step}:{step}")
    assert [Decimal(value) for value in found] == [start + n * step for n in range(steps + 1)]
    assert all(value == f"{Decimal(value).normalize():f}" or Decimal(value) == 0 for value in found)


@pytest.mark.parametrize(
    ("text", "names", "rows"),
    [
        ("a,b\n1,2\n3,4\n", ("a", "b"), [("1", "2"), ("3", "4")]),
        ("a,b\r\n1,2\r\n", ("a", "b"), [("1", "2")]),
        ("\ufeffa\n1", ("a",), [("1",)]),
        (' a , b \n"x, y","say ""hi"""\n', ("a", "b"), [("x, y", 'say "hi"')]),
        ('a,b\n1, "x"\n', ("a", "b"), [("1", "x")]),
        ("\na\n\n1\n\n", ("a",), [("1",)]),
        ("a,b\n,\n", ("a", "b"), [("", "")]),
        ('a\n"two\nlines"\n', ("a",), [("two\nlines",)]),
        ("a\nform\x0cfeed\n", ("a",), [("form\x0cfeed",)]),
    ],
)
def test_what_a_parameter_file_means(text: str, names: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    axis = sweep_parameters.parse_csv(text)
    assert (axis.names, list(axis.rows)) == (names, rows)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no header"),
        ("\n\n", "there is no header"),
        ("a,b\n", "there is no row of values below the header"),
        ("0.1,0.2\n0.3,0.4\n", "'0.1' cannot be a parameter's name"),
        ("a,\n1,2\n", "'' cannot be a parameter's name"),
        ("a,b,a\n1,2,3\n", "the header names a twice"),
        ("a,b\n1,2\n3\n", "line 3 has 1 values, the header 2"),
        ("a,b\n1,2,3\n", "line 2 has 3 values, the header 2"),
        ('a\n"x\n', "line 3: unexpected end of data"),
        ('a\n1\n"x"y\n', "line 3: "),
        ("a\n1\r2\n", "line 2: "),
        ("a\n\0\n", "NUL"),
    ],
)
def test_a_wrong_parameter_file_is_refused_naming_the_line(text: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        sweep_parameters.parse_csv(text)
    assert said in str(caught.value)


@given(st.lists(NAMES, min_size=1, max_size=4, unique=True), st.data())
def test_a_written_table_reads_back(names: list[str], data: st.DataObject) -> None:
    import csv
    import io

    cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
    rows = data.draw(st.lists(st.tuples(*[cells] * len(names)), min_size=1, max_size=4))
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([names, *rows])
    axis = sweep_parameters.parse_csv(out.getvalue())
    assert (axis.names, list(axis.rows)) == (tuple(names), rows)


@pytest.mark.parametrize(
    ("template", "expanded"),
    [
        ("run_{lr}_{id}", "run_0.1_7"),
        ("{{lr}}", "{lr}"),
        ("{{{lr}}}", "{0.1}"),
        ("plain", "plain"),
        ("{odd}", "{lr}"),
    ],
)
def test_a_template_gets_the_values(template: str, expanded: str) -> None:
    assert templates.expand_template(template, {"lr": "0.1", "id": "7", "odd": "{lr}"}) == expanded


@pytest.mark.parametrize(
    ("template", "values", "said"),
    [
        ("{missing}", {"lr": "1", "id": "2"}, "uses 'missing', which is not a parameter (known: lr, id)"),
        ("{missing}", {}, "uses 'missing', which is not a parameter (there are no parameters)"),
        ("{lr:.2f}", {"lr": "1"}, "uses 'lr:.2f'"),
        ("{}", {"lr": "1"}, "uses ''"),
        ("{lr", {"lr": "1"}, "has a single {; write {{ for a brace"),
        ("lr}", {"lr": "1"}, "has a single }; write }} for a brace"),
    ],
)
def test_a_wrong_template_is_refused(template: str, values: dict[str, str], said: str) -> None:
    with pytest.raises(Refused) as caught:
        templates.expand_template(template, values)
    assert said in str(caught.value)


def test_a_command_keeps_every_brace_that_is_no_parameter() -> None:
    words = ("awk", "{print $1}", "--lr={lr}", "{{lr}}", "${HOME}", "{other}", "{lr", "{print}")
    assert templates.expand_command(words, {"lr": "0.1"}) == (
        "awk", "{print $1}", "--lr=0.1", "{0.1}", "${HOME}", "{other}", "{lr", "{print}",
    )  # fmt: skip


@given(st.lists(st.text(), max_size=4), st.dictionaries(NAMES, st.text(), max_size=3))
def test_a_command_without_its_parameters_stays_as_it_is(words: list[str], values: dict[str, str]) -> None:
    expanded = templates.expand_command(words, values)
    assert len(expanded) == len(words)
    for word, after in zip(words, expanded, strict=True):
        if not any(f"{{{name}}}" in word for name in values):
            assert after == word


@given(st.text())
def test_a_template_of_doubled_braces_is_the_text(text: str) -> None:
    assert templates.expand_template(text.replace("{", "{{").replace("}", "}}"), {}) == text


def test_blanks_at_the_end_of_a_value_do_not_count_unless_quoted() -> None:
    assert sweep_parameters.parse_csv('a , b\t\n1 ,2 \n"3 ",4\n5," 6" \n').rows == (
        ("1", "2"),
        ("3 ", "4"),
        ("5", " 6"),
    )


@pytest.mark.parametrize(
    ("text", "called"), [("a;b\n1;2\n", "semicolons"), ("a\tb\n1\t2\n", "tabs"), ("a|b\n1|2\n", "bars")]
)
def test_another_separator_is_named(text: str, called: str) -> None:
    with pytest.raises(Refused, match=f"separated by {called}, not by commas"):
        sweep_parameters.parse_csv(text)
