"""What receivers that jobs name are called in the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core.errors import Refused
from gflowd.core.syntax import addresses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

MAIL, URL = "mail ", "url "  # their keys begin with these


def of(event: Mapping[str, Any]) -> Iterator[str]:
    """The keys of those whom the job of an event wants to be told."""
    asked = event["notify"]
    urls = asked.get("urls") or ()
    yield from (f"{URL}{url}" for url in urls)
    email = asked.get("email")
    if email is None and urls:
        return
    try:
        yield from (f"{MAIL}{address}" for address in addresses.addresses(email or str(event.get("user") or "")))
    except Refused:  # of an older gflow, which did not look
        return
