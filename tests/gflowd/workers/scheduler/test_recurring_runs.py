"""Series in the scheduler: each run is followed by the next in the commit with which it starts, whatever dies then."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from stage import BOOT, NOTHING_POSTED, Jobs, observed
from support.specs import SPEC

from gflowd.core.errors import SystemFailed
from gflowd.core.execution.observations import Observation
from gflowd.core.job import codec
from gflowd.core.job.model import (
    OVERLAPS,
    QUEUE,
    SKIP,
    Ended,
    Identity,
    Job,
    Phase,
    Queued,
    Repeat,
    Running,
    Spec,
    Started,
    Starting,
    Wish,
)
from gflowd.core.job.retry_policy import Retry
from gflowd.core.moment import Moment
from gflowd.storage.store import Store
from gflowd.workers.base import Wiring
from gflowd.workers.board_slots import Agenda
from gflowd.workers.scheduler import worker as module

HOUR = 3600.0
T = 1_800_000_000.0  # the first run's time
HOURLY = Repeat(rule="every 1h", due=T)


class Series:
    """A scheduler, its snapshot, and a clock that stands still until it is told."""

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.scheduler = module.open(wiring)
        self.at = T
        self.seen: dict[tuple[int, int], Observation] = {}

    def submit(self, repeat: Repeat = HOURLY, **fields: object) -> int:
        spec = SPEC.replace(command=("/bin/true",), cwd=self.wiring.state.root, submitted_at=T - 60, repeat=repeat)
        with Store(self.wiring.state).commit() as commit:
            job_id = commit.allocate()
            commit.put("spec", job_id, codec.encode(spec.replace(begin_at=repeat.due).replace(**fields)))
        return job_id

    def wish(self, job_id: int, **fields: object) -> None:
        with Store(self.wiring.state).commit() as commit:
            commit.put("wish", job_id, codec.encode(Wish().replace(**fields)))

    def tick(self, at: float | None = None) -> Agenda:
        self.at = self.at if at is None else at
        moment = Moment(self.at, self.at - T + 1000, BOOT)
        found = self.scheduler.tick(moment, observed(self.seen) if self.seen else NOTHING_POSTED).decision
        assert isinstance(found, Agenda)
        return found

    def runs_on(self, job_id: int, attempt: int = 1) -> None:
        """It is seen to run."""
        started = Started(at=self.at, mono=self.at - T + 1000, identity=Identity(BOOT, 1 << 30, 1))
        self.seen[job_id, attempt] = Observation(started=started, lives=True)
        self.tick()
        assert isinstance(self.phase(job_id), Running)

    def ends(self, job_id: int, at: float, attempt: int = 1, status: int = 0) -> None:
        """It is seen to have ended at that time, whenever that is seen."""
        seen = self.seen[job_id, attempt]
        self.seen[job_id, attempt] = seen.replace(lives=False, status=status, ended_at=at, complete=True)

    def restart(self) -> None:
        """The scheduler is killed, and the next one comes."""
        self.scheduler._alone.release()
        self.scheduler = module.open(self.wiring)

    def spec(self, job_id: int) -> Spec:
        return codec.decode_spec(Store(self.wiring.state).read().of("spec")[job_id])

    def phase(self, job_id: int) -> Phase:
        raw = Store(self.wiring.state).read().of("phase").get(job_id)
        return Queued() if raw is None else codec.decode_phase(raw)

    def ids(self) -> list[int]:
        return sorted(Store(self.wiring.state).read().of("spec"))

    def begin(self, job_id: int) -> float:
        """When it is to begin, in hours after the first."""
        fold = Store(self.wiring.state).read()
        job: Job = codec.job(job_id, *(fold.of(kind).get(job_id) for kind in ("spec", "wish", "phase")))
        assert isinstance(job.phase, Queued)
        assert job.begin_at is not None
        return (job.begin_at - T) / HOUR


@pytest.fixture
def series(wiring: Wiring, jobs: Jobs) -> Iterator[Series]:
    Path(wiring.state.path("env")).mkdir(mode=0o700)
    environment = Path(wiring.state.environment("e"))
    environment.write_bytes(b"PATH=/usr/bin:/bin\0GFLOW_TEST_MARK=" + os.environ["GFLOW_TEST_MARK"].encode() + b"\0")
    environment.chmod(0o600)
    made = Series(replace(wiring, config=replace(wiring.config, executor="process")))
    yield made
    made.scheduler.close()


def test_a_run_that_starts_is_followed_by_the_next_which_waits_for_its_time(series: Series) -> None:
    first = series.submit()
    series.tick(T - 1)
    assert series.ids() == [first], "nothing follows a run that waits"
    series.tick(T)
    assert isinstance(series.phase(first), Starting)
    assert series.ids() == [first, 2]
    assert series.begin(2) == 1
    assert series.spec(2).repeat == HOURLY.replace(due=T + HOUR, series=first)
    assert T + HOUR in series.tick().edges
    series.runs_on(first)
    series.ends(first, T + 60)
    series.tick(T + 61)
    series.tick(T + HOUR)
    assert isinstance(series.phase(2), Starting)
    assert series.begin(3) == 2


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_a_run_whose_time_comes_while_the_one_before_goes_on(series: Series, overlap: str) -> None:
    series.submit(HOURLY.replace(overlap=overlap))
    series.tick(T)
    series.runs_on(1)
    agenda = series.tick(T + HOUR)
    put_off = Queued(begin_at=T + 2 * HOUR, since=T + HOUR)
    assert series.phase(2) == (put_off if overlap == SKIP else Queued())
    assert (T + 2 * HOUR in agenda.edges) == (overlap == SKIP)
    series.tick(T + 3.5 * HOUR)
    assert series.begin(2) == (4 if overlap == SKIP else 1)
    series.ends(1, T + 3.6 * HOUR)
    series.tick(T + 3.6 * HOUR)
    assert isinstance(series.phase(2), Starting) == (overlap == QUEUE)
    assert series.ids() == ([1, 2] if overlap == SKIP else [1, 2, 3])
    if overlap == QUEUE:
        assert series.begin(3) == 4, "one run makes up for those that were due while it waited"


def test_a_retry_is_part_of_its_run(series: Series) -> None:
    series.submit(retry=Retry(max_retries=1, delay=1800.0))
    series.tick(T)
    series.runs_on(1)
    series.ends(1, T + 0.75 * HOUR, status=1)
    series.tick(T + 0.75 * HOUR)
    assert series.phase(1) == Queued(attempt=2, begin_at=T + 1.25 * HOUR, since=T + 0.75 * HOUR)
    series.tick(T + HOUR)
    assert series.begin(2) == 2
    series.tick(T + 1.25 * HOUR)
    assert isinstance(series.phase(1), Starting)
    assert series.ids() == [1, 2]


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_a_run_that_was_missed_starts_late_and_once(series: Series, overlap: str) -> None:
    series.submit(HOURLY.replace(overlap=overlap))
    series.restart()
    series.tick(T + 9.5 * HOUR)
    assert isinstance(series.phase(1), Starting)
    assert series.ids() == [1, 2]
    assert series.begin(2) == 10


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_runs_that_were_missed_while_another_went_on_come_to_one_late_run(series: Series, overlap: str) -> None:
    series.submit(HOURLY.replace(overlap=overlap))
    series.tick(T)
    series.runs_on(1)
    series.restart()
    seen, series.seen = series.seen, {}
    series.tick(T + 9.5 * HOUR)
    assert series.phase(2) == Queued(), "nobody has looked yet whether the one before goes on"
    series.seen = seen
    series.ends(1, T + 3.25 * HOUR)
    while series.tick(T + 9.5 * HOUR) and series.scheduler._hurry:
        pass
    assert isinstance(series.phase(1), Ended)
    assert isinstance(series.phase(2), Starting)
    assert series.begin(3) == 10


def test_a_run_that_waits_for_resources_stands_for_those_that_become_due(series: Series) -> None:
    series.submit()
    other = series.submit(cpus=4, begin_at=None)
    series.tick(T - 1)
    assert isinstance(series.phase(other), Starting)
    series.tick(T + 2.5 * HOUR)
    assert series.phase(1) == Queued()
    series.runs_on(other)
    series.ends(other, T + 2.6 * HOUR)
    series.tick(T + 2.6 * HOUR)
    assert isinstance(series.phase(1), Starting)
    assert series.begin(series.ids()[-1]) == 3


def test_whoever_dies_after_the_commit_neither_loses_nor_doubles_the_series(series: Series) -> None:
    series.submit()
    series.scheduler._launcher.launch = lambda jobs: None  # type: ignore[method-assign]  # it died before it launched
    series.tick(T)
    for _ in range(3):
        series.restart()
        series.tick()
    assert series.ids() == [1, 2]
    series.runs_on(1)
    assert series.begin(2) == 1


def test_a_commit_that_fails_leaves_the_run_and_what_follows_to_the_next(series: Series) -> None:
    series.submit()
    with mock.patch.object(Store, "commit", side_effect=SystemFailed("no space left")):
        series.tick(T)
    assert series.ids() == [1]
    assert series.phase(1) == Queued()
    series.tick(T + 2)
    assert series.ids() == [1, 2]


def test_a_run_that_is_touched_while_it_is_decided_is_not_followed_twice(series: Series) -> None:
    series.submit()
    original = Store.commit
    touch: list[Callable[[], None]] = [lambda: series.wish(1, held=True)]

    def commit(self: Store, *args: object) -> object:
        if touch:
            touch.pop()()
        return original(self, *args)  # type: ignore[arg-type]

    with mock.patch.object(Store, "commit", commit):
        series.tick(T)
    assert series.ids() == [1]
    series.wish(1)
    series.tick(T + 1)
    assert series.ids() == [1, 2]


def test_the_end_of_a_series_is_a_run_that_is_cancelled_before_it_starts(series: Series) -> None:
    series.submit()
    series.tick(T)
    series.runs_on(1)
    series.wish(2, cancelled_by="u", cancelled_at=T + 5)
    series.tick(T + 6)
    assert isinstance(series.phase(2), Ended)
    series.ends(1, T + 10)
    series.tick(T + 2 * HOUR)
    assert series.ids() == [1, 2]


def test_the_next_run_follows_one_that_is_cancelled_alone_and_waits_for_what_that_waited_for(series: Series) -> None:
    series.submit(HOURLY.replace(overlap=QUEUE))
    series.tick(T)
    series.runs_on(1)
    series.wish(2, cancelled_by="u", cancelled_at=T + 5, only_run=True)
    series.tick(T + 6)
    assert isinstance(series.phase(2), Ended)
    assert series.begin(3) == 2
    series.tick(T + 2 * HOUR)
    assert series.phase(3) == Queued(), "the first still goes on"
    series.ends(1, T + 2.5 * HOUR)
    series.tick(T + 2.5 * HOUR)
    assert isinstance(series.phase(3), Starting)


def test_what_is_changed_in_the_next_run_stays_changed_in_those_that_follow(series: Series) -> None:
    series.submit()
    series.tick(T)
    series.runs_on(1)
    series.ends(1, T + 5)
    series.tick(T + 6)
    with Store(series.wiring.state).commit() as commit:
        commit.put("spec", 2, codec.encode(series.spec(2).replace(cpus=3, comment="new")))
    series.tick(T + HOUR)
    assert (series.spec(3).cpus, series.spec(3).comment) == (3, "new")
    assert series.spec(1).cpus == 1


def test_a_run_whose_rule_cannot_be_followed_here_fails_and_says_why(series: Series) -> None:
    series.submit(HOURLY.replace(rule="0 * * * *"))
    with mock.patch.dict(sys.modules, {"cronsim": None}):
        series.tick(T)
    found = series.phase(1)
    assert isinstance(found, Ended)
    assert found.reason is not None
    assert found.reason.startswith("Rejected:cron words need")
    assert series.ids() == [1]
