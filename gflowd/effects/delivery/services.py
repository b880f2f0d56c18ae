"""Sends through apprise: chats, telephones and the rest. Imported only where such a URL is used."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING

from gflowd.core.errors import Refused
from gflowd.core.notify.retries import DELIVERED, Outcome
from gflowd.core.syntax import addresses
from gflowd.effects import installer
from gflowd.effects.delivery import secrets

if TYPE_CHECKING:
    from gflowd.core.notify.targets import Service


def check(url: str) -> None:
    """Raises `Refused` for a URL that apprise does not take, or if there is no apprise."""
    if importlib.util.find_spec("apprise") is None:
        raise Refused(installer.extra("notify", f"a URL such as {addresses.redacted(url)}"))  # noqa: S610 -- no SQL
    import apprise

    logging.getLogger("apprise").addHandler(logging.NullHandler())
    if not apprise.Apprise().add(url):
        raise Refused(f"apprise does not take the URL {addresses.redacted(url)}")


def send(target: Service, subject: str, text: str) -> Outcome:
    """How it went; apprise does not say why something failed."""
    try:
        url = secrets.read(target.url) or ""
        check(url)
    except Refused as refusal:
        return Outcome("again", str(refusal))
    import apprise

    speaker = apprise.Apprise(asset=apprise.AppriseAsset(app_id="gflow", app_desc="gflow", secure_logging=True))
    speaker.add(url)
    sent = speaker.notify(body=text, title=subject, body_format=apprise.NotifyFormat.TEXT, interpret_escapes=False)
    return DELIVERED if sent else Outcome("again", f"{addresses.redacted(url)} did not take it")
