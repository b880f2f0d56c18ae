"""Users ask for whatever they like, by records of their own making: what the judge lets pass never makes the scheduler
stumble, and belongs to who asked; what it refuses changes nothing.
"""

from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from support import depth
from support.made_up_requests import LIMITS, PLACES, POLICY, Requests
from world import World

from gflowd.core.admission.judge import judge
from gflowd.core.admission.known_jobs import KnownJobs
from gflowd.core.admission.requester import Requester
from gflowd.core.errors import Refused
from gflowd.core.events import job_events
from gflowd.core.events.told_events import ToldEvents
from gflowd.core.execution import grace, job_environment, output_files, resource_limits
from gflowd.core.job import array_task, arrays, codec, record_rules
from gflowd.core.job.model import Run
from gflowd.core.planning import reservations
from gflowd.core.slurm import job_variables

HOST = job_variables.Host(node="n", uid=1, gid=1)
RUN = Run(executor="process", launched_at=1.0, gpu_ids=(0,))


class AdmittingWorld(World):
    """A world whose records are changed by requests. Keeps the index of the judge with them."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: dict[str, dict[Any, Any]] = {
            "spec": self.specs, "wish": self.wishes, "phase": self.phases, "limit": self.limits,
        }  # fmt: skip
        self.known = KnownJobs(self)
        self.told = ToldEvents()

    def of(self, kind: str) -> dict[Any, Any]:
        return self.kinds.setdefault(kind, {})

    def write(self, kind: str, key: Any, value: Any) -> None:
        if kind == "spec":
            if key == self._next_id:
                self._ids.append(key)
                family = codec.decode_spec(value).family
                self._next_id += 1 if family is None else arrays.size(family)
            self._spec_ids.add(key)
        elif kind == "limit":
            self._spec_ids.add(key)
        elif kind == "wish":
            self._job_ids.add(key)
        if value is None:
            self.of(kind).pop(key, None)
        else:
            self.of(kind)[key] = value
        self.known.note([(kind, key)])

    @property
    def facts(self) -> job_events.JobFacts:
        spec_of = self.known.spec_of
        return job_events.JobFacts(self.specs, self.wishes, self.phases, self.attempts, self.limits, spec_of)


class Machine(Requests):
    @initialize()
    def open(self) -> None:
        self.world = AdmittingWorld()

    def known(self) -> KnownJobs:
        return self.world.known

    def now(self) -> float:
        return self.world.now

    def last_id(self) -> int:
        return len(self.world.ids())

    @rule(delay=st.sampled_from([1.0, 30.0, 500.0]))
    def time_passes(self, delay: float) -> None:
        self.world.now += delay
        self._look()

    @rule(place=PLACES, status=st.sampled_from([0, 1]))
    def end(self, place: int, status: int) -> None:
        running = sorted(self.world.running)
        if running:
            self.world.end(running[place % len(running)], status)
            self._look()

    def ask(self, requester: Requester, asked: list[Any]) -> bool:
        """Whether it was granted."""
        world = self.world
        before = copy.deepcopy(world.kinds)
        try:
            made = judge(asked, world.known, requester, POLICY, LIMITS, world._next_id, world.now, "a" * 32)
        except Refused:
            made = []
        assert {kind: found for kind, found in world.kinds.items() if found} == {
            kind: found for kind, found in before.items() if found
        }
        for kind, key, value in made:
            assert orjson.loads(orjson.dumps(value)) == _plain(value)
            self._check(requester, kind, key, value, before)
            world.write(kind, key, _plain(value))
        self._look()
        return bool(made)

    def _check(self, requester: Requester, kind: str, key: Any, value: Any, before: Any) -> None:
        """It is whose it should be, makes sense, and can be started."""
        if value is not None:
            assert record_rules.fault(kind, key, 10**15 - 1, _plain(value)) is None
        if kind == "spec":
            was = before["spec"].get(key)
            whose = (
                (requester.name, requester.uid, self.world.now)
                if was is None
                else (was["user"], was["uid"], was["submitted_at"])
            )
            assert (value["user"], value["uid"], value["submitted_at"]) == whose
            assert value["uid"] == requester.uid or requester.is_operator
            self._launch(codec.job(key, _plain(value), None, None))
        elif kind in ("wish", "limit"):
            spec = self.world.specs[self.world.known.spec_of(key)]
            assert spec["uid"] == requester.uid or requester.is_operator
        if (
            kind == "wish"
            and value
            and value.get("cancelled_at")
            and not before["wish"].get(key, {}).get("cancelled_at")
        ):
            assert (value["cancelled_by"], value["cancelled_at"]) == (requester.name, self.world.now)
        if kind == "reservation" and value is not None:
            assert value["created_by"] == requester.name or key in before["reservation"]
            list(reservations.windows(reservations.decode_all({key: value}), 0.0, 1e7, None))

    def _launch(self, job: Any) -> None:
        """What the launcher and others make of a spec, of its first element and its last."""
        family = job.spec.family
        last = 0 if family is None else arrays.size(family) - 1
        for place in (0, last):
            each = job.replace(id=job.id + place, array_id=None if family is None else job.id)
            assert all(array_task.command(each))
            job_environment.variables(each, RUN, "/s", None)
            job_variables.of_job(each, RUN, HOST)
            output_files.paths(each)
        resource_limits.parse(job.spec.limits or "")
        grace.grace(job.spec, None)

    def _look(self) -> None:
        """The scheduler, a scheduler that starts now, and whoever tells of events."""
        world = self.world
        for key in sorted(world.running):
            if world.observations[key].started is None:
                world.begin(key)
        world.tick()
        world.stop()
        world.tick()
        world.known.note([("phase", job_id) for job_id in world.phases])
        world.rebuilt()
        assert (
            world.known.queued().items()
            >= {owner: count for owner, count in KnownJobs(world).queued().items() if count}.items()
        )
        for event in job_events.derive(world.facts, world.told, job_events.Untold(), world.now):
            orjson.dumps(event)
            world.told.take({**event, "id": 1})

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self._look()


def _plain(value: Any) -> Any:
    """As it is read from the snapshot."""
    return orjson.loads(orjson.dumps(value))


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=depth.examples(150),
    stateful_step_count=25,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
