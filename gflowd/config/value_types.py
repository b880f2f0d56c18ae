"""The types of settings: one check per type, for the file, the environment and the options.

A check takes a TOML value. Words from the environment or the command line are converted first (`loose`), so
that `GFLOW_GPU__POLL_INTERVAL=3` is the number 3. Every check raises `Refused` with what is wrong with the value.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gflowd.core.errors import Refused
from gflowd.core.syntax import durations, memory
from gflowd.paths import SOCKET_PATH_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

SIMULATED_MEMORY_MB = 24 * 1024  # of each simulated GPU, by default
MOST_GPUS = 1024
LONGEST_PROJECT = 64
LONGEST_USER = 256

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_GPU_RANGE = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")
_SIMULATED = re.compile(r"(\d{1,4})(?:[xX](.+))?")
_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _as_it_is(word: str) -> object:
    return word


def shown(value: object) -> str:
    """`value` for a message: in TOML's spelling, cut to a line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(frozen=True)
class ValueType:
    """`check` returns the value for the configuration; `unset` is the word for "not set" (the value is then None)."""

    check: Callable[[Any], Any]
    loose: Callable[[str], object] = _as_it_is
    unset: str | None = None

    def read(self, value: object) -> Any:
        """The configuration's value for what TOML holds."""
        if self.unset is not None and isinstance(value, str) and value.strip().lower() == self.unset:
            return None
        return self.check(value)

    def read_word(self, word: str) -> Any:
        """The configuration's value for a word from the environment or the command line."""
        if self.unset is not None and word.strip().lower() == self.unset:
            return None
        return self.check(self.loose(word))


def duration(*, least: float = 0, unset: str | None = None) -> ValueType:
    """Seconds as float. Numbers are seconds; text is as on the command line, but needs a unit or a colon."""

    def check(value: object) -> float:
        if isinstance(value, str):
            if _NUMBER.fullmatch(value.strip()):
                raise Refused(f"{shown(value)} has no unit: write {value.strip()} for seconds, or '{value.strip()}m'")
            seconds = durations.parse(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= durations.LONGEST:
            seconds = float(value)
        else:
            raise Refused(f"{shown(value)} is not a duration (a number of seconds, or text {durations.FORMS})")
        if seconds < least:
            raise Refused(f"{shown(value)} is too short (at least {least:g} s)")
        return seconds

    return ValueType(check, lambda word: float(word.strip()) if _NUMBER.fullmatch(word.strip()) else word, unset)


def size(*, unset: str | None = None) -> ValueType:
    """MiB as int, at least 1; a bare number is MiB, as on the command line."""

    def check(value: object) -> int:
        if not isinstance(value, (int, str)) or isinstance(value, bool):
            raise Refused(f"{shown(value)} is not an amount of memory (such as 512, '800M', '24G' or '1.5T')")
        amount = memory.parse(str(value))
        if amount < 1:
            raise Refused(f"{shown(value)} is too little (at least 1M)")
        return amount

    return ValueType(check, unset=unset)


def bytes_size(*, least: int) -> ValueType:
    """Bytes as int, at least `least`; a bare number is MiB, as on the command line."""

    def check(value: object) -> int:
        if not isinstance(value, (int, str)) or isinstance(value, bool):
            raise Refused(f"{shown(value)} is not a size (such as 512, '100K', '800M' or '1.5G')")
        amount = memory.parse_bytes(str(value))
        if amount < least:
            raise Refused(f"{shown(value)} is too little (at least {least} bytes)")
        return amount

    return ValueType(check)


def whole(*, least: int, unset: str | None = None) -> ValueType:
    """An integer of at least `least`."""

    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 1 << 31:
            raise Refused(f"{shown(value)} is not a whole number of {least} or more")
        return value

    return ValueType(check, lambda word: int(word.strip()) if re.fullmatch(r"\d{1,12}", word.strip()) else word, unset)


def number(*, least: float) -> ValueType:
    """A float of at least `least`."""

    def check(value: object) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value < math.inf:
            raise Refused(f"{shown(value)} is not a number of {least:g} or more")
        return float(value)

    return ValueType(check, lambda word: float(word.strip()) if _NUMBER.fullmatch(word.strip()) else word)


def flag(*, unset: str | None = None) -> ValueType:
    """True or false; as a word also yes, no, on, off, 1 and 0."""

    def check(value: object) -> bool:
        if not isinstance(value, bool):
            raise Refused(f"{shown(value)} is neither true nor false{f' nor {unset}' if unset else ''}")
        return value

    return ValueType(check, lambda word: _TRUTH.get(word.strip().lower(), word), unset)


def choice(*words: str, unset: str | None = None) -> ValueType:
    """One of `words`."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value.strip().lower() not in words:
            raise Refused(f"{shown(value)} is none of {', '.join(words if unset is None else (*words, unset))}")
        return value.strip().lower()

    return ValueType(check, unset=unset)


def directory() -> ValueType:
    """The absolute path of a directory, which need not exist."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
            raise Refused(f"{shown(value)} is not the absolute path of a directory")
        return value.rstrip("/") or "/"

    return ValueType(check)


def file(*, unset: str) -> ValueType:
    """The absolute path of a file."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not value.startswith("/") or value.endswith("/") or not value.isprintable():
            raise Refused(f"{shown(value)} is not the absolute path of a file")
        return value

    return ValueType(check, unset=unset)


def local_address(*, unset: str) -> ValueType:
    """`127.0.0.1:9421`, `[::1]:9421`, or the absolute path of a Unix socket. `localhost` is 127.0.0.1."""

    def check(value: object) -> str:
        import ipaddress

        if isinstance(value, str) and value.startswith("/") and value.isprintable():
            if len(os.fsencode(value)) > SOCKET_PATH_LIMIT:
                raise Refused(f"{shown(value)} is too long for a socket (at most {SOCKET_PATH_LIMIT} bytes)")
            return value
        host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
        host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
        try:
            found = ipaddress.ip_address(host)
        except ValueError:
            found = None
        if found is None or not re.fullmatch(r"\d{1,5}", port) or not 0 < int(port) < 1 << 16:
            raise Refused(f"{shown(value)} is not an address (such as 127.0.0.1:9421 or /run/user/1000/metrics.sock)")
        if not found.is_loopback:
            raise Refused(f"{shown(value)} is not a loopback address; let a proxy listen there (see docs/metrics.md)")
        return f"[{host}]:{port}" if found.version == 6 else f"{host}:{port}"

    return ValueType(check, unset=unset)


def projects() -> ValueType:
    """A list of project codes, trimmed; as a word, with commas between."""
    return _names(LONGEST_PROJECT, "a project code")


def users() -> ValueType:
    """A list of user names, or ids of users without a name; as a word, with commas between."""
    return _names(LONGEST_USER, "a user name")


def _names(longest: int, what: str) -> ValueType:
    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise Refused(f"{shown(value)} is not a list of names")
        names = tuple(name.strip() for name in value)
        for name in names:
            if not name or len(name) > longest:
                raise Refused(f"{shown(name)} is not {what} (1 to {longest} characters)")
        return tuple(dict.fromkeys(names))

    return ValueType(check, lambda word: [name for name in word.split(",") if name.strip()])


def people(*, unset: str | None = None) -> ValueType:
    """Users and groups: a list of user names and, after an `@`, of groups; also a single one as text."""
    names = _names(LONGEST_USER, "a user name, or a group after @")

    def check(value: object) -> tuple[str, ...]:
        found: tuple[str, ...] = names.check([value] if isinstance(value, str) else value)
        for name in found:
            if name in ("@", "all"):
                raise Refused(f"{shown(name)} is not the name of a user or, after @, of a group")
        return found

    return ValueType(check, names.loose, unset)


def name_of_file() -> ValueType:
    """The name of a file in a directory that is known, without any slash."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
            raise Refused(f"{shown(value)} is not a plain name (letters, digits, '.', '_' and '-')")
        return value

    return ValueType(check)


def gpu_list(*, unset: str) -> ValueType:
    """GPU indices, sorted: a list of numbers, or text such as `0,2` or `0-3`."""

    def check(value: object) -> tuple[int, ...]:
        if isinstance(value, str):
            return _indices(value)
        good = isinstance(value, list) and all(type(index) is int and 0 <= index < MOST_GPUS for index in value)
        if not good or not isinstance(value, list):
            raise Refused(f"{shown(value)} is not a list of GPUs (such as [0, 2] or '0-3')")
        return tuple(sorted(set(value)))

    return ValueType(check, unset=unset)


def _indices(text: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        match = _GPU_RANGE.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last >= MOST_GPUS:
            raise Refused(f"{shown(text)} is not a list of GPUs (such as 0,2 or 0-3 or all)")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def simulated(*, unset: str) -> ValueType:
    """(how many, MiB each) of simulated GPUs: `4x24G`, or only the number; 0 is none."""

    def check(value: object) -> tuple[int, int] | None:
        text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
        match = _SIMULATED.fullmatch(text.strip())
        if not match or int(match[1]) > MOST_GPUS:
            raise Refused(f"{shown(value)} is not a number of GPUs with their memory (such as 4 or 4x24G)")
        if int(match[1]) == 0:
            return None
        return int(match[1]), memory.parse(match[2]) if match[2] else SIMULATED_MEMORY_MB

    return ValueType(check, unset=unset)


def time_zone(*, unset: str) -> ValueType:
    """The name of a time zone that this machine knows."""

    def check(value: object) -> str:
        from gflowd.core.syntax import instants

        try:
            if isinstance(value, str):
                return instants.named(value.strip()).key
        except Refused:
            pass
        raise Refused(f"{shown(value)} is not a time zone that this machine knows (such as Europe/Berlin)")

    return ValueType(check, unset=unset)
