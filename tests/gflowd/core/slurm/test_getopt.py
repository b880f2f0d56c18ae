"""Options as getopt_long(3) reads them."""

from __future__ import annotations

import pytest

from gflowd.core.errors import Refused
from gflowd.core.slurm.getopt import Grammar

PROGRAM = Grammar(
    "prog",
    short={"H": "hold", "n": "number", "k": "kill", "q": "quiet"},
    flags=("hold", "quiet", "steps"),
    valued=("number", "name", "state"),
    may_have_value=("kill",),
    aliases={"tasks": "number", "numero": "number"},
)


@pytest.mark.parametrize(
    ("words", "options", "operands"),
    [
        ("-n4 1", [("number", "4")], ["1"]),
        ("-n 4 1", [("number", "4")], ["1"]),
        ("--number=4 --nu 5 --tas=6", [("number", "4"), ("number", "5"), ("number", "6")], []),
        ("-Hqn4", [("hold", None), ("quiet", None), ("number", "4")], []),
        ("-k 1 -k2 --kill=3", [("kill", None), ("kill", "2"), ("kill", "3")], ["1"]),
        ("1 --name x 2 -H", [("name", "x"), ("hold", None)], ["1", "2"]),
        ("--name= - -- -H", [("name", "")], ["-", "-H"]),
        ("--name -H", [("name", "-H")], []),
    ],
)
def test_words_are_options_or_operands(words: str, options: list[object], operands: list[str]) -> None:
    assert PROGRAM.parse(words.split()) == (options, operands)


def test_the_first_operand_may_end_the_options() -> None:
    assert PROGRAM.parse(["-H", "x.sh", "-H", "--name"], mixed=False) == ([("hold", None)], ["x.sh", "-H", "--name"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-x", "-x: not an option of prog"),
        ("--nam3", "--nam3: not an option of prog (did you mean --name?)"),
        ("--n 1", "--n: may be any of --name, --number"),
        ("--hold=1", "--hold=1: takes no value"),
        ("--name", "--name: its value is missing"),
        ("-n", "-n: its value is missing"),
    ],
)
def test_what_is_no_option_is_named(words: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        PROGRAM.parse(words.split())
    assert str(caught.value) == said
