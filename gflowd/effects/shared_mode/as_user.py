"""Does as a user what root must not do where that user may write: removes trees, cuts logs. In a bounded process, in a
control group apart from gflowd's.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from gflowd.effects.shared_mode import become

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflowd.effects.shared_mode.job_groups import JobGroups

LONGEST = 600.0  # seconds
MEMORY_MB, TASKS = 1024, 16
_numbers = itertools.count()


class Task:
    """A running `action` (of `become`) for the user `owner`, a uid and a gid, for `within` seconds (default LONGEST).
    Raises OSError if it cannot begin.
    """

    def __init__(
        self, action: str, words: Sequence[str], owner: tuple[int, int], groups: JobGroups, within: float | None = None
    ) -> None:
        self._groups = groups
        self._owner = owner
        within = LONGEST if within is None else within
        self._ends_at = time.monotonic() + within
        group = "" if groups.by_systemd else groups.make_for_user(owner[0])
        program = [sys.executable, "-I", "-S", become.__file__, *map(str, owner), group, action, *words]
        self._process = subprocess.Popen(
            [*_unit(owner, within), *program] if groups.by_systemd else program,
            cwd="/",
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def is_over(self) -> bool:
        """Whether it has ended; what takes too long is ended."""
        if self._process.poll() is None and time.monotonic() >= self._ends_at:
            if not self._groups.by_systemd:
                self._groups.kill_for_user(self._owner[0])
            self._process.kill()
            self._ends_at += LONGEST
        return self._process.poll() is not None

    @property
    def has_failed(self) -> bool:
        """Whether it is over and something of it could not be done."""
        return self._process.returncode not in (None, 0)


def _unit(owner: tuple[int, int], within: float) -> list[str]:
    """The call of systemd-run that starts a service as a user, and waits for it."""
    limits = [
        f"RuntimeMaxSec={within:g}",
        f"MemoryMax={MEMORY_MB}M",
        f"TasksMax={TASKS}",
        "NoNewPrivileges=yes",
        "DevicePolicy=closed",
    ]  # fmt: skip -- its user may trace it
    about = [f"--unit=gflow-care-{owner[0]}-{os.getpid()}-{next(_numbers)}", f"--uid={owner[0]}", f"--gid={owner[1]}"]
    properties = [f"--property={each}" for each in limits]
    return ["systemd-run", "--quiet", "--collect", "--wait", "--no-ask-password", "--slice=gflow.slice", *about,
            *properties]  # fmt: skip
