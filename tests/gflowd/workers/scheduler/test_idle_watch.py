"""When the scheduler looks for idle GPUs, and wants a look at them: on clocks of the test's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stage import BOOT
from support.specs import SPEC

from gflowd.core.gpu.device import Gpu
from gflowd.core.gpu.report import GpuReport
from gflowd.core.job.model import Identity, Job, Phase, Run, Running, Started, Suspended, Wish
from gflowd.core.moment import Moment
from gflowd.workers.base import Wiring
from gflowd.workers.scheduler.idle_watch import A_POLL_TAKES, LATE_AGAIN, IdleWatch

RUN = Run(executor="process", launched_at=1.0, gpu_ids=(0,))
RUNNING = Running(run=RUN, started=Started(at=1.0, mono=1.0, identity=Identity(BOOT, 9, 9)))
SUSPENDED = Suspended(run=RUN, started=RUNNING.started, since_at=1.0, since_mono=1.0, since_boot=BOOT)


def job(phase: Phase = RUNNING) -> Job:
    return Job(1, SPEC.replace(gpus=1), Wish(), phase)


def report(begun: float, utilisation: int = 0) -> GpuReport:
    gpu = Gpu(index=0, uuid="GPU-0", model="M", memory_mb=1, utilisation=utilisation)
    return GpuReport(begun=begun, gpus=(gpu,))


def at(mono: float) -> Moment:
    return Moment(1e9, mono, BOOT)


@pytest.fixture
def watch(wiring: Wiring) -> IdleWatch:
    """Polls are every ten seconds."""
    return IdleWatch(replace(wiring.config, idle_warn=12.0, idle_cancel=15.0, poll_interval=10.0))


def test_a_look_at_the_gpus_is_wanted_when_an_attempt_has_been_idle_for_long_enough(watch: IdleWatch) -> None:
    watch.look([job()], report(100.0))
    assert sorted(watch.wakes(at(100.0))) == [110.0 + A_POLL_TAKES, 112.0]
    watch.look([job()], report(110.0))
    assert watch.poll_after(at(111.9)) is None
    assert watch.poll_after(at(112.0)) == 112.0
    assert watch.to_warn_of() == [], "only what was seen counts"
    watch.look([job()], report(112.01))
    assert (watch.to_warn_of(), watch.to_cancel(), watch.poll_after(at(112.1))) == ([1], set(), None)
    assert watch.poll_after(at(115.0)) == 115.0
    watch.look([job()], report(115.01))
    assert watch.to_cancel() == {(1, 1)}
    assert watch.poll_after(at(200.0)) is None, "all is known"


def test_each_poll_is_looked_at_though_nobody_rings(watch: IdleWatch) -> None:
    watch.look([job()], report(100.0, utilisation=7))
    assert [*watch.wakes(at(105.0))] == [110.0 + A_POLL_TAKES]
    assert [*watch.wakes(at(111.0))] == [111.0 + LATE_AGAIN], "it is late"
    watch.look([], report(111.0))
    assert [*watch.wakes(at(112.0))] == []


def test_while_nothing_is_configured_nothing_is_looked_at(wiring: Wiring) -> None:
    watch = IdleWatch(replace(wiring.config, idle_warn=None, idle_cancel=None))
    watch.look([job()], report(100.0))
    assert ([*watch.wakes(at(100.0))], watch.poll_after(at(1e6)), watch.to_warn_of()) == ([], None, [])


def test_a_suspended_job_is_not_idle_and_its_idleness_begins_anew(watch: IdleWatch) -> None:
    watch.look([job()], report(100.0))
    watch.look([job(SUSPENDED)], report(110.0))
    watch.look([job()], report(120.0))
    watch.look([job()], report(130.0))
    assert watch.to_warn_of() == []
    watch.look([job()], report(132.0))
    assert watch.to_warn_of() == [1]
