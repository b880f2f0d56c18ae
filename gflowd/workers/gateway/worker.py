"""Takes the requests of users at the gate. Decision: its trouble. It acts on nothing that others post.

The same gateway runs by itself behind a socket of systemd's (`gflowd gateway`), and then also while gflowd is down.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from gflowd.core.errors import SystemFailed
from gflowd.effects.gateway.kept_files import Keeper
from gflowd.effects.gateway.peers import Peers
from gflowd.workers.base import Turn
from gflowd.workers.board_slots import Service
from gflowd.workers.gateway.admission import Admission
from gflowd.workers.gateway.group_commit import GroupCommit
from gflowd.workers.gateway.history_answers import HistoryAnswers
from gflowd.workers.gateway.server import Limits, Server, listen
from gflowd.workers.gateway.visible_snapshot import VisibleSnapshot

if TYPE_CHECKING:
    import socket

    from gflowd.config.loader import Config
    from gflowd.core.moment import Moment
    from gflowd.paths import Runtime, State
    from gflowd.workers.base import Wiring
    from gflowd.workers.board_slots import Slots

NICE = -10
BUSY_FOR = 1.0  # seconds of requests without a pause, after which it shows that it is alive


def open(wiring: Wiring) -> Gateway:  # noqa: A001 -- the workers' protocol
    """The worker."""
    state = wiring.state
    if state.shared is None:
        raise SystemFailed(f"{state.root} is one user's; only the daemon for many users has a gateway")
    hurry()
    return Gateway(state, wiring.runtime, wiring.config, listen(state.shared.gate))


def hurry() -> None:
    """Lets this process go before what users compute: all wait for it. Where systemd runs it, its unit says so."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)


class Gateway:
    """All of it, around a listening socket, which stays open."""

    def __init__(self, state: State, runtime: Runtime, config: Config, listener: socket.socket) -> None:
        peers = Peers()
        self._admission = Admission(state, config, peers)
        keeper = Keeper(state, config.shared_max_kept_per_user, config.shared_max_script)
        self._group_commit = GroupCommit(state, runtime.bell, keeper, self._admission)
        may = self._admission.may_see_all
        limits = Limits(config.shared_max_connections, config.shared_max_connections_per_user)
        self._server = Server(
            listener,
            self._group_commit,
            VisibleSnapshot(self._group_commit, may),
            HistoryAnswers(state.history, may),
            peers,
            limits,
        )

    @property
    def descriptor(self) -> int:
        """It is readable when there is something to do."""
        return self._server.descriptor

    @property
    def is_idle(self) -> bool:
        """Whether nobody is connected or waits for an answer."""
        return self._server.is_idle

    def serve(self, mono: float) -> float | None:
        """One round; when the next is due though `descriptor` is not readable."""
        return self._server.serve(mono)

    def tick(self, now: Moment, slots: Slots) -> Turn:  # noqa: ARG002 -- the workers' protocol
        """Serves for as long as something comes, but shows now and then that it is alive."""
        mono = now.mono
        while True:
            due = self._server.serve(mono)
            mono = time.monotonic()
            if mono > now.mono + BUSY_FOR or not ((due is not None and due <= mono) or self._server.has_more()):
                break
        return Turn(Service(None), None, due, (self._server.descriptor,))

    def close(self) -> None:
        """Hangs up. Those who wait for an answer ask the next gateway."""
        self._server.close()
        self._group_commit.close()
