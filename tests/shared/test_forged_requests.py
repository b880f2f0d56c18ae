"""What a user can ask of the gateway that no gflowctl asks: each row is an attack that must change nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.attacker import PROVISIONAL, Queue, new, request, send
from support.waiting import eventually

from gflowd.core.gateway import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shared_machine import Person, SharedMachine

SENSELESS = Path(__file__).parent.parent / "data/senseless-records.jsonl"


@pytest.fixture(scope="module")
def running(machine: SharedMachine) -> Iterator[SharedMachine]:
    """With the daemon, a job of gfa's that runs (1), one that is held (2), and one in the history."""
    machine.write_config(history={"after": "1s"})
    machine.start()
    gfa = machine.as_user("gfa")
    assert gfa.submit("-c", "2", "--", "sleep", "1000") == 1
    assert gfa.submit("--hold", "--", "true") == 2
    gfa.until(1, "running")
    gfa.ctl("submit", "--wait", "--", "true")
    eventually(lambda: Path(machine.state.history).exists() and 3 not in Queue(machine).records("spec"))
    yield machine
    gfa.cancel(1, 2)


@pytest.fixture
def attacker(running: SharedMachine) -> Person:
    return running.as_user("gfb")


@pytest.fixture
def queue(running: SharedMachine) -> Queue:
    return Queue(running)


def spec_of(queue: Queue, job_id: int) -> dict[str, Any]:
    found: dict[str, Any] = queue.records("spec")[job_id]
    return found


def of_attacker(queue: Queue, attacker: Person) -> dict[str, Any]:
    """The spec of an honest job of the attacker's."""
    return spec_of(queue, attacker.submit("--hold", "--", "true"))


def must_be_refused(answers: list[dict[str, Any] | None]) -> None:
    assert [answer for answer in answers if answer is None or "error" not in answer] == []


def asked_for(queue: Queue) -> dict[str, dict[Any, Any]]:
    """All that people have asked for so far."""
    return {kind: dict(queue.records(kind)) for kind in ("spec", "wish", "limit", "quota", "setting", "reservation")}


def nothing_new(queue: Queue, before: dict[str, dict[Any, Any]]) -> None:
    """Ended jobs may have left for the history."""
    after = asked_for(queue)
    for kind, records in after.items():
        assert {key: value for key, value in records.items() if before[kind].get(key) != value} == {}
    assert {1, 2} <= after["spec"].keys()


def test_who_submitted_a_job_is_as_the_kernel_says(running: SharedMachine, queue: Queue, attacker: Person) -> None:
    honest = of_attacker(queue, attacker)
    forged = {"user": "gfa", "uid": 60001, "submitted_at": 1.0, "once": None}
    (answer,) = queue.ask(attacker, [new(honest, **{key: value for key, value in forged.items() if key in honest})])
    assert answer is not None
    if "first" in answer:  # overwritten
        found = spec_of(queue, answer["first"])
        assert (found["user"], found["uid"]) == ("gfb", 60002)
        assert found["submitted_at"] > 1.0
        attacker.cancel(answer["first"])
    else:
        assert answer["status"] == 1


def test_root_of_a_user_namespace_is_the_user(running: SharedMachine, queue: Queue, attacker: Person) -> None:
    if attacker.sh("unshare --user --map-root-user true").returncode:
        pytest.skip("users may make no user namespaces here")
    texts = [request([new(of_attacker(queue, attacker))], seen=queue.seen()), request([["wish", 1, {"held": True}]])]
    made, refused = send(attacker, *texts, under=("unshare", "--user", "--map-root-user"))
    assert made is not None
    assert (spec_of(queue, made["first"])["user"], spec_of(queue, made["first"])["uid"]) == ("gfb", 60002)
    must_be_refused([refused])


def test_the_jobs_of_another_and_what_is_the_daemons_stay(
    running: SharedMachine, queue: Queue, attacker: Person
) -> None:
    theirs = spec_of(queue, 1)
    asked = [
        [["wish", 1, {"cancelled_by": "gfa", "cancelled_at": 1.0}]],
        [["wish", 1, {"requeued": 9}]],
        [["wish", 1, {"suspended": 1}]],
        [["wish", 2, {"held": True, "top_at": 1.0}]],
        [["wish", 1, {"held": True}]],
        [["wish", 2, {"held": False}]],
        [["wish", 2, None]],
        [["spec", 2, {**theirs, "command": ["id"]}]],
        [["spec", 2, None]],
        [["limit", 1, 5]],
        [["phase", 1, {"is": "cancelled"}]],
        [["phase", 2, None]],
        [["usage", "gfb", {}]],
        [["scheduler", 0, {"generation": 999, "pid": 1}]],
        [["header", 0, {"format": 1, "machine": 5}]],
        [["attempt", 1, {}]],
        [["quota", "user:gfb", {"max_running_jobs": 9}]],
        [["setting", "drain", {"reason": "x"}]],
        [["nothing", 1, {}]],
        [["reservation", 0, {}]],
    ]
    before = asked_for(queue)
    must_be_refused(queue.ask(attacker, *asked))
    nothing_new(queue, before)


def test_no_job_is_cancelled_before_it_exists(running: SharedMachine, queue: Queue, attacker: Person) -> None:
    must_be_refused(queue.ask(attacker, [["wish", 4711, {"held": True}]], [["wish", PROVISIONAL, {"held": True}]]))
    assert 4711 not in queue.records("wish")


def test_a_job_that_runs_keeps_what_it_needs(running: SharedMachine, queue: Queue) -> None:
    gfa = running.as_user("gfa")
    own = spec_of(queue, 1)
    changes: list[dict[str, Any]] = [{"cpus": 0}, {"gpus": 0, "cpus": 0}, {"command": ["true"]}, {"priority": 1000}]
    before = asked_for(queue)
    answers = queue.ask(gfa, *([["spec", 1, {**own, **change}]] for change in changes))
    must_be_refused(answers)
    nothing_new(queue, before)
    assert json.loads(gfa.ctl("info", "--json").stdout)["cpus"]["used"] >= 2


def test_one_bad_record_spoils_the_batch_and_no_id_is_taken(
    running: SharedMachine, queue: Queue, attacker: Person
) -> None:
    honest = of_attacker(queue, attacker)
    before = asked_for(queue)
    good = new(honest)
    bad = [
        ["wish", 1, {"held": True}],
        ["phase", 1, {"is": "queued"}],
        ["spec", PROVISIONAL + 1, {**honest, "cpus": "x"}],
    ]
    must_be_refused(queue.ask(attacker, *([good, each] for each in bad), *([each, good] for each in bad)))
    nothing_new(queue, before)
    assert attacker.submit("--hold", "--", "true") == max(queue.records("spec"))


def test_senseless_records_are_refused(running: SharedMachine, queue: Queue, attacker: Person) -> None:
    environment = of_attacker(queue, attacker)["env"]
    rows = [json.loads(line) for line in SENSELESS.read_text().splitlines()]
    batches = []
    for row in rows:
        value = row["value"]
        if isinstance(value, dict) and value.get("env") == "0" * 32:
            value = {**value, "user": "gfb", "env": environment}
        batches.append([[row["kind"], PROVISIONAL if row["id"] is None else row["id"], value]])
    before = max(queue.records("spec"))
    answers = queue.ask(attacker, *batches)
    taken = [row["case"] for row, answer in zip(rows, answers, strict=True) if answer is None or "error" not in answer]
    assert taken in ([], ["spec submitted_at null"])  # which is overwritten
    assert max(queue.records("spec")) - before == len(taken)
    assert attacker.submit("--wait", "--", "true") > before


def head(text: bytes, tail: bytes = b"") -> bytes:
    return b"GF1\n%b%b%b%b" % (len(text).to_bytes(4, "big"), len(tail).to_bytes(4, "big"), text, tail)


def test_bytes_that_are_no_request_end_with_a_refusal(running: SharedMachine, queue: Queue, attacker: Person) -> None:
    honest = of_attacker(queue, attacker)
    own = max(queue.records("spec"))
    commit = {"v": 1, "do": "commit", "once": "0" * 32, "seen": None, "files": [], "records": []}
    texts = {
        "nothing": b"",
        "other magic": b"GF2\n" + bytes(8),
        "HTTP": b"GET / HTTP/1.1\r\n\r\n",
        "4 GiB head": b"GF1\n" + b"\xff" * 8,
        "shorter than it says": b"GF1\n\0\0\0\x05\0\0\0\0{",
        "longer than it says": head(b"{}") + b"x",
        "not JSON": head(b"}{"),
        "not UTF-8": head(b'"\xff\xfe"'),
        "a list": head(b"[]"),
        "deep": head(b"[" * 1_000_000),
        "deep objects": head(b'{"v":1,"do":"commit","records":' + b'{"a":' * 100_000),
        "NaN": head(json.dumps({**commit, "seen": float("nan")}).encode()),
        "infinity": request([new(honest, submitted_at=1e308)]).replace(b"1e+308", b"1e+999"),
        "a surrogate": request([new(honest)]).replace(b'"true"', b'"\\ud800"'),
        "a file longer than the tail": protocol.encode({**commit, "files": [["env", 1 << 40]]}, b"x"),
        "a negative file": protocol.encode({**commit, "files": [["env", -1]]}),
        "a file for another place": protocol.encode({**commit, "files": [["../../etc", 1]]}, b"x"),
        "a tail that nobody explains": protocol.encode(commit, b"x"),
        "20,001 records": request([["wish", 1, {"held": True}]] * 20_001),
        "another version": protocol.encode({**commit, "v": 2}),
        "unknown request": protocol.encode({"v": 1, "do": "chmod"}),
        "unknown field": protocol.encode({**commit, "uid": 0}),
        "a query that is none": protocol.encode({"v": 1, "do": "history", "query": "; drop table jobs", "args": []}),
        "a private query": protocol.encode({"v": 1, "do": "history", "query": "__init__", "args": []}),
        "a seen beyond the end": request([["wish", own, {"held": False}]], seen=[1 << 60, 1 << 59, "00000000"]),
        "a seen of the past": request([["wish", own, {"held": False}]], seen=[0, 0, ""]),
    }
    before = asked_for(queue)
    answers = dict(zip(texts, send(attacker, *texts.values()), strict=True))
    accepted = {
        name: answer for name, answer in answers.items() if answer and "error" not in answer and "again" not in answer
    }
    assert accepted == {}
    nothing_new(queue, before)
    assert attacker.submit("--hold", "--", "true")
