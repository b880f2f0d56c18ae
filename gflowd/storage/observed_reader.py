"""What the daemon last saw, from `observed.json`: the only reader of that file.

Missing values read as unknown, so that files of older or newer versions can be read. The scheduler's
`observed_writer` writes it.
"""

from __future__ import annotations

import os

from gflowd import paths
from gflowd.core.syntax import fast_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class SeenProcess:
    """A process on a GPU. `start`: in clock ticks since boot, 0 if unknown; `job_id`: its live job, None if it is
    foreign; `graphics`: it draws and does not compute; `memory_mb`: the memory it uses, if the driver reports that.
    """

    __slots__ = ("graphics", "job_id", "memory_mb", "pid", "start", "user")

    def __init__(self, raw: dict[str, Any]) -> None:
        self.pid: int = raw["pid"]
        self.user: str = raw.get("user", "?")
        self.start: int = raw.get("start", 0)
        self.job_id: int | None = raw.get("job_id")
        self.graphics: bool = raw.get("graphics", False)
        self.memory_mb: int | None = raw.get("memory_mb")


class SeenGpu:
    """A GPU with its state; see `core.gpu.device.Gpu` for the units. `raw`: all that is written of it."""

    __slots__ = (
        "answers", "cause", "ecc", "fault", "index", "jobs", "lasting", "links", "memory_mb", "model", "parent",
        "processes", "raw", "simulated", "state", "temperature", "used_mb", "utilisation", "uuid",
    )  # fmt: skip

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.index: int = raw["index"]
        self.uuid: str = raw.get("uuid", "")
        self.model: str = raw["model"]
        self.memory_mb: int = raw["memory_mb"]
        self.used_mb: int = raw.get("used_mb", 0)
        self.utilisation: int | None = raw.get("utilisation")
        self.temperature: int | None = raw.get("temperature")
        self.simulated: bool = raw.get("simulated", False)
        self.fault: str | None = raw.get("fault")
        self.lasting: bool = raw.get("lasting", False)
        self.answers: bool = raw.get("answers", False)
        self.ecc: int = raw.get("ecc", 0)
        self.links: list[str] = raw.get("links") or []
        self.parent: str | None = raw.get("parent")
        self.state: str = raw.get("state", "")
        self.cause: str | None = raw.get("cause")
        self.jobs: list[int] = raw.get("jobs") or []  # that hold it
        self.processes = [SeenProcess(each) for each in raw.get("processes") or ()]


class Line:
    """The basis of the places of queued jobs in line. `order`: their ids, of each array the first."""

    __slots__ = ("_lengths", "_longest", "_ready", "_shares", "_until", "order")

    def __init__(self, raw: dict[str, Any]) -> None:
        self.order: list[int] = raw.get("order") or []
        self._ready: dict[str, float] = raw.get("ready") or {}
        self._lengths: dict[str, tuple[float, str, int]] = raw.get("lengths") or {}
        self._shares: dict[str, float] = raw.get("shares") or {}
        self._until: dict[str, float] = raw.get("until") or {}
        self._longest: dict[str, float] = raw.get("longest") or {}

    def ready(self, job_id: int) -> float | None:
        """Since when it waits (seconds since the epoch), where that is not its submission."""
        return self._ready.get(str(job_id))

    def length(self, job_id: int) -> tuple[float, str, int] | None:
        """How many seconds it is expected to take, what that was taken from, and from how many runs; None for a job
        with a limit.
        """
        return self._lengths.get(str(job_id))

    def share(self, user: str) -> float:
        """The factor that fair share gives a user."""
        return self._shares.get(user, 1.0)

    def until(self, job_id: int) -> float | None:
        """When it would have to be over to start at once."""
        return self._until.get(str(job_id))

    def longest(self, job_id: int) -> float | None:
        """How many seconds it may take to ever start."""
        return self._longest.get(str(job_id))


class Observed:
    """The whole file, or nothing: then `is_known` is false and everything else None or empty. Memory in MiB."""

    __slots__ = (
        "_gpus", "_reasons", "_reservations", "_starts", "at", "clusters", "config", "cpus", "enforce_gpus", "executor",
        "gpu_count", "gpu_trouble", "is_known", "line", "memory_limits", "memory_mb", "meters", "next_id",
        "open_gpus", "pid", "runtime_dir", "service_troubles", "trouble", "used_cpus", "used_memory_mb", "version",
    )  # fmt: skip

    def __init__(self, raw: dict[str, Any] | None = None) -> None:
        self.is_known = raw is not None
        raw = raw or {}
        capacity, used = raw.get("capacity") or {}, raw.get("used") or {}
        self.at: float | None = raw.get("at")  # when it was written (seconds since the epoch)
        self.pid: int | None = raw.get("pid")  # of the supervisor
        self.version: str | None = raw.get("version")
        self.runtime_dir: str | None = raw.get("runtime_dir")
        self.executor: str | None = raw.get("executor")
        self.memory_limits: str | None = raw.get("memory_limits")
        self.enforce_gpus: str | None = raw.get("enforce_gpus")  # None for a daemon of one user
        self.open_gpus: str | None = raw.get("open_gpus")  # why others can open GPUs though they are not to
        self.config: dict[str, Any] | None = raw.get("config")
        self.gpu_count: int | None = capacity.get("gpus")  # None until the daemon has looked
        self.cpus: int | None = capacity.get("cpus")
        self.memory_mb: int | None = capacity.get("memory_mb")
        self.used_cpus: int | None = used.get("cpus")
        self.used_memory_mb: int | None = used.get("memory_mb")
        self.gpu_trouble: str | None = raw.get("gpu_trouble")
        self.trouble: str | None = raw.get("trouble")
        self.service_troubles: dict[str, str | None] = raw.get("service_troubles") or {}  # by worker
        # By name, as `cluster_handover.told` has them.
        self.clusters: dict[str, dict[str, Any]] = raw.get("clusters") or {}
        self.meters: dict[str, Any] = raw.get("meters") or {}  # see `core.metrics.duration_meter`
        self.next_id: int | None = next_id if isinstance(next_id := raw.get("next_id"), int) else None
        self.line = Line(raw.get("line") or {})
        self._gpus: list[dict[str, Any]] = raw.get("gpus") or []
        self._reasons: dict[str, str] = raw.get("reasons") or {}
        self._starts: dict[str, float] = raw.get("expected") or {}
        self._reservations: list[dict[str, Any]] = raw.get("reservations") or []

    @property
    def gpus(self) -> list[SeenGpu]:
        """The GPUs by index."""
        return [SeenGpu(each) for each in self._gpus]

    @property
    def gpu_models(self) -> tuple[tuple[str, int], ...]:
        """The model and the memory of each GPU."""
        return tuple((each["model"], each["memory_mb"]) for each in self._gpus)

    @property
    def free_cpus(self) -> int | None:
        return None if self.cpus is None or self.used_cpus is None else self.cpus - self.used_cpus

    @property
    def free_memory_mb(self) -> int | None:
        return None if self.memory_mb is None or self.used_memory_mb is None else self.memory_mb - self.used_memory_mb

    @property
    def has_repeating_reservations(self) -> bool:
        return any(each.get("again") for each in self._reservations)

    @property
    def reasons(self) -> dict[int, str]:
        """Why jobs wait, stop or will be cancelled; of an array's elements that wait only for the first."""
        return {int(job_id): reason for job_id, reason in self._reasons.items()}

    @property
    def expected_starts(self) -> dict[int, float]:
        """When queued jobs were expected to start (seconds since the epoch)."""
        return {int(job_id): at for job_id, at in self._starts.items()}


def read(state: paths.State) -> Observed:
    """The file as it is now; nothing known if there is none, or none that can be understood. Raises as
    `State.open_told`, but OSError.
    """
    try:
        found = fast_json.loads(paths.read_open(state.open_told(state.observed, os.O_RDONLY)))
        return Observed(found) if isinstance(found, dict) else Observed()
    except (OSError, ValueError, RecursionError, AttributeError):
        return Observed()
