from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from uuid import uuid4

import pytest

from gflowd.effects.gpu import claims
from gflowd.effects.gpu.claims import Claims


def test_a_gpu_is_claimed_by_one_at_a_time() -> None:
    first, second = Claims(), Claims()
    one, other = f"GPU-{uuid4()}", f"GPU-{uuid4()}"
    assert first.take(one)
    assert first.take(one), "it is ours already"
    assert not second.take(one)
    assert second.others([one, other]) == {one: os.geteuid()}
    assert first.others([one, other]) == {}
    first.keep([other])
    assert second.take(one)
    assert second.others([one, other]) == {other: os.geteuid()}
    for each in (first, second):
        each.close()
    assert first.others([one, other]) == {}


def test_a_claim_that_comes_too_late_leaves_the_other_in_peace() -> None:
    first, second, uuid = Claims(), Claims(), f"GPU-{uuid4()}"
    assert first.take(uuid)
    second.keep([uuid])
    assert second.others([uuid]) == {uuid: os.geteuid()}
    first.close()
    second.keep([uuid])
    assert not first.take(uuid)
    second.close()


def test_the_claims_of_a_killed_daemon_are_gone() -> None:
    uuid = f"GPU-{uuid4()}"
    ready, told = os.pipe()
    if (pid := os.fork()) == 0:
        claims = Claims()
        claims.take(uuid)
        os.write(told, b".")
        signal.pause()
    os.read(ready, 1)
    mine = Claims()
    assert not mine.take(uuid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert mine.take(uuid)
    mine.close()
    for descriptor in (ready, told):
        os.close(descriptor)


@pytest.fixture
def as_stranger(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Claims]:
    """Claims of a daemon of another user than ours, who is not root."""

    def make(*trusted: int) -> Claims:
        with monkeypatch.context() as patched:
            patched.setattr(claims.os, "geteuid", lambda: STRANGER)
            made = Claims(trusted)
        made._honoured -= {0} - {*trusted}  # the tests may be root's
        return made

    return make


STRANGER = 12345


def test_the_claim_of_a_user_who_is_not_honoured_takes_nothing(as_stranger: Callable[..., Claims]) -> None:
    theirs, mine, uuid = Claims(), as_stranger(), f"GPU-{uuid4()}"
    assert theirs.take(uuid)
    assert mine.others([uuid]) == {uuid: os.geteuid()}
    assert not mine.honours(os.geteuid())
    assert theirs.others([uuid]) == {}
    assert mine.take(uuid), "though the name is taken"
    mine.keep([uuid])
    theirs.close()
    assert mine.others([uuid]) == {}
    mine.keep([uuid])
    assert not Claims().take(uuid), "now that the name is free it is ours"
    mine.close()


def test_the_claim_of_a_user_who_is_trusted_counts(as_stranger: Callable[..., Claims]) -> None:
    theirs, mine, uuid = Claims(), as_stranger(os.geteuid()), f"GPU-{uuid4()}"
    assert theirs.take(uuid)
    assert mine.honours(os.geteuid())
    assert not mine.take(uuid)
    theirs.close()
    assert mine.take(uuid)
    mine.close()


def test_root_and_oneself_are_always_honoured() -> None:
    assert Claims().honours(0)
    assert Claims().honours(os.geteuid())
    assert not Claims().honours(STRANGER)
    assert not Claims().honours(claims.UNKNOWN)


def test_a_socket_that_does_not_listen_is_no_claim() -> None:
    uuid = f"GPU-{uuid4()}"
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_UNIX, kind) as bare:
            bare.bind(f"\0gflow-{uuid}")
            mine = Claims()
            assert mine.others([uuid]) == {}
            assert mine.take(uuid)
            mine.close()


def test_a_daemon_that_has_bound_its_socket_and_does_not_listen_yet_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uuid, mine = f"GPU-{uuid4()}", Claims()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as theirs:
        theirs.bind(f"\0gflow-{uuid}")
        monkeypatch.setattr(claims, "LISTENS_WITHIN", 60.0)
        monkeypatch.setattr(claims.time, "sleep", lambda _: theirs.listen())
        assert not mine.take(uuid)


def test_a_claim_is_seen_however_often_it_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BACKLOG", 2)
    first, second, uuid = Claims(), Claims(), f"GPU-{uuid4()}"
    assert first.take(uuid)
    for _ in range(20):
        assert second.others([uuid]) == {uuid: os.geteuid()}
    assert not second.take(uuid), "it counts, whoever has filled its queue"
    with monkeypatch.context() as blind:
        blind.setattr(claims.listeners, "owner", lambda _: None)
        assert second.others([uuid]) == {uuid: claims.UNKNOWN}
    first.keep([uuid])
    first.keep([uuid])
    assert second.others([uuid]) == {uuid: os.geteuid()}
    first.close()


def test_users_are_known_by_name_or_id() -> None:
    assert claims.user_ids(["root", "54321", "no such user"]) == ([0, 54321], ["no such user"])
    assert claims.user_name(0) == "root"
    assert claims.user_name(54321) == "54321"
    assert claims.user_name(claims.UNKNOWN) == "an unknown user"
