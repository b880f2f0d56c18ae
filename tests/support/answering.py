"""A gateway that says what a test wants: the client's side of a daemon for many users, by itself."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

from gflowd.core.gateway.protocol import Reader, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gflowd.core.gateway.protocol import Message

    Answer = dict[str, Any] | bytes  # the head of one, or what is sent before it hangs up


class Gateway:
    """Takes requests, and answers each as `answer` says."""

    def __init__(self, path: str, answer: Callable[[dict[str, Any], bytes], Answer]) -> None:
        self.asked: list[Message] = []
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        os.chmod(path, 0o666)
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                reader, found = Reader(), None
                while found is None and (data := connection.recv(65536)):
                    found = reader.feed(data)
                if found is None:
                    return
                self.asked.append(found)
                answer = self._answer(*found)
                with contextlib.suppress(BrokenPipeError):
                    connection.sendall(answer if isinstance(answer, bytes) else encode(answer))

    def close(self, path: str) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(path)
        self._thread.join()
        self._socket.close()
        os.unlink(path)


@contextlib.contextmanager
def gateway(path: str, *answers: Answer | Callable[[dict[str, Any], bytes], Answer]) -> Iterator[Gateway]:
    """One that gives these answers, one after another, the last one again and again."""
    left = list(answers)

    def answer(head: dict[str, Any], tail: bytes) -> Answer:
        found = left.pop(0) if len(left) > 1 else left[0]
        return found(head, tail) if callable(found) else found

    made = Gateway(path, answer)
    try:
        yield made
    finally:
        made.close(path)
