"""Lets the stop ladder of a job go on without waiting for its grace."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gflowd.effects import doorbell
from gflowd.storage.store import Store

if TYPE_CHECKING:
    from support.machine import Machine

HOUR = 3600.0


def let_pass(machine: Machine, job_id: int, seconds: float) -> None:
    """As if the job had been told to end that long ago, less a second: what is due then is not late, for with a KILL
    that is late the job's terminal goes as well, and hangs it up.
    """
    with Store(machine.state).commit() as commit:
        phase = commit.fold().of("phase")[job_id]
        commit.put("phase", job_id, {**phase, "since_mono": time.monotonic() - seconds + 1})
    doorbell.ring(f"{machine.state.default_run()}/bell", doorbell.WISH)
