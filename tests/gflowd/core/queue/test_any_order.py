"""A state machine: users, processes and time do as they like, and what must hold does."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support import depth
from world import DEPTH, MACHINE, SPEC, Changes, World, array, attempt_of

from gflowd.core.execution import transitions
from gflowd.core.job import arrays, codec, reasons
from gflowd.core.job.dependencies import AFTERCORR, AFTEROK, ALL, ANY, KINDS, SINGLETON, Dependency, Needs
from gflowd.core.job.model import ENDED_STATES, Ended, Job, Queued, Running, Starting, Stopping, Suspended, is_live
from gflowd.core.job.retry_policy import CAUSES, Retry
from gflowd.core.moment import Moment
from gflowd.core.planning import unsuspension
from gflowd.core.queue import dependency_rules
from gflowd.core.queue.dependency_rules import Never, Outcome, Satisfied
from gflowd.core.queue.job_queue import LATE

MOST_JOBS = 14
TICKS_TO_SETTLE = 200

PLACES = st.integers(0, 10**6)  # which of what there is, counted round
RETRIES = st.none() | st.builds(
    Retry,
    max_retries=st.integers(1, 2),
    on=st.lists(st.sampled_from(CAUSES), min_size=1, max_size=3).map(tuple),
    delay=st.sampled_from([0.0, 20.0]),
)
FIELDS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b"]),
        "priority": st.sampled_from([0, 10, 20]),
        "gpus": st.sampled_from([0, 0, 1, 2, 9]),
        "cpus": st.sampled_from([0, 1, 1, 2, 4]),
        "memory_mb": st.sampled_from([None, None, 600]),
        "retry": RETRIES,
        "begin_at": st.sampled_from([None, None, 90.0, 150.0]),
        "deadline": st.sampled_from([None, None, None, 120.0, 170.0, 300.0]),
        "time_limit": st.sampled_from([None, None, 30.0]),
    }
)
FAMILIES = st.builds(
    array,
    st.integers(1, 4),
    first=st.integers(0, 2),
    max_concurrent=st.sampled_from([None, 1, 2]),
    max_failures=st.sampled_from([None, None, 1, 2]),
)
WANTED = st.lists(st.tuples(st.sampled_from(KINDS), PLACES, st.booleans(), st.sampled_from([0.0, 30.0])), max_size=3)
MODES, AUTO = st.sampled_from([ALL, ALL, ANY]), st.sampled_from([True, True, False])
WHEN = st.sampled_from(["first", "first", "meanwhile", "later"])  # before a decision, during it, or none is made


class Machine(RuleBasedStateMachine):
    @initialize(kill_strays=st.booleans())
    def open(self, kill_strays: bool) -> None:
        self.world = World(kill_strays=kill_strays)
        self.was: dict[int, Any] = {}
        self.lent: set[int] = set()  # jobs whose CPUs others may have until they run again, or are gone

    # Users.

    @precondition(lambda self: len(self.world.ids()) < MOST_JOBS)
    @rule(fields=FIELDS, family=st.none() | FAMILIES, wanted=WANTED, mode=MODES, auto=AUTO, when=WHEN)
    def submit(self, fields: dict[str, Any], family: Any, wanted: Any, mode: str, auto: bool, when: str) -> None:
        spec = SPEC.replace(**fields, family=family, needs=self._needs(wanted, self.world.ids(), mode, auto))
        self._do(lambda: self.world.submit(spec), when)

    @precondition(lambda self: self._singles_that_wait())
    @rule(place=PLACES, priority=st.sampled_from([0, 10, 20]), cpus=st.sampled_from([0, 1, 4]), when=WHEN)
    def update(self, place: int, priority: int, cpus: int, when: str) -> None:
        job_id = self._pick(place, self._singles_that_wait())
        self._do(lambda: self._update(job_id, priority=priority, cpus=cpus), when)

    @precondition(lambda self: self._singles_that_wait())
    @rule(place=PLACES, wanted=WANTED, mode=MODES, auto=AUTO, when=WHEN)
    def update_needs(self, place: int, wanted: Any, mode: str, auto: bool, when: str) -> None:
        job_id = self._pick(place, self._singles_that_wait())
        needs = self._needs(wanted, range(1, job_id), mode, auto)
        self._do(lambda: self._update(job_id, needs=needs), when)

    @precondition(lambda self: self._waiting())
    @rule(place=PLACES, held=st.booleans(), when=WHEN)
    def hold_or_release(self, place: int, held: bool, when: str) -> None:
        job_id = self._pick(place, self._waiting())
        self._do(lambda: self.world.wish(job_id, held=held), when)

    @precondition(lambda self: self._waiting())
    @rule(place=PLACES, delay=st.sampled_from([0.0, 25.0]), when=WHEN)
    def release_at(self, place: int, delay: float, when: str) -> None:
        job_id = self._pick(place, self._waiting())
        self._do(lambda: self.world.wish(job_id, held=False, begin_at=self.world.now + delay), when)

    @precondition(lambda self: self._waiting())
    @rule(place=PLACES, when=WHEN)
    def top(self, place: int, when: str) -> None:
        job_id = self._pick(place, self._waiting())
        self._do(lambda: self.world.wish(job_id, top_at=self.world.now), when)

    @precondition(lambda self: self.world.ids())
    @rule(place=PLACES, when=WHEN)
    def cancel(self, place: int, when: str) -> None:
        job_id = self._pick(place, self.world.ids())
        self._do(lambda: self.world.cancel(job_id), when)

    @precondition(lambda self: self.world.ids())
    @rule(place=PLACES, when=WHEN)
    def requeue(self, place: int, when: str) -> None:
        job_id = self._pick(place, self.world.ids())
        self._do(lambda: self.world.requeue(job_id), when)

    @precondition(lambda self: self._live())
    @rule(place=PLACES, releases=st.booleans(), when=WHEN)
    def suspend(self, place: int, releases: bool, when: str) -> None:
        job_id = self._pick(place, self._live())
        self._do(lambda: self.world.suspend(job_id, releases_cpus=releases), when)

    @precondition(lambda self: self._live())
    @rule(place=PLACES, when=WHEN)
    def unsuspend(self, place: int, when: str) -> None:
        job_id = self._pick(place, self._live())
        self._do(lambda: self.world.unsuspend(job_id), when)

    @precondition(lambda self: self._arrays())
    @rule(place=PLACES, limit=st.sampled_from([None, 1, 2]), when=WHEN)
    def limit(self, place: int, limit: int | None, when: str) -> None:
        array_id = self._pick(place, self._arrays())
        self._do(lambda: self.world.limits.__setitem__(array_id, {"max_concurrent": limit}), when)

    @rule(drained=st.booleans())
    def drain_or_resume(self, drained: bool) -> None:
        self.world.drained = drained
        self._tick()

    # Processes.

    @precondition(lambda self: self._running(begun=False))
    @rule(place=PLACES, when=WHEN)
    def a_job_begins(self, place: int, when: str) -> None:
        key = self._pick(place, self._running(begun=False))
        self._do(lambda: self.world.begin(key), when)

    @precondition(lambda self: self.world.running)
    @rule(place=PLACES, status=st.sampled_from([0, 0, 1, 137]), when=WHEN)
    def a_job_ends(self, place: int, status: int, when: str) -> None:
        key = self._pick(place, list(self.world.running))
        self._do(lambda: self.world.end(key, status), when)

    @precondition(lambda self: self.world.running)
    @rule(place=PLACES, status=st.sampled_from([0, 1]))
    def a_job_leaves_strays(self, place: int, status: int) -> None:
        key = self._pick(place, list(self.world.running))
        self.world.leave_strays(key, status)
        self._tick()

    @precondition(lambda self: self.world.running)
    @rule(place=PLACES)
    def a_job_vanishes(self, place: int) -> None:
        key = self._pick(place, list(self.world.running))
        self.world.vanish(key)
        self._tick()

    @precondition(lambda self: self._running(begun=True))
    @rule(place=PLACES)
    def a_time_limit_passes(self, place: int) -> None:
        key = self._pick(place, self._running(begun=True))
        self.world.overdue.add(key)
        self._tick()

    @rule()
    def those_that_must_end_do(self) -> None:
        self.world.stop()
        self._tick()

    @rule(seconds=st.sampled_from([1.0, 20.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds
        self._tick()

    @rule()
    def nothing_happens(self) -> None:
        self._tick()

    # What always holds.

    @invariant()
    def no_resource_is_given_twice(self) -> None:
        """However the records stand: of what lives, nobody has what another has."""
        if not hasattr(self, "world"):
            return
        running = self.world.running.values()
        lingering = {job_id for job_id, _ in self.world.running if isinstance(self.world.phase(job_id), Ended)}
        gpus = Counter(index for job in running if job.run for index in job.run.gpu_ids)
        assert all(count == 1 for count in gpus.values()), gpus
        assert set(gpus) <= {0, 1, 2}
        phases = {job.id: self.world.phase(job.id) for job in running}
        self.lent &= {job_id for job_id, phase in phases.items() if isinstance(phase, Suspended | Stopping)}
        self.lent |= {job_id for job_id, phase in phases.items() if isinstance(phase, Suspended) and phase.without_cpus}
        # Ending a suspended job takes CPUs for a moment, whoever else has them.
        cpus = sum(self.world.job(job.id).cpus for job in running if job.id not in lingering | self.lent)
        memory = sum(job.spec.memory_mb or 0 for job in running if job.id not in lingering)
        assert cpus <= MACHINE.cpus
        assert memory <= MACHINE.memory_mb

    @invariant()
    def no_phase_is_without_its_data(self) -> None:
        for job_id, raw in (*self.world.phases.items(), *self._attempts()) if hasattr(self, "world") else ():
            phase, job = codec.decode_phase(raw), self.world.job(job_id)
            assert codec.encode_phase(phase) == raw
            match phase:
                case Starting(run=run) | Stopping(run=run) | Running(run=run) | Suspended(run=run):
                    assert len(run.gpu_ids) == job.spec.gpus
                    assert (
                        not isinstance(phase, Running | Suspended)
                        or phase.started.identity.pid == 10 * job_id + run.attempt
                    )
                case Ended():
                    assert phase.state in ENDED_STATES
                    assert (phase.reason is None) == (phase.state == "finished")
                    assert phase.exit_code is None or phase.signal is None
                    assert phase.started_at is None or phase.run is not None
                    assert 0.0 <= phase.paused <= phase.ended_at - (phase.started_at or 0.0)
                case Queued():
                    assert phase.attempt > 1

    @invariant()
    def what_has_ended_stays_ended_unless_it_is_tried_again(self) -> None:
        for job_id in self.world.ids() if hasattr(self, "world") else ():
            before, now = self.was.get(job_id), self.world.job(job_id)
            if isinstance(before, Ended) and now.phase != before:
                if isinstance(now.phase, Ended) and attempt_of(now.phase) == attempt_of(before):
                    assert now.phase == before.replace(lingers=False)
                else:
                    assert f"{job_id}.{attempt_of(before)}" in self.world.attempts
                    assert now.wish.requeued >= attempt_of(before) or now.spec.retry is not None
            self.was[job_id] = now.phase

    @invariant()
    def a_book_made_anew_is_the_one_that_followed(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.settle()
        job_queue, anew = self.world.job_queue, self.world.rebuilt()
        assert (job_queue.queued, job_queue.live, job_queue.lost) == (anew.queued, anew.live, anew.lost)
        assert (job_queue.reopened, job_queue.lingering) == (anew.reopened, anew.lingering)
        for namesakes in (False, True):  # how long these were in each other's way is not in the records
            orders = [
                [job.id for job in each.queue() if _awaits_namesakes(job) == namesakes] for each in (job_queue, anew)
            ]
            assert orders[0] == orders[1] or (namesakes and set(orders[0]) == set(orders[1]))
        assert job_queue.waiting(DEPTH) == anew.waiting(DEPTH)
        assert {job.id for job in job_queue.unwanted()} == {job.id for job in anew.unwanted()}
        edges, due = job_queue.edges(self.world.now), anew.edges(self.world.now)
        assert not due or (edges and edges[0] <= due[0]), "awake too late"

    def teardown(self) -> None:
        """In the end everybody who can be is served, and nobody waits for what has ended."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.drained = False
        for job_id in world.ids():
            if world.job(job_id).wish.held:
                world.wish(job_id, held=False)
            world.unsuspend(job_id)
        for _ in range(TICKS_TO_SETTLE):
            world.now += 1000.0
            for key in list(world.running):
                world.end(key)
            if not self._tick() and not world.running:
                break
        else:
            raise AssertionError(f"still busy: {world.states()}")
        stuck = {job_id for job_id in world.ids() if world.state(job_id) not in ENDED_STATES}
        for job_id in stuck:
            job = world.job(job_id)
            assert isinstance(job.phase, Queued)
            assert job.spec.needs is not None, job
            verdict = self._judge(job, {})
            hopeless = isinstance(verdict, Never) and not job.spec.needs.auto_cancel
            waits_for = {each for named in job.spec.needs.ids for each in self._named(named)}
            earlier = {each for each in stuck if each < job_id and world.spec(each).name == job.spec.name}
            assert hopeless or waits_for & stuck or earlier, job

    # How it is looked at.

    def _pick(self, place: int, among: Any) -> Any:
        return among[place % len(among)]

    def _do(self, what: Any, when: str) -> None:
        if when == "meanwhile":
            self._tick(what)
            return
        what()
        if when == "first":
            self._tick()

    def _needs(self, wanted: Any, ids: range, mode: str, auto: bool) -> Needs | None:
        found = []
        for kind, place, element, delay in wanted:
            if kind == SINGLETON:
                found.append(Dependency(kind=kind))
            elif ids:
                job_id = ids[place % len(ids)]
                if not element:  # then a whole array, or a job that is in none
                    job_id = self.world.array_of(job_id) or job_id
                found.append(Dependency(kind=kind, id=job_id, element=element, delay=delay if kind == "after" else 0.0))
        return Needs(dependencies=tuple(dict.fromkeys(found)), mode=mode, auto_cancel=auto) if found else None

    def _waiting(self) -> list[int]:
        return [job_id for job_id in self.world.ids() if isinstance(self.world.phase(job_id), Queued)]

    def _live(self) -> list[int]:
        return [job_id for job_id in self.world.ids() if is_live(self.world.phase(job_id))]

    def _arrays(self) -> list[int]:
        return [spec_id for spec_id, spec in self.world.specs.items() if "family" in spec]

    def _running(self, *, begun: bool) -> list[tuple[int, int]]:
        return [key for key in self.world.running if (self.world.observations[key].started is not None) == begun]

    def _singles_that_wait(self) -> list[int]:
        return [job_id for job_id in self._waiting() if self.world.array_of(job_id) is None]

    def _update(self, job_id: int, **fields: Any) -> None:
        self.world.update(job_id, self.world.spec(job_id).replace(**fields))

    def _attempts(self) -> list[tuple[int, Any]]:
        return [(int(key.partition(".")[0]), raw) for key, raw in self.world.attempts.items()]

    def _tick(self, meanwhile: Any = None) -> Changes:
        world = self.world
        world.settle()
        before = {job_id: world.job(job_id) for job_id in world.ids()}
        lost = dict(world.job_queue.lost)
        verdicts = {
            job_id: self._judge(job, lost) for job_id, job in before.items() if job.id in world.job_queue.queued
        }
        sure = {job_id: self._judge(before[job_id], {}) for job_id in verdicts}
        attempts = dict(world.attempts)
        done = world.tick(meanwhile)
        assert all(world.attempts[key] == raw for key, raw in attempts.items()), "an attempt's end was overwritten"
        self._check_starts(done, before, verdicts)
        for job_id in done:
            if job_id in lost and lost[job_id].startswith("DependencyFailed"):
                assert isinstance(verdicts[job_id], Never), before[job_id]
        if meanwhile is None:
            self._check_that_all_works(done, before, sure)
        return done

    def _check_starts(self, done: Changes, before: dict[int, Job], verdicts: dict[int, Any]) -> None:
        """Only who may starts."""
        starts = [job_id for job_id, after in done.items() if isinstance(after[-1], Starting)]
        assert not (starts and self.world.drained)
        for job_id in starts:
            job = before[job_id]
            assert isinstance(job.phase, Queued)
            assert not job.wish.held
            assert job.wish.cancelled_at is None
            assert job.begin_at is None or job.begin_at <= self.world.now
            assert job.latest_start is None or self.world.now < job.latest_start + LATE
            assert isinstance(verdicts[job_id], Satisfied), job
        for array_id in {before[job_id].array_id for job_id in starts} - {None}:
            assert array_id is not None
            limit = self._limit(array_id)
            assert limit is None or len(self._busy(array_id, before)) <= limit

    def _check_that_all_works(self, done: Changes, before: dict[int, Job], verdicts: dict[int, Any]) -> None:
        """Who still waits does so for a reason."""
        world = self.world
        live = [job for job in map(world.job, world.ids()) if is_live(job.phase)]
        lingering = [job for job in map(world.job, world.ids()) if isinstance(job.phase, Ended) and job.phase.lingers]
        was_lingering = [job for job in before.values() if isinstance(job.phase, Ended) and job.phase.lingers]
        taken = {index for job in (*live, *lingering, *was_lingering) if job.run for index in job.run.gpu_ids}
        fitting, others = [], []
        for job_id, verdict in verdicts.items():
            job = before[job_id]
            early = job.begin_at is not None and job.begin_at > world.now
            if job_id in done or world.drained or job.wish.held or early or not isinstance(verdict, Satisfied):
                continue
            limit = None if job.array_id is None else self._limit(job.array_id)
            if limit is not None and len(self._busy(job.array_id or 0, before)) >= limit:
                assert world.job_queue.waiting(DEPTH).get(job_id, reasons.GROUP) == reasons.GROUP
                continue
            cpus = MACHINE.cpus - sum(max(map(unsuspension.claimed_cpus, (before[each.id], each))) for each in live)
            memory = MACHINE.memory_mb - sum(other.spec.memory_mb or 0 for other in live)
            gpus = len({0, 1, 2} - taken)
            fits = job.spec.cpus <= max(cpus, 0) and (job.spec.memory_mb or 0) <= max(memory, 0)
            (fitting if fits and job.spec.gpus <= gpus else others).append(job)
        assert not fitting or others, f"{fitting} could run, and nobody is ahead of them"

    def _limit(self, array_id: int) -> int | None:
        family = self.world.spec(array_id).family
        assert family is not None
        record = self.world.limits.get(array_id)
        return family.max_concurrent if record is None else record["max_concurrent"]

    def _busy(self, array_id: int, before: dict[int, Job]) -> set[int]:
        elements = self._named(array_id)
        return {each for each in elements if is_live(before[each].phase) or is_live(self.world.phase(each))}

    def _named(self, job_id: int) -> range:
        family = self.world.spec(job_id).family
        return range(job_id, job_id + (arrays.size(family) if family and job_id in self.world.specs else 1))

    def _judge(self, job: Job, lost: dict[int, str]) -> Any:
        """What the rules say of a job's needs, from the records alone."""
        if job.spec.needs is None:
            return Satisfied()
        needs = job.spec.needs
        plain = needs.replace(dependencies=tuple(self._plain(job, each) for each in needs.dependencies))
        return dependency_rules.judge(plain, lambda each: self._look(job, each, lost), self.world.now)

    def _plain(self, job: Job, each: Dependency) -> Dependency:
        if each.kind != AFTERCORR or each.id is None:
            return each
        family = self.world.spec(each.id).family if each.id in self.world.specs and not each.element else None
        mine = job.spec.family
        if family is None or mine is None or job.array_id is None:
            return each.replace(kind=AFTEROK)
        position = arrays.position_of(family, arrays.index_of(mine, job.id - job.array_id))
        return each.replace(kind=AFTEROK, id=0 if position is None else each.id + position, element=True)

    def _look(self, job: Job, each: Dependency, lost: dict[int, str]) -> Outcome:
        if each.id == 0:
            return Outcome(jobs=0)
        if each.id is not None:
            ids = range(each.id, each.id + 1) if each.element else self._named(each.id)
            parts = [self._outcome(job_id, lost) for job_id in ids]
            times = [part.begun_at for part in parts if part.begun_at is not None]
            begun, ended = sum(part.begun for part in parts), sum(part.ended for part in parts)
            finished = sum(part.finished for part in parts)
            return Outcome(
                jobs=len(parts), begun=begun, begun_at=max(times, default=None), ended=ended, finished=finished
            )
        others = [self.world.job(job_id) for job_id in self.world.ids() if job_id != job.id]
        same = [other for other in others if other.spec.name == job.spec.name]
        queued = [other for other in same if isinstance(other.phase, Queued) and other.id < job.id]
        return Outcome(jobs=len(queued) + sum(is_live(other.phase) for other in same))

    def _outcome(self, job_id: int, lost: dict[int, str]) -> Outcome:
        if job_id in lost:
            return Outcome(begun=1, begun_at=self.world.job_queue._pending._lost.get(job_id, self.world.now), ended=1)
        job = self.world.job(job_id)
        if isinstance(job.phase, Ended) and (job.phase.lingers or job.wish.requeued >= attempt_of(job.phase)):
            now = Moment(self.world.now, self.world.now, "boot")
            again = transitions.again(job, job.phase.replace(lingers=False), now)
            return dependency_rules.of(job.phase if again is None else again)
        return dependency_rules.of(job.phase)


def _awaits_namesakes(job: Job) -> bool:
    return job.spec.needs is not None and any(each.id is None for each in job.spec.needs.dependencies)


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=depth.examples(120),
    stateful_step_count=30,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
