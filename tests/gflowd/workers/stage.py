"""What the tests of the workers play on: moments, what others have posted, and real attempts at jobs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from support.specs import SPEC
from support.waiting import eventually

from gflowd.core.execution import job_environment, job_script
from gflowd.core.execution.observations import Key, LiveJob, Observation, Observations
from gflowd.core.gpu.admin_state import Resumed
from gflowd.core.gpu.device import Gpu
from gflowd.core.gpu.report import GpuReport, news
from gflowd.core.job.model import Identity, Job, Queued, Run, Started, Wish
from gflowd.core.moment import Moment
from gflowd.effects import proc
from gflowd.effects.attempt import jobdir
from gflowd.effects.kernel import processes
from gflowd.paths import Runtime, State
from gflowd.workers.board_slots import GPU_POLLER, SCHEDULER, ZOMBIE_DETECTOR, Agenda, Post, Slots

BOOT = proc.boot_id()
LIMIT = 60.0  # seconds: patience with a busy machine, no promise


def now(**changes: object) -> Moment:
    return replace(Moment(time.time(), time.monotonic(), BOOT), **changes)  # type: ignore[arg-type]


NOTHING_POSTED = Slots()


def slots_of(
    *live: LiveJob, edges: tuple[float, ...] = (), poll_after: float | None = None, resumed: tuple[Resumed, ...] = ()
) -> Slots:
    """The board as the scheduler posted it."""
    return Slots({SCHEDULER: Post(Agenda(live, edges, poll_after, resumed))})


def polled(begun: float, gpus: tuple[Gpu, ...] | None, trouble: str | None = None) -> Slots:
    """The board after a look at the GPUs that was asked for."""
    report = GpuReport(begun, begun, trouble, gpus)
    return Slots({GPU_POLLER: Post(news(report), report)})


def observed(of_attempts: Mapping[Key, Observation]) -> Slots:
    """The board as the zombie detector posted it."""
    return Slots({ZOMBIE_DETECTOR: Post(Observations(of_attempts))})


class Jobs:
    """Real attempts: job.sh started as the process executor would, in a state directory."""

    def __init__(self, state: State, runtime: Runtime) -> None:
        self.state = state
        self.runtime = runtime
        self.processes: list[subprocess.Popen[bytes]] = []

    def directory(self, job_id: int, attempt: int = 1) -> Path:
        return Path(self.state.attempt(job_id, attempt))

    def leader(self, job: LiveJob) -> processes.Leader:
        """As the timeout enforcer gives it to its parts."""
        assert job.started is not None
        return job.started.identity, processes.job_mark(self.state.root, *job.key)

    def make(self, job_id: int, attempt: int = 1) -> Path:
        place = self.directory(job_id, attempt)
        place.mkdir(parents=True, exist_ok=True)
        return place

    def start(self, job_id: int, text: str, attempt: int = 1) -> Identity:
        """Starts `text` under a job.sh, and waits until it has begun."""
        place = self.make(job_id, attempt)
        environment = place / "environment.sh"
        mark = os.environ["GFLOW_TEST_MARK"].encode()
        environment.write_bytes(job_script.environment_script(b"PATH=/usr/bin:/bin\0GFLOW_TEST_MARK=" + mark))
        spec = SPEC.replace(cwd=str(place))
        run = Run(executor="process", launched_at=1.0, attempt=attempt)
        named = job_environment.variables(Job(job_id, spec, Wish(), Queued()), run, self.state.root, None)
        launch = job_script.Launch(
            title="test",
            directory=os.fsencode(place),
            bell=os.fsencode(self.runtime.bell),
            environment=os.fsencode(environment),
            variables=tuple((name, value.encode()) for name, value in named.items()),
            cwd=os.fsencode(place),
            umask=0o022,
            command=(b"/bin/sh", b"-c", text.encode()),
        )
        jobdir.prepare(str(place), job_script.job_script(launch))
        with (place / "log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    ["/bin/sh", str(place / "job.sh")],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        eventually(lambda: (begun := jobdir.beginning(str(place))) and begun.identity)
        begun = jobdir.beginning(str(place))
        assert begun is not None
        assert begun.identity is not None
        return begun.identity

    def wait(self) -> None:
        """Until every job.sh has ended."""
        for process in self.processes:
            process.wait(LIMIT)

    def end(self) -> None:
        """Ends whatever carries the test's mark, until there is no more of it."""
        mark = f"\0GFLOW_TEST_MARK={os.environ['GFLOW_TEST_MARK']}\0".encode()

        def ours() -> list[int]:
            everyone = processes.everyone()
            return [pid for pid in everyone if pid != os.getpid() and mark in processes._environment(pid)]

        def end_all() -> bool:
            for pid in ours():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in self.processes:
                process.poll()
            return not ours()

        eventually(end_all)
        self.wait()


def live(job_id: int, identity: Identity | None = None, **fields: object) -> LiveJob:
    """A live job as the scheduler posts it; running when its process is given."""
    started = None if identity is None else Started(at=time.time(), mono=time.monotonic(), identity=identity)
    made = LiveJob(id=job_id, attempt=1, executor="process", grace=10.0, started=started, time_limit=None)
    return made.replace(**fields)
