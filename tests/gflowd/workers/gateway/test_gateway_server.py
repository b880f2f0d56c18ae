from __future__ import annotations

import errno
import os
import pwd
import resource
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gateway_stage import ENVIRONMENT, NEW, Gate, answer, new_once, submission
from support.specs import SPEC as JOB

from gflowd.core.errors import SystemFailed
from gflowd.core.gateway import asking, protocol
from gflowd.core.job import codec
from gflowd.core.job.records import ANSWERED, PHASE, SPEC, WISH
from gflowd.core.syntax import fast_json
from gflowd.effects.doorbell import hang, listen
from gflowd.effects.gateway import kept_files
from gflowd.effects.gateway.peers import Asker
from gflowd.effects.shared_mode import account
from gflowd.paths import content_name
from gflowd.storage import history_queries
from gflowd.storage.history import Entry, History, Sheet
from gflowd.storage.history_queries import Choice
from gflowd.storage.store import Fold, Store
from gflowd.workers.gateway import answers, history_answers, server
from gflowd.workers.gateway.server import Limits

if TYPE_CHECKING:
    from gflowd.paths import State

ME = os.geteuid()
HELD: dict[str, Any] = {"held": True}


@pytest.fixture
def gate(state: State, runtime_dir: str) -> Iterator[Gate]:
    made = Gate(state, runtime_dir, Limits(connections=6, of_user=4, bytes=40 << 20, bytes_of_user=12 << 20))
    yield made
    made.close()


def only(found: list[protocol.Message]) -> dict[str, Any]:
    assert len(found) == 1
    return found[0][0]


def snapshot(gate: Gate) -> Fold:
    return Store(gate.state).read()


def test_requests_of_one_round_are_written_with_one_sync_and_answered_with_ids_of_their_own(gate: Gate) -> None:
    gate.ask(submission())
    synced: list[float] = []
    gate.group_commit.store.timed = synced.append
    bell = hang(gate.group_commit._bell)
    firsts = [head["first"] for head, _ in gate.ask(submission(), submission(count=3), submission())]
    assert (firsts, len(synced)) == ([2, 3, 6], 1)
    assert sorted(snapshot(gate).of(SPEC)) == [1, 2, 3, 4, 5, 6]
    assert listen(bell) == b"q"
    os.close(bell)


def test_what_is_wrong_with_one_request_is_of_no_concern_to_the_others(gate: Gate) -> None:
    bad = [
        asking.commit(new_once(), None, [], [(SPEC, NEW, {}), (WISH, 7, HELD)]),
        asking.commit(new_once(), None, [], [(WISH, NEW, "crash")]),
        submission(files=(), env="0" * 32),
        submission(comment="1e999").replace(b'"1e999"', b"1e99999"),
        submission(env="../../etc/passwd"),
    ]
    before = Path(gate.state.snapshot)
    assert not before.exists()
    answers = []
    for each in bad:
        answers += gate.ask(each, submission())
    said = [head.get("error", head.get("first")) for head, _ in answers]
    assert said[1::2] == [1, 2, 3, 4, 5]
    assert "environment is not kept" in said[0] or "no job 7" in said[0]
    assert "KeyError" in said[2]
    assert all("environment is not kept" in said[place] for place in (4, 8))
    assert "not JSON" in said[6]
    assert sorted(snapshot(gate).of(SPEC)) == [1, 2, 3, 4, 5]


def test_the_same_request_again_gets_the_same_answer(gate: Gate) -> None:
    once = new_once()
    twice = [head["first"] for head, _ in gate.ask(submission(once, 2), submission(once, 2))]
    again = only(gate.ask(submission(once, 2)))
    gate.group_commit.follower.forget()  # as one that was started anew
    after = only(gate.ask(submission(once, 2)))
    assert (*twice, again["first"], after["first"]) == (1, 1, 1, 1)
    assert len(snapshot(gate).of(SPEC)) == 2
    gate.peers.coming = Asker(ME + 1, "other", frozenset())
    if ME == 0:  # files become theirs
        assert only(gate.ask(submission(once)))["first"] == 3


def test_who_asks_again_gets_the_same_answer_whatever_became_of_what_was_asked_for(gate: Gate) -> None:
    once, held = new_once(), new_once()
    assert only(gate.ask(submission(once)))["first"] == 1
    change = asking.commit(held, gate.group_commit.follower.seen, [], [(WISH, 1, HELD)])
    assert only(gate.ask(change)) == {"ok": True, "first": 0}
    for _ in range(2):
        with Store(gate.state).commit() as commit:  # it has ended and is in the history, the file is another
            fold = commit.fold()
            for kind in (SPEC, WISH):
                fold.of(kind).pop(1, None)
            commit.rewrite(fold)
        gate.group_commit.follower.forget()  # as one that was started anew
        assert only(gate.ask(submission(once))) == {"ok": True, "first": 1}
        assert only(gate.ask(change)) == {"ok": True, "first": 0}
    assert snapshot(gate).of(SPEC) == {}


def test_what_was_answered_is_remembered_within_bounds(gate: Gate) -> None:
    gate.ask(submission())
    old = [f"{ME + 1}.{number:032x}" for number in range(3)]
    with Store(gate.state).commit() as commit:
        for key in old:
            commit.put(ANSWERED, key, {"first": 0, "at": 1.0})
    gate.group_commit.follower.forget()
    gate.ask(wish(gate, None))
    assert [key for key in snapshot(gate).of(ANSWERED) if key in old] == old[2:]
    words = [new_once() for _ in range(answers.MOST_OF_USER + 5)]
    for word in words:
        gate.ask(asking.commit(word, None, [], [(WISH, 1, HELD)]))
    kept = [f"{ME}.{word}" for word in words[-answers.MOST_OF_USER :]]
    assert sorted(snapshot(gate).of(ANSWERED)) == sorted(kept)


def test_where_a_job_of_a_name_must_not_be_there_it_is_not_there_twice(gate: Gate) -> None:
    def nightly(name: str = "nightly") -> bytes:
        spec = {**codec.encode(JOB), "env": content_name(ENVIRONMENT), "name": name}
        return asking.commit(new_once(), None, [("env", ENVIRONMENT)], [(SPEC, NEW, spec)], "nightly")

    answers = [head for head, _ in gate.ask(nightly("other"), nightly(), nightly(), submission(name="nightly"))]
    assert answers == [{"ok": True, "first": 1}, {"ok": True, "first": 2}, {"again": True}, {"ok": True, "first": 3}]
    assert only(gate.ask(nightly())) == {"again": True}


def wish(gate: Gate, seen: Any, job_id: int = 1) -> bytes:
    return asking.commit(new_once(), seen, [], [(WISH, job_id, HELD)])


def test_a_change_is_decided_by_what_the_asker_has_seen(gate: Gate) -> None:
    gate.ask(submission(), submission())
    seen = gate.group_commit.follower.seen
    with Store(gate.state).commit() as commit:
        commit.put(PHASE, 2, {"is": "queued"})
    assert only(gate.ask(wish(gate, None, 3)))["error"] == "no job 3"
    assert only(gate.ask(wish(gate, seen, 2))) == {"again": True}
    assert only(gate.ask(wish(gate, seen))) == {"ok": True, "first": 0}
    assert only(gate.ask(wish(gate, seen))) == {"again": True}, "it is held now"
    assert only(gate.ask(wish(gate, (seen[0] + 10_000, *seen[1:])))) == {"again": True}
    now = gate.group_commit.follower.seen
    with Store(gate.state).commit() as commit:
        fold = commit.fold()
        fold.of(PHASE)[1] = {"is": "queued"}
        commit.rewrite(fold)
    assert only(gate.ask(wish(gate, now, 2))) == {"again": True}
    assert only(gate.ask(wish(gate, gate.group_commit.follower.seen, 2))) == {"ok": True, "first": 0}


def test_a_full_disk_is_told_to_everybody_and_leaves_nothing(gate: Gate) -> None:
    gate.ask(submission())
    size = os.path.getsize(gate.state.snapshot)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))
    try:
        found = gate.ask(submission(), submission())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [(head["status"], "File too large" in head["error"]) for head, _ in found] == [(3, True)] * 2
    assert only(gate.ask(submission()))["first"] == 2
    assert sorted(snapshot(gate).of(SPEC)) == [1, 2]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "not gflow's protocol"),
        (b"GF1\n\xff\xff\xff\xff\0\0\0\0", "its head has"),
        (protocol.encode({"v": 1, "do": "drink"}), "no such request"),
        (b"GF1\n\0\0\0\x05\0\0\0\0[NaN]", "not JSON"),
        (b'GF1\n\0\0\0\x0a\0\0\0\0"\\ud8001"]', "not JSON"),
        (b"GF1\n\0\x01\0\0\0\0\0\0" + b"[" * 65536, "not JSON"),
    ],
)
def test_what_is_no_request_is_told_so(gate: Gate, sent: bytes, words: str) -> None:
    head = only(gate.ask(sent))
    assert words in head["error"]
    assert head["status"] == 2


def test_a_request_must_be_whole_in_time(gate: Gate) -> None:
    slow, gone = gate.begin(submission()[:-1]), gate.begin(b"GF")
    gone.close()
    assert gate.work() == gate.mono + server.DEADLINE
    assert not gate.server.is_idle
    gate.mono += server.DEADLINE
    gate.work(1)
    with slow:
        assert slow.recv(1) == b""
    assert gate.server.is_idle
    assert gate.work() is None


def test_nobody_gets_more_connections_than_their_share(gate: Gate) -> None:
    mine = [gate.connect() for _ in range(4)]
    gate.work()
    assert only(gate.ask(submission()))["status"] == 75
    gate.peers.coming = Asker(ME + 1, "other", frozenset())
    others = [gate.connect() for _ in range(2)]
    gate.work()
    gate.peers.coming = Asker(ME + 2, "third", frozenset())
    head = only(gate.ask(submission()))
    assert (head["status"], "too much to do" in head["error"]) == (75, True)
    for client in (*mine, *others):
        client.close()
    gate.work()
    gate.peers.coming = None
    assert only(gate.ask(submission()))["first"] == 1


def test_a_hoarder_starves_nobody(gate: Gate) -> None:
    big = protocol.encode({"v": 1, "do": "view", "fill": "x" * (3 << 20)})
    hoards = []
    for _ in range(4):
        client = gate.connect()
        client.setblocking(False)
        client.send(big[: 64 << 10])
        hoards.append(client)
        gate.work()
    assert gate.server._all_bytes <= gate.server.limits.bytes_of_user
    held = [client for client in hoards if not _is_told_to_wait(client)]
    assert len(held) == 3
    held[0].close()
    gate.work()
    assert only(gate.ask(submission()))["first"] == 1, "a short request is always taken"
    for client in hoards:
        client.close()
    gate.work()
    assert (gate.server._all_bytes, gate.server.is_idle) == (0, True)


def _is_told_to_wait(client: socket.socket) -> bool:
    try:
        return b'"status":75' in client.recv(1000)
    except BlockingIOError:
        return False


def test_long_requests_take_turns(gate: Gate) -> None:
    script = b"#!/bin/sh\n" + b"#" * 60_000
    files = (("env", ENVIRONMENT), ("scripts", script))
    long = [submission(files=files, comment="c" * (300 << 10), script=content_name(script)) for _ in range(2)]
    clients = [gate.begin(b"") for _ in long]
    for client in clients:
        client.setblocking(False)
    left = [memoryview(each) for each in long]
    synced: list[float] = []
    gate.group_commit.store.timed = synced.append
    for _ in range(60):
        for place, client in enumerate(clients):
            if left[place]:
                left[place] = left[place][client.send(left[place][: 64 << 10]) :]
        gate.work(1)
    for client in clients:
        client.settimeout(20)
    assert sorted(answer(client)[0].get("first", 0) for client in clients) == [1, 2]
    assert len(synced) == 2


def test_requests_with_many_files_take_turns_and_keep_no_other_waiting(gate: Gate) -> None:
    many = [[("env", ENVIRONMENT), *(("env", b"%d.%d" % (who, each)) for each in range(9))] for who in range(3)]
    clients = [gate.begin(submission(files=files)) for files in many]
    gate.work(1)
    clients.append(gate.begin(submission()))
    assert len(gate.server._heavy) == 2
    gate.work(2)
    assert sorted(answer(client)[0]["first"] for client in clients) == [1, 2, 3, 4]


def test_a_long_answer_waits_for_who_takes_it_but_not_for_ever(gate: Gate) -> None:
    gate.ask(*[submission(comment="c" * 100_000)] * 4)
    gate.ask(*[submission(comment="c" * 100_000)] * 4)
    patient, dead = gate.begin(asking.view()), gate.begin(asking.view())
    gate.work()
    parts = []
    for _ in range(200):
        patient.settimeout(0.0)
        try:
            parts.append(patient.recv(1 << 16))
        except BlockingIOError:
            gate.work(1)
    patient.close()
    message = protocol.Reader().feed(b"".join(parts))
    assert message is not None
    fold = Fold()
    assert fold.feed(message[1])[0] == len(message[1])
    assert fold.of(SPEC) == snapshot(gate).of(SPEC)
    assert tuple(message[0]["seen"]) == gate.group_commit.follower.seen
    gate.mono += server.ANSWER
    gate.work()
    assert (gate.server.is_idle, gate.server._all_bytes) == (True, 0)
    dead.close()


def test_what_is_private_is_shown_to_its_user_and_operators_only(state: State, runtime_dir: str) -> None:
    gate = Gate(state, runtime_dir, private=True)
    other, root = Asker(ME + 1, "other", frozenset()), Asker(0, "root", frozenset())
    try:
        secret: dict[str, Any] = {"command": ["secret"], "cwd": "/secret", "comment": "secret", "gpus": 2}
        axes = {"axes": [{"names": ["lr"], "rows": [["secret"], ["secret"]]}], "edits": [["lr", [[0, 0, 1]], "secret"]]}
        gate.peers.coming = Asker(ME, "me", frozenset())
        gate.ask(submission(**secret), submission(**secret, family=axes))
        for asker, sees in ((None, True), (other, False), (root, True)):
            gate.peers.coming = asker or gate.peers.coming
            ((_, tail),) = gate.ask(asking.view())
            fold = Fold()
            fold.feed(tail)
            assert (b"secret" in tail, fold.aside, sorted(fold.of(SPEC))) == (sees, {}, [1, 2])
            assert fold.of(SPEC)[1]["gpus"] == 2
    finally:
        gate.close()


def test_a_place_for_relays_is_made_for_whom_it_is(gate: Gate) -> None:
    for _ in range(2):
        assert only(gate.ask(asking.relay())) == {"ok": True}
    found = os.lstat(gate.state.relays(ME))
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (ME, 0o700)
    assert stat.S_IMODE(os.lstat(os.path.dirname(gate.state.relays(ME))).st_mode) == 0o711
    assert not os.path.lexists(gate.state.path("relays"))


def test_files_are_their_users_to_read_and_no_more_than_they_may_have(gate: Gate) -> None:
    script = b"#!/bin/sh\necho hello\n"
    files = (("env", ENVIRONMENT), ("scripts", script))
    gate.ask(submission(files=files, script=content_name(script)))
    for place, content, mode in (("env", ENVIRONMENT, 0o400), ("scripts", script, 0o500)):
        path = Path(gate.state.kept(place, ME), content_name(content))
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) == (content, mode, ME)
        assert [stat.S_IMODE(each.stat().st_mode) for each in (path.parent, path.parent.parent)] == [0o711] * 2
    for files, words in (
        ((("env", b"x" * (1 << 20)),), "more than 1 MiB"),
        ((("scripts", b"x" * ((1 << 16) + 1)),), "larger than 64 KiB"),
    ):
        assert words in only(gate.ask(submission(files=files)))["error"]
    gate.peers.coming = Asker(ME, "stranger", frozenset())
    assert "may not submit" in only(gate.ask(submission()))["error"]


def test_small_files_count_as_what_they_take_and_are_not_counted_for_each_refusal(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(first: int) -> str:
        files = [("env", ENVIRONMENT), *(("env", b"%d" % (first + each)) for each in range(200))]
        return str(only(gate.ask(submission(files=files))).get("error"))

    monkeypatch.setattr(kept_files, "SOONEST", kept_files.RECOUNT)  # as if all this took no time
    assert told(0) == "None"
    assert "more than 1 MiB" in told(1000)
    monkeypatch.setattr(kept_files, "_size", lambda _: pytest.fail("counted again"))
    assert "more than 1 MiB" in told(2000)


def test_only_one_gateway_listens_at_a_gate_and_a_dead_one_is_replaced(gate: Gate) -> None:
    with pytest.raises(SystemFailed, match="another gateway answers"):
        server.listen(gate.path)
    gate.work()
    gate.listener.close()
    made = server.listen(gate.path)
    assert stat.S_IMODE(os.lstat(gate.path).st_mode) == 0o666
    made.close()


def ask_history(gate: Gate, query: str, *args: object) -> Any:
    """As gflowctl asks: again, while those who have answered are still about to end."""
    while True:
        ((head, tail),) = gate.ask(asking.history(query, *args))
        if head.get("status") != 75:
            break
    return fast_json.loads(tail) if tail else head


def test_the_history_is_asked_as_if_it_were_open(state: State, runtime_dir: str) -> None:
    gate = Gate(state, runtime_dir, private=True)
    gate.peers.coming = Asker(ME, "me", frozenset())
    try:
        assert ask_history(gate, "count") == {"ok": True, "is_there": False}
        history = History(state.history, write=True)
        used = {"cpu_seconds": 2.0, "memory_mb": 5}
        for job_id, uid in ((1, ME), (2, ME + 1)):
            spec: dict[str, Any] = {**codec.encode(JOB), "uid": uid, "command": ["secret"]}
            phase = {"is": "ended", "state": "finished", "ended_at": 9.0, "started_at": 5.0, "used": used}
            history.write([(job_id, Entry(job_id, phase, None, ()))], [Sheet(job_id, 1, 9.0, spec, None)])
        choice = Choice(users=("u",))
        asked = {name: list(value) if isinstance(value, tuple) else value for name, value in choice._asdict().items()}
        accounts = list(history_queries.accounts(history, choice, ()))
        tally, there = history.tally([1, 7])
        history.close()
        assert ask_history(gate, "accounts", asked, []) == fast_json.loads(fast_json.dumps(accounts))
        assert ask_history(gate, "tally", [1, 7]) == [
            [[list(group), each] for group, each in tally.numbers.items()], [*there]
        ]  # fmt: skip
        for query, args, found in (
            ("count", (), 2), ("greatest_id", (), 2), ("within", (2, 5), [2]), ("last_of", ("u", 1), [2]),
            ("because_of", ([1],), []), ("chosen", (asked, [1]), [2]),
        ):  # fmt: skip
            assert ask_history(gate, query, *args) == found
        shown = {key: value for kind, key, value in ask_history(gate, "records", [1, 2]) if kind == SPEC}
        assert [shown[key]["command"] for key in (1, 2)] == [["secret"], ["(private)"]]
        for query, args in (("drop", ()), ("within", (1,)), ("records", ([True],)), ("chosen", ({"x": 1}, [])),
                            ("within", ("1; DROP TABLE spec", 2)), ("accounts", ([], []))):  # fmt: skip
            assert ask_history(gate, query, *args)["status"] == 2
        Path(state.history).write_bytes(b"no database")
        assert ask_history(gate, "count")["status"] == 3
    finally:
        gate.close()
    assert gate.server.is_idle


def test_questions_to_the_history_are_few_at_a_time(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_answers, "History", lambda _: signal.pause())
    waiting = [gate.begin(asking.history("count")) for _ in range(history_answers.MOST_OF_USER)]
    gate.work()
    assert only(gate.ask(asking.history("count")))["status"] == 75
    assert only(gate.ask(submission()))["first"] == 1
    for client in waiting:
        client.close()
    assert not gate.server.is_idle


def test_without_processes_or_descriptors_it_says_so_and_goes_on(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(history_answers, "History", lambda _: signal.pause())
    for name in ("fork", "pidfd_open"):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, fail)
            answered = only(gate.ask(asking.history("count")))
            assert answered["status"] == 75
            assert "cannot start the process that reads the history (Resource temporarily" in answered["error"]
    client = gate.connect()
    before, free = resource.getrlimit(resource.RLIMIT_NOFILE), os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        gate.work()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert answer(client)[0]["status"] == 75
    assert gate.server.is_idle
    assert only(gate.ask(submission()))["first"] == 1


def test_a_user_database_that_does_not_answer_is_asked_again(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> None:
        raise KeyError

    answers = [errno.ETIMEDOUT, 0]
    with monkeypatch.context() as patched:
        patched.setattr(pwd, "getpwuid", unknown)
        patched.setattr(account, "_trouble", lambda _: answers.pop(0))
        told = [only(gate.ask(submission())) for _ in range(2)]
    assert [each["status"] for each in told] == [75, 1]
    assert "the user database cannot be asked" in told[0]["error"]
    assert "has no name" in told[1]["error"]
