"""The tables of [notifications]: `[[notifications.webhooks]]` and the like, as gflow's Rust original has them and more.

Checks their keys and values. No error shows a value that may be a secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from gflowd.config.value_types import ValueType, duration, shown, whole
from gflowd.core.errors import Refused, meant
from gflowd.core.notify import event_names, plain_text
from gflowd.core.notify.targets import (
    PLAIN,
    PREFIX,
    STARTTLS,
    TIMEOUT,
    TLS,
    Hook,
    Mailbox,
    Secret,
    Service,
    Target,
    Transport,
    Webhook,
)
from gflowd.core.syntax import addresses

if TYPE_CHECKING:
    from collections.abc import Callable

    Made = TypeVar("Made", bound=Target)

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TIMEOUT, _RETRIES = duration(least=1), whole(least=0)
OF_ALL = ("events", "filter_users", "timeout", "timeout_secs", "max_retries")
OURS = ("content-type", "content-length", "host", "x-gflow-event", "x-gflow-delivery", "x-gflow-signature")


def webhooks() -> ValueType:
    """A list of tables with `url`; `headers`, and `secret_file` or `secret_env`."""
    return _tables(_webhook, ("url", "headers", "secret_file", "secret_env", "secret"))


def emails() -> ValueType:
    """A list of tables with `to`; `smtp_url`, `from` and `subject_prefix` as in the original."""
    return _tables(_mailbox, ("to", "smtp_url", "password_file", "password_env", "from", "subject_prefix"))


def commands() -> ValueType:
    """A list of tables with `command`."""
    return _tables(_hook, ("command",))


def services() -> ValueType:
    """A list of tables with `url`, `url_file` or `url_env`: URLs of apprise's."""
    return _tables(_service, ("url", "url_file", "url_env"))


def address(*, unset: str | None = None) -> ValueType:
    """An address that mail is from, with or without a name before it."""
    return ValueType(_sender, unset=unset)


def text(what: str, *, unset: str | None = None) -> ValueType:
    """A text without control characters: `what` it is, for the message."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise Refused(f"{shown(value)} is not {what}")
        return value.strip()

    return ValueType(check, unset=unset)


def _tables(make: Callable[[dict[str, Any], dict[str, Any]], Made], keys: tuple[str, ...]) -> ValueType:
    def check(value: object) -> tuple[Made, ...]:
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise Refused("not a list of tables, which only the file can have")
        return tuple(one(number, each) for number, each in enumerate(value, 1))

    def one(number: int, table: dict[str, Any]) -> Made:
        try:
            _check_keys(table, (*keys, *OF_ALL))
            return make(table, _of_all(table))
        except Refused as refusal:
            raise Refused(f"table {number}: {refusal}") from None

    return ValueType(check)


def _check_keys(table: dict[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise Refused(f"unknown key {key!r}{meant(key, known)}; there are {', '.join(known)}")


def _of_all(table: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "events" in table:
        found["events"] = event_names.parse(_list(table, "events"), event_names.FOR_A_TABLE)
    if "filter_users" in table:
        found["users"] = tuple(user.lower() for user in _list(table, "filter_users"))
    if "timeout" in table and "timeout_secs" in table:
        raise Refused("timeout and timeout_secs are the same; keep one of them")
    for key in ("timeout", "timeout_secs"):
        if key in table:
            found["timeout"] = _named(key, _TIMEOUT.read, table[key])
    if "max_retries" in table:
        found["max_retries"] = _named("max_retries", _RETRIES.read, table["max_retries"])
    return found


def _webhook(table: dict[str, Any], common: dict[str, Any]) -> Webhook:
    url = _text(table, "url")
    if url is None:
        raise Refused("url is missing")
    addresses.url(url)
    if addresses.scheme(url) not in addresses.HTTP:
        raise Refused("url is not an address of http or https; others are for [[notifications.services]]")
    headers = table.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise Refused("headers is not a table of texts")
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or not value.isprintable():
            raise Refused(f"headers: {name!r} has a name or a value that HTTP does not allow")
        if name.lower() in OURS:
            raise Refused(f"headers: {name!r} is set by gflow")
    return Webhook(**common, url=url, headers=tuple(headers.items()), secret=_secret(table, "secret"))


def _mailbox(table: dict[str, Any], common: dict[str, Any]) -> Mailbox:
    to = tuple(each for text in _list(table, "to") for each in addresses.addresses(_bare(text)))
    sender = None if "from" not in table else _named("from", _sender, table["from"])
    transport = None
    if (url := _text(table, "smtp_url")) is not None:
        transport = _smtp(url, sender, common.get("timeout", TIMEOUT), _secret(table, "password"))
    elif sender is not None or "password_file" in table or "password_env" in table:
        raise Refused("smtp_url is missing; without it mail goes as [notifications.mail] says")
    prefix = _text(table, "subject_prefix")
    return Mailbox(**common, to=to, transport=transport, prefix=PREFIX if prefix is None else prefix)


def _smtp(url: str, sender: str | None, timeout: float, password: Secret) -> Transport:
    """`smtps://user:pass@host:465`, `smtp://host:587?tls=required`, as the original's library reads them."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        host = port = None
        parts = urlsplit("")
    if parts.scheme not in ("smtp", "smtps") or not host or not host.isprintable():
        raise Refused("smtp_url is not like smtps://user@smtp.example.com:465 or smtp://localhost:25")
    if parts.scheme == "smtps":
        security = TLS
    else:
        security = STARTTLS if parse_qs(parts.query).get("tls", ["none"])[-1] != "none" else PLAIN
    if parts.password is not None:
        if password.is_given:
            raise Refused("smtp_url has a password, and there is another; keep one of them")
        password = Secret(text=unquote(parts.password))
    user = None if parts.username is None else unquote(parts.username)
    return Transport(
        host=host, port=port, security=security, user=user, password=password, sender=sender, timeout=timeout
    )


def _hook(table: dict[str, Any], common: dict[str, Any]) -> Hook:
    command = table.get("command")
    if isinstance(command, str):
        command = [command]
    if not isinstance(command, list) or not command or not all(isinstance(word, str) and word for word in command):
        raise Refused("command is not a program with its arguments, such as ['/usr/local/bin/on-event', '-q']")
    if not command[0].startswith("/") or any("\0" in word for word in command):
        raise Refused("command does not begin with the absolute path of a program")
    return Hook(**common, command=tuple(command))


def _service(table: dict[str, Any], common: dict[str, Any]) -> Service:
    url = _secret(table, "url")
    if not url.is_given:
        raise Refused("url is missing")
    if url.text is not None:
        addresses.url(url.text)
    return Service(**common, url=url)


def _secret(table: dict[str, Any], name: str) -> Secret:
    """From `NAME_env`, `NAME_file` or `NAME`."""
    given = {key: _text(table, key) for key in (f"{name}_env", f"{name}_file", name) if key in table}
    if len(given) > 1:
        raise Refused(f"{' and '.join(given)} are the same secret; keep one of them")
    variable, path = given.get(f"{name}_env"), given.get(f"{name}_file")
    if variable is not None and not _VARIABLE.fullmatch(variable):
        raise Refused(f"{name}_env is not the name of a variable")
    return Secret(variable, None if path is None else _named(f"{name}_file", _path, path), given.get(name))


def _path(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        raise Refused(f"{shown(value)} is not the absolute path of a file")
    return value


def _sender(value: object) -> str:
    if not isinstance(value, str) or plain_text.line(value) != value or len(addresses.addresses(_bare(value))) != 1:
        raise Refused(f"{shown(value)} is not an address for mail (such as gflow@example.org)")
    return value.strip()


def _bare(value: str) -> str:
    """The address in `Name <address>`."""
    name, bracket, rest = value.strip().partition("<")
    return rest.removesuffix(">") if bracket and rest.endswith(">") and "<" not in name else value.strip()


def _text(table: dict[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, str) or not value or not value.isprintable()):
        raise Refused(f"{key} is not a text")
    return value


def _list(table: dict[str, Any], key: str) -> list[str]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) and each.strip() for each in value):
        raise Refused(f"{key} is not a list of texts")
    return [each.strip() for each in value]


def _named(key: str, read: Callable[[object], Any], value: object) -> Any:
    try:
        return read(value)
    except Refused as refusal:
        raise Refused(f"{key}: {refusal}") from None
