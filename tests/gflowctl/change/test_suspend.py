"""What may be suspended and unsuspended, and how a suspended job is shown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from gflowd.core.job import codec
from gflowd.core.job.model import Ended, Identity, Pauses, Phase, Run, Running, Started, Starting, Stopping, Suspended
from gflowd.effects import proc

if TYPE_CHECKING:
    from support.ctl import Ctl

RUN = Run(executor="process", launched_at=1.0, gpu_ids=(0, 2))


@pytest.fixture
def job(ctl: Ctl) -> Ctl:
    ctl.submit("--time", "1h", "--cpus", "3", "-g", "2", "true")
    return ctl


def started(ago: float) -> Started:
    return Started(at=time.time() - ago, mono=time.monotonic() - ago, identity=Identity(proc.boot_id(), 4242, 7))


def suspended(ago: float = 90.0, since: float = 30.0, **fields: object) -> Suspended:
    phase = Suspended(
        run=RUN,
        started=started(ago),
        since_at=time.time() - since,
        since_mono=time.monotonic() - since,
        since_boot=proc.boot_id(),
        pauses=Pauses(count=1, seconds=10.0),
    )
    return phase.replace(**fields)


def wish(ctl: Ctl) -> dict[str, object]:
    return dict(ctl.store.read().of("wish").get(1) or {})


@pytest.mark.parametrize("phase", [Starting(run=RUN), Running(run=RUN, started=started(5))])
def test_what_starts_or_runs_can_be_suspended_and_unsuspended(job: Ctl, phase: Phase) -> None:
    job.set_phase(1, phase)
    assert job.ok("suspend", "1") == "Suspended job 1\n"
    assert wish(job) == {"suspended": 1}
    done = job.run("suspend", "1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "gflowctl: job 1 is already suspended\n")
    assert job.ok("unsuspend", "1") == "Unsuspended job 1\n"
    assert wish(job) == {}


def test_its_cpus_can_be_given_back_at_once_or_later(job: Ctl) -> None:
    job.set_phase(1, Running(run=RUN, started=started(5)))
    job.ok("suspend", "1", "--release-cpus")
    assert wish(job) == {"suspended": 1, "releases_cpus": True}
    assert "already suspended" in job.run("suspend", "1").stderr
    job.ok("unsuspend", "1")
    job.ok("suspend", "1")
    assert job.ok("suspend", "1", "--release-cpus") == "Suspended job 1\n"
    assert wish(job) == {"suspended": 1, "releases_cpus": True}


def test_what_does_not_run_cannot_be_suspended(job: Ctl) -> None:
    def refusal() -> str:
        done = job.run("suspend", "1")
        assert done.returncode == 1
        return done.stderr.removeprefix("gflowctl: job 1 is ").removesuffix("; only running jobs can be suspended\n")

    assert refusal() == "queued"
    stop = Stopping(run=RUN, started=started(5), why="TimeLimit", since_at=1.0, since_mono=1.0, since_boot="b")
    job.set_phase(1, stop)
    assert refusal() == "stopping"
    job.set_phase(1, Ended(state="finished", ended_at=5.0, started_at=1.0, run=RUN))
    assert refusal() == "finished"
    job.set_phase(1, Running(run=RUN, started=started(5)))
    job.ok("cancel", "1")
    assert refusal() == "being cancelled"


def test_what_goes_on_already_is_told_so(job: Ctl) -> None:
    job.set_phase(1, suspended())
    assert "is already to go on" in job.run("unsuspend", "1").stderr
    job.set_phase(1, Running(run=RUN, started=started(5)))
    assert "is not suspended (running)" in job.run("unsuspend", "1").stderr


def test_the_clock_of_a_suspended_job_stands_still(job: Ctl) -> None:
    job.set_phase(1, suspended(without_cpus=True))
    (seen,) = job.jobs()
    assert (seen["state"], seen["reason"], seen["suspended_seconds"], seen["pid"]) == ("suspended", None, 10.0, 4242)
    assert seen["time_left"] == pytest.approx(3600 - 50, abs=0.5)
    assert job.ok("queue", "-f", "ST,TIME,NODELIST(REASON)").splitlines()[1].split() == ["S", "0:50", "0,2"]
    shown = job.ok("show", "1")
    assert "its CPUs are given back" in shown
    assert "0:50, without 0:10 suspended" in shown
    job.set_phase(1, suspended(since_boot="another", started=started(90).replace(identity=Identity("another", 1, 1))))
    assert job.ok("queue", "-f", "TIME").split() == ["TIME", "0:50"]
    over = Ended(state="finished", ended_at=100.0, started_at=10.0, run=RUN, paused=25.0)
    job.set_phase(1, over)
    assert job.ok("queue", "-a", "-f", "TIME").split() == ["TIME", "1:05"]
    assert codec.decode_phase(codec.encode_phase(over)) == over


def test_one_that_waits_for_its_cpus_says_so(job: Ctl) -> None:
    job.set_phase(1, suspended(without_cpus=True))
    job.observe(reasons={"1": "Resources"})
    assert job.jobs()[0]["reason"] == "Resources"
    assert "0,2 (Resources)" in job.ok("queue")
    job.ok("suspend", "1")
    assert job.jobs()[0]["reason"] is None, "it is not to go on any more"


def test_states_select_it(job: Ctl) -> None:
    job.set_phase(1, suspended())
    for word in ("suspended", "S"):
        assert [each["id"] for each in job.jobs("--states", word)] == [1]
    assert job.ok("cancel", "--dry-run", "--state", "suspended") == "Would cancel job 1\n"
