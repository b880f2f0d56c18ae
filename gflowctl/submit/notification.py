"""Whether the notifications that a job asks for can be sent, as far as one can know when it is submitted."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from gflowd.core.job.model import Spec

SENDMAILS = ("/usr/sbin/sendmail", "/usr/lib/sendmail")  # as `gflowd.effects.delivery.mail`
NO_MAIL = "no mail can be sent from here: there is no sendmail, and gflow.toml has no host in [notifications.mail]"


def notes(spec: Spec, config: Mapping[str, Any]) -> Iterator[str]:
    """What is to be said about it; `config` is what the daemon last said of its own."""
    if not spec.notify_on or "none" in spec.notify_on:
        return
    mail = config.get("mail") or {}
    if mail.get("enabled") is False:
        yield "notifications are switched off in gflow.toml ([notifications] enabled = false)"
    elif (spec.notify_email is not None or not spec.notify) and not mail.get("host"):
        places = SENDMAILS if mail.get("sendmail") is None else (mail["sendmail"],)
        if not any(os.access(place, os.X_OK) for place in places):
            yield NO_MAIL
