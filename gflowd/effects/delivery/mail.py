"""Sends mail: through sendmail, or to a server by SMTP."""

from __future__ import annotations

import contextlib
import getpass
import os
import smtplib
import socket
import ssl
from dataclasses import replace
from email import policy
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import TYPE_CHECKING, Self

from gflowd.core.errors import Refused
from gflowd.core.notify import plain_text, retries
from gflowd.core.notify.retries import DELIVERED, Outcome
from gflowd.core.notify.targets import STARTTLS, TLS
from gflowd.effects.delivery import program, secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gflowd.core.notify.targets import Transport

SENDMAILS = ("/usr/sbin/sendmail", "/usr/lib/sendmail")
NO_SENDMAIL = "there is no sendmail here; install one, or set host in [notifications.mail]"
_POLICY = policy.SMTP.clone(cte_type="7bit", max_line_length=200)  # a subject stays on a line


def sendmail_of(transport: Transport) -> str | None:
    """The program through which mail leaves, None if there is none."""
    places = SENDMAILS if transport.sendmail is None else (transport.sendmail,)
    return next((place for place in places if os.access(place, os.X_OK)), None)


def sender_of(transport: Transport) -> str:
    """From whom the mail is."""
    return transport.sender or f"gflow <{getpass.getuser()}@{host_name()}>"


def host_name() -> str:
    """The name of the machine, with its domain if it knows that itself; asks no name server."""
    name = socket.gethostname()
    try:
        with open("/etc/hostname", encoding="ascii") as file:
            name = max(name, file.readline().strip(), key=lambda each: each.count("."))
    except (OSError, ValueError):
        pass
    return (
        "".join(letter for letter in name if letter.isascii() and (letter.isalnum() or letter in ".-")) or "localhost"
    )


def compose(
    subject: str, text: str, to: Sequence[str], transport: Transport, *, message_id: str, thread: str | None, at: float
) -> bytes:
    """A whole message. `message_id` and `thread` (of what it belongs to) without brackets; `at`: of the event."""
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender_of(transport)
    message["To"] = ", ".join(to)
    message["Subject"] = plain_text.line(subject)
    message["Date"] = formatdate(at, localtime=True)
    message["Message-ID"] = f"<{message_id}>"
    if thread is not None:
        message["References"] = f"<{thread}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automaton answers
    message["Precedence"] = "bulk"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(text, charset="utf-8", cte="quoted-printable")
    return message.as_bytes()


class Sender:
    """Sends one mail after another; by SMTP through one connection. Use it in a `with` statement."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._server: smtplib.SMTP | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()

    def send(self, message: bytes, to: Sequence[str]) -> Outcome:
        """How it went."""
        if self._transport.host is None:
            return self._pipe(message, to)
        with _told() as told:
            if self._server is None:
                self._server = self._connect(self._transport.host)
            to = [address if "@" in address else f"{address}@{self._domain}" for address in to]
            refused = self._server.sendmail(parseaddr(sender_of(self._transport))[1], to, message)
            for code, said in refused.values():  # the others have it
                told.append(retries.of_smtp(code, _words(said)))
            if all(each.kind == "again" for each in told):
                told.clear()
        if not told:
            return DELIVERED
        if told[0].kind != "refused":
            self._hang_up()
        return replace(told[0], why=f"{self._transport.place}: {told[0].why}")

    @property
    def _domain(self) -> str:
        """Where users without a domain are."""
        return parseaddr(sender_of(self._transport))[1].rpartition("@")[2] or host_name()

    def _connect(self, host: str) -> smtplib.SMTP:
        transport = self._transport
        port = int(transport.place.rpartition(":")[2])
        if transport.security == TLS:
            context = ssl.create_default_context()
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=transport.timeout, context=context)
        else:
            server = smtplib.SMTP(host, port, timeout=transport.timeout)
        try:
            if transport.security == STARTTLS:
                server.starttls(context=ssl.create_default_context())
            if transport.user is not None:
                server.login(transport.user, secrets.read(transport.password) or "")
        except BaseException:
            server.close()
            raise
        return server

    def _hang_up(self) -> None:
        if self._server is not None:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                self._server.quit()
            self._server = None

    def _pipe(self, message: bytes, to: Sequence[str]) -> Outcome:
        sendmail = sendmail_of(self._transport)
        if sendmail is None:
            return Outcome("again", NO_SENDMAIL)
        words = [sendmail, "-i"]
        if self._transport.sender is not None:
            words += ["-f", parseaddr(self._transport.sender)[1]]
        try:
            done = program.run([*words, *to], message.replace(b"\r\n", b"\n"), self._transport.timeout)
        except TimeoutError:
            return Outcome("again", f"{sendmail} did not end within {self._transport.timeout:g} s")
        except OSError as error:
            return Outcome("again", f"{sendmail}: {error.strerror}")
        return retries.of_exit(done.status, plain_text.last_line(done.said))


@contextlib.contextmanager
def _told() -> Iterator[list[Outcome]]:
    """What went wrong, as an outcome."""
    told: list[Outcome] = []
    try:
        yield told
    except smtplib.SMTPRecipientsRefused as error:
        code, said = next(iter(error.recipients.values()))
        told[:] = [retries.of_smtp(code, _words(said))]
    except smtplib.SMTPAuthenticationError as error:  # a wrong password is mended, and the mail still wanted
        told[:] = [Outcome("again", f"SMTP {error.smtp_code}: the server does not take the user and password")]
    except smtplib.SMTPResponseException as error:
        told[:] = [retries.of_smtp(error.smtp_code, _words(error.smtp_error))]
    except smtplib.SMTPException as error:
        told[:] = [Outcome("again", plain_text.line(str(error)))]
    except Refused as error:
        told[:] = [Outcome("again", str(error))]
    except (OSError, ValueError) as error:
        told[:] = [Outcome("again", plain_text.line(getattr(error, "strerror", None) or str(error) or "no answer"))]


def _words(said: bytes | str) -> str:
    return plain_text.line(said.decode(errors="replace") if isinstance(said, bytes) else said, 200)
