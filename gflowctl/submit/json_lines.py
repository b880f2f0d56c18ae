"""Jobs as lines of JSON, each an object of long options and `command`: what `submit --from` reads."""

from __future__ import annotations

import argparse
import json
import sys

from gflowctl.options.job_options import Gpus
from gflowd.core.errors import BadUsage, GflowError, Refused, meant
from gflowd.core.request import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from gflowctl.submit.drafting import Draft, Drafter
    from gflowd.command_line import Parser

LARGEST_LINE = validation.LARGEST_SCRIPT  # bytes
LONGEST_ERROR = 200  # characters: a wrong value may be as long as a line
FOR_ALL = frozenset(
    {
        "color", "config", "daemon", "dry-run", "follow", "from", "help", "ignore-unknown-directives", "json",
        "parsable", "skip-if-queued", "state-dir", "version", "wait",
    }
)  # fmt: skip  # options that say nothing of one job


def drafts(drafter: Drafter, path: str) -> Iterator[Draft]:
    """The job of each line of a file, `-` for standard input; blank lines are skipped. Raises `Refused` naming the
    line.
    """
    reader = Reader(drafter.parser)
    for number, line in enumerate(_lines(path), 1):
        if line.isspace():
            continue
        where = f"line {number}: " if path == "-" else f"{path}: line {number}: "
        try:
            yield drafter.draft(reader.options(line), where)
        except BadUsage as error:
            raise Refused(f"{where}{error}") from None
        except GflowError as error:
            raise type(error)(f"{where}{error}") from None


def _lines(path: str) -> Iterator[bytes]:
    try:
        with sys.stdin.buffer if path == "-" else open(path, "rb") as file:
            while line := file.readline(LARGEST_LINE + 1):
                yield line
    except OSError as error:
        raise Refused(f"--from {path}: {error.strerror}") from None
    except ValueError:
        raise Refused("--from: the name contains a NUL character") from None


class Reader:
    """Reads lines. Caches parsed values, since most lines have the same values for most options."""

    def __init__(self, parser: Parser) -> None:
        self._actions = {
            name.removeprefix("--"): action
            for action in parser.actions
            for name in action.option_strings
            if name.startswith("--")
        }
        self._known: dict[tuple[str, type, Any], Any] = {}

    def options(self, line: bytes) -> dict[str, Any]:
        """The values that a line gives, by option. Raises `Refused`."""
        raw = _object(line)
        command = raw.pop("command", None)
        found: dict[str, Any] = {}
        for key, value in raw.items():
            if value is not None:
                name = key.replace("_", "-")
                action = self._action(name, key)
                given = self._value(name, value)
                found |= _gpus(name, given) if isinstance(action, Gpus) else {action.dest: given}
        if command is None and "wrap" in found:
            return found
        if "wrap" in found:
            raise Refused("give either command or wrap, not both")
        if isinstance(command, str):
            return found | {"wrap": command}
        if isinstance(command, list) and command and all(isinstance(word, str) for word in command):
            return found | {"command": command}
        raise Refused("command is missing: give a list of strings, or a string for sh -c")

    def _action(self, name: str, key: str) -> argparse.Action:
        action = self._actions.get(name)
        if action is None:
            raise Refused(f"no option {key[:40]!r}{meant(name, self._actions)}")
        if name in FOR_ALL:
            raise Refused(f"{name} applies to all jobs together; give it on the command line")
        return action

    def _value(self, name: str, value: Any) -> Any:
        """The value of an option. Lists are joined by commas, as on the command line."""
        if isinstance(value, list | dict):
            return self._convert(name, value)
        key = (name, type(value), value)
        if key not in self._known:
            self._known[key] = self._convert(name, value)
        return self._known[key]

    def _convert(self, name: str, value: Any) -> Any:
        action = self._actions[name]
        if action.nargs == 0:
            if not isinstance(value, bool):
                raise Refused(f"{name} is true or false")
            return value
        if action.dest == "param":
            return _params(value)
        text = _text(name, value)
        try:
            found = action.type(text) if callable(action.type) else text
        except argparse.ArgumentTypeError as error:
            raise Refused(f"{name}: {str(error)[:LONGEST_ERROR]}") from None
        if action.choices is not None and found not in action.choices:
            raise Refused(f"{name}: {text!r} is none of {', '.join(action.choices)}")
        return found


def _gpus(name: str, text: str) -> dict[str, Any]:
    try:
        return Gpus.fields(text, f"--{name}")
    except argparse.ArgumentTypeError as error:
        raise Refused(f"{name}: {str(error)[:LONGEST_ERROR]}") from None


def _object(line: bytes) -> dict[str, Any]:
    if len(line) > LARGEST_LINE:
        raise Refused(f"longer than {LARGEST_LINE >> 20} MiB")
    try:
        found = json.loads(line)
    except UnicodeDecodeError:
        raise Refused("not valid UTF-8") from None
    except ValueError as error:
        raise Refused(f"not JSON: {str(error)[:80]}") from None
    except RecursionError:
        raise Refused("JSON is nested too deeply") from None
    if not isinstance(found, dict):
        raise Refused('not a JSON object, e.g. {"command": ["python", "train.py"], "gpus": 1}')
    return found


def _params(value: Any) -> list[str]:
    """`NAME=VALUES` of a string, a list of them, or an object of names."""
    if isinstance(value, dict):
        return [f"{name}={_text('param', values)}" for name, values in value.items()]
    return [_text("param", each) for each in (value if isinstance(value, list) else [value])]


def _text(name: str, value: Any) -> str:
    each = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in each):
        raise Refused(f"{name} is a string or a number")
    return ",".join(map(str, each))
