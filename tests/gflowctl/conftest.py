"""A gflowctl of its own for each test, or for those of a module that only look."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import pytest
from support.ctl import private_ctl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ctl import Ctl


@pytest.fixture
def ctl() -> Iterator[Ctl]:
    """As `private_ctl`."""
    with private_ctl() as found:
        yield found


@pytest.fixture
def other() -> Iterator[Ctl]:
    """Another machine, or the same after its disk was lost."""
    with private_ctl() as found:
        yield found


@pytest.fixture
def up(ctl: Ctl) -> Iterator[Ctl]:
    """Where a daemon runs, as far as anybody can tell."""
    ctl.state.prepare()
    with open(ctl.state.daemon_lock, "w") as file:
        os.chmod(ctl.state.daemon_lock, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        yield ctl


@pytest.fixture(scope="module")
def mixed() -> Iterator[Ctl]:
    """Only to be looked at: 1 queued, 2 held, 3 running, 4 finished, 5 failed, 6 cancelled while queued."""
    with private_ctl() as found:
        found.submit("-n", "a", "-p", "5", "true")
        found.submit("-n", "b", "-P", "ml", "--hold", "true")
        found.submit("-n", "c", "-g", "2", "-t", "1h", "true")
        found.run_job(3, gpu_ids=(0, 1), executor="tmux")
        found.submit("-n", "d", "true")
        found.end_job(4, exit_code=0)
        found.submit("-n", "e", "true")
        found.end_job(5, "failed", signal=9, reason="Signaled:SIGKILL")
        found.submit("-n", "f", "true")
        found.ok("cancel", "6")
        yield found
