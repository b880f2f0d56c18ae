"""Where the page listens: an address as it is typed, the socket for it, and the address to open in a browser."""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import os
import re
import socket
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd.core.errors import BadUsage, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT = "127.0.0.1:8421"
UNIX = "unix:"
LOOPBACK_NAMES = ("localhost", "localhost.localdomain")
_FORM = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:/@\s]+)):(?P<port>[0-9]{1,5})")
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_TAKEN = "is already in use; give another one with --listen"


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port, 0 for any free one; or the path of a Unix socket."""

    host: str
    port: int
    path: str | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.path is not None or is_loopback(self.host)

    def __str__(self) -> str:
        if self.path is not None:
            return f"{UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether a name or an IP address means this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in LOOPBACK_NAMES


def parse(text: str) -> Address:
    """`127.0.0.1:8421`, `[::1]:8421`, `0.0.0.0:8421` or `unix:/run/user/1000/gflow.sock`. Raises `BadUsage`."""
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if not path:
            raise BadUsage("--listen: unix: needs the path of a socket")
        return Address("localhost", 0, os.path.abspath(path))
    found = _FORM.fullmatch(text)
    if found is None or int(found["port"]) > 0xFFFF:
        raise BadUsage(f"--listen: {text!r} is not an address like {DEFAULT} or unix:PATH")
    return Address(found["six"] or found["name"], int(found["port"]))


def listen(address: Address) -> socket.socket:
    """A socket that listens there. Raises `Refused`."""
    try:
        return _unix(address.path) if address.path is not None else _internet(address)
    except (OSError, UnicodeError) as error:  # a name that cannot be one
        why = getattr(error, "strerror", None) or str(error)
        if isinstance(error, socket.gaierror | UnicodeError):
            why = "the name is not known"
        raise Refused(f"cannot listen on {address}: {why}") from None


def _internet(address: Address) -> socket.socket:
    family, _, _, _, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place)
        made.listen(128)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise Refused(f"{address} {_TAKEN}") from None
        raise
    return made


def _unix(path: str) -> socket.socket:
    """Only this user may connect; takes the place of a socket on which nobody listens any more."""
    if _is_socket(path):
        if _answers(path):
            raise Refused(f"{UNIX}{path} {_TAKEN}")
        os.unlink(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        made.bind(path)
        made.listen(128)
    except OSError:
        made.close()
        raise
    finally:
        os.umask(before)
    return made


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def shown(address: Address, bound: socket.socket) -> Address:
    """The address with the port that the system chose."""
    return address if address.path is not None else Address(address.host, bound.getsockname()[1])


def url(address: Address, token: str) -> str:
    """What to open in a browser, with the token that lets it in."""
    host = address.host
    if host in ("0.0.0.0", "::"):  # noqa: S104 -- asks, does not bind
        host = socket.gethostname()
    where = "localhost" if address.path is not None else str(Address(host, address.port))
    return f"http://{where}/?token={token}"


def mark(address: Address, state_dir: str) -> str:
    """The same whenever this queue is served there, and another for any other page."""
    return hashlib.sha256(f"{socket.gethostname()} {address} {state_dir}".encode(errors="replace")).hexdigest()[:16]


def check_name(name: str) -> None:
    """Raises `BadUsage` for what is no host name, such as one with a port."""
    if not _NAME.fullmatch(name):
        raise BadUsage(f"--name: {name!r} is not a host name like gpubox.example.org")


def names(address: Address, more: Iterable[str] = ()) -> frozenset[str] | None:
    """The host names, in small letters, by which a browser may ask for the page besides IP addresses, and `more`; None:
    only by loopback ones.
    """
    own = set() if address.is_loopback else {socket.gethostname(), socket.getfqdn(), address.host}
    return frozenset(each.lower() for each in (*own, *more)) or None
