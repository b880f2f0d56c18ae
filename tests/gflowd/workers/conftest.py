"""A wiring as the supervisor hands it over, on real files; ticks get their time and slots from the test."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from stage import LIMIT, Jobs

from gflowd.config import loader
from gflowd.effects.kernel import processes
from gflowd.paths import Runtime, State
from gflowd.workers.base import Wiring
from gflowd.workers.board import Pulses


@pytest.fixture(autouse=True)
def reaped() -> Iterator[None]:
    """Jobs that were started without tmux are our children, each with a session of its own: here nobody ticks on to
    bury them, and one that has just been started may not have had its mark when `Jobs.end` looked.
    """
    yield
    for process in processes.everyone().values():
        if process.parent == os.getpid() and process.session == process.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    limit = time.monotonic() + LIMIT
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < limit:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(0.005)


@pytest.fixture
def wiring(state: State, runtime_dir: str) -> Iterator[Wiring]:
    runtime = Runtime(runtime_dir)
    pulses = Pulses(["x"])
    wake, wake_write = os.pipe2(os.O_NONBLOCK)
    yield Wiring(
        state=state,
        runtime=runtime,
        config=replace(
            loader.load(None, {"HOME": "/nonexistent"}, {}),
            cpus=4,
            memory_mb=1000,
            history_after=1e12,
            tmp=state.root,
        ),
        address="",
        key=b"",
        pulses=pulses,
        supervisor=os.getppid(),
        wake=wake,
        complaints=wake_write,
        to_stderr=False,
    )
    os.close(wake)
    os.close(wake_write)
    os.close(pulses.fd)


@pytest.fixture
def jobs(wiring: Wiring) -> Iterator[Jobs]:
    made = Jobs(wiring.state, wiring.runtime)
    yield made
    made.end()
