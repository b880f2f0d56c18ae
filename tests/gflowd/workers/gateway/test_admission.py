from __future__ import annotations

import grp
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from gateway_stage import ENVIRONMENT, NEW, new_once
from support.specs import SPEC as JOB

from gflowd.config import loader
from gflowd.core.errors import Refused
from gflowd.core.gateway.requests import Commit
from gflowd.core.job import codec
from gflowd.core.job.dependencies import Dependency, Needs
from gflowd.core.job.records import SETTING, SPEC, WISH
from gflowd.core.syntax import fast_json
from gflowd.effects.gateway.peers import Asker, Peers
from gflowd.paths import content_name, replace_file
from gflowd.storage.history import Entry, History, Sheet
from gflowd.storage.record_log import Fold
from gflowd.workers.gateway.admission import Admission

if TYPE_CHECKING:
    from gflowd.core.gateway.asking import Record
    from gflowd.paths import State

GROUP = grp.getgrgid(0)
ADA, BOB = Asker(5001, "ada", frozenset({5001})), Asker(5002, "bob", frozenset({5002}))
OPERATOR = Asker(5003, "op", frozenset({5003, GROUP.gr_gid}))
FIELDS = {**codec.encode(JOB), "command": ["true"], "env": content_name(ENVIRONMENT)}


def admission(state: State, **settings: Any) -> Admission:
    config = replace(loader.load(None, {"HOME": state.root}), shared_operators=(f"@{GROUP.gr_name}",), **settings)
    made = Admission(state, config, Peers())
    fold = Fold()
    fold.of(SPEC)[1] = {**FIELDS, "user": "ada", "uid": 5001}
    made.follow(fold, None)
    return made


def judged(made: Admission, asker: Asker, *records: Record) -> list[Record]:
    made.begin_round()
    return made.admitted(Commit(new_once(), None, (), records), asker, 2)


def test_jobs_are_their_users_and_the_machine_is_the_operators(state: State) -> None:
    made = admission(state)
    hold: Record = (WISH, 1, {"held": True})
    assert judged(made, ADA, hold) == judged(made, OPERATOR, hold) == [hold]
    with pytest.raises(Refused, match="job 1 belongs to ada"):
        judged(made, BOB, hold)
    drain: Record = (SETTING, "drain", {"at": 1.0, "by": "x"})
    assert judged(made, OPERATOR, drain)[0][2]["by"] == "op"
    with pytest.raises(Refused, match="only operators may"):
        judged(made, ADA, drain)


def test_who_asks_is_who_submits_whatever_the_request_says(state: State) -> None:
    made = admission(state)
    ((kind, key, value),) = judged(made, BOB, (SPEC, NEW, {**FIELDS, "user": "ada", "uid": 5001}))
    assert (kind, key, value["user"], value["uid"], len(value["once"])) == (SPEC, 2, "bob", 5002, 32)
    assert made.size(value) == 1
    assert made.size({**value, "family": {"ranges": [[1, 5, 1]]}}) == 5


def waiting_for(needs: Needs) -> Any:
    return fast_json.loads(fast_json.dumps(codec.encode(codec.decode_spec(FIELDS).replace(needs=needs))))


@pytest.mark.parametrize(("users", "may"), [(None, True), (("bob",), True), (("@nobody-has-it", "ada"), False)])
def test_the_configuration_says_who_may_have_jobs(state: State, users: tuple[str, ...] | None, may: bool) -> None:
    made = admission(state, shared_users=users)
    if may:
        made.check(BOB)
    else:
        with pytest.raises(Refused, match="bob may not submit"):
            made.check(BOB)


def test_it_knows_the_machine_by_what_the_daemon_last_saw(state: State) -> None:
    made = admission(state)
    wants = (SPEC, NEW, {**FIELDS, "cpus": 5})
    assert len(judged(made, BOB, wants)) == 1
    for cpus in (8, 4):
        replace_file(state.observed, json.dumps({"capacity": {"cpus": cpus}}).encode(), durable=False)
        if cpus == 8:
            assert len(judged(made, BOB, wants)) == 1
    with pytest.raises(Refused, match="CPU"):
        judged(made, BOB, wants)


def test_jobs_of_the_past_can_be_waited_for(state: State) -> None:
    made = admission(state)
    needs = Needs(dependencies=(Dependency(kind="afterok", id=1000),))
    waits = (SPEC, NEW, waiting_for(needs))
    with pytest.raises(Refused, match="no job 1000"):
        made.admitted(Commit(new_once(), None, (), [waits]), BOB, 2000)
    history = History(state.history, write=True)
    past = {**FIELDS, "user": "ada", "uid": 5001}
    phase = {"is": "ended", "state": "finished", "ended_at": 9.0}
    history.write([(1000, Entry(1000, phase, None, ()))], [Sheet(1000, 1, 9.0, past, None)])
    history.close()
    assert (
        made.admitted(Commit(new_once(), None, (), [waits]), BOB, 2000)[0][2]["needs"]["dependencies"][0]["id"] == 1000
    )
    other = needs.replace(dependencies=(Dependency(kind="afterok", id=999),))
    request = (SPEC, NEW, waiting_for(other))
    with pytest.raises(Refused, match="no job 999"):
        made.admitted(Commit(new_once(), None, (), [request]), BOB, 2000)
