"""Looks at the GPUs, on the poll interval and when the scheduler asks for a fresh look.

The first look comes with the second tick, so that a driver that hangs or aborts is not taken for a daemon that cannot
start. While the driver fails nothing is known of any GPU, and it is tried again more and more rarely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gflowd import log
from gflowd.core.execution import process_owner
from gflowd.core.gpu import faults as gpu_faults
from gflowd.effects import processes
from gflowd.effects.gpu import pci
from gflowd.effects.gpu.drivers import Simulated
from gflowd.workers.base import Turn

if TYPE_CHECKING:
    from gflowd.core.execution.observations import Agenda, LiveJob
    from gflowd.core.execution.procstat import Process
    from gflowd.core.gpu.admin_state import Resumed
    from gflowd.core.gpu.device import Gpu, GpuProcess
    from gflowd.core.gpu.faults import Noted
    from gflowd.core.moment import Moment
    from gflowd.effects.gpu.drivers import Driver
    from gflowd.workers.base import Wiring

FIRST_RETRY, LONGEST_RETRY = 10.0, 300.0  # seconds


def open(wiring: Wiring) -> GpuPoller:  # noqa: A001 -- the workers' protocol
    """The poller with the driver that the configuration asks for."""
    return GpuPoller(_driver(wiring), wiring)


def _driver(wiring: Wiring) -> Driver:
    if wiring.config.simulate is not None:
        return Simulated(*wiring.config.simulate)
    from gflowd.effects.gpu.nvml import Nvml

    return Nvml(pci.has_nvidia)


class GpuPoller:
    """Decision: when the last look that was asked for began, what is wrong with the driver, and what matters for giving
    a GPU away. Detail: when the last look began, and the GPUs as it found them; None for unknown. Then the faults
    that last, for the next poller: a GPU that is lost may well take this one with it.
    """

    def __init__(self, driver: Driver, wiring: Wiring) -> None:
        self._driver = driver
        self._wiring = wiring
        self._log = log.get("gpu_poller")
        self._begun = self._answered = float("-inf")
        self._next: float | None = None
        self._seen: tuple[Gpu, ...] | None = None
        self._noted: Noted = {}
        self._resumed: tuple[Resumed, ...] = ()
        self._trouble: str | None = None
        self._retry = FIRST_RETRY

    def tick(self, now: Moment, slots: dict[str, Any]) -> Turn:
        """Polls when it is time to, or when the scheduler wants to know about a later moment than the last look."""
        agenda: Agenda | None = slots["scheduler"][0] if "scheduler" in slots else None
        wanted = None if agenda is None else agenda.poll_after
        if self._next is None:
            self._next = now.mono
            self._noted = slots["gpu_poller"][1][2] if "gpu_poller" in slots else {}
        elif now.mono >= self._next or (self._trouble is None and self._is_asked(agenda)):
            self._look(now, agenda)
        if wanted is not None and self._trouble is None:
            self._answered = self._begun
        inventory = None if self._seen is None else tuple(map(_decisive, self._seen))
        return Turn((self._answered, self._trouble, inventory), (self._begun, self._seen, self._noted), self._next)

    def close(self) -> None:
        """Lets go of the driver."""
        self._driver.close()

    def _is_asked(self, agenda: Agenda | None) -> bool:
        if agenda is None:
            return False
        stale = agenda.poll_after is not None and agenda.poll_after > self._begun
        return stale or agenda.resumed != self._resumed

    def _look(self, now: Moment, agenda: Agenda | None) -> None:
        try:
            seen = self._driver.poll()
        except gpu_faults.DriverFailed as failure:
            self._fail(str(failure), now)
            return
        faults = {gpu.uuid: gpu.fault for gpu in self._seen or ()}
        if faults and faults.keys() != {gpu.uuid for gpu in seen}:
            self._log.info("GPUs have changed", gpus=len(seen))
        if self._trouble is not None:
            self._log.info("GPUs are known again", gpus=len(seen))
            faults = {}
        self._begun, self._next = now.mono, now.mono + self._wiring.config.poll_interval
        self._trouble, self._retry = None, FIRST_RETRY
        self._resumed = () if agenda is None else agenda.resumed
        judged, self._noted = gpu_faults.judge(seen, self._noted, self._resumed)
        self._seen = self._with_owners(judged, () if agenda is None else agenda.live, now)
        for gpu in self._seen:
            if gpu.fault == faults.get(gpu.uuid):
                continue
            if gpu.fault is None:
                self._log.info("GPU works again", index=gpu.index, uuid=gpu.uuid)
            else:
                self._log.warning("GPU is faulty", index=gpu.index, uuid=gpu.uuid, why=gpu.fault)

    def _fail(self, trouble: str, now: Moment) -> None:
        if trouble != self._trouble:
            self._log.error("GPUs are unknown", why=trouble)
        self._trouble = trouble
        self._next = now.mono + self._retry
        self._retry = min(self._retry * 2, LONGEST_RETRY)
        if self._seen is not None:
            unknown = {"fault": trouble, "lasting": False, "answers": False, "processes": ()}
            self._seen = tuple(gpu.replace(**unknown) for gpu in self._seen)

    def _with_owners(self, gpus: tuple[Gpu, ...], live: tuple[LiveJob, ...], now: Moment) -> tuple[Gpu, ...]:
        """The GPUs with the owners of their processes: users, and those jobs of ours that live."""
        if not any(gpu.processes for gpu in gpus):
            return gpus
        marks = {job.id: processes.job_mark(self._wiring.state.root, *job.key) for job in live}
        leaders = {
            job.id: process
            for job in live
            if job.started is not None
            and (process := processes.read(job.started.identity.pid)) is not None
            and process.identity(now.boot) == job.started.identity
        }
        return tuple(
            gpu.replace(processes=tuple(self._owned(process, marks, leaders) for process in gpu.processes))
            for gpu in gpus
        )

    def _owned(self, process: GpuProcess, marks: dict[int, processes.Mark], leaders: dict[int, Process]) -> GpuProcess:
        lineage = processes.lineage(process.pid, self._wiring.supervisor)
        if not lineage:
            return process
        carried = [processes.marked(each.pid, marks) for each in lineage]
        job_id = process_owner.job_of(lineage, carried, leaders)
        return process.replace(user=processes.user(process.pid), start=lineage[0].start, job_id=job_id)


def _decisive(gpu: Gpu) -> tuple[object, ...]:
    """What of a GPU decides whether it can be given away."""
    computing = (process for process in gpu.processes if not process.graphics)
    owners = tuple((process.pid, process.start, process.job_id) for process in computing)
    return gpu.index, gpu.uuid, gpu.fault, gpu.answers, gpu.ecc, owners
