"""Attempts that write nothing, on clocks of the test's own; their files are real."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stage import BOOT, live

from gflowd.core.execution.observations import LiveJob
from gflowd.core.job.model import Identity, Pauses, Started
from gflowd.core.moment import Moment
from gflowd.paths import State
from gflowd.workers import attempt_processes
from gflowd.workers.base import Wiring
from gflowd.workers.timeout_enforcer.quiet_watch import QuietWatch

START, WALL = 100.0, 1e9  # of all attempts, on both clocks
KEY = (1, 1)


def moment(ran: float) -> Moment:
    return Moment(WALL + ran, START + ran, BOOT)


def job(**fields: object) -> LiveJob:
    started = Started(at=WALL, mono=START, identity=Identity(BOOT, 9, 9))
    return live(1).replace(started=started, quiet_limit=60.0, grace=10.0, **fields)


class Job:
    """The files of one attempt."""

    def __init__(self, state: State) -> None:
        self.log = Path(state.attempt(1, 1)) / "log"
        self.log.parent.mkdir(parents=True)
        self.write(self.log, 0)

    def write(self, path: Path, ran: float) -> None:
        with path.open("ab") as file:
            file.write(b"x")
        os.utime(path, (WALL + ran, WALL + ran))


@pytest.fixture
def files(wiring: Wiring) -> Job:
    return Job(wiring.state)


@pytest.fixture
def watch(wiring: Wiring) -> QuietWatch:
    return QuietWatch(attempt_processes.of(wiring))


def test_one_that_is_quiet_is_warned_and_after_its_grace_over(watch: QuietWatch, files: Job) -> None:
    assert watch.tick([job()], moment(1)) == ((), (), START + 60)
    assert watch.tick([job()], moment(59.9)) == ((), (), START + 60)
    assert watch.tick([job()], moment(60)) == ((KEY,), (), START + 61), "it may write again"
    assert watch.tick([job()], moment(69.5)) == ((KEY,), (), START + 70)
    assert watch.tick([job()], moment(70)) == ((KEY,), (KEY,), None)
    files.write(files.log, 71)
    assert watch.tick([job()], moment(75)) == ((KEY,), (KEY,), None), "too late"
    assert watch.tick([], moment(75)) == ((), (), None)


def test_output_to_any_of_its_files_counts_from_when_it_was_written(
    watch: QuietWatch, files: Job, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    watched = job(outputs=(str(out),))
    watch.tick([watched], moment(1))
    files.write(out, 45)
    assert watch.tick([watched], moment(60)) == ((), (), START + 105)
    files.write(files.log, 104)
    assert watch.tick([watched], moment(105)) == ((), (), START + 164)
    assert watch.tick([watched], moment(164)) == ((KEY,), (), START + 165)
    files.write(out, 166)
    assert watch.tick([watched], moment(167)) == ((), (), START + 226)


def test_a_limit_that_is_changed_holds_at_once(watch: QuietWatch, files: Job) -> None:
    assert watch.tick([job()], moment(20))[2] == START + 60
    quiet, _, at = watch.tick([job().replace(quiet_limit=15.0)], moment(21))
    assert (quiet, at) == ((KEY,), START + 22)
    assert watch.tick([job()], moment(22)) == ((), (), START + 60)
    assert watch.tick([job().replace(quiet_limit=None)], moment(23)) == ((), (), None)


def test_without_grace_there_is_still_a_warning_and_the_end_comes_with_it(watch: QuietWatch, files: Job) -> None:
    assert watch.tick([job().replace(grace=0.0)], moment(60)) == ((KEY,), (KEY,), None)


def test_a_pause_does_not_count(watch: QuietWatch, files: Job) -> None:
    watch.tick([job()], moment(40))
    assert watch.tick([job(suspended=True)], moment(90)) == ((), (), None)
    goes_on = job(pauses=Pauses(count=1, seconds=60.0, last_mono=START + 100))
    assert watch.tick([goes_on], moment(101)) == ((), (), START + 120)
    assert watch.tick([goes_on], moment(120))[0] == (KEY,)


def test_one_that_comes_later_knows_when_it_was_written_to_but_not_across_a_pause(
    wiring: Wiring, watch: QuietWatch, files: Job
) -> None:
    files.write(files.log, 30)
    assert watch.tick([job()], moment(50))[2] == START + 90
    goes_on = job(pauses=Pauses(count=1, seconds=10.0, last_mono=START + 45))
    assert QuietWatch(attempt_processes.of(wiring)).tick([goes_on], moment(50))[2] == START + 105, "since it goes on"


def test_a_clock_that_is_set_makes_nobody_quiet_at_once(wiring: Wiring, watch: QuietWatch, files: Job) -> None:
    watch.tick([job()], moment(50))
    files.write(files.log, 55)
    ahead = Moment(WALL + 1e6, START + 60, BOOT)
    assert watch.tick([job()], ahead) == ((), (), START + 110), "it wrote since the last look"
    behind = Moment(WALL - 1e6, START + 60, BOOT)
    assert QuietWatch(attempt_processes.of(wiring)).tick([job()], behind) == ((), (), START + 120)
    late = Moment(WALL + 1e6, START + 500, BOOT)
    assert QuietWatch(attempt_processes.of(wiring)).tick([job()], late) == ((KEY,), (), START + 501), (
        "first a warning, then the grace"
    )


def test_who_has_no_limit_or_does_not_run_is_not_watched(wiring: Wiring, watch: QuietWatch) -> None:
    other = job().replace(started=Started(at=WALL, mono=START, identity=Identity("another", 9, 9)))
    for each in (live(1), job(why="x"), other, live(1, quiet_limit=5.0)):
        assert watch.tick([each], moment(1000)) == ((), (), None)
    assert watch.tick([job()], moment(1000))[0] == (KEY,), "nor is one without files forgiven"
