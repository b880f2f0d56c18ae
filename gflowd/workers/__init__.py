"""The workers: one module each, one row each. To add a worker, write its module and add its row."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflowd.config import notification_targets
from gflowd.effects import doorbell as bell
from gflowd.workers.board_slots import (
    CLUSTER_BRIDGE,
    GATEWAY,
    GPU_POLLER,
    METRICS_UPDATER,
    NOTIFIER,
    RESERVATION_TIMER,
    SCHEDULER,
    TIMEOUT_ENFORCER,
    ZOMBIE_DETECTOR,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gflowd.config.loader import Config
    from gflowd.paths import State


@dataclass(frozen=True, slots=True)
class Row:
    """A worker: its name (also that of its slot and process), what wakes it, what it rings when its decision changes,
    its module in this package if that has another name, and for one that not everybody needs, the configurations in
    which it is wanted. Such a worker is not forked otherwise, and the daemon does not end because it cannot start.

    One that `starts_for` some rings may rest: it ends itself when nothing is left to do, and is not forked before one
    of them is heard. `rests` says whether it rests from the start.
    """

    name: str
    wakes_for: bytes
    rings: bytes = bell.FINDING
    module: str = ""
    when: Callable[[Config], bool] | None = None
    starts_for: bytes = b""
    rests: Callable[[Config, State], bool] | None = None

    @property
    def is_essential(self) -> bool:
        """Whether there is no daemon without it."""
        return self.when is None

    def is_wanted(self, config: Config) -> bool:
        """Whether it is to run."""
        return self.when is None or self.when(config)

    def is_at_rest(self, config: Config, state: State) -> bool:
        """Whether it waits for a ring before it is forked for the first time."""
        return self.rests is not None and self.rests(config, state)


def _has_nothing_to_notify(config: Config, state: State) -> bool:
    """Nobody is told of everything, and no job has ever asked to be told of."""
    return not notification_targets.of(config) and not os.path.lexists(state.outbox)


WORKERS = (
    Row(GPU_POLLER, wakes_for=bell.POLL),
    Row(ZOMBIE_DETECTOR, wakes_for=bell.ENDED + bell.DECISION, module="zombie_detector.worker"),
    Row(TIMEOUT_ENFORCER, wakes_for=bell.DECISION, module="timeout_enforcer.worker"),
    Row(RESERVATION_TIMER, wakes_for=bell.DECISION),
    Row(
        NOTIFIER,
        wakes_for=bell.NOTICE + bell.EVENT,
        module="notifier.worker",
        when=lambda config: config.notify_enabled is not False,
        starts_for=bell.NOTICE,
        rests=_has_nothing_to_notify,
    ),
    Row(
        CLUSTER_BRIDGE,
        wakes_for=bell.DECISION,
        module="cluster_bridge.worker",
        when=lambda config: bool(config.clusters),
    ),
    Row(
        SCHEDULER,
        wakes_for=bell.SUBMISSION + bell.WISH + bell.FINDING,
        rings=bell.DECISION,
        module="scheduler.worker",
    ),
    Row(
        METRICS_UPDATER,
        wakes_for=bell.SUBMISSION + bell.WISH + bell.DECISION,
        when=lambda config: config.metrics_textfile is not None or config.metrics_listen is not None,
    ),
    Row(
        GATEWAY,
        wakes_for=b"",
        module="gateway.worker",
        when=lambda config: config.shared_gateway == "worker",  # as only the daemon for many users can have it
    ),
)


def wanted(config: Config, rows: Iterable[Row]) -> tuple[Row, ...]:
    """The workers of a daemon with this configuration."""
    return tuple(row for row in rows if row.is_wanted(config))
