"""Tells other gflow daemons of this machine which GPUs are allocated: each by an abstract Unix socket with its name,
which only one process can have, and which the kernel releases when that process dies (unix(7)).
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class Claims:
    """The GPUs that we have allocated, by UUID."""

    def __init__(self) -> None:
        self._held: dict[str, socket.socket] = {}

    def keep(self, uuids: Collection[str]) -> None:
        """Holds exactly these. A GPU that another daemon has stays with it."""
        for uuid in self._held.keys() - set(uuids):
            self._held.pop(uuid).close()
        for uuid in uuids:
            self.take(uuid)

    def take(self, uuid: str) -> bool:
        """Whether we may allocate the GPU now."""
        if uuid in self._held:
            return True
        claim = _socket()
        try:
            claim.bind(_name(uuid))
        except OSError:
            claim.close()
            return False
        self._held[uuid] = claim
        return True

    def elsewhere(self, uuids: Collection[str]) -> set[str]:
        """Those of `uuids` that another daemon has."""
        return {uuid for uuid in uuids if uuid not in self._held and _is_taken(uuid)}

    def close(self) -> None:
        """Releases all."""
        self.keep(())


def _is_taken(uuid: str) -> bool:
    with _socket() as probe:
        try:
            probe.connect(_name(uuid))
        except OSError:
            return False
    return True


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


def _name(uuid: str) -> str:
    return f"\0gflow-{uuid}"
