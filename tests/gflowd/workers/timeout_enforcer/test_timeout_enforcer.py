from __future__ import annotations

import itertools
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from stage import NOTHING_POSTED, Jobs, live, now, slots_of
from support.waiting import eventually

from gflowd import log
from gflowd.core.execution import stop_ladder, usage
from gflowd.core.execution.observations import Enforced, LiveJob
from gflowd.core.job import reasons
from gflowd.core.job.model import EarlySignal, Identity, Started
from gflowd.effects import proc
from gflowd.effects.attempt import jobdir
from gflowd.effects.kernel import processes
from gflowd.paths import State
from gflowd.workers.base import Turn, Wiring
from gflowd.workers.timeout_enforcer import worker as timeout_enforcer
from gflowd.workers.timeout_enforcer.worker import TimeoutEnforcer

# A job that notes which signals reach it, and ends by none of them.
STUBBORN = "trap 'echo INT >>got' INT; trap 'echo TERM >>got' TERM; echo >here; while :; do sleep 0.02; done"


@pytest.fixture
def wiring(wiring: Wiring, monkeypatch: pytest.MonkeyPatch) -> Wiring:
    """One by which neither a log nor what a job uses needs to be looked at while a test lasts."""
    for name in ("SOONEST", "EVERY"):
        monkeypatch.setattr(usage, name, 1e9)
    return replace(wiring, config=replace(wiring.config, log_max_size=1 << 50))


@pytest.fixture
def enforcer(wiring: Wiring) -> TimeoutEnforcer:
    return timeout_enforcer.open(wiring)


def is_far(when: float | None) -> bool:
    """Whether nothing but logs is looked at then."""
    return when is not None and when > 2e6


def tick(enforcer: TimeoutEnforcer, *jobs: LiveJob, **moment: object) -> Turn:
    return enforcer.tick(now(**moment), slots_of(*jobs))


def stopping(identity: Identity | None, since: float, job_id: int = 1, **fields: object) -> LiveJob:
    made = live(job_id, identity, why=reasons.CANCELLED_BY_USER, since_mono=since, since_boot=now().boot)
    return made.replace(**fields)


def stubborn(jobs: Jobs, job_id: int = 1) -> Identity:
    identity = jobs.start(job_id, STUBBORN)
    eventually((jobs.directory(job_id) / "here").exists)
    return identity


def got(jobs: Jobs, job_id: int = 1) -> list[str]:
    path = jobs.directory(job_id) / "got"
    return path.read_text().split() if path.exists() else []


def test_without_a_scheduler_nothing_is_due(enforcer: TimeoutEnforcer) -> None:
    turn = enforcer.tick(now(), NOTHING_POSTED)
    assert (turn.decision, turn.wake_at) == (Enforced(), None)
    enforcer.close()


def limited(job_id: int, mono: float, limit: float | None, boot: str | None = None) -> LiveJob:
    identity = Identity(boot or now().boot, 1 << 30, 1)
    return live(job_id, time_limit=limit).replace(started=Started(at=1.0, mono=mono, identity=identity))


def test_a_time_limit_passes_exactly_on_the_monotonic_clock(enforcer: TimeoutEnforcer) -> None:
    job = limited(1, 100.0, 60.0)
    turn = tick(enforcer, job, mono=159.999, wall=0.0)
    assert (turn.decision.overdue, turn.wake_at) == ((), 160.0)
    turn = tick(enforcer, job, mono=160.0, wall=1e12)
    assert turn.decision.overdue == ((1, 1),)
    assert is_far(turn.wake_at)


def test_the_next_limit_of_many_is_waited_for(enforcer: TimeoutEnforcer) -> None:
    jobs = limited(1, 100.0, 60.0), limited(2, 100.0, 30.0), limited(3, 100.0, None), limited(4, 100.0, 5.0)
    turn = tick(enforcer, *jobs, mono=110.0)
    assert (turn.decision.overdue, turn.wake_at) == (((4, 1),), 130.0)


def test_the_clock_of_another_boot_makes_nobody_overdue(enforcer: TimeoutEnforcer) -> None:
    turn = tick(enforcer, limited(1, 100.0, 60.0, boot="an old boot"), mono=1e6)
    assert turn.decision.overdue == ()
    assert is_far(turn.wake_at)


def test_the_ladder_is_walked_step_by_step_each_once(enforcer: TimeoutEnforcer, jobs: Jobs, wiring: Wiring) -> None:
    identity = stubborn(jobs)
    since = time.monotonic()
    job = stopping(identity, since)
    assert tick(enforcer, job, mono=since).wake_at == since + 5.0
    eventually(lambda: got(jobs) == ["INT"])
    for again in (enforcer, timeout_enforcer.open(wiring)):  # the second is the worker started anew
        assert tick(again, job, mono=since + 1.0).wake_at == since + 5.0
    enforcer = timeout_enforcer.open(wiring)
    assert tick(enforcer, job, mono=since + 5.0).wake_at == since + 10.0
    eventually(lambda: got(jobs) == ["INT", "TERM"])
    for again in (enforcer, timeout_enforcer.open(wiring)):
        tick(again, job, mono=since + 6.0)
    time.sleep(0.1)
    assert got(jobs) == ["INT", "TERM"]
    assert {"stop.INT", "stop.TERM"} <= set(os.listdir(jobs.directory(1)))


def test_at_the_end_of_the_grace_everything_but_the_script_is_killed(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    identity = stubborn(jobs)
    since = time.monotonic() - 10.0
    tick(enforcer, stopping(identity, since), mono=since + 10.0)
    jobs.wait()
    assert (jobs.directory(1) / "exit").read_text() == "137\n", "the script lived to record it"


def test_a_missed_step_is_still_taken_in_its_order(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    identity = stubborn(jobs)
    since = time.monotonic()
    tick(enforcer, stopping(identity, since), mono=since + 7.0)
    eventually(lambda: sorted(got(jobs)) == ["INT", "TERM"])


def test_the_kill_is_repeated_ever_more_rarely(enforcer: TimeoutEnforcer) -> None:
    nobody = stopping(Identity(now().boot, 1 << 30, 1), 100.0)
    turn, times = tick(enforcer, nobody, mono=110.0), [110.0]
    while len(times) < 9:
        assert turn.wake_at is not None
        times.append(turn.wake_at)
        turn = tick(enforcer, nobody, mono=turn.wake_at)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps == pytest.approx([0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0])


def test_who_comes_after_the_first_kill_is_killed_too(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    identity = stubborn(jobs)
    since = time.monotonic() - 10.0
    job = stopping(identity, since)
    late = stubborn(jobs, 2)  # stands for a process that was not found at first
    tick(enforcer, job, mono=since + 10.0)
    jobs.processes[0].wait(60)
    jobs.processes.pop(0)
    assert processes.lives(late, now().boot), "another job's is not touched"
    other = stopping(late, since, job_id=2)
    tick(enforcer, job, other, mono=since + 10.3)
    jobs.wait()


def test_the_script_itself_is_killed_at_last(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    identity = jobs.start(1, "exec sleep 60")
    jobs.processes[0].send_signal(signal.SIGSTOP)
    since = time.monotonic() - 10.0
    job = stopping(identity, since)
    tick(enforcer, job, mono=since + 10.0)
    tick(enforcer, job, mono=since + 10.0 + stop_ladder.LEADER_SPARED - 0.1)
    assert processes.lives(identity, now().boot)
    tick(enforcer, job, mono=since + 10.0 + stop_ladder.LEADER_SPARED + 1.0)
    jobs.wait()
    assert jobs.processes[0].returncode == -signal.SIGKILL


def test_strays_get_term_and_then_kill(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    identity = jobs.start(1, f'setsid sh -c "{STUBBORN}" 9>&- & exit 3')
    eventually((jobs.directory(1) / "here").exists)
    jobs.wait()
    since = time.monotonic()
    job = stopping(identity, since, why=reasons.STRAYS)
    assert tick(enforcer, job, mono=since).wake_at == since + 10.0
    eventually(lambda: got(jobs) == ["TERM"])
    tick(enforcer, job, mono=since + 10.0)
    mark = processes.job_mark(jobs.state.root, 1, 1)
    eventually(lambda: not processes.members({(1, 1): (None, mark)}, 0)[1, 1])
    assert got(jobs) == ["TERM"]


def test_without_grace_the_kill_comes_at_once(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    identity = stubborn(jobs)
    since = time.monotonic()
    tick(enforcer, stopping(identity, since, grace=0.0), mono=since)
    jobs.wait()
    assert got(jobs) == []


def test_a_suspended_job_is_woken_to_hear_its_signal(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    identity = jobs.start(1, "echo >here; exec sleep 60")
    eventually((jobs.directory(1) / "here").exists)
    (child,) = (p.pid for p in processes.everyone().values() if p.parent == identity.pid)
    os.kill(child, signal.SIGSTOP)
    tick(enforcer, stopping(identity, time.monotonic()))
    jobs.wait()
    assert (jobs.directory(1) / "exit").read_text() == "130\n"


def test_a_job_that_never_began_is_barred(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    tick(enforcer, stopping(None, time.monotonic()))
    begun = jobdir.beginning(str(jobs.directory(1)))
    assert begun is not None
    assert (begun.identity, begun.why) == (None, "CancelledByUser")


def test_a_job_that_began_unseen_is_stopped_all_the_same(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    stubborn(jobs)
    tick(enforcer, stopping(None, time.monotonic()))
    eventually(lambda: got(jobs) == ["INT"])
    begun = jobdir.beginning(str(jobs.directory(1)))
    assert begun is not None
    assert begun.identity is not None


def test_after_a_reboot_nobody_is_signalled(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    identity = stubborn(jobs)
    shutil.copytree(jobs.directory(1), jobs.directory(2), ignore=lambda *_: ["alive"])
    old = identity.replace(boot="an old boot")
    job = stopping(old, 100.0, job_id=2, since_boot="an old boot")
    for mono in (time.monotonic(), time.monotonic() + 100.0):
        tick(enforcer, job, mono=mono)
    time.sleep(0.1)
    assert got(jobs) == []
    assert processes.lives(identity, now().boot)


def test_a_running_job_is_not_signalled(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    identity = stubborn(jobs)
    tick(enforcer, live(1, identity, time_limit=1000.0))
    time.sleep(0.05)
    assert got(jobs) == []


def test_who_outlives_a_minute_of_kill_is_named(enforcer: TimeoutEnforcer) -> None:
    nobody = stopping(Identity(now().boot, 1 << 30, 1), 100.0)
    assert tick(enforcer, nobody, mono=110.0 + stop_ladder.UNKILLABLE_AFTER - 0.1).decision.stuck == ()
    assert tick(enforcer, nobody, mono=110.0 + stop_ladder.UNKILLABLE_AFTER).decision.stuck == ((1, 1),)


def test_with_no_place_left_for_the_mark_the_step_is_taken_all_the_same(
    enforcer: TimeoutEnforcer, jobs: Jobs, tmp_path: Path
) -> None:
    identity = stubborn(jobs)
    aside = tmp_path / "aside"
    jobs.directory(1).rename(aside)
    tick(enforcer, stopping(identity, time.monotonic()))
    eventually(lambda: (aside / "got").exists() and (aside / "got").read_text() == "INT\n")
    aside.rename(jobs.directory(1))


def test_a_step_is_taken_once_also_where_its_mark_cannot_be_written(wiring: Wiring, jobs: Jobs, tmp_path: Path) -> None:
    identity = stubborn(jobs)
    enforcer = timeout_enforcer.open(wiring)
    since = time.monotonic()
    aside = tmp_path / "aside"
    jobs.directory(1).rename(aside)
    for number in range(4):
        tick(enforcer, stopping(identity, since), mono=since + number / 10)
        eventually((aside / "got").exists)
        time.sleep(0.1)
    heard = (aside / "got").read_text().split()
    aside.rename(jobs.directory(1))
    assert heard == ["INT"]


def test_a_job_stopped_before_a_reboot_is_not_called_unkillable_after_it(enforcer: TimeoutEnforcer) -> None:
    job = stopping(Identity("old", 1 << 30, 1), 5.0, since_boot="old")
    assert tick(enforcer, job, mono=500.0).decision.stuck == ()


def signalled(wiring: Wiring) -> list[str]:
    return [line for line in Path(wiring.state.log).read_text().splitlines() if "signal=KILL" in line]


def test_who_may_not_be_signalled_is_told_of_once(
    wiring: Wiring, enforcer: TimeoutEnforcer, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a child that has become root's."""
    job = stopping(jobs.start(1, "trap '' INT TERM; echo >here; exec sleep 60"), time.monotonic() - 20.0)
    eventually((jobs.directory(1) / "here").exists)
    log.setup(wiring.state, "timeout_enforcer", "info", stderr=False)
    with monkeypatch.context() as patch:
        patch.setattr(processes, "send", lambda *_: False)
        for mono in (0.0, 1.0, 3.0, 9.0):
            tick(enforcer, job, mono=time.monotonic() + mono)
        assert [line.count("processes=0") for line in signalled(wiring)][:1] == [1]
        assert len(signalled(wiring)) == 2, "that nobody was reached, and that some may not be"
    tick(enforcer, job, mono=time.monotonic() + 20.0)
    assert len(signalled(wiring)) == 3
    log.setup(State(os.devnull), "tests", "error", stderr=False)  # lets go of the file
    jobs.wait()


NOTE = "trap 'echo {0} >>got' USR1; touch {0}.ready; while :; do sleep 0.02; done"


def warned(jobs: Jobs, text: str, *ready: str, command_only: bool = False) -> LiveJob:
    """A running job, all of whose parts are there, with 60 s and a USR1 10 s before."""
    identity = jobs.start(1, text)
    eventually(lambda: all((jobs.directory(1) / name).exists() for name in ready))
    early = EarlySignal(number=signal.SIGUSR1, before=10.0, command_only=command_only)
    return live(1, identity, time_limit=60.0).replace(
        started=Started(at=1.0, mono=1000.0, identity=identity), early_signal=early
    )


def test_a_warning_is_sent_once_and_the_limit_stands(enforcer: TimeoutEnforcer, jobs: Jobs, wiring: Wiring) -> None:
    job = warned(jobs, NOTE.format("it"), "it.ready")
    assert tick(enforcer, job, mono=1049.9).wake_at == 1050.0
    turn = tick(enforcer, job, mono=1050.0)
    assert (turn.decision, turn.wake_at) == (Enforced(), 1060.0)
    eventually(lambda: got(jobs) == ["it"])
    for again in (enforcer, timeout_enforcer.open(wiring)):  # the second is the worker started anew
        assert tick(again, job, mono=1051.0).wake_at == 1060.0
    later = job.replace(time_limit=90.0)
    tick(enforcer, later, mono=1080.0)
    time.sleep(0.1)
    assert got(jobs) == ["it"]


def test_a_warning_moves_with_the_limit(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    job = warned(jobs, NOTE.format("it"), "it.ready").replace(time_limit=90.0)
    assert tick(enforcer, job, mono=1050.0).wake_at == 1080.0
    assert got(jobs) == []


def test_past_the_limit_there_is_nothing_left_to_warn_of(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    job = warned(jobs, NOTE.format("it"), "it.ready")
    assert tick(enforcer, job, mono=1060.0).decision.overdue == ((1, 1),)
    time.sleep(0.1)
    assert got(jobs) == []


def test_a_warning_reaches_the_tree(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    job = warned(jobs, f'sh -c "{NOTE.format("child")}" & {NOTE.format("command")}', "child.ready", "command.ready")
    tick(enforcer, job, mono=1050.0)
    eventually(lambda: sorted(got(jobs)) == ["child", "command"])


def test_a_shell_that_would_die_of_the_warning_is_passed_over(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    job = warned(jobs, f'sh -c "{NOTE.format("child")}"; echo $? >over', "child.ready")
    tick(enforcer, job, mono=1050.0)
    eventually(lambda: got(jobs) == ["child"])
    time.sleep(0.1)
    assert not (jobs.directory(1) / "exit").exists()
    assert not (jobs.directory(1) / "over").exists()


def test_what_waits_for_nobody_and_knows_no_warning_dies_of_it(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    job = warned(jobs, "exec sleep 60")
    assert job.started is not None
    leader = job.started.identity.pid
    eventually(lambda: b"sleep" in map(proc.name, proc.children(leader)))
    tick(enforcer, job, mono=1050.0)
    jobs.wait()
    assert (jobs.directory(1) / "exit").read_text() == f"{128 + signal.SIGUSR1}\n"


def test_a_warning_to_the_command_alone_goes_no_further(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    text = f'sh -c "{NOTE.format("child")}" & {NOTE.format("command")}'
    job = warned(jobs, text, "child.ready", "command.ready", command_only=True)
    tick(enforcer, job, mono=1050.0)
    eventually(lambda: got(jobs) == ["command"])
    time.sleep(0.1)
    assert got(jobs) == ["command"]


def test_what_takes_too_much_memory_is_killed_at_once_but_for_the_script(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    identity = stubborn(jobs)
    since = time.monotonic()
    tick(enforcer, stopping(identity, since, why=reasons.OUT_OF_MEMORY), mono=since)
    jobs.wait()
    assert got(jobs) == []
    assert (jobs.directory(1) / "exit").read_text() == "137\n"


def test_a_job_over_its_memory_is_named_until_it_is_stopped(enforcer: TimeoutEnforcer, jobs: Jobs) -> None:
    job = live(1, stubborn(jobs), memory_mb=1)  # no shell is so small
    turn = tick(enforcer, job.replace(memory_mb=0), mono=100.0)
    assert turn.decision.over_memory == ((1, 1),)
    assert is_far(turn.wake_at)
    assert tick(enforcer, job, mono=100.1).decision.over_memory == ((1, 1),)
    stopped = job.replace(why=reasons.OUT_OF_MEMORY, since_mono=1e9, since_boot=now().boot)
    assert tick(enforcer, stopped, mono=101.0).decision.over_memory == ()


def test_a_log_over_its_limit_is_cut_while_the_job_runs_and_when_it_is_gone(wiring: Wiring, jobs: Jobs) -> None:
    enforcer = timeout_enforcer.open(replace(wiring, config=replace(wiring.config, log_max_size=1 << 20)))
    log = jobs.make(1) / "log"
    job = live(1)
    turn = tick(enforcer, job, mono=100.0)
    assert turn.wake_at is not None
    log.write_bytes(b"x" * 3_000_000)
    tick(enforcer, job, mono=100.1)
    assert log.stat().st_size == 3_000_000
    turn = tick(enforcer, job, mono=turn.wake_at)
    assert log.stat().st_size < 1 << 20
    with log.open("ab") as file:
        file.write(b"y" * 3_000_000)
    assert tick(enforcer).wake_at is None
    assert log.stat().st_size < 1 << 20


def test_a_log_that_fills_up_is_looked_at_more_often(wiring: Wiring, jobs: Jobs) -> None:
    enforcer = timeout_enforcer.open(replace(wiring, config=replace(wiring.config, log_max_size=1 << 20)))
    log = jobs.make(1) / "log"
    begun = tick(enforcer, live(1), mono=100.0)
    log.write_bytes(b"x" * 900_000)
    assert begun.wake_at == 102.0
    after = tick(enforcer, live(1), mono=102.0).wake_at
    assert after is not None
    assert after < 102.2


def test_a_log_that_cannot_be_cut_is_told_of_once(wiring: Wiring, jobs: Jobs) -> None:
    enforcer = timeout_enforcer.open(replace(wiring, config=replace(wiring.config, log_max_size=1 << 20)))
    place = jobs.make(1)
    (place / "log").write_bytes(b"x" * 3_000_000)
    (place / "log.cut.new").mkdir()
    for mono in (100.0, 110.0):
        assert tick(enforcer, live(1), mono=mono).wake_at is not None
    assert (place / "log").stat().st_size < 1 << 20
