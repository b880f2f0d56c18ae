"""Which GPUs may be allocated, from the poller's report, the administrator's orders and other daemons' claims.

Part of the scheduler, which asks it before planning and tells it what it allocates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gflowd.core.gpu import admin_state
from gflowd.core.gpu import states as gpu_states
from gflowd.core.gpu.admin_state import AdminState
from gflowd.effects.gpu.claims import Claims

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gflowd.core.gpu.device import Gpu
    from gflowd.core.job.model import Job, Run
    from gflowd.core.moment import Moment
    from gflowd.core.planning.reservations import Window
    from gflowd.workers.slots import Slots


class GpuPool:
    """As of the last `look`: `seen` are the GPUs, None while they are unknown; `trouble` is the driver's error."""

    def __init__(self, allowed: Collection[int] | None) -> None:
        self._allowed = allowed
        self._claims = Claims()
        self._jobs: Collection[Job] = ()
        self._held: gpu_states.Held = {}
        self.admin = AdminState()
        self.elsewhere: set[str] = set()  # what other daemons have allocated, by UUID
        self.seen: tuple[Gpu, ...] | None = None
        self.trouble: str | None = None

    def look(self, settings: Mapping[Any, Any], jobs: Collection[Job], slots: Slots, now: Moment) -> None:
        """Reads the current state; keeps the GPUs of `jobs`, live or lingering, from other daemons."""
        self.trouble, self.seen = slots.gpu_report.trouble, slots.gpu_report.gpus
        self.admin = admin_state.read(settings, self._allowed, now.boot)
        self._jobs = jobs
        self._held = gpu_states.held(jobs, self.seen or ())
        self._claims.keep({uuid for job in jobs if job.run for uuid in job.run.gpu_uuids})
        real = [gpu for gpu in self.seen or () if not gpu.simulated]
        taken = self._claims.elsewhere({uuid for gpu in real for uuid in (gpu.uuid, gpu.card)})
        self.elsewhere = {gpu.uuid for gpu in real if not taken.isdisjoint((gpu.uuid, gpu.card))}

    @property
    def known(self) -> tuple[Gpu, ...] | None:
        """The GPUs of the machine; None while unknown."""
        return None if self.trouble is not None else self.seen

    def available(self) -> set[int]:
        """The GPUs that may be allocated unless they are in use."""
        live = {job.id for job in self._jobs}
        return gpu_states.available(self.known or (), self.admin, self._held, live, self.elsewhere)

    def closed(self) -> set[int]:
        """The GPUs that were taken out of use: drained ones, and those that are not allowed."""
        admin = self.admin
        return {
            gpu.index
            for gpu in self.known or ()
            if admin.drained_as(gpu) is not None or (admin.allowed is not None and gpu.index not in admin.allowed)
        }

    def places(self, run: Run) -> tuple[int, ...]:
        """Where the GPUs of a run are now."""
        return gpu_states.places(run, self.seen or ())

    def uuids(self, gpu_ids: Sequence[int]) -> tuple[str, ...]:
        """The UUIDs of the GPUs at these indices, which identify them if indices change; those of simulated ones never
        do.
        """
        named = {gpu.index: gpu.uuid for gpu in self.seen or () if not gpu.simulated}
        return tuple(named[index] for index in gpu_ids if index in named)

    def counts_anew(self) -> bool:
        """Whether CUDA may number the GPUs differently than we do, because one is lost or divided into MIG devices."""
        return any(gpu.fault or gpu.parent for gpu in self.seen or ())

    def claim(self, uuids: Sequence[str]) -> bool:
        """Whether these are ours to give; another daemon may have been faster."""
        cards = {gpu.card for gpu in self.seen or () if gpu.uuid in uuids}
        return all(self._claims.take(uuid) for uuid in uuids) and not self._claims.elsewhere(cards)

    def picture(self, jobs: Mapping[int, Job], windows: Sequence[Window], wall: float) -> gpu_states.Picture:
        """The GPUs as gflowctl shows them, with `jobs` that are live or lingering."""
        held = gpu_states.held(jobs.values(), self.seen or ())
        shared = {index for index, ids in held.items() if all(jobs[job_id].spec.shared for job_id in ids)}
        reserved = {
            index: f"for {window.user}"
            for window in windows
            if window.start <= wall < window.end
            for index in window.gpu_list or ()
        }
        states = gpu_states.states(
            self.seen or (), self.admin, held, jobs, shared=shared, reserved=reserved, elsewhere=self.elsewhere
        )
        return gpu_states.Picture(self.seen, held, states, self.trouble)

    def close(self) -> None:
        """Lets go of all."""
        self._claims.close()
