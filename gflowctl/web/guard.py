"""Who gets in: the token, the cookie, and what a browser says of where a request comes from. An ASGI middleware.

Against other sites in the same browser: the host must be one of ours (DNS rebinding), an origin the same as the host,
the cookie is SameSite=Strict, and no answer may be read or framed elsewhere. Against other users of the machine: the
token, 256 bits of it, which is printed once and exchanged for a cookie, so that it stays in no address.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from gflowctl.web import address

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ("GET", "HEAD", "POST")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
COME_IN = "Open the address that gflowctl web printed when it started: it has the token that lets this browser in.\n"


@dataclass(frozen=True, slots=True)
class Door:
    """What is asked of a request. `names`: as `address.names` has them; `mark` makes the name of the cookie, which
    browsers send to all ports of a host: through tunnels those of several machines may be the same host.
    """

    token: str
    mark: str
    names: frozenset[str] | None

    @property
    def cookie(self) -> str:
        return f"gflow-{self.mark}"

    def derived(self, purpose: str) -> str:
        """A secret that tells nothing of the token."""
        return hmac.new(self.token.encode(), purpose.encode(), hashlib.sha256).hexdigest()

    def is_token(self, text: str) -> bool:
        return _same(text, self.token)

    def is_cookie(self, header: str) -> bool:
        """Whether a Cookie header has ours, among those that other programs of this host have set, in whatever form."""
        pairs = (each.strip().partition("=") for each in header.split(";"))
        return any(_same(value, self.derived("cookie")) for name, _, value in pairs if name == self.cookie)

    def is_form(self, text: str) -> bool:
        """Whether a form was made by one of our pages."""
        return _same(text, self.derived("form"))

    def is_host(self, header: str) -> bool:
        """Whether a Host header names us. A name that is not ours may be made to lead here by whoever owns it."""
        host = _host(header)
        if host is None:
            return False
        if address.is_loopback(host):
            return True
        if self.names is None:
            return False
        return host in self.names or _is_ip(host)


def _same(one: str, other: str) -> bool:
    """In constant time."""
    return hmac.compare_digest(one.encode(errors="surrogateescape"), other.encode())


def _host(header: str) -> str | None:
    try:
        parts = urlsplit(f"//{header}")
        return parts.hostname if parts.netloc == header and "@" not in header and parts.port != 0 else None
    except ValueError:
        return None


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Guard:
    """Lets through what comes from whoever has the token, and adds the headers of every answer."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or lets the app answer."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        answer = self._refused(scope, headers) or self._asked_in(scope, headers)
        if answer is not None:
            await answer.send(send, is_head=scope["method"] == "HEAD")
            return

        async def put(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message.get("headers", ())}
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *(each for each in more if each[0] not in given)]
            await send(message)

        await self._app(scope, receive, put)

    def _refused(self, scope: Scope, headers: dict[str, str]) -> Answer | None:
        if scope["method"] not in METHODS:
            return Answer(405, "only GET, HEAD and POST are answered here\n", {"allow": ", ".join(METHODS)})
        host = headers.get("host", "")
        if not self._door.is_host(host):
            return Answer(403, "this name does not lead to gflowctl web\n")
        if not _is_from_here(scope["method"], host, headers):
            return Answer(403, "refused: the request comes from another site\n")
        return None

    def _asked_in(self, scope: Scope, headers: dict[str, str]) -> Answer | None:
        """What to answer one who is not in yet, or has come with the token."""
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if "token" in query:
            if scope["method"] == "POST" or not self._door.is_token(query.pop("token")[0]):
                return Answer(403, f"wrong token. {COME_IN}")
            return self._let_in(scope["path"], urlencode(query, doseq=True), headers)
        if not self._door.is_cookie(headers.get("cookie", "")):
            return Answer(403, COME_IN)
        return None

    def _let_in(self, path: str, query: str, headers: dict[str, str]) -> Answer:
        cookie = f"{self._door.cookie}={self._door.derived('cookie')}; HttpOnly; SameSite=Strict; Path=/"
        where = f"/{quote(path.lstrip('/'))}" + (f"?{query}" if query else "")
        if headers.get("sec-fetch-site") == "cross-site":
            # A browser that was led here from another site sends no Strict cookie along a redirect.
            page = '<!doctype html><meta http-equiv="refresh" content="0; url=/"><a href="/">gflow</a>\n'
            return Answer(200, page, {"set-cookie": cookie, "content-type": "text/html; charset=utf-8"})
        return Answer(303, "", {"set-cookie": cookie, "location": where})


def _is_from_here(method: str, host: str, headers: dict[str, str]) -> bool:
    """By what browsers say. A form's Origin is `null` where its page allows no referrer, so pages with one allow it."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None:
        return origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())
    if method == "POST":
        return site == "same-origin"
    return site not in ("cross-site", "same-site") or headers.get("sec-fetch-mode") == "navigate"


@dataclass(frozen=True, slots=True)
class Answer:
    """A short answer of the guard's own."""

    status: int
    text: str
    headers: dict[str, str] | None = None

    async def send(self, send: Send, *, is_head: bool) -> None:
        body = self.text.encode()
        own = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body)), **(self.headers or {})}
        whole = {**HEADERS, **own}
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in whole.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": pairs})
        await send({"type": "http.response.body", "body": b"" if is_head else body})
