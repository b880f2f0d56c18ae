"""Users ask for whatever they like, by records of their own making: what the judge lets pass never makes the scheduler
stumble, and belongs to who asked; what it refuses changes nothing.
"""

from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from support import depth
from world import World

from gflowd.core.errors import Refused
from gflowd.core.events import job_events
from gflowd.core.events.told import Told
from gflowd.core.execution import grace, job_environment, output_files, resource_limits
from gflowd.core.job import array_task, arrays, codec, record_rules
from gflowd.core.job.model import Run
from gflowd.core.job.records import KINDS, PROVISIONAL
from gflowd.core.judging import wish_rules
from gflowd.core.judging.judge import judge
from gflowd.core.judging.peer import Peer
from gflowd.core.judging.policy import Policy
from gflowd.core.judging.standing import Standing
from gflowd.core.planning import reservations
from gflowd.core.request.validation import Limits
from gflowd.core.slurm import job_variables

PEERS = [Peer(1001, "ada"), Peer(1002, "bob"), Peer(1003, "op", is_operator=True)]
POLICY = Policy(reserve="everyone", max_jobs_per_user=12, notify_urls=True)
LIMITS = Limits(gpus=3, cpus=4, memory_mb=1000)
LEAST: dict[str, Any] = {"command": ["x"], "name": "a", "cwd": "/", "env": "e"}
HOST = job_variables.Host(node="n", uid=1, gid=1)
RUN = Run(executor="process", launched_at=1.0, gpu_ids=(0,))

JUNK = st.sampled_from([
    None, True, 0, -1, 1, 2**53 + 1, 10**30, 1.5, float("nan"), float("inf"), "", "x", "\0", "\ud800", "a" * 300, "%",
    [], ["x"], [1], [[]], [[1, 2]], {}, {"x": 1}, {"is": "ended"},
])  # fmt: skip
PLACES = st.integers(0, 99)  # which of what there is, counted round
RARELY = st.sampled_from([False] * 5 + [True])
IDS = st.one_of(PLACES, PLACES, st.sampled_from([-1, -99, 10**15, PROVISIONAL, PROVISIONAL + 3]))
NEEDS = st.lists(
    st.tuples(
        st.sampled_from(["afterok", "afterany", "afternotok", "after", "aftercorr", "singleton"]), IDS, st.booleans(),
        st.sampled_from([0.0, 30.0]),
    ), min_size=1, max_size=3,
)  # fmt: skip
MODES = st.fixed_dictionaries(
    {}, optional={"dependency_mode": st.sampled_from(["all", "any"]), "auto_cancel": st.booleans()}
)
FAMILIES = st.sampled_from([
    {"ranges": [[0, 2, 1]]}, {"ranges": [[1, 4, 2], [7, 7, 1]], "max_concurrent": 1, "max_failures": 1},
    {"axes": [{"names": ["a"], "rows": [["1"], ["2"]]}]},
    {"axes": [{"names": ["a"], "rows": [["1"], ["2"]]}], "edits": [["a", [[0, 0, 1]], "3"]]},
])  # fmt: skip
ODD_FAMILIES = st.sampled_from([
    {"axes": [{"names": ["a"], "rows": [["1"], ["2"]]}], "edits": [["a", [[0, 9, 1]], "\0"]]}, {"ranges": []}, {},
    {"axes": [{"names": ["a b"], "rows": [["1"]]}]}, {"ranges": [[0, 10**6, 1]]}, {"ranges": [[0, 50, 1]]},
])  # fmt: skip
GOOD: dict[str, list[Any]] = {
    "gpus": [0, 1, 3], "cpus": [0, 1, 4], "memory_mb": [None, 0, 500], "priority": [0, 10], "umask": [0, 0o777],
    "time_limit": [None, 0, 0.5, 60], "grace": [None, 0, 5], "quiet_limit": [0, 9], "begin_at": [None, -1e9, 90, 150],
    "deadline": [None, 1e6], "project": [None, "p", " p "], "comment": ["c" * 5000], "output": ["/o", "/%j", "/%99j"],
    "error": ["/%x.%a"], "input": ["/i"], "limits": ["c0 n1024", "?"], "append": [True], "submit_dir": ["/"],
    "executor": ["tmux", "process"], "name_template": ["{name}-{index}", "{a}"], "name": ["b", "a/b\nc", ".."],
    "gpu_type": ["h100", ""], "gpu_memory_mb": [0, 500], "gpu_prefer": [["0"], ["x", "9"]], "conda_env": ["c"],
    "early_signal": [{"number": 10, "before": 0.1}, {"number": 64, "before": 0, "command_only": True}],
    "slurm": [True], "asked": [["gpus=1"], ["=", "ntasks-per-core=1"]], "notify_email": ["ada", "ada@x"],
    "notify_on": [["end"]], "notify": [["https://a/b"]], "git": [{"commit": "0" * 40}], "script": ["s"],
    "repeat": [{"rule": "every 60s", "due": 150.0}], "relay": ["r"], "pty": [True], "exclusive": [True],
    "all_memory": [True], "tasks": [{"count": 2, "cpus": 2}], "command": [["{a}"], ["y"] * 3],
    "retry": [{"max_retries": 1}, {"max_retries": 1, "on": ["failure", 3], "delay": 5.0}], "batch": [PROVISIONAL],
    "uid": [0, 1002], "user": ["root", "bob"], "submitted_at": [0, 1e9, None], "once": ["f" * 32],
}  # fmt: skip
ODD: dict[str, list[Any]] = {
    "gpus": [9, -5], "cpus": [5], "memory_mb": [10**6], "priority": [11, 255, 256], "umask": [0o1000], "shared": [True],
    "time_limit": [1e12], "begin_at": [1e300], "deadline": [5], "project": ["p" * 70], "output": ["o", "/%q", "/d/"],
    "error": ["/%"], "input": ["i"], "executor": ["foo"], "submit_dir": [""], "redone_from": [1, 99, PROVISIONAL],
    "batch": [PROVISIONAL + 1, 1], "name_template": ["{", "x" * 300], "name": [" ", "n" * 256], "asked": [["x"]],
    "conda_env": ["-c", "\n"], "notify_email": ["-x"], "notify_on": [["sometimes"]], "notify": [["x"]],
    "repeat": [{"rule": "never", "due": 1.0}, {"rule": "daily 02:00", "due": 90.0, "zone": "Mars"},
               {"rule": "every 60s", "due": 9.0, "series": 1}],
    "relay": ["../r"], "script": ["../s"], "command": [["-x"], [""], []], "retry": [{"on": ["rain"]}],
    "colour": ["red"],
}  # fmt: skip


def chosen_of(table: dict[str, list[Any]], most: int) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(sorted(table)), PLACES, max_size=most).map(
        lambda chosen: {name: table[name][place % len(table[name])] for name, place in chosen.items()}
    )


SOME = st.tuples(chosen_of(GOOD, 3), RARELY, chosen_of(ODD, 1)).map(lambda made: made[0] | (made[2] if made[1] else {}))
WISHES = st.fixed_dictionaries({}, optional={
    "held": st.booleans(), "begin_at": st.sampled_from([None, 90.0, 150.0]),
    "cancelled_at": st.sampled_from([None, 1.0]),
    "cancelled_by": st.sampled_from(["x", None]), "requeued": st.integers(0, 3), "top_at": st.sampled_from([None, 1.0]),
    "released_at": st.just(1.0), "suspended": st.integers(0, 2), "releases_cpus": st.booleans(),
    "only_run": st.booleans(),
})  # fmt: skip
RESERVATIONS = st.fixed_dictionaries({
    "user": st.sampled_from(["ada", "bob"]), "start": st.sampled_from([90.0, 150.0, 1e6]),
    "duration": st.sampled_from([60.0, 1e7]), "created_at": st.just(1.0), "created_by": st.just("x"),
}, optional={
    "gpus": st.integers(0, 4), "gpu_list": st.sampled_from([[0], [0, 1], [7]]), "cancelled_at": st.just(2.0),
    "repeat": st.sampled_from(["daily", "weekly"]),
})  # fmt: skip


ASKERS = st.sampled_from(PEERS)
ACTS = [
    lambda job, _: wish_rules.held(job),
    lambda job, now: wish_rules.released(job, None, now),
    lambda job, now: wish_rules.released(job, now + 25, now),
    wish_rules.requeued,
    wish_rules.put_first,
    lambda job, _: wish_rules.suspended(job, releases_cpus=False),
    lambda job, _: wish_rules.suspended(job, releases_cpus=True),
    lambda job, _: wish_rules.going_on(job),
    lambda job, now: wish_rules.cancelled(job, "x", now, is_alone=False),
]


class Court(World):
    """A world whose records are changed by requests. Keeps the index of the judge with them."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: dict[str, dict[Any, Any]] = {
            "spec": self.specs, "wish": self.wishes, "phase": self.phases, "limit": self.limits,
        }  # fmt: skip
        self.standing = Standing(self)
        self.told = Told()

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
        self.standing.note([(kind, key)])

    @property
    def facts(self) -> job_events.JobFacts:
        spec_of = self.standing.spec_of
        return job_events.JobFacts(self.specs, self.wishes, self.phases, self.attempts, self.limits, spec_of)


class Machine(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.world = Court()

    @rule(peer=ASKERS, some=st.lists(SOME, min_size=1, max_size=3), needs=st.none() | NEEDS, mode=MODES,
          family=st.none() | FAMILIES, is_odd=RARELY, odd=ODD_FAMILIES, held=RARELY)  # fmt: skip
    def submit(
        self, peer: Peer, some: list[Any], needs: Any, mode: Any, family: Any, is_odd: bool, odd: Any, held: bool
    ) -> None:
        asked: list[Any] = []
        for place, fields in enumerate(some):
            spec = {**LEAST, **fields}
            if place == len(some) - 1 and (is_odd or family is not None):
                spec["family"] = odd if is_odd else family
            elif needs is not None:
                spec["needs"] = self._needs(needs, mode)
            asked.append(("spec", PROVISIONAL + place, spec))
        if held:
            asked.append(("wish", PROVISIONAL, {"held": True}))
        self._ask(peer, asked)

    @rule(peer=ASKERS, place=PLACES, fields=SOME, needs=st.none() | NEEDS, mode=MODES, more=RARELY)
    def update(self, peer: Peer, place: int, fields: dict[str, Any], needs: Any, mode: Any, more: bool) -> None:
        specs = sorted(self.world.specs)
        if specs:
            named = [specs[place % len(specs)], *(specs[:1] if more else ())]
            links = {} if needs is None else {"needs": self._needs(needs, mode)}
            asked = [("spec", each, {**self.world.specs[each], **fields, **links}) for each in named]
            self._ask(peer, asked)

    @rule(peer=ASKERS, place=IDS, wish=st.none() | WISHES, adds=st.booleans())
    def wish(self, peer: Peer, place: int, wish: Any, adds: bool) -> None:
        job_id = self._id(place)
        before = self.world.wishes.get(job_id, {}) if adds else {}
        self._ask(peer, [("wish", job_id, wish and {**before, **wish})])

    @rule(peer=ASKERS, place=PLACES, act=st.sampled_from(ACTS))
    def act(self, peer: Peer, place: int, act: Any) -> None:
        """As gflowctl does: what the rules make of the present wish is what may be asked for."""
        job_id, world = self._id(place), self.world
        if not world.standing.knows(job_id):
            return
        job = world.standing.job(job_id)
        try:
            wanted = act(job, world.now)
        except Refused:
            return
        is_theirs = job.spec.uid == peer.uid or peer.is_operator
        if not isinstance(wanted, str):
            asked = [("wish", job_id, codec.encode(wanted))]
            assert self._ask(peer, asked) == (is_theirs and (wanted.top_at == job.wish.top_at or peer.is_operator))

    @rule(peer=ASKERS, place=IDS, most=st.sampled_from([1, 2, 0, None]), gone=st.booleans())
    def limit(self, peer: Peer, place: int, most: Any, gone: bool) -> None:
        self._ask(peer, [("limit", self._id(place), None if gone else {"max_concurrent": most})])

    @rule(peer=ASKERS, reservation=st.none() | RESERVATIONS, new=st.booleans())
    def reserve(self, peer: Peer, reservation: Any, new: bool) -> None:
        known = self.world.of("reservation")
        number = len(known) + new
        self._ask(
            peer, [("reservation", number, reservation and {**({} if new else known.get(number, {})), **reservation})]
        )

    @rule(peer=ASKERS, kind=st.sampled_from(KINDS) | JUNK, key=IDS | JUNK, value=JUNK)
    def ask_for_junk(self, peer: Peer, kind: Any, key: Any, value: Any) -> None:
        self._ask(peer, [(kind, key, value)])

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

    def _id(self, place: int) -> int:
        """A job that there is, if there is one."""
        return 1 + place % len(self.world.ids()) if 0 <= place < PROVISIONAL and self.world.ids() else place

    def _needs(self, wanted: Any, mode: Any) -> Any:
        named = [{"kind": kind, "id": None if kind == "singleton" else self._id(place), "element": element,
                  "delay": delay if kind == "after" else 0.0} for kind, place, element, delay in wanted]  # fmt: skip
        return {"dependencies": named, **mode}

    def _ask(self, peer: Peer, asked: list[Any]) -> bool:
        """Whether it was granted."""
        world = self.world
        before = copy.deepcopy(world.kinds)
        try:
            made = judge(asked, world.standing, peer, POLICY, LIMITS, world._next_id, world.now, "a" * 32)
        except Refused:
            made = []
        assert {kind: found for kind, found in world.kinds.items() if found} == {
            kind: found for kind, found in before.items() if found
        }
        for kind, key, value in made:
            assert orjson.loads(orjson.dumps(value)) == _plain(value)
            self._check(peer, kind, key, value, before)
            world.write(kind, key, _plain(value))
        self._look()
        return bool(made)

    def _check(self, peer: Peer, kind: str, key: Any, value: Any, before: Any) -> None:
        """It is whose it should be, makes sense, and can be started."""
        if value is not None:
            assert record_rules.fault(kind, key, 10**15 - 1, _plain(value)) is None
        if kind == "spec":
            was = before["spec"].get(key)
            whose = (
                (peer.name, peer.uid, self.world.now) if was is None else (was["user"], was["uid"], was["submitted_at"])
            )
            assert (value["user"], value["uid"], value["submitted_at"]) == whose
            assert value["uid"] == peer.uid or peer.is_operator
            self._launch(codec.job(key, _plain(value), None, None))
        elif kind in ("wish", "limit"):
            spec = self.world.specs[self.world.standing.spec_of(key)]
            assert spec["uid"] == peer.uid or peer.is_operator
        if (
            kind == "wish"
            and value
            and value.get("cancelled_at")
            and not before["wish"].get(key, {}).get("cancelled_at")
        ):
            assert (value["cancelled_by"], value["cancelled_at"]) == (peer.name, self.world.now)
        if kind == "reservation" and value is not None:
            assert value["created_by"] == peer.name or key in before["reservation"]
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
        world.standing.note([("phase", job_id) for job_id in world.phases])
        world.rebuilt()
        assert (
            world.standing.queued().items()
            >= {owner: count for owner, count in Standing(world).queued().items() if count}.items()
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
