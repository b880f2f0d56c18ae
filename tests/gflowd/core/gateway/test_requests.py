from __future__ import annotations

from typing import Any

import pytest

from gflowd.core.errors import BadUsage, GflowError, Refused, SystemFailed, TryAgain
from gflowd.core.gateway import asking, requests
from gflowd.core.gateway.protocol import Malformed, Reader
from gflowd.core.gateway.requests import Commit, History, Relay, View

ONCE = "0123456789abcdef0123456789abcdef"
COMMIT = {"v": 1, "do": "commit", "once": ONCE, "seen": [0, 0, ""], "files": [], "records": []}
SEEN = (1717, 1600, "0123abcd")
FILES = [("env", b"A=1\0"), ("scripts", b"#!/bin/sh\n")]
RECORDS: list[asking.Record] = [("spec", 1 << 40, {"a": [None]}), ("wish", 7, None), ("quota", "u1", {})]


def test_a_request_is_what_was_asked() -> None:
    for sent, request in (
        (asking.commit(ONCE, SEEN, FILES, RECORDS), Commit(ONCE, SEEN, FILES, RECORDS)),
        (asking.commit(ONCE, None, [], []), Commit(ONCE, None, [], [])),
        (asking.commit(ONCE, None, [], [], "night"), Commit(ONCE, None, [], [], "night")),
        (asking.history("within", 1, 2), History("within", [1, 2])),
        (asking.view(), View()),
        (asking.relay(), Relay()),
    ):
        message = Reader().feed(sent)
        assert message is not None
        assert requests.decode(*message) == request


@pytest.mark.parametrize("kind", [Refused, BadUsage, SystemFailed, TryAgain])
def test_an_error_is_raised_again_where_it_is_told(kind: type[GflowError]) -> None:
    asking.check({"ok": True, "first": 42})
    with pytest.raises(kind, match="job 7 belongs to ada"):
        asking.check(requests.failed(kind("job 7 belongs to ada")))


def test_an_error_of_an_unknown_kind_is_one_nevertheless() -> None:
    with pytest.raises(GflowError, match="17"):
        asking.check({"error": 17, "status": "?"})


@pytest.mark.parametrize(
    ("head", "tail", "words"),
    [
        ({}, b"", "version"),
        ({"v": 2, "do": "view"}, b"", "version"),
        ({"v": 1, "do": "drink"}, b"", "no such request"),
        ({"v": 1, "do": []}, b"", "no such request"),
        ({"v": 1, "do": "view", "uid": 0}, b"", "fields that are not known"),
        ({"v": 1, "do": "relay"}, b"x", "bytes that nobody explains"),
        ({"v": 1, "do": "history", "query": 3, "args": []}, b"", "no such request"),
        ({**COMMIT, "uid": 0}, b"", "fields that are not known"),
        ({**COMMIT, "unless": 7}, b"", "fields that are not known"),
        ({**COMMIT, "once": ONCE[1:]}, b"", "once is not"),
        ({**COMMIT, "once": ONCE[1:] + "G"}, b"", "once is not"),
        ({**COMMIT, "seen": 17}, b"", "seen is not"),
        ({**COMMIT, "seen": [17, 5]}, b"", "seen is not"),
        ({**COMMIT, "seen": [17, True, ""]}, b"", "seen is not"),
        ({**COMMIT, "seen": [17, 5, "\u1234"]}, b"", "seen is not"),
        ({**COMMIT, "records": [["spec", 1, None]] * 20_001}, b"", "20001 records"),
        ({**COMMIT, "records": ["spec"]}, b"", "not a kind, a key"),
        ({**COMMIT, "records": [["spec", True, None]]}, b"", "not a kind, a key"),
        ({**COMMIT, "records": [["spec", 1.0, None]]}, b"", "not a kind, a key"),
        ({**COMMIT, "records": [["spec", 1, None, 4]]}, b"", "not a kind, a key"),
        ({**COMMIT, "files": [["env", 0]] * 257}, b"", "257 files"),
        ({**COMMIT, "files": [["../env", 1]]}, b"x", "not a place and a length"),
        ({**COMMIT, "files": [["env", 2]]}, b"x", "not a place and a length"),
        ({**COMMIT, "files": [["env", -1]]}, b"x", "not a place and a length"),
        ({**COMMIT, "files": [["env", True]]}, b"x", "not a place and a length"),
        ({**COMMIT, "files": [["env", 1]]}, b"xy", "bytes that nobody explains"),
    ],
)
def test_what_is_no_request_is_refused(head: dict[str, Any], tail: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        requests.decode(head, tail)
