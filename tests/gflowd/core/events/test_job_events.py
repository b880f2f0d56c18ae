"""Which events a job makes: what lies between what was told and what is, each once, in the order in which it was."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.specs import SPEC

from gflowd.core.events import job_events
from gflowd.core.events.job_events import JobFacts, Untold, all_told
from gflowd.core.events.kinds import shown
from gflowd.core.events.told_events import ToldEvents, restored
from gflowd.core.job import codec
from gflowd.core.job.arrays import Family
from gflowd.core.job.model import (
    Ended,
    Identity,
    Pauses,
    Phase,
    Queued,
    Repeat,
    Run,
    Running,
    Spec,
    Started,
    Starting,
    Stopping,
    Suspended,
    Used,
    Wish,
)
from gflowd.core.job.retry_policy import Retry

RUN = Run(executor="process", launched_at=9.0, gpu_ids=(1,))
STARTED = Started(at=10.0, mono=1.0, identity=Identity("b", 1, 1))
RUNNING = Running(run=RUN, started=STARTED)
FINISHED = Ended(state="finished", ended_at=20.0, run=RUN, started_at=10.0, exit_code=0)
FAILED = FINISHED.replace(state="failed", reason="NonZeroExit", exit_code=3)
STOPPING = Stopping(run=RUN, started=STARTED, why="CancelledByUser", since_at=15.0, since_mono=1.0, since_boot="b")
SUSPENDED = Suspended(run=RUN, started=STARTED, since_at=12.0, since_mono=1.0, since_boot="b")


class World:
    """The records of jobs, and what was told of them."""

    def __init__(self) -> None:
        self.records: dict[str, dict[Any, Any]] = {"spec": {}, "wish": {}, "phase": {}, "attempt": {}, "limit": {}}
        self.told = ToldEvents()
        self.untold = Untold()
        self.sizes: dict[int, int] = {}
        self.wall = 100.0

    @property
    def facts(self) -> JobFacts:
        return JobFacts(*self.records.values(), self._spec_of)

    def _spec_of(self, job_id: int) -> int:
        return next((each for each, size in self.sizes.items() if each <= job_id < each + size), job_id)

    def put(self, kind: str, key: Any, value: dict[str, Any] | None) -> None:
        if value is None:
            self.records[kind].pop(key, None)
        else:
            self.records[kind][key] = value
        self.untold.note([(kind, key)])

    def submit(self, spec: Spec = SPEC, job_id: int = 1, size: int = 1) -> None:
        self.sizes[job_id] = size
        self.put("spec", job_id, codec.encode(spec))

    def wish(self, job_id: int = 1, **fields: Any) -> None:
        self.put("wish", job_id, codec.encode(Wish(**fields)))

    def phase(self, *phases: Phase, job_id: int = 1) -> None:
        for past in phases[:-1]:
            assert isinstance(past, Ended)
            self.put("attempt", f"{job_id}.{past.last_attempt}", codec.encode_phase(past))
        self.put("phase", job_id, codec.encode_phase(phases[-1]))

    def events(self) -> list[dict[str, Any]]:
        found = job_events.derive(self.facts, self.told, self.untold, self.wall)
        for event in found:
            self.told.take(event)
        self.told.forget(*job_events.gone(self.facts, self.told, self.untold))
        self.untold.clear()
        return found

    def tells(self) -> list[tuple[str, int, int]]:
        """Kind, job and attempt of each event."""
        return [(event["kind"].removeprefix("job_"), event["job"], event["attempt"]) for event in self.events()]

    def forget(self) -> None:
        """As after a restart: all may have changed."""
        self.untold = Untold()


def told(world: World, *steps: Phase) -> list[str]:
    """The kinds of events of job 1, as it goes through phases one after the other."""
    found = []
    for step in steps:
        world.phase(step)
        found += [kind for kind, _, _ in world.tells()]
    return found


def test_each_step_is_told_once() -> None:
    world = World()
    world.submit()
    assert world.tells() == [("submitted", 1, 1)]
    steps = (Starting(run=RUN), RUNNING, SUSPENDED, RUNNING.replace(pauses=Pauses(count=1)), STOPPING, FAILED)
    assert told(world, *steps) == ["started", "suspended", "unsuspended", "stopping", "ended"]
    world.forget()
    assert world.tells() == []


def test_a_start_that_was_seen_only_after_the_stop_is_told_too() -> None:
    """The daemon was away while the job began, and was told to cancel it."""
    world = World()
    world.submit()
    world.tells()
    assert told(world, Starting(run=RUN), STOPPING.replace(started=None)) == ["stopping"]
    world.forget()
    assert world.tells() == []
    assert told(world, FAILED) == ["started", "ended"]
    world.forget()
    assert world.tells() == []


def test_what_nobody_saw_is_told_afterwards() -> None:
    """Of a suspension that is over it is known that it was."""
    for phases, kinds in (
        ((FINISHED,), ["started", "ended"]),
        ((FINISHED.replace(started_at=None, run=None),), ["ended"]),
        ((RUNNING.replace(pauses=Pauses(count=2)),), ["started", "suspended", "unsuspended"]),
        ((SUSPENDED,), ["started", "suspended"]),
        ((STOPPING,), ["started", "stopping"]),
        ((STOPPING.replace(started=None),), ["stopping"]),
        ((FAILED, Queued(attempt=2)), ["started", "ended", "requeued"]),
        (
            (FAILED, FAILED.replace(run=RUN.replace(attempt=2)), RUNNING.replace(run=RUN.replace(attempt=3))),
            ["started", "ended", "requeued", "started", "ended", "requeued", "started"],
        ),
    ):
        world = World()
        world.submit()
        world.phase(*phases)
        assert [kind for kind, _, _ in world.tells()] == ["submitted", *kinds]


def test_an_attempt_that_is_not_on_record_is_passed_over() -> None:
    world = World()
    world.submit()
    world.phase(Queued(attempt=3))
    assert world.tells() == [("submitted", 1, 1), ("requeued", 1, 2), ("requeued", 1, 3)]


def test_holding_is_told_as_it_is() -> None:
    world = World()
    world.submit()
    world.wish(held=True)
    assert [event.get("state") for event in world.events()] == ["held"]
    world.wish(released_at=50.0)
    assert [(event["kind"], event["at"]) for event in world.events()] == [("job_released", 50.0)]
    world.wish(held=True)
    assert world.tells() == [("held", 1, 1)]
    world.wish(held=True, cancelled_at=60.0)
    world.phase(FINISHED.replace(started_at=None, run=None))
    assert world.tells() == [("ended", 1, 1)]


def test_a_held_job_that_ran_was_released() -> None:
    world = World()
    world.submit()
    world.wish(held=True)
    assert world.tells() == [("submitted", 1, 1)]
    world.phase(Starting(run=RUN))
    world.wish()
    assert world.tells() == [("released", 1, 1)]
    world.wish(held=True)
    assert world.tells() == []
    world.phase(RUNNING)
    assert world.tells() == [("started", 1, 1)]
    other = World()
    other.submit()
    other.wish(held=True)
    other.events()
    other.phase(FINISHED)
    assert other.tells() == [("released", 1, 1), ("started", 1, 1), ("ended", 1, 1)]


def test_an_array_is_submitted_once() -> None:
    """Held elements are no news; what becomes of one is."""
    world = World()
    family = Family(ranges=((1, 100_000, 1),))
    world.submit(SPEC.replace(family=family, name_template="{name}-{index}"), job_id=5, size=100_000)
    for job_id in (5, 6, 7):
        world.wish(job_id, held=True)
    (event,) = world.events()
    assert (event["kind"], event["count"], event["state"], event["array_index"], event["name"]) == (
        "job_submitted", 100_000, "held", None, "x",
    )  # fmt: skip
    world.wish(6)
    world.phase(FINISHED, job_id=7)
    found = world.events()
    assert [
        (event["kind"], event["job"], event["array_id"], event["array_index"], event["name"]) for event in found
    ] == [
        ("job_released", 7, 5, 3, "x-3"),
        ("job_started", 7, 5, 3, "x-3"),
        ("job_ended", 7, 5, 3, "x-3"),
        ("job_released", 6, 5, 2, "x-2"),
    ]
    assert len(repr(world.told.checkpoint())) < 300


def test_a_change_of_the_submission_is_told() -> None:
    """But not how much of the machine a job got that asked for all of it; of a limit of an array it is."""
    world = World()
    world.submit(SPEC.replace(exclusive=True, all_memory=True))
    world.events()
    world.submit(SPEC.replace(exclusive=True, all_memory=True, cpus=64, memory_mb=1000))
    assert world.events() == []
    world.submit(SPEC.replace(exclusive=True, all_memory=True, priority=20))
    (event,) = world.events()
    assert (event["kind"], event["priority"], event["at"]) == ("job_updated", 20, 100.0)
    world.put("limit", 1, {"max_concurrent": 3})
    assert world.tells() == [("updated", 1, 1)]


def test_the_notifier_is_told_whom_to_tell_of_how_much() -> None:
    world = World()
    family = Family(ranges=((1, 3, 1),))
    spec = SPEC.replace(
        family=family, notify=("https://a/b",), notify_on=("fail",), time_limit=60.0, output="%A_%a.out"
    )
    world.submit(spec, job_id=1, size=3)
    world.phase(FAILED, job_id=2)
    submitted, started, ended = world.events()
    asked = {"email": None, "on": ["fail"], "urls": ["https://a/b"], "size": 3, "time_limit": 60.0}
    assert (submitted["notify"], started["notify"]["size"]) == (asked, 3)
    assert ended["notify"]["output"] == "/1_2.out"
    assert "notify" not in shown(ended)


def test_an_end_says_what_came_of_the_job() -> None:
    world = World()
    world.submit(SPEC.replace(gpus=1, notify_email="a@b", notify_on=("end",), project="p"))
    world.phase(FAILED.replace(paused=2.0, used=Used(memory_mb=7)), Queued(attempt=2, begin_at=70.0, since=20.0))
    _, started, ended, requeued = world.events()
    assert started["notify"] == {"email": "a@b", "on": ["end"]}
    assert (started["wait_seconds"], started["gpu_ids"]) == (9.0, [1])
    expected = {
        "at": 20.0, "kind": "job_ended", "job": 1, "array_id": None, "array_index": None, "name": "x", "user": "u",
        "project": "p", "attempt": 1, "state": "failed", "reason": "NonZeroExit", "exit_code": 3, "signal": None,
        "gpus": 1, "gpu_ids": [1], "cpus": 1, "memory_mb": None, "submitted_at": 1.0, "started_at": 10.0,
        "ended_at": 20.0, "run_seconds": 8.0, "final": False,
    }  # fmt: skip
    assert expected.items() <= ended.items()
    assert ended["used"]["memory_mb"] == 7
    assert (requeued["at"], requeued["reason"], requeued["begin_at"]) == (20.0, "Retry", 70.0)


def test_an_end_is_final_unless_another_attempt_follows() -> None:
    retried = SPEC.replace(retry=Retry(max_retries=1, on=("failure",)))
    lingers = FAILED.replace(lingers=True)
    for spec, wish, phase, final in (
        (SPEC, {}, FAILED, True),
        (SPEC, {"requeued": 1}, FAILED, False),
        (SPEC, {}, lingers, True),
        (retried, {}, lingers, False),
        (retried, {"cancelled_at": 1.0}, lingers, True),
        (retried, {}, lingers.replace(run=RUN.replace(attempt=2)), True),
    ):
        world = World()
        world.submit(spec)
        world.wish(**wish)
        world.phase(phase)
        assert world.events()[-1]["final"] is final


def test_a_requeue_is_told_as_one() -> None:
    world = World()
    world.submit()
    world.phase(FINISHED)
    world.events()
    world.wish(requeued=1)
    world.phase(FINISHED, Queued(attempt=2, since=90.0))
    (event,) = world.events()
    assert (event["kind"], event["reason"], event["at"], event["attempt"]) == ("job_requeued", "Requeued", 90.0, 2)
    world.phase(Running(run=RUN.replace(attempt=2), started=STARTED.replace(at=95.0)))
    assert world.events()[0]["wait_seconds"] == 5.0
    unseen = World()
    unseen.submit()
    unseen.phase(FINISHED, Running(run=RUN.replace(attempt=2), started=STARTED.replace(at=95.0)))
    assert unseen.events()[-1]["wait_seconds"] == 75.0, "when it was queued again is not known"


def test_a_run_of_a_series_waits_from_when_it_is_due() -> None:
    world = World()
    world.submit(SPEC.replace(repeat=Repeat(rule="daily", due=8.0)))
    world.phase(RUNNING)
    assert world.events()[1]["wait_seconds"] == 2.0


def test_events_of_several_jobs_come_in_the_order_of_their_times() -> None:
    """Those of one job in their own, whatever the clock did."""
    world = World()
    world.submit(job_id=1)
    world.submit(SPEC.replace(submitted_at=30.0), job_id=2)
    world.phase(FINISHED.replace(ended_at=40.0), job_id=1)
    world.phase(FINISHED, job_id=2)
    found = world.tells()
    assert found == [
        ("submitted", 1, 1), ("started", 1, 1), ("submitted", 2, 1), ("started", 2, 1), ("ended", 2, 1),
        ("ended", 1, 1),
    ]  # fmt: skip


def test_an_older_snapshot_begins_jobs_again() -> None:
    for before, after, kinds in (
        (FINISHED, Queued(), ["requeued"]),
        (FINISHED, RUNNING, ["requeued", "started"]),
        (FINISHED.replace(run=RUN.replace(attempt=2)), RUNNING, ["requeued", "started"]),
        (RUNNING.replace(pauses=Pauses(count=3)), RUNNING, []),
        (SUSPENDED, RUNNING, ["unsuspended"]),
    ):
        world = World()
        world.submit()
        world.phase(before)
        world.events()
        world.phase(after)
        assert [kind for kind, _, _ in world.tells()] == kinds


def test_what_has_left_the_snapshot_is_forgotten() -> None:
    world = World()
    for job_id in (1, 2):
        world.submit(job_id=job_id)
        world.phase(FINISHED, job_id=job_id)
    world.events()
    world.put("spec", 1, None)
    world.put("phase", 1, None)
    assert world.events() == []
    assert (set(world.told.specs), set(world.told.jobs)) == ({2}, {2})
    world.records["spec"].clear()
    world.forget()
    assert world.events() == []
    assert (world.told.specs, world.told.jobs) == ({}, {})


def test_where_nothing_is_known_all_counts_as_told() -> None:
    world = World()
    world.submit(SPEC.replace(family=Family(ranges=((1, 3, 1),))), job_id=1, size=3)
    world.wish(2, held=True)
    world.phase(FINISHED, job_id=1)
    world.told = all_told(world.facts)
    assert world.events() == []
    assert world.told.specs[1].size == 3
    world.phase(FINISHED, job_id=3)
    assert world.tells() == [("started", 3, 1), ("ended", 3, 1)]


def test_a_job_that_was_over_may_be_changed_after_a_requeue() -> None:
    """Its digest is not kept."""
    world = World()
    world.submit()
    world.phase(FINISHED)
    world.events()
    world.told = restored(world.told.checkpoint())
    world.forget()
    assert world.events() == []
    world.submit(SPEC.replace(priority=1))
    assert world.tells() == [("updated", 1, 1)]


class Life:
    """A job that is led from step to step, of which those that make no sense do nothing."""

    def __init__(self) -> None:
        self.world = World()
        self.world.submit()
        self.phase: Phase = Queued()
        self.attempt = 1

    def step(self, name: str, wall: float) -> None:
        self.world.wall = wall
        if name == "restart":
            self.world.told = restored(self.world.told.checkpoint())
            self.world.forget()
        elif isinstance(self.phase, Queued):
            self._queued(name, wall)
        elif isinstance(self.phase, Ended):
            if name == "retry":
                self.attempt += 1
                queued = Queued(attempt=self.attempt, since=wall)
                self.world.phase(self.phase, queued)
                self.phase = queued
        elif (after := self._live(name, wall)) is not None:
            self.phase = after
            self.world.phase(after)

    def _queued(self, name: str, wall: float) -> None:
        if name == "hold":
            self.world.wish(held=True)
        elif name == "release":
            self.world.wish(released_at=wall)
        elif name == "update":
            self.world.submit(SPEC.replace(priority=int(wall)))
        elif name == "start":
            self.phase = Starting(run=RUN.replace(attempt=self.attempt))
            self.world.phase(self.phase)

    def _live(self, name: str, wall: float) -> Phase | None:
        run = RUN.replace(attempt=self.attempt)
        match name, self.phase:
            case "run", Starting():
                return Running(run=run, started=STARTED.replace(at=wall))
            case "suspend", Running(started=started, pauses=pauses):
                return SUSPENDED.replace(run=run, started=started, since_at=wall, pauses=pauses)
            case "go on", Suspended(started=started, pauses=pauses):
                return Running(run=run, started=started, pauses=Pauses(count=pauses.count + 1, seconds=1.0))
            case "stop", (Starting() | Running()) as live:
                began = live.started if isinstance(live, Running) else None
                return STOPPING.replace(run=run, started=began, since_at=wall)
            case "end", (Running() | Suspended() | Stopping()) as live:
                at = wall if live.started is None else live.started.at
                return FINISHED.replace(run=run, started_at=at, ended_at=wall)
        return None


STEPS = (
    "hold", "release", "start", "run", "suspend", "go on", "stop", "end", "retry", "update", "look", "restart",
)  # fmt: skip
KEPT = ("submitted", "started", "ended", "requeued")


@given(st.lists(st.sampled_from(STEPS), max_size=30))
def test_however_often_one_looks_the_same_is_told(steps: list[str]) -> None:
    """Submissions, starts and ends of attempts are each told once, in order, whether one looks after each step or now
    and then; and the fold of the events is where the job is.
    """
    seen = []
    for looks_always in (True, False):
        life, found = Life(), []
        for place, step in enumerate([*steps, "look"]):
            life.step(step, 10.0 + place)
            if looks_always or step == "look":
                found += life.world.tells()
        assert life.world.events() == []
        records = life.world.records
        assert life.world.told.of_job(1, 1) == job_events.stage_of(records["wish"].get(1), records["phase"].get(1))
        seen.append([each for each in found if each[0] in KEPT])
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == len(seen[0])
