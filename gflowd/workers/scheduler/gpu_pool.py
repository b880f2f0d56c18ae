"""Which GPUs may be allocated, from the poller's report, the administrator's orders and other daemons' claims.

Part of the planner, which asks it before it plans and tells it what it gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gflowd import log
from gflowd.core.gpu import admin_state, hidden_use
from gflowd.core.gpu import states as gpu_states
from gflowd.core.gpu.admin_state import AdminState
from gflowd.core.planning import reservations
from gflowd.effects.gpu import claims
from gflowd.effects.gpu.claims import Claims

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gflowd.core.gpu.device import Gpu
    from gflowd.core.job.model import Job, Run
    from gflowd.core.moment import Moment
    from gflowd.core.planning.reservations import Window
    from gflowd.workers.board_slots import Slots

DOUBT = 120.0  # seconds for which a missing GPU is expected back, and no new promise is made


class GpuPool:
    """As of the last `look`: `seen` are the GPUs, None while they are unknown; `trouble` is what the driver says.
    As of the last `count`: `usable` are the indices of the GPUs that jobs may have, in use or not.
    """

    def __init__(
        self, allowed: Collection[int] | None, visible_as: str | None = None, trusted: Sequence[str] = ()
    ) -> None:
        """`trusted`: the users whose daemons' claims count beside root's and our own."""
        self._log = log.get("gpus")
        self._allowed = allowed
        self._visible_as = visible_as
        trusted_ids, unknown = claims.user_ids(trusted)
        for name in unknown:
            self._log.warning("no such user", name=name, setting="gpu.trust_claims_of")
        self._claims = Claims(trusted_ids)
        self._ignored: dict[str, int] = {}  # who claims a GPU though their claims do not count, by its UUID
        self._told: set[tuple[str, int]] = set()  # of these
        self._jobs: Collection[Job] = ()
        self._held: gpu_states.Held = {}
        self.admin = AdminState()
        self._taken: dict[str, str] = {}  # how it is known that others use a GPU, by its UUID
        self._hidden = hidden_use.HiddenUse()
        self.seen: tuple[Gpu, ...] | None = None
        self.trouble: str | None = None
        self.usable: set[int] = set()
        self._had: dict[int, float] = {}  # when each GPU could last be had (monotonic)
        self._knew: float | None = None  # when the GPUs were last known

    def look(self, settings: Mapping[Any, Any], jobs: Collection[Job], slots: Slots, now: Moment) -> None:
        """Reads the current state; keeps the GPUs of `jobs`, live or lingering, from other daemons."""
        self.trouble, self.seen = slots.gpu_report.trouble, slots.gpu_report.gpus
        self.admin = admin_state.read(settings, self._allowed, now.boot)
        self._jobs = jobs
        self._held = gpu_states.held(jobs, self.seen or ())
        self._claims.keep({uuid for job in jobs if job.run for uuid in job.run.gpu_uuids})
        real = [gpu for gpu in self.seen or () if not gpu.simulated]
        owners = self._claims.others({uuid for gpu in real for uuid in (gpu.uuid, gpu.card)})
        taken = {uuid for uuid, owner in owners.items() if self._claims.honours(owner)}
        self._ignored = {uuid: owner for uuid, owner in owners.items() if uuid not in taken}
        self._tell_ignored()
        self._hidden = hidden_use.follow(self._hidden, real, self._given_mb(), slots.gpu_report.begun, now.mono)
        elsewhere = (gpu.uuid for gpu in real if not taken.isdisjoint((gpu.uuid, gpu.card)))
        self._taken = {**self._hidden.found, **dict.fromkeys(elsewhere, gpu_states.ELSEWHERE)}

    def _tell_ignored(self) -> None:
        """Logs each claim that does not count once."""
        for uuid, owner in self._ignored.items() - self._told:
            self._log.warning("claim not honoured", gpu=uuid, user=claims.user_name(owner))
            self._told.add((uuid, owner))

    def _given_mb(self) -> dict[str, int | None]:
        """What each real GPU that our jobs have was given to shared ones, by UUID; None: all of it."""
        found: dict[str, int | None] = {}
        for job in self._jobs:
            for uuid in self.uuids(self.places(job.run)) if job.run is not None else ():
                before = found.get(uuid, 0)
                shares = job.spec.shared and before is not None
                found[uuid] = (before or 0) + (job.spec.gpu_memory_mb or 0) if shares else None
        return found

    @property
    def is_contended(self) -> bool:
        """Whether others use some GPU: nothing rings when they stop."""
        return bool(self._taken)

    def foreign_mb(self, gpu: Gpu) -> int:
        """The memory of a GPU that is in use, and not by jobs of ours (MiB)."""
        return self._hidden.foreign_mb.get(gpu.uuid, 0)

    @property
    def known(self) -> tuple[Gpu, ...] | None:
        """The GPUs of the machine; None while unknown."""
        return None if self.trouble is not None else self.seen

    def count(self, lingering: Iterable[Job], now: Moment) -> None:
        """Counts the GPUs that jobs may have. What lingers keeps its own, for an unknown time."""
        live = {job.id for job in self._jobs}
        kept = {index for job in lingering if job.run is not None for index in self.places(job.run)}
        self.usable = gpu_states.available(self.known or (), self.admin, self._held, live, self._taken) - kept
        seen = self.usable if self._had else {gpu.index for gpu in self.known or ()}  # at first, for all we know
        self._had = {**self._had, **dict.fromkeys(seen, now.mono)}
        self._knew = now.mono if self.known is not None or self._knew is None else self._knew

    def doubtful(self, now: Moment) -> set[int]:
        """The GPUs that were usable a moment ago and were not taken out on purpose."""
        gone = self.usable | self._closed()
        return {index for index, at in self._had.items() if now.mono <= at + DOUBT and index not in gone}

    def doubt_ends(self, now: Moment) -> float | None:
        """When next something is taken for gone that was expected back (monotonic)."""
        lost = [self._had[index] for index in self.doubtful(now)]
        if self.known is None and self._knew is not None and now.mono <= self._knew + DOUBT:
            lost.append(self._knew)
        return min(lost) + DOUBT if lost else None

    def _closed(self) -> set[int]:
        """The GPUs that people have taken out: drained ones, and those that are not allowed."""
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

    def visible(self, gpu_ids: Sequence[int]) -> dict[str, Any]:
        """The fields of a run that say how its job names these GPUs: CUDA does not count lost ones, and knows MIG
        devices by their UUIDs alone.
        """
        seen = self.seen or ()
        if not self.uuids(gpu_ids):
            return {}
        is_cut_up = any(gpu.parent for gpu in seen)
        if self._visible_as == "index" and not is_cut_up:
            counted = [gpu.index for gpu in seen if gpu.answers]
            cuda_ids = tuple(counted.index(index) for index in gpu_ids)
            return {} if cuda_ids == tuple(gpu_ids) else {"cuda_ids": cuda_ids}
        counts_anew = is_cut_up or any(gpu.fault for gpu in seen)
        return {"by_uuid": True} if counts_anew or self._visible_as == "uuid" else {}

    def claim(self, uuids: Sequence[str]) -> bool:
        """Whether these are ours to give; another daemon may have been faster."""
        cards = {gpu.card for gpu in self.seen or () if gpu.uuid in uuids}
        return all(self._claims.take(uuid) for uuid in uuids) and not any(
            self._claims.honours(owner) for owner in self._claims.others(cards).values()
        )

    def picture(self, jobs: Mapping[int, Job], windows: Sequence[Window], wall: float) -> gpu_states.Picture:
        """The GPUs as gflowctl shows them, with `jobs` that are live or lingering."""
        held = gpu_states.held(jobs.values(), self.seen or ())
        shared = {index for index, ids in held.items() if all(jobs[job_id].spec.shared for job_id in ids)}
        reserved = {index: f"for {user}" for index, user in reservations.reserved_now(windows, wall).items()}
        states = gpu_states.states(
            self.seen or (), self.admin, held, jobs, shared=shared, reserved=reserved, taken=self._taken
        )
        for gpu in self.seen or ():
            owner = self._ignored.get(gpu.uuid, self._ignored.get(gpu.card))
            state, cause = states[gpu.index]
            if cause is None and owner is not None and not gpu.simulated:
                states[gpu.index] = state, gpu_states.claimed_by(claims.user_name(owner))
        return gpu_states.Picture(self.seen, held, states, self.trouble)

    def close(self) -> None:
        """Lets go of all."""
        self._claims.close()
