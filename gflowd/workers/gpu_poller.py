"""Polls the GPUs, at the poll interval and when the scheduler asks for a fresh poll.

The first poll is in the second tick, so that a driver that hangs or aborts is not mistaken for a daemon that cannot
start. Until then it says what the poller before it has said: the GPUs have not gone because a configuration was read
again. While the driver fails, the state of all GPUs is unknown, and it is tried again at growing intervals.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gflowd import log
from gflowd.core.execution import process_owner
from gflowd.core.gpu import device_access, mean_load
from gflowd.core.gpu import faults as gpu_faults
from gflowd.core.gpu.report import GpuReport, news
from gflowd.effects.gpu import pci
from gflowd.effects.gpu.simulated import Simulated
from gflowd.effects.kernel import processes
from gflowd.workers.base import Turn

if TYPE_CHECKING:
    from gflowd.core.execution.observations import Key, LiveJob
    from gflowd.core.execution.procstat import Process
    from gflowd.core.gpu.admin_state import Resumed
    from gflowd.core.gpu.device import Gpu, GpuProcess
    from gflowd.core.gpu.mean_load import Load
    from gflowd.core.moment import Moment
    from gflowd.effects.gpu.simulated import Driver
    from gflowd.effects.shared_mode.job_groups import JobGroups
    from gflowd.effects.shared_mode.login_gpu_filter import Logins
    from gflowd.workers.base import Wiring
    from gflowd.workers.board_slots import Agenda, Slots

FIRST_RETRY, LONGEST_RETRY = 10.0, 300.0  # seconds
KEPT = 120.0  # seconds for which a poll holds after the next was due: a driver may kill poller after poller


def open(wiring: Wiring) -> GpuPoller:  # noqa: A001 -- the workers' protocol
    """The poller, with the configured driver."""
    if wiring.state.shared is None:
        return GpuPoller(_driver(wiring), wiring)
    from gflowd.effects.shared_mode import job_groups

    groups = job_groups.find(wiring.state.root, by_systemd=wiring.config.shared_launcher == "systemd")
    return GpuPoller(_driver(wiring), wiring, _logins(wiring), groups)


def _driver(wiring: Wiring) -> Driver:
    if wiring.config.simulate is not None:
        return Simulated(*wiring.config.simulate)
    from gflowd.effects.gpu.nvml import Nvml

    return Nvml(pci.has_nvidia)


def _logins(wiring: Wiring) -> Logins | None:
    """Those to be shut out of the GPUs, or let in again."""
    if wiring.config.simulate is not None:
        return None
    from gflowd.effects.shared_mode.login_gpu_filter import Logins

    return Logins(wiring.state.root, shut=wiring.config.shared_enforce_gpus == device_access.EVERYONE)


class GpuPoller:
    """Decision: the part of the report that matters for allocating a GPU. Detail: the report.

    In a daemon for many users there are `logins`, and `groups`: a process is of the job in whose group it is, and its
    environment counts for nothing.
    """

    def __init__(
        self, driver: Driver, wiring: Wiring, logins: Logins | None = None, groups: JobGroups | None = None
    ) -> None:
        self._driver = driver
        self._logins = logins
        self._groups = groups
        self._wiring = wiring
        self._log = log.get("gpu_poller")
        self._report = GpuReport()
        self._next: float | None = None
        self._resumed: tuple[Resumed, ...] = ()
        self._retry = FIRST_RETRY

    def tick(self, now: Moment, slots: Slots) -> Turn:
        """Polls when it is due, or when the scheduler wants a poll that is newer than the last one."""
        agenda = slots.agenda
        if self._next is None:
            self._next = now.mono
            self._report = self._inherited(slots.gpu_report, now)
            if isinstance(self._driver, Simulated):  # which cannot hang
                self._look(now, agenda)
        elif now.mono >= self._next or (self._report.trouble is None and self._is_asked(agenda)):
            self._look_at_logins()
            self._look(now, agenda)
        if agenda is not None and agenda.poll_after is not None and self._report.trouble is None:
            self._report = replace(self._report, answered=self._report.begun)
        return Turn(news(self._report), self._report, self._next)

    def close(self) -> None:
        """Releases the driver."""
        self._driver.close()
        if self._logins is not None:
            self._logins.close()

    def _inherited(self, before: GpuReport, now: Moment) -> GpuReport:
        """What holds until the first look: the report of the poller before, unless it is of other GPUs or too old."""
        is_of_others = any(gpu.simulated for gpu in before.gpus or ())
        until = before.begun + self._wiring.config.poll_interval + KEPT
        if is_of_others or (before.trouble is None and now.mono > until):
            return GpuReport(noted=before.noted, loads=before.loads)
        return before

    def _is_asked(self, agenda: Agenda | None) -> bool:
        if agenda is None:
            return False
        stale = agenda.poll_after is not None and agenda.poll_after > self._report.begun
        return stale or agenda.resumed != self._resumed

    def _look_at_logins(self) -> None:
        trouble = None if self._logins is None else self._logins.look()
        if trouble != self._report.logins:
            if trouble is not None:
                self._log.warning("logins are not shut out", why=trouble)
            self._report = replace(self._report, logins=trouble)

    def _look(self, now: Moment, agenda: Agenda | None) -> None:
        try:
            seen = self._driver.poll()
        except gpu_faults.DriverFailed as failure:
            self._fail(str(failure), now)
            return
        faults = {gpu.uuid: gpu.fault for gpu in self._report.gpus or ()}
        if faults and faults.keys() != {gpu.uuid for gpu in seen}:
            self._log.info("GPUs have changed", gpus=len(seen))
        if self._report.trouble is not None:
            self._log.info("GPUs are known again", gpus=len(seen))
            faults = {}
        self._next, self._retry = now.mono + self._wiring.config.poll_interval, FIRST_RETRY
        self._resumed = () if agenda is None else agenda.resumed
        judged, noted = gpu_faults.judge(seen, self._report.noted, self._resumed)
        gpus = self._with_owners(judged, () if agenda is None else agenda.live, now)
        loads = self._loads(gpus, () if agenda is None else agenda.live, now)
        self._report = replace(self._report, begun=now.mono, trouble=None, gpus=gpus, noted=noted, loads=loads)
        for gpu in gpus:
            if gpu.fault == faults.get(gpu.uuid):
                continue
            if gpu.fault is None:
                self._log.info("GPU works again", index=gpu.index, uuid=gpu.uuid)
            else:
                self._log.warning("GPU is faulty", index=gpu.index, uuid=gpu.uuid, why=gpu.fault)

    def _loads(self, gpus: tuple[Gpu, ...], live: tuple[LiveJob, ...], now: Moment) -> dict[Key, Load]:
        """How busy the GPUs of each live attempt were up to now. One that is suspended has only what was before."""
        utilisation = {name: gpu.utilisation for gpu in gpus for name in (gpu.card, gpu.uuid)}
        at_work = {job.key: job.gpus if job.runs_in(now.boot) and not job.suspended else () for job in live if job.gpus}
        return mean_load.follow(self._report.loads, at_work, utilisation)

    def _fail(self, trouble: str, now: Moment) -> None:
        if trouble != self._report.trouble:
            self._log.error("GPUs are unknown", why=trouble)
        self._next = now.mono + self._retry
        self._retry = min(self._retry * 2, LONGEST_RETRY)
        unknown = {"fault": trouble, "lasting": False, "answers": False, "processes": ()}
        gpus = None if self._report.gpus is None else tuple(gpu.replace(**unknown) for gpu in self._report.gpus)
        self._report = replace(self._report, trouble=trouble, gpus=gpus)

    def _with_owners(self, gpus: tuple[Gpu, ...], live: tuple[LiveJob, ...], now: Moment) -> tuple[Gpu, ...]:
        """The GPUs with the owners of their processes: users, and our live jobs."""
        if not any(gpu.processes for gpu in gpus):
            return gpus
        if self._groups is not None:
            keys = {job.key for job in live}
            return tuple(
                gpu.replace(processes=tuple(_in_group(process, self._groups, keys) for process in gpu.processes))
                for gpu in gpus
            )
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


def _in_group(found: GpuProcess, groups: JobGroups, live: set[Key]) -> GpuProcess:
    """A process with its owner: its user, and the live job in whose control group it is."""
    process = processes.read(found.pid)
    if process is None:
        return found
    key = groups.key_of(found.pid)
    job_id = key[0] if key is not None and key in live else None
    return found.replace(user=processes.user(found.pid), start=process.start, job_id=job_id)
