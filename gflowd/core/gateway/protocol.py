"""The framing of requests and answers, the same both ways: bytes to messages and back. Knows no sockets.

A message is `GF1` and a newline, the lengths of its head and of its tail (32 bits each, big-endian), the head (a JSON
object) and the tail (bytes that the head explains). A connection carries one request and its answer. `requests` knows
what heads hold.
"""

from __future__ import annotations

from gflowd.core.syntax import fast_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Message = tuple[dict[str, Any], bytes]  # head, tail

MAGIC = b"GF1\n"
START = 12  # bytes before the head
HEAD_LIMIT = 4 << 20  # bytes of a request's head
TAIL_LIMIT = 8 << 20  # bytes of a request's tail
MOST_RECORDS = 20_000  # in a request
ANSWER_LIMIT = 1 << 30  # bytes of an answer's head, and of its tail: whole histories


class Malformed(ValueError):
    """These bytes are no message."""


def encode(head: Mapping[str, Any], tail: bytes = b"") -> bytes:
    """A message. Raises ValueError or TypeError for a head that is not JSON, OverflowError for lengths beyond 4 GiB."""
    words = fast_json.dumps(head)
    return b"%b%b%b%b%b" % (MAGIC, len(words).to_bytes(4, "big"), len(tail).to_bytes(4, "big"), words, tail)


class Reader:
    """Takes the bytes of one message as they come. `loads`: how heads are read; it raises ValueError."""

    __slots__ = ("_data", "_head", "_head_limit", "_loads", "_tail_limit", "whole")

    def __init__(
        self,
        head_limit: int = ANSWER_LIMIT,
        tail_limit: int = ANSWER_LIMIT,
        loads: Callable[[bytes], Any] = fast_json.loads,
    ) -> None:
        self._head_limit = head_limit
        self._tail_limit = tail_limit
        self._loads = loads
        self._data = bytearray()
        self._head = 0
        self.whole: int | None = None  # bytes of the message, once its lengths are known

    @property
    def held(self) -> int:
        """Bytes taken so far."""
        return len(self._data)

    @property
    def wanted(self) -> int:
        """Bytes that are still missing, as far as known."""
        return (START if self.whole is None else self.whole) - len(self._data)

    def feed(self, data: bytes) -> Message | None:
        """The message once its last byte is there. Raises `Malformed`, as soon as it can be known."""
        self._data += data
        if self.whole is None:
            self._begin()
        if self.whole is None or len(self._data) < self.whole:
            return None
        if len(self._data) > self.whole:
            raise Malformed("there is more than one message")
        end = START + self._head
        return self._read(bytes(self._data[START:end])), bytes(self._data[end:])

    def _begin(self) -> None:
        if not MAGIC.startswith(self._data[: len(MAGIC)]):
            raise Malformed("this is not gflow's protocol")
        if len(self._data) < START:
            return
        head, tail = (int.from_bytes(self._data[at : at + 4], "big") for at in (4, 8))
        for length, limit, part in ((head, self._head_limit, "head"), (tail, self._tail_limit, "tail")):
            if length > limit:
                raise Malformed(f"its {part} has {length} bytes; at most {limit} are taken")
        self._head, self.whole = head, START + head + tail

    def _read(self, words: bytes) -> dict[str, Any]:
        try:
            head = self._loads(words)
        except (ValueError, RecursionError):
            raise Malformed("its head is not JSON") from None
        if not isinstance(head, dict):
            raise Malformed("its head is not an object")
        return head
