"""Hands jobs over to the clusters of the configuration, follows them there and ends them; the queue stays ours.

What it knows is on disk, with the clusters, or seen again: it may be killed at any time.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

from gflowd import log, paths
from gflowd.core.cluster.directory_names import BATCHES, DIRECTORY, IS_STATE_ID, RESTORED, STATE_ID
from gflowd.core.cluster.remote_observations import Sights
from gflowd.effects.cluster.intents import Intents
from gflowd.effects.cluster.reach import Reach
from gflowd.workers.base import Turn
from gflowd.workers.cluster_bridge.mirror import Mirror
from gflowd.workers.cluster_bridge.remote_directory import Place
from gflowd.workers.cluster_bridge.remote_setup import RemoteSetup
from gflowd.workers.cluster_bridge.upkeep import Upkeep

if TYPE_CHECKING:
    from gflowd.core.cluster.remote_observations import Sight
    from gflowd.core.execution.observations import Key, LiveJob
    from gflowd.core.moment import Moment
    from gflowd.workers.base import Wiring
    from gflowd.workers.board_slots import Slots


def open(wiring: Wiring) -> Bridge:  # noqa: A001 -- the workers' protocol
    """The bridge. Raises OSError."""
    return Bridge(wiring)


class Bridge:
    """Decision: the sights of all attempts that clusters have."""

    def __init__(self, wiring: Wiring) -> None:
        self._log = log.get("cluster_bridge")
        directory = wiring.state.path(DIRECTORY)
        paths.private_directory(directory)
        paths.discard_unfinished(directory)
        state_id = _state_id(os.path.join(directory, STATE_ID))
        intents = Intents(os.path.join(directory, BATCHES))
        self._mirrors: dict[str, Mirror] = {}
        for name, cluster in wiring.config.clusters.items():
            root = place(cluster.directory, state_id)
            setup = RemoteSetup(wiring.state, wiring.runtime, root)
            reach = Reach(cluster.directory, Place(cluster.directory, setup, wiring.state))
            self._mirrors[name] = Mirror(cluster, setup.place, reach, intents, (paths.machine(), state_id))
        self._upkeep = Upkeep(self._mirrors, os.path.join(directory, RESTORED))
        self._told: dict[str, str] = {}

    def tick(self, now: Moment, slots: Slots) -> Turn:
        """Goes on with every cluster."""
        agenda = slots.agenda
        if agenda is None:
            return Turn(Sights())
        by_cluster: dict[str, dict[Key, LiveJob]] = {name: {} for name in self._mirrors}
        for job in agenda.remote:
            if job.cluster in by_cluster:
                by_cluster[job.cluster][job.key] = job
        found: dict[Key, Sight] = {}
        wakes: list[float] = []
        watched: list[int] = []
        for name, mirror in self._mirrors.items():
            found |= mirror.tick(by_cluster[name], now)
            wakes += mirror.wakes(now)
            watched += mirror.descriptors()
        unreachable = {name: why for name, mirror in self._mirrors.items() if (why := mirror.unreachable) is not None}
        self._tell(unreachable)
        offers = {name: offer for name, mirror in self._mirrors.items() if (offer := mirror.offer) is not None}
        wakes.append(self._upkeep.step(now.mono))
        return Turn(Sights(found, unreachable, offers), None, min(wakes, default=None), tuple(watched))

    def close(self) -> None:
        """Ends the calls that are at work."""
        for mirror in self._mirrors.values():
            mirror.close()

    def _tell(self, unreachable: dict[str, str]) -> None:
        """The log hears of a change."""
        for name, why in unreachable.items():
            if name not in self._told:
                self._log.warning("cluster does not answer", cluster=name, why=why)
        for name in self._told.keys() - unreachable:
            self._log.info("cluster answers again", cluster=name)
        self._told = unreachable


def place(directory: str, state_id: str) -> str:
    """Our part of a cluster's directory."""
    return os.path.join(directory, f"gflow-{state_id}")


def _state_id(path: str) -> str:
    """What tells this state directory from every other; made once. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        known = paths.read_private(path).decode(errors="replace").strip()
        if IS_STATE_ID(known):
            return known
    made = secrets.token_hex(6)
    paths.replace_file(path, made.encode(), durable=True)
    return made
