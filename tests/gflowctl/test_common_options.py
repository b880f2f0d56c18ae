"""What is the same for every command: its help by name, colour, a configuration file that is missing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gflowctl.main import COMMANDS, parser
from gflowd import command_line
from gflowd.core.errors import BadUsage

if TYPE_CHECKING:
    from support.ctl import Ctl

BOLD = "\x1b[1m"


def actions() -> list[tuple[str, ...]]:
    return [
        (name, *more)
        for name in COMMANDS
        for more in [(), *((each,) for each in command_line.actions_of(parser(name)))]
    ]


def test_help_shows_the_help_of_a_command_and_of_its_actions(ctl: Ctl) -> None:
    assert ctl.ok("help") == ctl.ok("--help") == ctl.ok("help", "help")
    for words in (("queue",), ("submit",), ("reserve", "create"), ("reserve",)):
        assert ctl.ok("help", *words) == ctl.ok(*words, "--help")
    assert ctl.ok("help", "q") == ctl.ok("queue", "--help")
    assert ctl.ok("help", "submit", "train.py") == ctl.ok("submit", "--help")
    assert "did you mean queue?" in ctl.fails(2, "help", "queeu")
    assert "did you mean create?" in ctl.fails(2, "help", "reserve", "creat")
    assert "gflowctl help COMMAND" in ctl.ok("help")


@pytest.mark.parametrize("words", [("submit", "--help"), ("reserve", "create", "--help"), ("reserve", "--help")])
def test_help_is_plain_text_whatever_python_would_make_of_it(ctl: Ctl, words: tuple[str, ...]) -> None:
    assert ctl.ok(*words) == ctl.ok(*words, env={**ctl.env, "FORCE_COLOR": "1"})
    assert "\x1b" not in ctl.on_a_terminal(*words)[0]


@pytest.mark.parametrize("words", actions(), ids=" ".join)
def test_colour_is_an_option_of_every_command(words: tuple[str, ...]) -> None:
    nested = parser(words[0])
    for word in words[1:]:
        nested = command_line.actions_of(nested)[word]  # type: ignore[assignment]
    assert "--color" in {name for action in nested._actions for name in action.option_strings}


def test_tables_are_coloured_where_that_is_asked_for_only(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.observe(gpus=[{"index": 0, "uuid": "a", "model": "m", "memory_mb": 1, "state": "idle", "links": ["X"]}])
    ctl.ok("quota", "set", "--user", "root", "--max-running-jobs", "1")
    ctl.ok("reserve", "create", "--user", "root", "--gpus", "1", "--start", "now+1h", "--for", "1h")
    shown = (
        ("queue",), ("show", "1"), ("info",), ("stats",), ("stats", "--by", "user"), ("quota", "list"),
        ("reserve", "list"), ("gpus", "topology"), ("doctor",),
    )  # fmt: skip
    for words in shown:
        assert BOLD in ctl.run(*words, "--color", "always").stdout or words == ("doctor",), words
        assert "\x1b" in ctl.run("--color", "always", *words).stdout, words
        assert "\x1b" not in ctl.run(*words).stdout, words
        assert "\x1b" not in ctl.run("--color", "always", *words, "--color", "never").stdout, words
    for words in (("queue", "--json"), ("stats", "--csv")):
        assert "\x1b" not in ctl.ok("--color", "always", *words)
    assert "choose from never, auto, always" in ctl.fails(2, "queue", "--color", "maybe")
    assert "choose from never, auto, always" in ctl.fails(2, "--color", "maybe", "queue")


def test_colour_concerns_no_line_of_a_submission(ctl: Ctl) -> None:
    line = json.dumps({"command": ["true"], "color": "never"})
    assert "color applies to all jobs together" in ctl.fails(1, "submit", "--from", "-", input=line)


@pytest.mark.parametrize("words", [("queue",), ("submit", "true"), ("cancel", "1"), ("show", "1"), ("config", "show")])
def test_a_configuration_file_that_is_named_must_be_there(ctl: Ctl, words: tuple[str, ...]) -> None:
    ctl.submit("true")
    missing = str(ctl.home / "nope.toml")
    assert ctl.fails(1, "--config", missing, *words) == f"{missing}: No such file or directory"
    assert ctl.fails(1, words[0], "--config=nope.toml", *words[1:]) == f"{missing}: No such file or directory"
    said = ctl.fails(1, *words, env={**ctl.env, "GFLOW_CONFIG": missing})
    assert said == f"{missing}: No such file or directory"
    assert len(ctl.jobs()) == 1


def test_what_helps_to_mend_that_works_without(ctl: Ctl) -> None:
    missing = str(ctl.home / "nope.toml")
    assert f"FAIL  {missing}: No such file or directory" in ctl.run("--config", missing, "doctor").stdout
    assert ctl.run("--config", missing, "queue", "--help").returncode == 0
    assert ctl.ok("--config", missing, "completion", "bash")


def test_two_dashes_are_the_value_of_an_option_like_any_other(ctl: Ctl) -> None:
    plain = command_line.Parser()
    plain.add_argument("--name", type=str.upper)
    plain.add_argument("--kind", choices=("a", "b"))
    assert plain.parse_args(["--name=--"]).name == "--"
    with pytest.raises(BadUsage, match="invalid choice: '--'"):
        plain.parse_args(["--kind=--"])
    assert "is not a number" in ctl.fails(2, "queue", "--limit=--")
    assert ctl.spec(ctl.submit("--comment=--", "--", "true")).comment == "--"


def test_json_of_a_path_that_is_not_utf_8_can_be_read(ctl: Ctl) -> None:
    place = str(ctl.home / "a\udc80b")
    shown = json.loads(ctl.ok("config", "show", "--json", "--state-dir", place))
    assert place in json.dumps(shown, ensure_ascii=False)
    done = ctl.run("doctor", "--json", "--state-dir", place)
    assert any(place in each["text"] for each in json.loads(done.stdout)), done
