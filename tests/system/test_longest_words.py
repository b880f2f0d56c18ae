"""The longest arguments and variables that are accepted can be run with all that gflow adds; a byte more is refused."""

from __future__ import annotations

import json
import re

import pytest
from support.machine import Machine

LONGEST = 131_071  # bytes that the kernel takes in one string
ALL = 2_000_000  # bytes that are accepted in all
COUNT = "env | grep -c ^{}="


def test_the_longest_argument_arrives_and_a_byte_more_is_refused(either: Machine) -> None:
    """By --from, since gflowctl's own arguments can be no longer."""
    line = json.dumps({"command": ["sh", "-c", "echo ${#1}", "sh", "x" * LONGEST]})
    assert either.result("--from", "-", input=line) == f"{LONGEST}\n"
    line = json.dumps({"command": ["echo", "x" * (LONGEST + 1)]})
    assert f"{LONGEST + 1} bytes long; the limit is {LONGEST}" in either.refused(1, "submit", "--from", "-", input=line)


@pytest.mark.parametrize("name", ["EXPORTED", "UID"])  # sh cannot export the latter, env(1) can
def test_the_longest_variable_arrives(either: Machine, name: str) -> None:
    env = {**either.env, name: "x" * (LONGEST - len(name) - 1)}
    assert either.result("sh", "-c", COUNT.format(name), env=env) == "1\n"


def test_all_that_is_accepted_together_can_be_started_and_a_byte_more_is_refused(either: Machine) -> None:
    words = ("sh", "-c", COUNT.format("V[0-9]*"))
    most = 100_000

    def env() -> dict[str, str]:
        return {**either.env, "V0": "x" * most, **{f"V{number}": "x" * 100_000 for number in range(1, 20)}}

    for _ in range(2):  # the variables alone, then with the command
        told = re.search(rf"take (\d+) bytes; the limit is {ALL}", either.refused(1, "submit", *words, env=env()))
        assert told is not None
        most -= int(told[1]) - ALL
    assert either.result(*words, env=env()) == "20\n"
    most += 1
    assert f"take {ALL + 1} bytes" in either.refused(1, "submit", *words, env=env())
