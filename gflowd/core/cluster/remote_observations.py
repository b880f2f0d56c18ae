"""What the bridge sees of the attempts that clusters run, and what each cluster offers: its decision on the board.

The scheduler posts such attempts as `Agenda.remote`. Each is a `LiveJob` with the cluster's name, and while the cluster
has given it no id, with the whole job, so that it can be handed over. The bridge answers with one `Sight` each. What it
has not seen it leaves out, and of a cluster that does not answer it keeps what it saw last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gflowd.core.job.value_base import Posted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gflowd.core.execution.observations import Key
    from gflowd.core.job.model import Started

WAITING, RUNNING, SUSPENDED, ENDING, OVER = "waiting", "running", "suspended", "ending", "over"  # stages of an attempt


@dataclass(frozen=True, slots=True)
class End(Posted):
    """How an attempt ended: as `model.Ended` has it. `is_own`: its command ended by itself, by its exit record."""

    state: str
    reason: str | None = None
    at: float | None = None  # None: not known; now
    exit_code: int | None = None
    signal: int | None = None
    is_own: bool = False


@dataclass(frozen=True, slots=True)
class Sight(Posted):
    """One attempt as it was last seen. `reason`: why it waits, as users read it; `end`: with the stage OVER.

    `started`: once it runs; of one without a `pid` file that could be read, `states.start_of`.
    """

    stage: str = WAITING
    reason: str | None = None
    cluster_id: str | None = None
    node: str | None = None
    started: Started | None = None
    end: End | None = None


@dataclass(frozen=True, slots=True)
class Nodes(Posted):
    """How large the nodes of one kind are: GPUs by type, None for those without one."""

    cpus: int
    memory_mb: int
    gpus: tuple[tuple[str | None, int], ...] = ()
    time_limit: float | None = None  # seconds, of their partition


@dataclass(frozen=True, slots=True)
class Offer(Posted):
    """What a cluster has for jobs, where these may go, and how many elements its largest array has."""

    nodes: tuple[Nodes, ...] = ()
    max_array: int = 1000


@dataclass(frozen=True, slots=True)
class Sights:
    """Of all clusters: the attempts by key; by the names of those that do not answer, why; and what the others offer,
    as far as that is known.
    """

    of_attempts: Mapping[Key, Sight] = field(default_factory=dict)
    unreachable: Mapping[str, str] = field(default_factory=dict)
    offers: Mapping[str, Offer] = field(default_factory=dict)

    def of(self, key: Key | None) -> Sight | None:
        """What was seen of one attempt; None while there is nothing."""
        return None if key is None else self.of_attempts.get(key)
