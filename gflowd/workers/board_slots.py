"""What the workers post for each other, by name and type. Values only: the board stores them.

The poller's report is in `core.gpu.report`; observations and limits of jobs are in `core.execution.observations`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from gflowd.core.cluster.remote_observations import Sights
from gflowd.core.execution.observations import Enforced, Observations
from gflowd.core.execution.usage import Samples
from gflowd.core.gpu.report import GpuReport

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gflowd.core.execution.observations import LiveJob
    from gflowd.core.gpu.admin_state import Resumed

SCHEDULER, GPU_POLLER, ZOMBIE_DETECTOR, NOTIFIER = "scheduler", "gpu_poller", "zombie_detector", "notifier"
TIMEOUT_ENFORCER, RESERVATION_TIMER = "timeout_enforcer", "reservation_timer"
METRICS_UPDATER, GATEWAY, CLUSTER_BRIDGE = "metrics_updater", "gateway", "cluster_bridge"

Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True)
class Agenda:
    """What the scheduler posts for the others: the live jobs, the wall times at which something is due (ascending),
    the monotonic time after which it needs a poll of the GPUs, the faulty GPUs that were resumed, and the live jobs of
    clusters, which concern only the bridge to these.
    """

    live: tuple[LiveJob, ...]
    edges: tuple[float, ...]
    poll_after: float | None
    resumed: tuple[Resumed, ...] = ()
    remote: tuple[LiveJob, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """What a worker decides that only serves people: what keeps it from its work, None if nothing does."""

    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Post:
    """What one worker posts: others act on its `decision`, and only read its `detail`."""

    decision: object
    detail: object = None


@dataclass(frozen=True, slots=True)
class Slots:
    """The board as it was read: what each worker posted last, by the worker's name. Who has posted nothing yet has
    seen nothing. Reading a slot raises TypeError for a value of another kind.
    """

    posts: Mapping[str, Post] = field(default_factory=dict)

    @property
    def agenda(self) -> Agenda | None:
        """The scheduler's, None before its first."""
        return self._decision(SCHEDULER, Agenda)

    @property
    def gpu_report(self) -> GpuReport:
        """The GPU poller's."""
        post = self.posts.get(GPU_POLLER)
        return GpuReport() if post is None else _checked(post.detail, GpuReport)

    @property
    def observations(self) -> Observations:
        """The zombie detector's."""
        return self._decision(ZOMBIE_DETECTOR, Observations) or Observations()

    @property
    def enforced(self) -> Enforced:
        """The timeout enforcer's."""
        return self._decision(TIMEOUT_ENFORCER, Enforced) or Enforced()

    @property
    def sights(self) -> Sights:
        """Those of the bridge to clusters."""
        return self._decision(CLUSTER_BRIDGE, Sights) or Sights()

    @property
    def samples(self) -> Samples:
        """What the timeout enforcer has seen live attempts use."""
        post = self.posts.get(TIMEOUT_ENFORCER)
        return Samples() if post is None or post.detail is None else _checked(post.detail, Samples)

    def troubles(self, names: Collection[str]) -> dict[str, str | None]:
        """What keeps those of these workers that only serve people from their work, None if nothing does."""
        posts = ((name, self.posts[name].decision) for name in names if name in self.posts)
        return {name: said.trouble for name, said in posts if isinstance(said, Service)}

    def without(self, name: str) -> Slots:
        """What all other workers have posted."""
        return Slots({other: post for other, post in self.posts.items() if other != name})

    def _decision(self, name: str, kind: type[Kind]) -> Kind | None:
        post = self.posts.get(name)
        return None if post is None else _checked(post.decision, kind)


def _checked(value: object, kind: type[Kind]) -> Kind:
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} wanted on the board, not {type(value).__name__}")
    return value
