"""Reads the text of `gflow.toml` into (path, value) pairs and finds the line of a key. Checks no value."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from gflowd.config import cluster_tables, settings
from gflowd.core.errors import Refused, meant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gflowd.config.settings import Path

_AT_LINE = re.compile(r" ?\(at line (\d+), column \d+\)$")
_TABLE = re.compile(r"\s*\[\[?([^\]#]+)\]")
_KEY = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[\w-]+))*)\s*=""")
_PART = re.compile(r""""([^"]*)"|'([^']*)'|([\w-]+)""")


def parse(path: str, data: bytes) -> tuple[str, dict[str, Any]]:
    """The text and its tables. Raises `Refused` naming file and line for what is not TOML in UTF-8."""
    try:
        text = data.decode()
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Refused(f"{path}: line {line}: not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        words = str(error)
        if match := _AT_LINE.search(words):
            raise Refused(f"{path}: line {match[1]}: {_plain(words[: match.start()])}") from None
        last = data.count(b"\n") + (not data.endswith(b"\n"))
        raise Refused(f"{path}: line {last}: {_plain(words.removesuffix(' (at end of document)'))}") from None
    except (ValueError, RecursionError):  # tomllib leaves these to int() and to the stack
        raise Refused(f"{path}: a number too long or tables too deep to be read") from None


def _plain(words: str) -> str:
    return words[:1].lower() + words[1:]


def entries(table: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Each key with its path and value; sections that the table of settings knows are entered, others are values."""
    for key, value in table.items():
        here = (*path, key)
        if isinstance(value, dict) and settings.is_section(here):
            yield from entries(value, here)
        else:
            yield here, value


def line_of(text: str, path: Path) -> int | None:
    """The number of the line that sets `path`, or of its nearest table; None if not known."""
    section: Path = ()
    nearest: tuple[int, int] = (0, 0)  # how much of the path, at which line
    for number, line in enumerate(text.split("\n"), 1):
        if match := _TABLE.match(line):
            here = section = _parts(match[1])
        elif match := _KEY.match(line):
            here = (*section, *_parts(match[1]))
        else:
            continue
        shared = min(len(here), len(path))
        if here[:shared] == path[:shared] and shared > nearest[0]:
            nearest = (shared, number)
    return nearest[1] or None


def _parts(dotted: str) -> Path:
    return tuple(double or single or bare for double, single, bare in _PART.findall(dotted))


def shown(value: object) -> str:
    """A value as TOML writes it, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    return str(value)


def unknown(path: Path) -> str:
    """The error for an unknown key."""
    name = ".".join(path)
    if settings.is_section(path):
        return f"{name} is a section: write [{name}] and its keys below it"
    if path[:2] in (*settings.QUOTA_DEFAULTS, *settings.QUOTA_TABLES):
        keys = list(settings.QUOTA_KEYS)
    elif settings.is_cluster(path[:-1]):
        keys = list(cluster_tables.KEYS)
    else:
        keys = [row.key for row in settings.SETTINGS if row.path[:-1] == path[:-1]]
    if hint := meant(path[-1], keys):
        return f"unknown key {name!r}{hint}"
    elsewhere = [row.name for row in settings.SETTINGS if row.key == path[-1]]
    elsewhere = elsewhere or [row.name for row in settings.SETTINGS if row.section and not keys]
    if hint := meant(name, elsewhere, likeness=0.5):
        return f"unknown key {name!r}{hint}"
    if keys and len(path) > 1:
        return f"unknown key {name!r} ({'.'.join(path[:-1])} has {', '.join(keys)})"
    return f"unknown key {name!r}"
