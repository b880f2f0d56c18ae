"""Who is at the other end of a connection, by the kernel's word, and in which groups that was when it connected."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct
import time
from dataclasses import dataclass

from gflowd.core.errors import Refused
from gflowd.effects.shared_mode import account

SO_PEERGROUPS = 59  # socket(7); Python has no name for it
MOST_GROUPS = 1024  # bytes that `getsockopt` takes in Python
REMEMBERED = 30.0  # seconds that a name or a group is
_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid


@dataclass(frozen=True, slots=True)
class Asker:
    """Somebody who asks: the user, by id and name, and the ids of the groups."""

    uid: int
    name: str
    groups: frozenset[int]


class Peers:
    """Looks names up, and remembers them for a while. Mutable."""

    def __init__(self) -> None:
        self._names: dict[int, tuple[float, str | None]] = {}
        self._groups: dict[str, tuple[float, int | None]] = {}

    def asker(self, connection: socket.socket) -> Asker:
        """Who connected. Raises OSError, `Refused` for a user without a name, `TryAgain` as `name`."""
        _, uid, gid = _CREDENTIALS.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        name = self.name(uid)
        if name is None:
            raise Refused(f"user {uid} has no name on this machine")
        return Asker(uid, name, frozenset(_groups(connection, name, gid)))

    def name(self, uid: int) -> str | None:
        """The name of a user id, None if it has none. Raises `TryAgain` where that cannot be known now."""
        now = time.monotonic()
        until, name = self._names.get(uid, (0.0, None))
        if now >= until:
            try:
                name = pwd.getpwuid(uid).pw_name
            except KeyError:
                account.check_absent(uid)
                name = None
            self._names[uid] = now + REMEMBERED, name
        return name

    def is_among(self, asker: Asker, people: tuple[str, ...]) -> bool:
        """Whether they are one of `people`: names, and groups after an @."""
        return asker.name in people or any(
            word.startswith("@") and self._group(word[1:]) in asker.groups for word in people
        )

    def _group(self, name: str) -> int | None:
        now = time.monotonic()
        until, gid = self._groups.get(name, (0.0, None))
        if now >= until:
            try:
                gid = grp.getgrnam(name).gr_gid
            except KeyError:
                gid = None
            self._groups[name] = now + REMEMBERED, gid
        return gid


def _groups(connection: socket.socket, name: str, gid: int) -> list[int]:
    """The groups of the process that connected; those of the user, where these are too many to be told."""
    try:
        data = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, MOST_GROUPS)
    except OSError:
        return os.getgrouplist(name, gid)
    return [gid, *memoryview(data).cast("I")]
