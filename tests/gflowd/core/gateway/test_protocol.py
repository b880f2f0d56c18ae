from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.gateway import protocol
from gflowd.core.gateway.protocol import Malformed, Reader

HEAD = {"v": 1, "do": "view"}


def lengths(head: int, tail: int) -> bytes:
    return b"GF1\n" + head.to_bytes(4, "big") + tail.to_bytes(4, "big")


@given(st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), st.integers()), st.binary(), st.data())
def test_a_message_is_read_from_any_pieces(head: dict[str, object], tail: bytes, data: st.DataObject) -> None:
    sent = protocol.encode(head, tail)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    reader = Reader()
    found = [message for piece in pieces if (message := reader.feed(piece)) is not None]
    assert found[0] == (head, tail)
    assert (reader.whole, reader.held, reader.wanted) == (len(sent), len(sent), 0)


def test_it_says_how_much_is_missing() -> None:
    reader, sent = Reader(), protocol.encode(HEAD, b"tail")
    assert (reader.wanted, reader.held, reader.whole) == (12, 0, None)
    assert reader.feed(sent[:5]) is None
    assert reader.wanted == 7
    assert reader.feed(sent[5:20]) is None
    assert (reader.whole, reader.wanted) == (len(sent), len(sent) - 20)
    assert reader.feed(sent[20:]) == (HEAD, b"tail")


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"GET / HTTP/1.1", "not gflow's protocol"),
        (b"G\0", "not gflow's protocol"),
        (lengths(0xFFFFFFFF, 0), "its head has 4294967295 bytes"),
        (lengths(0, 101), "its tail has 101 bytes; at most 100"),
        (lengths(0, 0), "not JSON"),
        (lengths(3, 0) + b"nul", "not JSON"),
        (lengths(4, 0) + b"null", "not an object"),
        (lengths(90_000, 0) + b"[" * 90_000, "not JSON"),
        (lengths(2, 0) + b"{}{", "more than one message"),
        (lengths(3, 0) + b'{"\xff', "not JSON"),
    ],
)
def test_what_is_no_message_is_refused_as_soon_as_it_shows(sent: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        Reader(100_000, 100).feed(sent)


def test_heads_are_read_as_its_owner_likes() -> None:
    assert Reader(loads=lambda words: {"read": json.loads(words)}).feed(protocol.encode(HEAD)) == ({"read": HEAD}, b"")
