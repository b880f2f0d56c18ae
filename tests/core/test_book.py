from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gflowd.core import codec
from gflowd.core.book import Book
from gflowd.core.model import Ended, Identity, Phase, Run, Running, Spec, Started, Starting, Stopping, Wish

RUN = Run(executor="tmux", launched_at=1.0)
STARTED = Started(at=1.0, mono=1.0, identity=Identity("b", 1, 1))
LIVE: dict[str, Phase] = {
    "starting": Starting(run=RUN),
    "running": Running(run=RUN, started=STARTED),
    "stopping": Stopping(run=RUN, started=STARTED, why="x", since_at=1.0, since_mono=1.0, since_boot="b"),
}


class Records:
    """What a snapshot holds, and a book that follows it."""

    def __init__(self) -> None:
        self.specs: dict[int, object] = {}
        self.wishes: dict[int, object] = {}
        self.phases: dict[int, object] = {}
        self.book = Book()

    def submit(self, job_id: int, priority: int = 10, begin_at: float | None = None) -> None:
        spec = Spec(command=("x",), name="x", user="u", cwd="/", env="e", submitted_at=1.0)
        self.specs[job_id] = codec.encode(spec.replace(priority=priority, begin_at=begin_at))
        self.refresh(job_id)

    def wish(self, job_id: int, **fields: object) -> None:
        self.wishes[job_id] = codec.encode(Wish().replace(**fields))
        self.refresh(job_id)

    def phase(self, job_id: int, phase: Phase) -> None:
        self.phases[job_id] = codec.encode_phase(phase)
        self.refresh(job_id)

    def refresh(self, *ids: int) -> None:
        self.book.refresh(ids, self.specs, self.wishes, self.phases)

    def order(self) -> list[int]:
        return [job.id for job in self.book.queue()]


def test_the_queue_is_by_priority_then_by_submission() -> None:
    records = Records()
    for job_id, priority in ((1, 10), (2, 20), (3, 10), (4, 20), (5, 0)):
        records.submit(job_id, priority)
    assert records.order() == [2, 4, 1, 3, 5]


def test_a_changed_priority_moves_the_job() -> None:
    records = Records()
    for job_id in (1, 2, 3):
        records.submit(job_id)
    records.submit(3, priority=11)
    assert records.order() == [3, 1, 2]
    records.submit(3, priority=9)
    assert records.order() == [1, 2, 3]


def test_a_started_job_leaves_the_queue_for_the_live_and_an_ended_one_leaves_both() -> None:
    records = Records()
    records.submit(1)
    for phase in LIVE.values():
        records.phase(1, phase)
        assert records.order() == []
        assert records.book.live[1].phase == phase
        assert records.book.get(1) == records.book.live[1]
    records.phase(1, Ended(state="finished", ended_at=2.0))
    assert (records.book.queued, records.book.live, records.book.get(1)) == ({}, {}, None)


def test_begin_times_are_edges_until_they_have_passed() -> None:
    records = Records()
    records.submit(1, begin_at=50.0)
    records.submit(2, begin_at=40.0)
    records.submit(3)
    assert records.book.edges(0.0) == (40.0, 50.0)
    assert records.book.edges(40.0) == (50.0,)
    records.wish(1, begin_at=60.0)
    assert records.book.edges(40.0) == (60.0,)


def test_the_begin_time_of_a_held_or_started_job_is_no_edge() -> None:
    records = Records()
    records.submit(1, begin_at=50.0)
    records.submit(2, begin_at=60.0)
    records.wish(1, held=True)
    records.phase(2, LIVE["starting"])
    assert records.book.edges(0.0) == ()
    records.wish(1, held=False)
    assert records.book.edges(0.0) == (50.0,)


def test_only_queued_jobs_whose_cancellation_is_wished_are_unwanted() -> None:
    records = Records()
    records.submit(1)
    records.submit(2)
    records.phase(2, LIVE["running"])
    for job_id in (1, 2):
        records.wish(job_id, cancelled_by="u", cancelled_at=3.0)
    assert [job.id for job in records.book.unwanted()] == [1]
    records.phase(1, Ended(state="cancelled", ended_at=4.0))
    assert records.book.unwanted() == []


def test_an_id_without_a_spec_is_forgotten() -> None:
    records = Records()
    records.submit(1)
    records.wish(7, held=True)
    assert records.book.get(7) is None
    del records.specs[1]
    records.refresh(1)
    assert records.book.get(1) is None
    assert records.order() == []


PHASES = st.sampled_from([*LIVE.values(), Ended(state="finished", ended_at=2.0)])
STEPS = st.one_of(
    st.tuples(st.just("submit"), st.integers(1, 5), st.integers(0, 3), st.none() | st.floats(1, 9)),
    st.tuples(st.just("wish"), st.integers(1, 5), st.booleans(), st.none() | st.floats(1, 9)),
    st.tuples(st.just("phase"), st.integers(1, 5), PHASES),
    st.tuples(st.just("forget"), st.integers(1, 5)),
)


@given(st.lists(STEPS, max_size=25))
def test_following_step_by_step_is_the_same_as_reading_at_once(steps: list[tuple[object, ...]]) -> None:
    records = Records()
    for step in steps:
        match step:
            case "submit", int(job_id), int(priority), begin_at:
                records.submit(job_id, priority, begin_at)  # type: ignore[arg-type]
            case "wish", int(job_id), held, cancelled_at:
                records.wish(job_id, held=held, cancelled_at=cancelled_at)
            case "phase", int(job_id), phase:
                records.phase(job_id, phase)  # type: ignore[arg-type]
            case _, int(job_id):
                records.specs.pop(job_id, None)
                records.refresh(job_id)
    anew = Book()
    anew.refresh(records.specs, records.specs, records.wishes, records.phases)
    book = records.book
    assert (anew.queued, anew.live) == (book.queued, book.live)
    assert list(anew.queue()) == list(book.queue())
    assert anew.edges(0.0) == book.edges(0.0)
    assert {job.id for job in anew.unwanted()} == {job.id for job in book.unwanted()}
