"""Sees to it that the jobs of a daemon for many users can open their own GPUs only (`enforce_gpus`), by a device filter
on the control group of each.

The filter is there before anything is in the group, and stays whatever happens to us. Where systemd makes the group it
puts one of its own there, which it loses when it is told to read its units again (seen with 257): so ours is added.
Where none can be had, jobs run without, and `trouble` says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gflowd import log
from gflowd.core.gpu import device_access
from gflowd.core.gpu.device_access import UnknownFile
from gflowd.effects.gpu import device_files
from gflowd.effects.shared_mode import device_filter
from gflowd.effects.shared_mode.device_filter import DeviceFilter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gflowd.config.loader import Config
    from gflowd.core.gpu.device import Gpu
    from gflowd.core.gpu.device_access import Rule
    from gflowd.core.job.model import Run
    from gflowd.paths import State

LATE = "until just after a job's start: for systemd there is no file system of type bpf at /sys/fs/bpf"


class GpuGuard:
    """`is_on`: the GPUs of others are to be closed to each job."""

    def __init__(self, state: State, config: Config, place: str = device_filter.PLACE) -> None:
        self.is_on = config.shared_enforce_gpus != device_access.OFF and config.simulate is None
        self._log = log.get("gpus")
        self._why_not = device_filter.why_not()
        self._filter: DeviceFilter | None = None
        self._of_units: DeviceFilter | None = None
        if self._why_not is None:
            self._filter = DeviceFilter(f"{state.root} jobs", place)
            self._of_units = DeviceFilter(f"{state.root} units", place)
        self._gpus: dict[str, Gpu] = {}  # as last seen, by UUID
        self._files = device_files.read(())
        self._done: dict[str, Rule | None] = {}  # what holds for each group; None: nothing
        self._troubles: dict[str, None] = {}  # since the GPUs last changed

    @property
    def trouble(self) -> str | None:
        """Why jobs can open the GPUs of others though they are not to."""
        return next(iter(self._troubles), self._why_not) if self.is_on else None

    def look(self, gpus: tuple[Gpu, ...] | None) -> None:
        """Takes note of the GPUs of the machine; None while they are unknown."""
        found = {gpu.uuid: gpu for gpu in gpus or ()}
        if _files_of(found) != _files_of(self._gpus):
            self._files = device_files.read(found.values())
            self._troubles = {}
        self._gpus = found

    def put(self, group: str, run: Run) -> None:
        """Closes the GPUs of others to an attempt, in whose group nothing is yet."""
        self._done.pop(group, None)  # of another group of that name
        self._see_to(group, self._rule(run))

    def unit_properties(self, run: Run) -> tuple[str, ...]:
        """The same where systemd makes the group: properties of its unit."""
        rule = self._rule(run)
        if rule is None or self._of_units is None:
            return ()
        try:
            if self._of_units.can_pin:
                return (f"BPFProgram=device:{self._of_units.pin(rule)}",)
            self._complain(LATE)
        except OSError as error:
            self._complain(device_filter.explain(error))
        return ()

    def keep(self, groups: Mapping[str, Run]) -> None:
        """Sees to it that the filters of all live attempts are there, whoever put them; that there are none if this is
        not to be.
        """
        if self._filter is None or self._of_units is None:
            return
        rules = {group: self._rule(run) for group, run in groups.items()}
        self._done = {group: rule for group, rule in self._done.items() if group in groups}
        for group, rule in rules.items():
            self._see_to(group, rule)
        wanted = [rule for rule in (*rules.values(), *self._done.values()) if rule is not None]
        self._filter.forget_all_but(wanted)
        self._of_units.forget_all_but(wanted)

    def close(self) -> None:
        """Leaves all filters where they are."""
        for each in (self._filter, self._of_units):
            if each is not None:
                each.close()

    def _see_to(self, group: str, rule: Rule | None) -> None:
        if self._filter is None or self._done.get(group, self) == rule or (rule is None and self.is_on):
            return
        try:
            if rule is None:
                self._filter.take_off(group)
            else:
                self._filter.put(group, rule)
            self._done[group] = rule
        except FileNotFoundError:  # not made yet, or gone
            pass
        except OSError as error:
            self._complain(device_filter.explain(error))

    def _rule(self, run: Run) -> Rule | None:
        if not self.is_on or not self._gpus.keys() >= set(run.gpu_uuids):  # of one that is gone, what was put holds
            return None
        try:
            return device_access.rule([self._gpus[uuid] for uuid in run.gpu_uuids], self._files)
        except UnknownFile as error:
            self._complain(str(error))
            return None

    def _complain(self, trouble: str) -> None:
        if trouble not in self._troubles:
            self._log.warning("the GPUs of others are not closed to jobs", why=trouble)
            self._troubles[trouble] = None


def _files_of(gpus: Mapping[str, Gpu]) -> dict[str, tuple[object, ...]]:
    return {uuid: (gpu.minor, gpu.instance) for uuid, gpu in gpus.items()}
