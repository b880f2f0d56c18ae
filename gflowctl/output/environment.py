"""The variables that a job finds, as they may be shown: what looks like a secret is hidden."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "********"
_PARTS = frozenset(
    ("APIKEY", "AUTH", "COOKIE", "CREDENTIAL", "CREDENTIALS", "CREDS", "KEY", "KEYS", "PASS", "PAT", "PWD", "SECRETS")
)  # words of a name
_ANYWHERE = ("PASSPHRASE", "PASSWD", "PASSWORD", "SECRET")
_TOKEN = re.compile(r"TOKENS?(?:_|\d|$)")
_HARMLESS = ("OLDPWD", "PWD", "SSH_AUTH_SOCK")
_IN_URL = re.compile(r"(://[^/\s:@]*:)[^/\s@]+(?=@)")


def variables(data: bytes, *, masked: bool) -> dict[str, str]:
    """By name the values in `data`, of entries `NAME=value` that NUL ends; what is no text keeps its bytes as
    surrogates.
    """
    entries = (entry.decode(errors="surrogateescape").partition("=") for entry in data.split(b"\0") if entry)
    return {name: _masked(name, value) if masked else value for name, _, value in entries}


def lines(found: dict[str, str]) -> Iterable[str]:
    """`NAME=value` of each, not yet escaped."""
    return (f"{name}={value}" for name, value in found.items())


def as_text(found: dict[str, str]) -> dict[str, str]:
    """Without surrogates, which JSON cannot hold."""
    return {_text(name): _text(value) for name, value in found.items()}


def _text(value: str) -> str:
    return value.encode(errors="surrogateescape").decode(errors="backslashreplace")


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds what others should not see."""
    upper = name.upper()
    if upper in _HARMLESS or not name:
        return False
    named = any(word in upper for word in _ANYWHERE) or not _PARTS.isdisjoint(re.split(r"[^A-Z]+", upper))
    return named or _TOKEN.search(upper) is not None


def _masked(name: str, value: str) -> str:
    if value and is_secret(name):
        return MASK
    return _IN_URL.sub(rf"\1{MASK}", value)
