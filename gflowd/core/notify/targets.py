"""Where gflow.toml sends notifications, beside those that jobs ask for. Values; knows no TOML and sends nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd.core.notify import event_names
from gflowd.core.syntax import addresses

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PLAIN, STARTTLS, TLS = "none", "starttls", "tls"
SECURITY = (STARTTLS, TLS, PLAIN)
PORTS = {STARTTLS: 587, TLS: 465, PLAIN: 25}
TIMEOUT = 30.0  # seconds for one delivery
PREFIX = "[gflow]"  # of subjects


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret by where it is: in a variable of gflowd's, in a file, or in gflow.toml itself."""

    variable: str | None = None
    file: str | None = None
    text: str | None = None

    @property
    def is_given(self) -> bool:
        """Whether there is to be one."""
        return (self.variable, self.file, self.text) != (None, None, None)


NO_SECRET = Secret()


@dataclass(frozen=True, slots=True)
class Transport:
    """How mail leaves: through `host` by SMTP, or without one through sendmail."""

    sendmail: str | None = None  # a path; None: where it usually is
    host: str | None = None
    port: int | None = None
    security: str = STARTTLS
    user: str | None = None
    password: Secret = NO_SECRET
    sender: str | None = None  # of From; None: this user on this machine
    timeout: float = TIMEOUT

    @property
    def place(self) -> str:
        """The server with its port, for messages."""
        return f"{self.host}:{self.port or PORTS[self.security]}"


@dataclass(frozen=True, slots=True)
class Target:
    """What all targets have: which events they get, of whose jobs and reservations (empty: of all)."""

    events: tuple[str, ...] = (event_names.EVERYTHING,)
    users: tuple[str, ...] = ()
    timeout: float = TIMEOUT
    max_retries: int | None = None

    def takes(self, event: Mapping[str, Any]) -> bool:
        """Whether `event` is for it."""
        if self.users and str(event.get("user") or "").lower() not in self.users:
            return False
        return event_names.told(self.events, event) is not None

    @property
    def key(self) -> str:
        """What it is called in the outbox, the same after a reload."""
        raise NotImplementedError

    @property
    def shown(self) -> str:
        """What it is called in the log: without secrets."""
        return self.key


@dataclass(frozen=True, slots=True)
class Webhook(Target):
    """A URL that gets each event as JSON."""

    url: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    secret: Secret = NO_SECRET

    @property
    def key(self) -> str:
        return f"webhook {self.url}"

    @property
    def shown(self) -> str:
        return addresses.redacted(self.url)


@dataclass(frozen=True, slots=True)
class Mailbox(Target):
    """Addresses that get mail, through a transport of their own if that is set."""

    to: tuple[str, ...] = ()
    transport: Transport | None = None
    prefix: str = PREFIX

    @property
    def key(self) -> str:
        return f"emails {','.join(self.to)}"


@dataclass(frozen=True, slots=True)
class Hook(Target):
    """A command that is run for each event."""

    command: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"command {' '.join(self.command)}"

    @property
    def shown(self) -> str:
        return f"command {self.command[0]}"


@dataclass(frozen=True, slots=True)
class Service(Target):
    """A URL of apprise's. `name` tells it from others where the URL is secret."""

    url: Secret = NO_SECRET

    @property
    def key(self) -> str:
        return f"service {self.url.text or self.url.variable or self.url.file}"

    @property
    def shown(self) -> str:
        if self.url.text is not None:
            return addresses.redacted(self.url.text)
        return f"service of {self.url.variable or self.url.file}"
