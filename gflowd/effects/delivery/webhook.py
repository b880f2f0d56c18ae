"""Sends one event to a URL by HTTP POST, signed if there is a secret. Follows no redirect."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING

from gflowd import __version__
from gflowd.core.errors import Refused
from gflowd.core.notify import plain_text, retries
from gflowd.core.notify.retries import Outcome
from gflowd.core.syntax import addresses
from gflowd.effects.delivery import secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gflowd.core.notify.targets import Webhook


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        """None: the answer is an error, which says where it points."""


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """The value of X-Gflow-Signature: over the timestamp, a full stop and the body, so that neither can be replaced."""
    signed = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={signed.hexdigest()}"


def basic(user: str) -> str:
    """The header Authorization for the user and password of a URL, which may be percent-encoded."""
    return f"Basic {base64.b64encode(urllib.parse.unquote_to_bytes(user)).decode()}"


def headers(target: Webhook, kind: str, event_id: str, body: bytes, now: float) -> dict[str, str]:
    """The headers of a delivery. Raises `Refused` if the secret cannot be had."""
    timestamp = str(int(now))
    user = addresses.without_user(target.url)[1]
    found = {
        "User-Agent": f"gflow/{__version__}",
        **({} if user is None else {"Authorization": basic(user)}),
        **dict(target.headers),
        "Content-Type": "application/json",
        "X-Gflow-Event": kind,
        "X-Gflow-Delivery": event_id,
        "X-Gflow-Timestamp": timestamp,
    }
    if (secret := secrets.read(target.secret)) is not None:
        found["X-Gflow-Signature"] = signature(secret, timestamp, body)
    return found


def post(target: Webhook, given: Mapping[str, str], body: bytes) -> Outcome:
    """How it went."""
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        url = addresses.without_user(target.url)[0]
        request = urllib.request.Request(url, body, dict(given), method="POST")  # noqa: S310 -- http or https
        with opener.open(request, timeout=target.timeout) as answer:
            return retries.of_http(answer.status, "", "")
    except urllib.error.HTTPError as error:
        with error:
            place, wait = (error.headers.get(name, "") for name in ("Location", "Retry-After"))
            return retries.of_http(error.code, addresses.redacted(place) if place else "", wait)
    except urllib.error.URLError as error:
        return Outcome("again", _words(error.reason))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Outcome("again", _words(error))


def send(target: Webhook, kind: str, event_id: str, body: bytes, now: float) -> Outcome:
    """How it went, the reading of the secret included."""
    try:
        given = headers(target, kind, event_id, body, now)
    except Refused as refusal:
        return Outcome("again", str(refusal))
    return post(target, given, body)


def _words(error: object) -> str:
    if isinstance(error, TimeoutError | socket.timeout):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return plain_text.line(f"TLS: {error.reason or error}", 200)
    return plain_text.line(getattr(error, "strerror", None) or str(error) or type(error).__name__, 200)
