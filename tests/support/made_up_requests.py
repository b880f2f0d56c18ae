"""What users may ask of the gateway, made up by hypothesis: records of their own making, right ones and odd ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from gflowd.core.admission import wish_rules
from gflowd.core.admission.policy import Policy
from gflowd.core.admission.requester import Requester
from gflowd.core.errors import Refused
from gflowd.core.job import codec
from gflowd.core.job.records import KINDS, PROVISIONAL, RESERVATION, SPEC, WISH
from gflowd.core.request.validation import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gflowd.core.admission.known_jobs import KnownJobs

REQUESTERS = [Requester(1001, "ada"), Requester(1002, "bob"), Requester(1003, "op", is_operator=True)]
POLICY = Policy(reserve="everyone", max_jobs_per_user=12, notify_urls=True)
LIMITS = Limits(gpus=3, cpus=4, memory_mb=1000)
LEAST: dict[str, Any] = {"command": ["x"], "name": "a", "cwd": "/", "env": "e" * 32}

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
    "notify_on": [["end"]], "notify": [["https://a/b"]], "git": [{"commit": "0" * 40}], "script": ["s" * 32],
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


ANY_REQUESTER = st.sampled_from(REQUESTERS)
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


class Requests(RuleBasedStateMachine):
    """Three users ask, of whatever there is by then. Subclasses say what that is, and `ask` for it."""

    def known(self) -> KnownJobs:
        """Of the records that there are."""
        raise NotImplementedError

    def now(self) -> float:
        """The time by which requests are judged."""
        raise NotImplementedError

    def ask(self, requester: Requester, asked: list[Any]) -> bool:
        """Whether that was granted."""
        raise NotImplementedError

    def last_id(self) -> int:
        """The greatest that a job has; 0 if there is none."""
        raise NotImplementedError

    def _of(self, kind: str) -> Mapping[Any, Any]:
        return self.known().records.of(kind)

    @rule(requester=ANY_REQUESTER, some=st.lists(SOME, min_size=1, max_size=3), needs=st.none() | NEEDS, mode=MODES,
          family=st.none() | FAMILIES, is_odd=RARELY, odd=ODD_FAMILIES, held=RARELY)  # fmt: skip
    def submit(
        self,
        requester: Requester,
        some: list[Any],
        needs: Any,
        mode: Any,
        family: Any,
        is_odd: bool,
        odd: Any,
        held: bool,
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
        self.ask(requester, asked)

    @rule(requester=ANY_REQUESTER, place=PLACES, fields=SOME, needs=st.none() | NEEDS, mode=MODES, more=RARELY)
    def update(
        self, requester: Requester, place: int, fields: dict[str, Any], needs: Any, mode: Any, more: bool
    ) -> None:
        specs = sorted(self._of(SPEC))
        if specs:
            named = [specs[place % len(specs)], *(specs[:1] if more else ())]
            links = {} if needs is None else {"needs": self._needs(needs, mode)}
            asked = [("spec", each, {**self._of(SPEC)[each], **fields, **links}) for each in named]
            self.ask(requester, asked)

    @rule(requester=ANY_REQUESTER, place=IDS, wish=st.none() | WISHES, adds=st.booleans())
    def wish(self, requester: Requester, place: int, wish: Any, adds: bool) -> None:
        job_id = self._id(place)
        before = self._of(WISH).get(job_id, {}) if adds else {}
        self.ask(requester, [("wish", job_id, wish and {**before, **wish})])

    @rule(requester=ANY_REQUESTER, place=PLACES, act=st.sampled_from(ACTS))
    def act(self, requester: Requester, place: int, act: Any) -> None:
        """As gflowctl does: what the rules make of the present wish is what may be asked for."""
        job_id, known = self._id(place), self.known()
        if not known.knows(job_id):
            return
        job = known.job(job_id)
        try:
            wanted = act(job, self.now())
        except Refused:
            return
        is_theirs = job.spec.uid == requester.uid or requester.is_operator
        if not isinstance(wanted, str):
            asked = [("wish", job_id, codec.encode(wanted))]
            assert self.ask(requester, asked) == (
                is_theirs and (wanted.top_at == job.wish.top_at or requester.is_operator)
            )

    @rule(requester=ANY_REQUESTER, place=IDS, most=st.sampled_from([1, 2, 0, None]), gone=st.booleans())
    def limit(self, requester: Requester, place: int, most: Any, gone: bool) -> None:
        self.ask(requester, [("limit", self._id(place), None if gone else {"max_concurrent": most})])

    @rule(requester=ANY_REQUESTER, reservation=st.none() | RESERVATIONS, new=st.booleans())
    def reserve(self, requester: Requester, reservation: Any, new: bool) -> None:
        known = self._of(RESERVATION)
        number = len(known) + new
        self.ask(
            requester,
            [("reservation", number, reservation and {**({} if new else known.get(number, {})), **reservation})],
        )

    @rule(requester=ANY_REQUESTER, kind=st.sampled_from(KINDS) | JUNK, key=IDS | JUNK, value=JUNK)
    def ask_for_junk(self, requester: Requester, kind: Any, key: Any, value: Any) -> None:
        self.ask(requester, [(kind, key, value)])

    def _id(self, place: int) -> int:
        """A job that there is, if there is one."""
        last = self.last_id()
        return 1 + place % last if 0 <= place < PROVISIONAL and last else place

    def _needs(self, wanted: Any, mode: Any) -> Any:
        named = [{"kind": kind, "id": None if kind == "singleton" else self._id(place), "element": element,
                  "delay": delay if kind == "after" else 0.0} for kind, place, element, delay in wanted]  # fmt: skip
        return {"dependencies": named, **mode}
