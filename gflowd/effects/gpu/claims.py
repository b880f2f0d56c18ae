"""Tells other gflow daemons of this machine which GPUs are allocated: each by an abstract Unix socket with its name,
which only one process can have, and which the kernel releases when that process dies (unix(7)).

Any user can create a socket of any name. A claim is honoured only if the kernel says that it is root's, our own user's
or that of a user whom the configuration trusts (SO_PEERCRED); the others are only reported.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
import time
from typing import TYPE_CHECKING

from gflowd.effects.gpu import listeners

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

BACKLOG = 4096  # connections of others that may wait until the owner of a claim looks
UNKNOWN = -1  # the user id of a claim whose socket accepts no more connections, where the kernel does not tell
LISTENS_WITHIN = 0.02  # seconds: another daemon binds its socket, then listens
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class Claims:
    """The GPUs that we have allocated, by UUID. `trusted`: the user ids whose claims are honoured too."""

    def __init__(self, trusted: Iterable[int] = ()) -> None:
        self._honoured = frozenset((0, os.geteuid(), *trusted))
        self._held: dict[str, socket.socket] = {}

    def keep(self, uuids: Collection[str]) -> None:
        """Holds exactly these. A GPU that another daemon has stays with it."""
        for uuid in self._held.keys() - set(uuids):
            self._held.pop(uuid).close()
        for uuid in uuids:
            self.take(uuid)
        for claim in self._held.values():
            _forget_visitors(claim)

    def take(self, uuid: str) -> bool:
        """Whether we may allocate the GPU now. If the claim of somebody not honoured has the name, we may, unmarked."""
        if uuid in self._held:
            return True
        claim = _socket()
        try:
            claim.bind(_name(uuid))
            claim.listen(BACKLOG)
        except OSError:
            claim.close()
            return _owner(uuid, LISTENS_WITHIN) not in self._honoured
        self._held[uuid] = claim
        return True

    def others(self, uuids: Collection[str]) -> dict[str, int]:
        """Whose claims there are to which of `uuids`, other than ours: user ids."""
        found = ((uuid, _owner(uuid)) for uuid in uuids if uuid not in self._held)
        return {uuid: owner for uuid, owner in found if owner is not None}

    def honours(self, owner: int) -> bool:
        """Whether the claims of this user count."""
        return owner in self._honoured

    def close(self) -> None:
        """Releases all."""
        self.keep(())


def user_ids(names: Iterable[str]) -> tuple[list[int], list[str]]:
    """The ids of users, given as names or ids, and the names that nobody has."""
    known, unknown = [], []
    for name in names:
        try:
            known.append(pwd.getpwnam(name).pw_uid)
        except KeyError:
            if name.isdecimal():
                known.append(int(name))
            else:
                unknown.append(name)
    return known, unknown


def user_name(uid: int) -> str:
    """What a user is called; the id where there is no name, and what is known of an owner who is not."""
    if uid == UNKNOWN:
        return "an unknown user"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _owner(uuid: str, patience: float = 0.0) -> int | None:
    """The user id of whoever claims a GPU; None if nobody does, or by a socket that did not listen for `patience`."""
    until = time.monotonic() + patience
    while True:
        with _socket() as probe:
            try:
                probe.connect(_name(uuid))
                credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            except BlockingIOError:  # its queue is full, by whomever
                owner = listeners.owner(_name(uuid))
                return UNKNOWN if owner is None else owner
            except OSError:
                if time.monotonic() >= until:
                    return None
                time.sleep(0.001)
            else:
                return int(_CREDENTIALS.unpack(credentials)[1])


def _forget_visitors(claim: socket.socket) -> None:
    """Closes the connections by which others have looked whose claim this is."""
    for _ in range(BACKLOG):
        try:
            claim.accept()[0].close()
        except OSError:
            return


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)


def _name(uuid: str) -> str:
    return f"\0gflow-{uuid}"
