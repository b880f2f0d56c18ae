"""The screen in a real terminal, tmux's: what comes over the wire, and that the terminal is afterwards as before."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.ctl import PROGRAM, private_ctl
from support.machine import TMUX
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ctl import Ctl

pytestmark = pytest.mark.skipif(TMUX is None, reason="tmux is not installed")
pytest.importorskip("textual")

COLOR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")


class Terminal:
    """A shell in tmux, on a server of its own. It numbers its prompts: an older one says nothing of what runs now."""

    def __init__(self, ctl: Ctl) -> None:
        self.ctl = ctl
        self._socket = str(ctl.home / "tmux")
        self._prompts = 0
        prompt = "ready $((prompts=prompts+1))$ "
        env = {**ctl.env, "PS1": prompt, "ENV": "", "SHELL": "/bin/sh", "COLUMNS": "99", "LINES": "9"}
        words = ["new-session", "-d", "-x", "80", "-y", "24", "exec sh"]
        subprocess.run(["tmux", "-S", self._socket, "-f", "/dev/null", *words], env=env, cwd=ctl.home, check=True)
        self.is_ready()

    def tmux(self, *words: str) -> str:
        return subprocess.run(
            ["tmux", "-S", self._socket, *words], env=self.ctl.env, capture_output=True, text=True, check=True
        ).stdout

    def types(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def runs(self, line: str) -> None:
        self.types("-l", f"{line}\n")

    def text(self, *more: str) -> str:
        return self.tmux("capture-pane", "-p", *more)

    def shows(self, *texts: str, without: str | None = None) -> None:
        """Waits until it shows all of these at once."""

        def look() -> bool:
            shown = self.text()
            return all(text in shown for text in texts) and (without is None or without not in shown)

        try:
            eventually(look)
        except AssertionError:
            raise AssertionError(f"{texts} not in\n{self.text()}") from None

    def is_ready(self, *texts: str) -> None:
        """Waits until the shell asks for the next command, and shows all of these."""
        self._prompts += 1
        self.shows(f"ready {self._prompts}$", *texts)

    def state(self) -> str:
        """Whether the alternate screen is in use, the cursor is seen, and the mouse is taken."""
        return self.tmux("display", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag}").strip()

    def monitor(self) -> int:
        """The process that the shell waits for."""
        pane = self.tmux("display", "-p", "#{pane_pid}").strip()
        return int(Path(f"/proc/{pane}/task/{pane}/children").read_text().split()[-1])

    def close(self) -> None:
        self.tmux("kill-server")


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with private_ctl() as ctl:
        ctl.submit("-n", "first", "true")
        ctl.run_job(1)
        lines = "\n".join(f'{{"command": ["true"], "name": "w{number}"}}' for number in range(2, 40))
        ctl.ok("submit", "--from", "-", input=lines)
        made = Terminal(ctl)
        yield made
        made.close()


def test_a_real_terminal_shows_it_and_is_as_before_when_it_is_left(terminal: Terminal) -> None:
    program = shlex.join([*PROGRAM, "monitor"])
    terminal.runs(f"stty -g >before; {program}")
    terminal.shows("1 running, 38 queued", "? help", "\n    16  w16 ")
    assert terminal.state() == "1 0 0"
    assert COLOR.search(terminal.text("-e"))
    terminal.types("/w7", "Enter", "h")  # in one piece, as over a slow line
    terminal.shows("Hold job 7 w7 of")
    terminal.types("y")
    terminal.shows("filter: w7 (38 others)", "1 job held", without="w8")
    terminal.tmux("resize-window", "-x", "60", "-y", "20")
    terminal.shows("? help", "     7  w7 ")
    terminal.types("C-z")
    terminal.is_ready()
    assert terminal.state() == "0 1 0"
    terminal.runs("fg")
    terminal.shows("gflowd is not running", "JOBID", "? help")
    terminal.types("Escape")  # alone: with a key behind it, it would be Alt
    terminal.shows("     8  w8 ")
    terminal.types("l")
    terminal.shows("37 queued, 1 held", "-- log of job 7 w7", "there is no output yet")
    os.kill(terminal.monitor(), signal.SIGTERM)
    terminal.is_ready()
    terminal.runs("echo status $?; stty -g | cmp - before && echo the same")
    terminal.is_ready("status 143", "\nthe same")
    assert terminal.state() == "0 1 0"
    terminal.runs(f"clear; NO_COLOR=1 TERM=screen {program} -s H; echo status $?; TERM=dumb {program}")
    terminal.shows("filter: -s H", "     7  w7 ")
    assert not COLOR.search(terminal.text("-e"))
    terminal.types("C-c")
    terminal.is_ready("status 0", "monitor needs more than a terminal with TERM=dumb")
    assert terminal.state() == "0 1 0"


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP])
def test_whoever_stops_it_the_terminal_is_afterwards_as_before(terminal: Terminal, number: signal.Signals) -> None:
    terminal.runs(f"stty -g >before; {shlex.join([*PROGRAM, 'monitor'])}")
    terminal.shows("1 running, 38 queued", "? help")
    os.kill(terminal.monitor(), number)
    terminal.is_ready("Stopped")
    terminal.runs("clear; fg")
    terminal.shows("JOBID", "? help", without="ready ")  # a stopped one has left its picture there
    terminal.types("/w7", "Enter")
    terminal.shows("filter: w7 (38 others)")
    os.kill(terminal.monitor(), signal.SIGTERM)
    terminal.is_ready()
    terminal.runs("echo status $?; stty -g | cmp - before && echo the same")
    terminal.is_ready("status 143", "\nthe same")
    assert terminal.state() == "0 1 0"
