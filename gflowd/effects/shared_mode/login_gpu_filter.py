"""Shuts logins out of all GPUs, so that whoever wants one submits a job: a device filter on the control group of all
logins, which systemd makes with the first of them and removes with the last. Root's own processes stay free.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gflowd import paths
from gflowd.core.gpu.device_access import of_logins
from gflowd.effects.gpu import device_files
from gflowd.effects.kernel import cgroups
from gflowd.effects.shared_mode import device_filter
from gflowd.effects.shared_mode.device_filter import DeviceFilter

if TYPE_CHECKING:
    from collections.abc import Callable

SLICE = "user.slice"
NO_SLICE = f"logins have no control group of their own here (no {SLICE} without systemd)"


class Logins:
    """That group. `shut`: nobody there is to open a GPU; else what an earlier daemon did is undone."""

    def __init__(
        self, state_root: str, *, shut: bool, find_mount: Callable[[], str | None] = cgroups.find_mount
    ) -> None:
        self._shut = shut
        self._find_mount = find_mount
        self._why_not = device_filter.why_not()
        self._filter = DeviceFilter(f"{state_root} logins") if self._why_not is None else None
        self._is_done = False

    def look(self) -> str | None:
        """Sees to it, now; returns why logins are not shut out though they are to be."""
        if self._filter is None or (self._is_done and not self._shut):
            return self._why_not if self._shut else None
        mount = self._find_mount()
        group = None if mount is None else os.path.join(mount, SLICE)
        try:
            if group is None or not os.path.isdir(group):
                return NO_SLICE if self._shut and not os.path.exists(paths.SYSTEMD) else None
            if self._shut:
                self._filter.put(group, of_logins(device_files.read(())))
            else:
                self._filter.take_off(group)
                self._is_done = True
        except FileNotFoundError:  # the last has just gone
            return None
        except OSError as error:
            return f"logins: {device_filter.explain(error)}" if self._shut else None
        return None

    def close(self) -> None:
        """Leaves everything as it is."""
        if self._filter is not None:
            self._filter.close()
