"""Whether somebody listens at the gate, the socket at which a daemon for many users takes their requests."""

from __future__ import annotations

import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATIENCE = 2.0  # seconds: where systemd listens, this starts the gateway, and the connection stands at once


def look(path: str) -> dict[str, Any]:
    """Its `socket`, and its `trouble`: why nobody answers there; None if somebody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as ours:
        ours.settimeout(PATIENCE)
        try:
            ours.connect(path)
        except (OSError, ValueError) as error:
            return {"socket": path, "trouble": getattr(error, "strerror", None) or str(error)}
    return {"socket": path, "trouble": None}
