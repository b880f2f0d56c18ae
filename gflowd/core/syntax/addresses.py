"""Where a notification can go: addresses of mail, URLs, and how both are shown. Parses; looks nothing up."""

from __future__ import annotations

import re

from gflowd.core.errors import Refused

LONGEST_ADDRESS = 254  # characters, RFC 5321
LONGEST_URL = 2000
LARGEST_PORT = 65535
HTTP = ("http", "https")

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = rf"{_ATOM}(?:\.{_ATOM})*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?!-){_LOCAL}(?:@{_LABEL}(?:\.{_LABEL})*)?")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:([^/?#]*)@)?([^/?#]*)([^ ]*)")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::([0-9]{1,5}))?")
_UNSEEN = re.compile(r"[^!-~]")  # in a URL


def addresses(text: str) -> tuple[str, ...]:
    """The addresses in a list with commas: `ada@example.org`, or the name of a local user. Raises `Refused`."""
    found = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not found:
        raise Refused("an address for mail cannot be empty")
    for each in found:
        if len(each) > LONGEST_ADDRESS or not _ADDRESS.fullmatch(each):
            raise Refused(f"{each!r} is not an address for mail (such as ada@example.org, or the name of a local user)")
    return found


def url(text: str) -> str:
    """A URL that notifications can go to. Raises `Refused`."""
    match = _URL.fullmatch(text) if len(text) <= LONGEST_URL else None
    if match is None or _UNSEEN.search(text):
        raise Refused(f"{redacted(text)!r} is not a URL (such as https://example.org/hook, or one of apprise's)")
    if match[1].lower() in HTTP and not ((host := _HOST.fullmatch(match[3])) and int(host[1] or 0) <= LARGEST_PORT):
        raise Refused(f"the URL {redacted(text)!r} names no host")
    return text


def scheme(address: str) -> str:
    """The scheme of a URL, in small letters."""
    return address.partition(":")[0].lower()


def redacted(address: str) -> str:
    """A URL as it may be shown: its secret may be anywhere but in the host of a webhook, or the scheme of another."""
    match = _URL.match(address)
    if match is None:
        return "..."
    if match[1].lower() not in HTTP:
        return f"{match[1].lower()}://..."
    return f"{match[1].lower()}://{_UNSEEN.sub('?', match[3])}{'/...' if match[4].strip('/') else match[4]}"


def without_user(address: str) -> tuple[str, str | None]:
    """A URL without the user and password that it may name, and these as they are in it; None if there are none."""
    match = _URL.fullmatch(address)
    if match is None or match[2] is None:
        return address, None
    return f"{match[1]}://{match[3]}{match[4]}", match[2]
