"""Notifications as gflowctl sees them: whether they can be sent, what waits to be, and a try."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from gflowctl.admin.checks import OK, WARN, Finding, is_of_others
from gflowd.config import notification_targets
from gflowd.core.errors import Refused
from gflowd.core.notify import retries
from gflowd.core.notify.targets import Mailbox, Service, Webhook
from gflowd.core.syntax import addresses
from gflowd.core.syntax.plurals import count
from gflowd.effects.delivery import mail, secrets
from gflowd.storage.outbox import Outbox, Unit
from gflowd.workers.notifier import delivery, receiver_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gflowctl.context import Context
    from gflowd.config.loader import Config
    from gflowd.core.notify.targets import Transport
    from gflowd.storage.outbox import Waiting

TEST = "test"  # the kind of an event that nothing but a try makes


class Tried(NamedTuple):
    """How a try went: with whom, by what, and what is wrong (empty: nothing)."""

    receiver: str
    by: str
    why: str


def check(context: Context) -> Iterator[Finding]:
    """Whether mail and the rest can be sent, and whether receivers take it."""
    config = context.configuration()
    if config.notify_enabled is False:
        yield Finding(OK, "notifications are switched off in the configuration")
        return
    transport, found = notification_targets.transport(config), waiting(context)
    if transport.host is None and mail.sendmail_of(transport) is None:
        asked = any(each.key.startswith(receiver_names.MAIL) for each in found)
        text = "no mail can be sent: there is no sendmail, and [notifications.mail] names no host"
        yield Finding(WARN, text, "install a sendmail, or see gflow.toml(5)") if asked else Finding(OK, text)
    else:
        yield Finding(OK, f"mail goes through {_through(transport)}; gflowctl notify test tries it")
    yield from _secrets(config, transport)
    for each in found:
        if each.failures or each.dropped:
            said = f"{count(each.number, 'notification')} {'waits' if each.number == 1 else 'wait'}"
            yield Finding(WARN, f"{said} for {shown(each.key, config)}: {each.why}", "gflowctl notify list")


def _secrets(config: Config, transport: Transport) -> Iterator[Finding]:
    wanted = [transport.password]
    for target in notification_targets.of(config):
        if isinstance(target, Webhook):
            wanted.append(target.secret)
        elif isinstance(target, Service):
            wanted.append(target.url)
        elif isinstance(target, Mailbox) and target.transport is not None:
            wanted.append(target.transport.password)
    for secret in wanted:
        if secret.file is not None:
            try:
                secrets.read(secret)
            except Refused as refusal:
                yield Finding(WARN, str(refusal))


def _through(transport: Transport) -> str:
    return transport.place if transport.host is not None else mail.sendmail_of(transport) or "no sendmail"


def waiting(context: Context) -> list[Waiting]:
    """What is still to be delivered, by receiver."""
    if not os.path.lexists(context.state.outbox) or is_of_others(context):
        return []
    outbox = Outbox(context.state.outbox)
    try:
        return outbox.waiting()
    finally:
        outbox.close()


def shown(key: str, config: Config) -> str:
    """A receiver, without its secrets."""
    way = delivery.way(key, config)
    return "a receiver that gflow.toml no longer has" if way is None else way.shown


def try_all(context: Context, to: Sequence[str]) -> Iterator[Tried]:
    """Sends a test to these addresses and URLs; to none, to the user by mail and to all of gflow.toml. Raises `Refused`
    for what is neither.
    """
    config = context.configuration()
    if to:
        keys = [key for text in to for key in _keys(text)]
    else:
        keys = [f"{receiver_names.MAIL}{context.user}", *(target.key for target in notification_targets.of(config))]
    now = time.time()
    event: dict[str, Any] = {"id": f"{TEST}-{int(now)}", "at": now, "kind": TEST, "user": context.user}
    unit = Unit((0,), (event,), 0, now)
    for key in keys:
        way = delivery.way(key, config)
        assert way is not None
        with delivery.opened(way.target, config, context.state) as deliver:
            outcome = deliver(unit)
        by = ""
        if isinstance(way.target, Mailbox):
            by = _through(way.target.transport or notification_targets.transport(config))
        yield Tried(way.shown, by, "" if outcome == retries.DELIVERED else outcome.why)


def _keys(text: str) -> list[str]:
    if "://" in text:
        return [f"{receiver_names.URL}{addresses.url(text)}"]
    return [f"{receiver_names.MAIL}{address}" for address in addresses.addresses(text)]


CHECKS = (check,)
