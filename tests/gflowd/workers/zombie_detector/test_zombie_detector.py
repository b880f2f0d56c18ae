from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from stage import LIMIT, NOTHING_POSTED, Jobs, live, now, slots_of
from support import descriptors
from support.waiting import eventually

from gflowd.core.execution.observations import LiveJob, Observation, Observations
from gflowd.core.job.model import Identity
from gflowd.effects.attempt import jobdir, relay_directory
from gflowd.effects.kernel import processes
from gflowd.workers.base import Turn, Wiring
from gflowd.workers.zombie_detector import worker as zombie_detector
from gflowd.workers.zombie_detector.worker import (
    BEGINS_WITHIN,
    LOG_END_WAIVED,
    LONGEST_LOOK,
    PIPE_WAIVED,
    ZombieDetector,
)

TICK = 0.02  # seconds: how finely the kernel tells when a process began and when a file was written


@pytest.fixture
def detector(wiring: Wiring) -> ZombieDetector:
    return zombie_detector.open(wiring)


def observation(turn: Turn, job_id: int = 1) -> Observation:
    assert isinstance(turn.decision, Observations)
    found = dict(turn.decision.of_attempts)
    return found[job_id, 1]


def look(detector: ZombieDetector, *jobs: LiveJob, **moment: object) -> Turn:
    return detector.tick(now(**moment), slots_of(*jobs))


def test_without_a_scheduler_there_is_nothing_to_see(detector: ZombieDetector) -> None:
    assert detector.tick(now(), NOTHING_POSTED).decision == Observations()
    detector.close()


def test_what_has_not_begun_is_waited_for(detector: ZombieDetector) -> None:
    assert look(detector, live(1)).decision == Observations()


def test_what_never_begins_and_cannot_be_barred_is_told_after_its_grace(wiring: Wiring) -> None:
    detector = zombie_detector.open(wiring)
    look(detector, live(1), mono=100.0)
    with mock.patch.object(jobdir, "bar", side_effect=OSError):
        assert observation(look(detector, live(1), mono=100.0 + wiring.config.start_grace)) == Observation()


def test_what_does_not_begin_within_the_grace_is_barred(detector: ZombieDetector, wiring: Wiring, jobs: Jobs) -> None:
    wiring.state.prepare()
    begun = time.monotonic()
    look(detector, live(1), mono=begun)
    look(detector, live(1), mono=begun + wiring.config.start_grace - 0.1)
    assert not (jobs.directory(1) / "pid").exists()
    look(detector, live(1), mono=begun + wiring.config.start_grace + 0.1)
    assert (jobs.directory(1) / "pid").exists()
    assert observation(look(detector, live(1))) == Observation(barred=True)


def test_what_was_barred_says_why(detector: ZombieDetector, wiring: Wiring) -> None:
    jobdir.bar(wiring.state.attempt(1, 1), "no tmux")
    assert observation(look(detector, live(1))) == Observation(barred=True, trouble="no tmux")


def test_a_beginning_left_half_written_is_barred_at_last(detector: ZombieDetector, wiring: Wiring, jobs: Jobs) -> None:
    torn = jobs.make(1) / "pid"
    torn.write_text("half")
    os.utime(torn, (1.0, 1.0))
    begun = time.monotonic()
    assert look(detector, live(1), mono=begun).decision == Observations()
    look(detector, live(1), mono=begun + wiring.config.start_grace + 0.1)
    assert observation(look(detector, live(1))) == Observation(barred=True)


def test_a_running_job_is_seen_with_its_process_and_start(detector: ZombieDetector, jobs: Jobs) -> None:
    before = now()
    identity = jobs.start(1, "sleep 60")
    after = now()
    seen = observation(look(detector, live(1)))
    assert seen.started is not None
    assert seen.started.identity == identity
    assert before.mono - TICK <= seen.started.mono <= after.mono + TICK
    assert before.wall - TICK <= seen.started.at <= after.wall + TICK
    assert (seen.lives, seen.complete, seen.status) == (True, False, None)


def test_an_end_is_seen_with_its_status_and_time(detector: ZombieDetector, jobs: Jobs) -> None:
    before = time.time()
    identity = jobs.start(1, "exit 3")
    jobs.wait()
    after = time.time()
    for job in (live(1), live(1, identity)):
        turn = look(detector, job)
        seen = observation(turn)
        assert (seen.status, seen.trouble, seen.lives, seen.strays, seen.complete) == (3, None, False, False, True)
        assert seen.ended_at is not None
        assert before - TICK <= seen.ended_at <= after + TICK


def test_a_result_written_while_nobody_watched_reads_the_same(wiring: Wiring, jobs: Jobs) -> None:
    jobs.start(1, "exit 3")
    watching = zombie_detector.open(wiring)
    look(watching, live(1))
    jobs.wait()
    watched, found = (observation(look(one, live(1))) for one in (watching, zombie_detector.open(wiring)))
    assert watched.replace(started=None) == found.replace(started=None)
    assert watched.started is not None
    assert found.started is not None
    assert watched.started.identity == found.started.identity
    assert watched.started.mono == pytest.approx(found.started.mono, abs=0.02)


def test_a_launch_that_failed_says_why(detector: ZombieDetector, jobs: Jobs) -> None:
    identity = jobs.start(1, "true")
    jobs.wait()
    (jobs.directory(1) / "exit").write_text("launch cannot enter /x\n")
    seen = observation(look(detector, live(1, identity)))
    assert (seen.status, seen.trouble, seen.complete) == (None, "cannot enter /x", True)


def test_a_job_that_was_killed_whole_has_vanished(detector: ZombieDetector, jobs: Jobs) -> None:
    identity = jobs.start(1, "sleep 60")
    turn = look(detector, live(1))
    assert turn.descriptors
    os.killpg(identity.pid, signal.SIGKILL)
    assert select.select(turn.descriptors, [], [], LIMIT)[0], "a pidfd tells at once"
    jobs.wait()
    eventually(lambda: not observation(look(detector, live(1))).lives)  # a child of it may be a corpse a moment later
    turn = look(detector, live(1))
    seen = observation(turn)
    assert (seen.status, seen.trouble, seen.complete) == (None, None, False)
    assert not turn.descriptors, "nothing left to wait for"


def test_while_its_children_live_a_job_whose_script_was_killed_lives(detector: ZombieDetector, jobs: Jobs) -> None:
    identity = jobs.start(1, "echo >here; exec sleep 60")
    eventually((jobs.directory(1) / "here").exists)
    os.kill(identity.pid, signal.SIGKILL)
    jobs.wait()
    turn = look(detector, live(1, identity))
    assert observation(turn).lives
    assert turn.wake_at is not None
    assert turn.wake_at < time.monotonic() + 1.5, "and is looked at again soon"


def test_a_child_that_closed_its_files_and_left_the_session_is_found(detector: ZombieDetector, jobs: Jobs) -> None:
    identity = jobs.start(1, "setsid sleep 60 9>&- & exit 4")
    jobs.wait()
    eventually(lambda: not jobdir.is_held(str(jobs.directory(1))))
    seen = observation(look(detector, live(1, identity)))
    assert (seen.lives, seen.strays, seen.status, seen.complete) == (True, True, 4, False)


def test_who_holds_the_lock_a_moment_after_the_end_is_no_stray_yet(detector: ZombieDetector, jobs: Jobs) -> None:
    identity = jobs.start(1, "sleep 60 & exit 0")
    jobs.wait()
    begun = time.monotonic()
    turn = look(detector, live(1, identity), mono=begun)
    assert (observation(turn).lives, observation(turn).strays, observation(turn).complete) == (True, False, False)
    assert turn.wake_at is not None
    assert turn.wake_at <= begun + 0.006
    later = look(detector, live(1, identity), mono=begun + zombie_detector.STRAYS_AFTER + 0.001)
    assert observation(later).strays


def test_no_job_is_over_whose_strays_were_not_searched_for(
    detector: ZombieDetector, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = jobs.start(1, "setsid sh -c 'exec sleep 60' 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- & exit 0")
    jobs.wait()
    eventually(lambda: not jobdir.is_held(str(jobs.directory(1))))
    answers = iter([False])  # its log gets its last byte amid the look
    monkeypatch.setattr(detector, "_log_is_complete", lambda *_: next(answers, True))
    assert not observation(look(detector, live(1, identity))).complete
    assert observation(look(detector, live(1, identity))).strays


def test_looks_at_a_lingering_job_become_rarer(detector: ZombieDetector, jobs: Jobs) -> None:
    identity = jobs.start(1, "sleep 60 & exit 0")
    jobs.wait()
    waits = [(look(detector, live(1, identity), mono=100.0).wake_at or 0.0) - 100.0 for _ in range(12)]
    assert waits == pytest.approx([min(0.005 * 2**i, zombie_detector.LONGEST_LOOK) for i in range(12)])


def test_an_attempt_directory_removed_under_a_running_job_does_not_end_it(detector: ZombieDetector, jobs: Jobs) -> None:
    identity = jobs.start(1, "echo >here; exec sleep 60")
    eventually((jobs.directory(1) / "here").exists)
    look(detector, live(1))
    shutil.rmtree(jobs.directory(1))
    for watching in (detector, ZombieDetector(replace_nothing(detector))):
        assert observation(look(watching, live(1, identity))).lives
    os.killpg(identity.pid, signal.SIGKILL)
    jobs.wait()
    eventually(lambda: not observation(look(detector, live(1, identity))).lives)
    assert observation(look(detector, live(1, identity))).status is None


def replace_nothing(detector: ZombieDetector) -> Wiring:
    """The wiring of another detector, for a new one."""
    made = object.__new__(Wiring)
    for name, value in (
        ("state", detector._state), ("config", detector._config), ("runtime", detector._runtime),
        ("supervisor", detector._supervisor),
    ):  # fmt: skip
        object.__setattr__(made, name, value)
    return made


@pytest.mark.parametrize("record", [None, "5\n"])
def test_after_a_reboot_what_ran_has_vanished_or_left_its_record(
    detector: ZombieDetector, jobs: Jobs, record: str | None
) -> None:
    """A stranger has the pid by now, with the very start time: it is not the job's."""
    stranger = processes.read(os.getpid())
    assert stranger is not None
    old = Identity("an old boot", stranger.pid, stranger.start)
    place = jobs.make(1)
    with (place / "alive").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if record is not None:
            (place / "exit").write_text(record)
        seen = observation(look(detector, live(1, old)))
    assert not seen.lives
    assert seen.complete == (record is not None)
    assert seen.status == (None if record is None else 5)


def test_a_record_tells_of_a_want_of_memory(detector: ZombieDetector, jobs: Jobs) -> None:
    (jobs.make(1) / "exit").write_text("137 oom\n")
    seen = observation(look(detector, live(1, Identity("an old boot", 5, 5))))
    assert (seen.status, seen.starved) == (137, True)


def test_a_beginning_of_another_boot_is_seen_as_such(detector: ZombieDetector, jobs: Jobs) -> None:
    stat = Path("/proc/self/stat").read_text()
    (jobs.make(1) / "pid").write_text(f"an-old-boot {stat}")
    turn = look(detector, live(1))
    seen = observation(turn)
    assert seen.started is not None
    assert seen.started.identity.boot == "an-old-boot"
    assert not seen.lives
    assert turn.descriptors == ()


def in_tmux(identity: Identity) -> LiveJob:
    return live(1, identity, executor="tmux")


def test_in_tmux_the_log_must_have_its_last_byte(detector: ZombieDetector, jobs: Jobs) -> None:
    identity = jobs.start(1, "exit 0")
    jobs.wait()
    begun = time.monotonic()
    assert not observation(look(detector, in_tmux(identity), mono=begun)).complete
    (jobs.directory(1) / "log.end").touch()
    assert observation(look(detector, in_tmux(identity), mono=begun + 0.01)).complete


@pytest.mark.parametrize(("waits", "waived"), [(b"", LOG_END_WAIVED), (b"x", PIPE_WAIVED)])
def test_a_pipe_that_is_still_copied_is_waited_for_but_not_for_ever(
    detector: ZombieDetector, jobs: Jobs, waits: bytes, waived: float
) -> None:
    pipe = jobs.make(1) / "out"
    os.mkfifo(pipe)
    identity = jobs.start(1, "exit 0")
    jobs.wait()
    copier = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    stranger = os.open(pipe, os.O_WRONLY)
    os.write(stranger, waits)
    begun = time.monotonic()
    for after, complete in ((0.0, False), (waived - 0.1, False), (waived + 0.1, True)):
        assert observation(look(detector, live(1, identity), mono=begun + after)).complete is complete
    os.close(copier)
    os.close(stranger)


def test_a_pipe_that_is_copied_to_its_end_is_waited_for_no_longer(detector: ZombieDetector, jobs: Jobs) -> None:
    pipe = jobs.make(1) / "err"
    os.mkfifo(pipe)
    identity = jobs.start(1, "exit 0")
    jobs.wait()
    copier = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    begun = time.monotonic()
    assert not observation(look(detector, live(1, identity), mono=begun)).complete
    os.close(copier)
    assert observation(look(detector, live(1, identity), mono=begun + 0.01)).complete


def test_a_log_without_an_end_is_given_up_when_its_session_is_gone(detector: ZombieDetector, jobs: Jobs) -> None:
    identity = jobs.start(1, "exit 0")
    jobs.wait()
    begun = time.monotonic()
    for after, complete in ((0.0, False), (LOG_END_WAIVED - 0.1, False), (LOG_END_WAIVED + 0.1, True)):
        turn = look(detector, in_tmux(identity), mono=begun + after)
        assert observation(turn).complete is complete
    assert turn.wake_at is not None


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux")
def test_a_log_without_an_end_is_waited_for_while_its_session_is_there(
    detector: ZombieDetector, jobs: Jobs, wiring: Wiring
) -> None:
    identity = jobs.start(1, "exit 0")
    jobs.wait()
    tmux = ["tmux", "-S", wiring.runtime.tmux_socket, "-f", "/dev/null"]
    subprocess.run([*tmux, "new-session", "-d", "-s", "gflow-1", "sleep 60"], check=True)
    try:
        begun = time.monotonic()
        look(detector, in_tmux(identity), mono=begun)
        assert not observation(look(detector, in_tmux(identity), mono=begun + 60.0)).complete
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)
    eventually(lambda: observation(look(detector, in_tmux(identity), mono=begun + 61.0)).complete)


def test_jobs_that_are_over_are_forgotten_with_their_descriptors(detector: ZombieDetector, jobs: Jobs) -> None:
    jobs.start(1, "sleep 60")
    jobs.start(2, "sleep 60")
    before = descriptors.ours()
    assert len(look(detector, live(1), live(2)).descriptors) == 2
    turn = look(detector, live(2))
    assert sorted(turn.decision.of_attempts) == [(1, 1), (2, 1)], "that is no news"
    assert len(turn.descriptors) == 1
    jobs.start(3, "sleep 60")
    assert sorted(look(detector, live(2), live(3)).decision.of_attempts) == [(2, 1), (3, 1)]
    assert look(detector).descriptors == ()
    assert descriptors.ours() == before


def test_the_same_world_gives_the_same_decision(detector: ZombieDetector, jobs: Jobs) -> None:
    jobs.start(1, "sleep 60")
    first = look(detector, live(1), live(2))
    assert look(detector, live(2), live(1)).decision == first.decision


def test_the_sweep_comes_on_its_interval(wiring: Wiring, jobs: Jobs) -> None:
    detector = zombie_detector.open(replace(wiring, config=replace(wiring.config, zombie_interval=7.0)))
    jobs.start(1, "sleep 60")
    assert look(detector, live(1), mono=100.0).wake_at == 107.0


def test_a_new_detector_watches_the_jobs_that_it_finds_running(wiring: Wiring, jobs: Jobs) -> None:
    identity = jobs.start(1, "sleep 60")
    detector = zombie_detector.open(wiring)
    assert detector.tick(now(), slots_of(live(1, identity))).descriptors


def test_an_attempt_that_does_not_begin_is_barred_when_its_grace_ends(wiring: Wiring) -> None:
    detector = zombie_detector.open(wiring)
    mono, grace = time.monotonic(), wiring.config.start_grace
    for late, wait in ((0.0, BEGINS_WITHIN), (0.3, 0.3), (grace - 5.0, LONGEST_LOOK)):
        turn = detector.tick(now(mono=mono + late), slots_of(live(1)))
        assert turn.wake_at == pytest.approx(mono + late + wait)
    turn = detector.tick(now(mono=mono + grace), slots_of(live(1)))
    assert turn.decision.of_attempts[1, 1].barred


def test_a_job_whose_user_is_gone_is_abandoned_and_wakes_the_detector(
    detector: ZombieDetector, wiring: Wiring, jobs: Jobs
) -> None:
    os.makedirs(wiring.state.path("relays"), mode=0o700)
    held = relay_directory.make(wiring.state.relay("abc"))
    jobs.start(1, "sleep 60")
    turn = look(detector, live(1, relay="abc"))
    assert not observation(turn).abandoned
    poll = select.poll()
    for fd in turn.descriptors:
        poll.register(fd, select.POLLIN)
    assert poll.poll(0) == []
    os.close(held)
    assert poll.poll(LIMIT * 1000) != []
    assert observation(look(detector, live(1, relay="abc"))).abandoned
    assert observation(look(detector, live(1, relay="abc"))).abandoned
    jobs.start(2, "sleep 60")
    turn = look(detector, live(1, relay="abc"), live(2, relay="missing"))
    assert observation(turn, 2).abandoned
    look(detector)
