"""How each receiver gets its messages: which way, with which words. Runs in the process that delivers."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import stat
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd.config import notification_targets
from gflowd.core.events import kinds
from gflowd.core.notify import messages, plain_text
from gflowd.core.notify.targets import Hook, Mailbox, Secret, Service, Target, Webhook
from gflowd.core.syntax import addresses, clocks
from gflowd.workers.notifier.receiver_names import MAIL, URL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from gflowd.config.loader import Config
    from gflowd.config.notification_targets import AnyTarget
    from gflowd.core.notify.retries import Outcome
    from gflowd.paths import State
    from gflowd.storage.outbox import Unit

    Deliver = Callable[[Unit], Outcome]

LINES = 20  # of a job's output
TAIL = 64 << 10  # bytes that they are looked for in
PATIENCE = 3.0  # seconds for a file system on which the output is
_MODULES: dict[type[Target], str] = {Mailbox: "mail", Webhook: "webhook", Hook: "command", Service: "services"}


@dataclass(frozen=True, slots=True)
class Way:
    """How a receiver is reached. `merges`: many messages may become one; `timeout`: seconds for one delivery."""

    target: AnyTarget
    shown: str  # in the log

    @property
    def merges(self) -> bool:
        """Whether a person reads it."""
        return isinstance(self.target, Mailbox | Service)

    def prepare(self) -> None:
        """Imports here what every process that delivers would import otherwise."""
        importlib.import_module(f"gflowd.effects.delivery.{_MODULES[type(self.target)]}")

    @property
    def timeout(self) -> float:
        """Seconds that one delivery may take."""
        own = self.target.transport.timeout if isinstance(self.target, Mailbox) and self.target.transport else 0.0
        return max(self.target.timeout, own) + PATIENCE


def way(key: str, config: Config) -> Way | None:
    """How the receiver with this key is reached; None if gflow.toml no longer has it."""
    if key.startswith(MAIL):
        address = key.removeprefix(MAIL)
        return Way(Mailbox(to=(address,)), address)
    if key.startswith(URL):
        url = key.removeprefix(URL)
        is_http = addresses.scheme(url) in addresses.HTTP
        return Way(Webhook(url=url) if is_http else Service(url=Secret(text=url)), addresses.redacted(url))
    found = next((target for target in notification_targets.of(config) if target.key == key), None)
    return None if found is None else Way(found, found.shown)


@contextlib.contextmanager
def opened(target: AnyTarget, config: Config, state: State) -> Iterator[Deliver]:
    """What delivers one unit after another. Imports what it needs, and only that."""
    writer = Writer(config, state)
    if isinstance(target, Mailbox):
        from gflowd.effects.delivery import mail

        transport = target.transport or notification_targets.transport(config)
        with mail.Sender(transport) as sender:

            def by_mail(unit: Unit) -> Outcome:
                subject, text = writer.write(unit)
                message = mail.compose(
                    f"{target.prefix} {subject}".strip(), text, target.to, transport,
                    message_id=writer.message_id(unit), thread=writer.thread(unit), at=unit.events[-1]["at"],
                )  # fmt: skip
                return sender.send(message, target.to)

            yield by_mail
    elif isinstance(target, Webhook):
        from gflowd.effects.delivery import webhook

        def by_webhook(unit: Unit) -> Outcome:
            event = unit.events[0]
            return webhook.send(target, event["kind"], str(event["id"]), writer.payload(event), time.time())

        yield by_webhook
    elif isinstance(target, Hook):
        from gflowd.effects.delivery import command

        def by_command(unit: Unit) -> Outcome:
            event = kinds.shown(unit.events[0])
            return command.run(target, event, messages.subject(event), writer.payload(event))

        yield by_command
    else:
        from gflowd.effects.delivery import services

        def by_service(unit: Unit) -> Outcome:
            subject, text = writer.write(unit)
            return services.send(target, subject, text)

        yield by_service


class Writer:
    """Writes what is sent."""

    def __init__(self, config: Config, state: State) -> None:
        from gflowd.effects.delivery.mail import host_name

        self._state = state
        self._clock = clocks.of(config.timezone, time.time())
        self.host = host_name()
        self._home = hashlib.blake2b(f"{self.host}:{state.root}".encode(errors="replace"), digest_size=6).hexdigest()

    def write(self, unit: Unit) -> tuple[str, str]:
        """Subject and text."""
        if len(unit.events) > 1:
            lines = [(event["at"], messages.subject(event)) for event in unit.events]
            return messages.digest(lines, self.host, self._clock)
        event = unit.events[0]
        output, place = self._output(event)
        return messages.subject(event), messages.text(event, self.host, output, place, self._clock)

    def payload(self, event: dict[str, Any]) -> bytes:
        """An event as a program gets it."""
        shown = {**kinds.shown(event), "machine": self.host, "subject": messages.subject(event)}
        return json.dumps(shown, separators=(",", ":")).encode()

    def message_id(self, unit: Unit) -> str:
        """The same whenever a unit is sent again."""
        return f"{unit.event_id}.{self._home}@{self.host}"

    def thread(self, unit: Unit) -> str | None:
        """What mails on the same job have in common."""
        job = unit.events[0].get("job")
        return None if job is None or len(unit.events) > 1 else f"job-{job}.{self._home}@{self.host}"

    def _output(self, event: dict[str, Any]) -> tuple[list[str], str]:
        """The last lines of the job's output, and where it is; none if it cannot be read soon."""
        if self._state.shared is not None:
            return [], ""  # root reads nothing where a user may put a link
        if event["kind"] != "job_ended" or "summary" in event or event.get("started_at") is None:
            return [], ""
        path = (event.get("notify") or {}).get("output") or self._state.job_log(event["job"], event["attempt"])
        found: list[list[str]] = []
        reading = threading.Thread(target=lambda: found.append(_end_of(path)), daemon=True)
        reading.start()
        reading.join(PATIENCE)  # a server of files may be gone
        return (found[0], path) if found else ([], "")


def _end_of(path: str) -> list[str]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return []
        begin = max(0, found.st_size - TAIL)
        return plain_text.last_lines(os.pread(fd, TAIL, begin), LINES, whole=begin == 0)
    except OSError:
        return []
    finally:
        os.close(fd)
