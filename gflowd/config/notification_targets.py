"""The targets and the transport of notifications, put together from their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd.core.notify.targets import Secret, Transport

if TYPE_CHECKING:
    from gflowd.config.loader import Config
    from gflowd.core.notify.targets import Hook, Mailbox, Service, Webhook

    AnyTarget = Hook | Mailbox | Service | Webhook


def of(config: Config) -> tuple[AnyTarget, ...]:
    """Who is told of events by gflow.toml, whatever jobs ask for."""
    emails = tuple(each for each in config.notify_emails if each.to)
    return (*config.notify_webhooks, *emails, *config.notify_commands, *config.notify_services)


def transport(config: Config) -> Transport:
    """How the mail of jobs leaves. As in the original, a server of [[notifications.emails]] serves them too where
    [notifications.mail] names none.
    """
    if config.mail_host is None and config.mail_sendmail is None:
        for table in config.notify_emails:
            if table.transport is not None:
                return table.transport
    return Transport(
        sendmail=config.mail_sendmail,
        host=config.mail_host,
        port=config.mail_port,
        security=config.mail_security,
        user=config.mail_user,
        password=Secret(config.mail_password_env, config.mail_password_file),
        sender=config.mail_from,
        timeout=config.mail_timeout,
    )
