"""What a job wrote to its terminal, out of all that the terminal showed. Pure.

A terminal turns LF into CR LF, and it echoes what is typed, including its own answers. If a program asks for the cursor
position or the kind of terminal without turning off the echo, the answer, e.g. `^[[1;1R`, is in the log somewhere after
the question. For each question, one answer is left out.
"""

from __future__ import annotations

import re

# As tmux knows them: CSI c, > c, n, ? n, > q, $ p, t; OSC with `?`; DCS $ q (control sequences of ECMA-48 and xterm).
_QUESTION = rb"\x1b(?:\[[>=?]?[0-9;]*(?:[cnqt]|\$p)|\](?:4;[0-9]+|1[0-9]);\?(?:\x07|\x1b\\)|P\$q[^\x1b]{1,9}\x1b\\)"
_ANSWER = (
    rb"\^\[(?:\[[>?]?[0-9;]*(?:[cnRt]|\$y)|\](?:4;[0-9]+|1[0-9]);rgb:[0-9a-fA-F/]+(?:\^G|\^\[\\)"
    rb"|P(?:>\||[01]\$r)[ -\]_-~]{0,60}?\^\[\\)"
)
_EITHER = re.compile(rb"(%b)|%b" % (_QUESTION, _ANSWER))
LONGEST = 100  # bytes of either


class Transcript:
    """Takes the log of a terminal piece by piece. Mutable: an answer may be cut in two by where a piece ends."""

    def __init__(self) -> None:
        self._open = 0  # questions without an answer
        self._held = b""  # what may go on in the next piece
        self._return = b""  # a CR whose LF may come in the next piece, or after an answer
        self._since = 0  # bytes from that CR on, without what is held

    def feed(self, data: bytes) -> bytes:
        """What the next piece of the log says."""
        data = self._held + data
        keep = len(data) - self._unsure(data)
        data, self._held = data[:keep], data[keep:]
        self._since = len(data) - data.rfind(b"\r") if b"\r" in data else self._since + len(data)
        if self._open or b"\x1b" in data:
            data = _EITHER.sub(self._weigh, data)
        data = self._return + data
        self._return = data[-1:] if data.endswith(b"\r") else b""
        return data.removesuffix(b"\r").replace(b"\r\n", b"\n")

    @property
    def pending(self) -> int:
        """How many bytes of the log are held back."""
        return (self._since if self._return else 0) + len(self._held)

    def pass_over(self, data: bytes) -> None:
        """Notes the questions that were asked in what is not shown."""
        self.feed(data)
        self._held = self._return = b""

    def finish(self) -> bytes:
        """What was held back."""
        held = self._return + self._held
        self._held = self._return = b""
        return held

    def _weigh(self, match: re.Match[bytes]) -> bytes:
        if match[1] is not None:
            self._open += 1
            return match[0]
        if not self._open:
            return match[0]
        self._open -= 1
        return b""

    def _unsure(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of something."""
        if not self._open and b"\x1b" not in data:
            return 0
        recent = data[-LONGEST:]
        begun = (each.start() for each in _STARTS.finditer(recent) if _BEGUN.fullmatch(recent, each.start()))
        return len(recent) - next(begun, len(recent))


_STARTS = re.compile(rb"[\x1b^]")
_BEGUN = re.compile(
    rb"\x1b(?:\[[>=?]?[0-9;]*\$?|\][0-9;]*\??\x1b?|P(?:\$(?:q[^\x1b]{0,9}\x1b?)?)?)?"
    rb"|\^(?:\[(?:\[[>?]?[0-9;]*\$?|\][0-9;]*(?:rgb:|rgb|rg|r)?[0-9a-fA-F/]*(?:\^\[?)?|P[ -~]{0,60})?)?"
)
