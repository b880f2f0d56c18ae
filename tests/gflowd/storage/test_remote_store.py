"""Changes that a gateway makes: what is asked, what becomes of the answers, and of those that do not come."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from support.answering import gateway

from gflowd import paths
from gflowd.core.errors import GflowError, Refused, SystemFailed, TryAgain
from gflowd.core.gateway.protocol import encode
from gflowd.core.job.records import PROVISIONAL
from gflowd.paths import Shared, State
from gflowd.storage import gateway_client, remote_store
from gflowd.storage.journal.reader import Reader
from gflowd.storage.record_log import encode_line
from gflowd.storage.store import Follower, Store

if TYPE_CHECKING:
    from pathlib import Path

    from gflowd.storage.remote_store import RemoteCommit

DONE = {"ok": True, "first": 42}
BUSY = {"error": "gflowd's gateway is busy; try again", "status": 75}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(gateway_client, "FIRST_REST", 0.001)
    state = State(str(tmp_path / "state"))
    state.prepare()
    with Store(state).commit() as commit:
        commit.put("wish", commit.allocate(), {"held": True})
    state.share(Shared(gate=str(tmp_path / "gate.sock")))
    return Store(state, lock_timeout=5.0)


def change(store: Store, decide: Any, **how: Any) -> tuple[Any, int]:
    assert store.state.shared is not None
    return remote_store.change(store, store.state.shared.gate, decide, **how)


def submit(commit: RemoteCommit) -> tuple[int, int]:
    found = commit.allocate(3), commit.allocate()
    for first in found:
        commit.put("spec", first, {"command": ["true"]})
    return found


def test_what_was_put_is_asked_for_with_the_files_and_ids_are_told_later(store: Store, tmp_path: Path) -> None:
    with gateway(str(tmp_path / "gate.sock"), DONE) as asked:
        made, by = change(store, submit, files=[("env", b"A=1\0"), ("scripts", b"#!")])
    assert [each + by for each in made] == [42, 45]
    assert PROVISIONAL == 1 << 40
    [(head, tail)] = asked.asked
    assert len(head.pop("once")) == 32
    specs = [["spec", PROVISIONAL, {"command": ["true"]}], ["spec", PROVISIONAL + 3, {"command": ["true"]}]]
    files = [["env", 4], ["scripts", 2]]
    assert head == {"v": 1, "do": "commit", "seen": None, "files": files, "records": specs}
    assert tail == b"A=1\0#!"


def test_how_far_was_read_is_said_and_what_changed_meanwhile_is_decided_anew(store: Store, tmp_path: Path) -> None:
    decided = []

    def release(commit: RemoteCommit) -> int:
        decided.append(commit.fold().of("wish"))
        commit.put("wish", 1, None)
        return len(decided)

    def meanwhile(*_: object) -> dict[str, Any]:
        private = State(store.state.root)
        with Store(private).commit() as commit:
            commit.put("wish", 1, {"held": True, "top_at": 1.0})
        return {"again": True}

    with gateway(str(tmp_path / "gate.sock"), meanwhile, {"ok": True, "first": 0}) as asked:
        assert change(store, release) == (2, 0)
    assert decided == [{1: {"held": True}}, {1: {"held": True, "top_at": 1.0}}]
    (first, _), (second, _) = asked.asked
    assert first["seen"][0] < second["seen"][0]
    assert first["once"] != second["once"]


def test_a_name_that_must_be_free_is_said(store: Store, tmp_path: Path) -> None:
    def decide(commit: RemoteCommit) -> None:
        commit.unless("nightly")
        commit.put("spec", commit.allocate(), {"command": ["true"]})

    with gateway(str(tmp_path / "gate.sock"), DONE) as asked:
        change(store, decide)
    [(head, _)] = asked.asked
    assert head["unless"] == "nightly"


def test_what_the_gateway_would_not_take_at_once_is_not_sent(store: Store) -> None:
    def hold(commit: RemoteCommit) -> None:
        for job_id in range(20_001):
            commit.put("wish", job_id, {"held": True})

    with pytest.raises(Refused, match=r"too much at once .*\(records: 20001, 0\.[0-9]M\)"):
        change(store, hold)
    with pytest.raises(Refused, match=r"\(records: 1, 8\.0M\)"):
        change(store, lambda commit: commit.put("wish", 1, None), files=[("scripts", bytes((8 << 20) + 1))])


def test_nothing_is_asked_for_where_nothing_is_to_be_changed(store: Store) -> None:
    assert change(store, lambda commit: commit.may_have("quota")) == (False, 0)


def test_quotas_are_told_by_the_header(store: Store) -> None:
    with Store(State(store.state.root)).commit() as commit:
        commit.put("quota", "user:ada", {"max_running_jobs": 1})
    assert change(store, lambda commit: commit.may_have("quota")) == (True, 0)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ({"error": "job 7 belongs to ada", "status": 1}, Refused, "job 7 belongs to ada"),
        ({"error": "no", "status": 99}, GflowError, "no"),
        (b"HTTP/1.1 400", SystemFailed, "is not gflowd's gateway"),
        (b"GF1\n\0\0\0\1\0\0\0\0x", SystemFailed, "is not gflowd's gateway"),
    ],
    ids=["refused", "unknown", "stranger", "nonsense"],
)
def test_errors_are_raised_as_they_are(
    store: Store, tmp_path: Path, answer: Any, kind: type[GflowError], words: str
) -> None:
    with gateway(str(tmp_path / "gate.sock"), answer), pytest.raises(GflowError, match=words) as raised:
        change(store, submit)
    assert type(raised.value) is kind


def test_a_request_whose_answer_got_lost_is_the_same_one_when_it_is_sent_again(store: Store, tmp_path: Path) -> None:
    store.lock_timeout = 60.0
    with gateway(str(tmp_path / "gate.sock"), b"", encode(DONE)[:9], BUSY, DONE) as asked:
        _, by = change(store, submit)
    assert by == 42 - PROVISIONAL
    assert len(asked.asked) == 4
    assert len({head["once"] for head, _ in asked.asked}) == 1


def test_one_that_is_started_again_is_waited_for_a_moment(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path / "gate.sock")
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(place)
    with ExitStack() as stack:

        def start(_: float) -> None:
            os.unlink(place)
            stack.enter_context(gateway(place, DONE))

        with monkeypatch.context() as patched:
            patched.setattr(gateway_client, "COMES_BACK", 60.0)
            patched.setattr(gateway_client.time, "sleep", start)
            assert change(store, submit)[1] == 42 - PROVISIONAL
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(place)
    monkeypatch.setattr(gateway_client, "COMES_BACK", 0.0)
    with pytest.raises(TryAgain, match="gateway is not there"):
        change(store, submit)


def test_one_that_stays_busy_or_stays_away_may_be_asked_later(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path / "gate.sock")
    for runs, words in (
        ("/", "systemctl start gflow-gateway.socket"),
        ("/no", "root starts it with gflowd run --system"),
    ):
        monkeypatch.setattr(paths, "SYSTEMD", runs)
        with pytest.raises(TryAgain, match=rf"gateway is not there \({words}\)"):
            change(store, submit)
    store.lock_timeout = 0.01
    for answer, words in ((BUSY, "busy"), (b"", "ended before it had answered"), ({"again": True}, "kept changing")):
        with gateway(place, answer), pytest.raises(TryAgain, match=words):
            change(store, submit)


def test_a_gateway_that_says_nothing_is_not_waited_for_for_ever(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_client, "ANSWER", 0.02)

    given_up = Event()

    def silent(*_: object) -> bytes:
        given_up.wait()
        return b""

    with gateway(str(tmp_path / "gate.sock"), silent):
        with pytest.raises(TryAgain, match="did not answer within"):
            change(store, submit)
        given_up.set()


def test_where_jobs_are_private_the_gateway_tells_what_may_be_known(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is not opened; its size and time say when to ask again."""
    place = str(tmp_path / "gate.sock")
    store.state.share(Shared(gate=place, private_jobs=True))
    monkeypatch.setattr(State, "is_closed", property(lambda state: state.shared is not None))
    private = State(store.state.root)
    told = encode_line(0, 2, ("header", 0), {"format": 1}) + encode_line(0, 2, ("wish", 1), {})

    def ask_for_wish(commit: RemoteCommit) -> dict[int, Any]:
        commit.put("wish", 1, None)
        return dict(commit.fold().of("wish"))

    with gateway(place, lambda head, _: TOLD[head["do"]](told)) as asked:
        follower = Follower(store)
        assert (follower.catch_up(), follower.catch_up()) == (None, [])
        assert follower.fold.of("wish") == store.read().of("wish") == {1: {}}
        assert store.read_some([1]) is None
        with Store(private).commit() as commit:
            commit.put("wish", 1, {"held": False})
        assert (follower.catch_up(), follower.catch_up()) == (None, [])
        assert change(store, ask_for_wish) == ({1: {}}, 0)
        with pytest.raises(Refused, match="jobs are private on this machine"):
            Reader(store.state).read()
    assert [head["do"] for head, _ in asked.asked] == ["view", "view", "view", "view", "commit"]
    assert asked.asked[-1][0]["seen"] == [9, 4, "abcdef01"]
    os.unlink(store.path)
    with pytest.raises(SystemFailed, match="is gone"):
        follower.catch_up()
    assert Follower(store).catch_up() == []
    follower.close()


TOLD: dict[str, Any] = {
    "view": lambda told: encode({"ok": True, "seen": [9, 4, "abcdef01"]}, told),
    "commit": lambda _: {"ok": True, "first": 0},
}
