"""The screen under Textual's pilot: what keys do, and what is drawn for them."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import pytest
from support.ctl import private_ctl
from support.waiting import PATIENCE

from gflowctl.context import Context
from gflowctl.main import main
from gflowctl.monitor import terminal
from gflowctl.monitor.feed import Wanted
from gflowd.effects import installer

pytest.importorskip("textual")

from gflowctl.api import Queue
from gflowctl.monitor.job_actions import ByApi
from gflowctl.monitor.screen import SORTING, Monitor, Told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from support.ctl import Ctl
    from textual.pilot import Pilot

HOSTILE = "\x1b[2J[red]\u202e"


class Screen:
    """What a person has: keys and a picture."""

    def __init__(self, app: Monitor, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    def text(self) -> str:
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(part.text for part in strip) for strip in strips)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def shows(self, *texts: str, without: str | None = None) -> None:
        """Waits until all of these are shown."""
        deadline = time.monotonic() + PATIENCE
        while not all(text in self.text() for text in texts) or (without is not None and without in self.text()):
            assert time.monotonic() < deadline, f"{texts} not in\n{self.text()}"
            await self.pilot.pause(0.01)

    async def has_size(self, columns: int, rows: int) -> None:
        """Waits until all of it is drawn at this size."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.size()) != (rows, {columns}):
            assert time.monotonic() < deadline, found
            await self.pilot.pause(0.01)

    def size(self) -> tuple[int, set[int]]:
        lines = self.text().split("\n")
        return len(lines), {len(line) for line in lines}

    def under_cursor(self) -> str:
        row = self.app._table.row
        return "" if row is None else row.label


@pytest.fixture(scope="module")
def busy() -> Iterator[Ctl]:
    """1 runs on GPU 0 and writes a log, 2 is held, 3 to 62 wait, the last with a hostile name."""
    with private_ctl() as ctl:
        ctl.submit("-n", "training", "-g", "1", "-t", "1h", "true")
        ctl.submit("-n", "b", "--hold", "true")
        lines = "\n".join(f'{{"command": ["true"], "name": "w{number}"}}' for number in range(3, 62))
        ctl.ok("submit", "--from", "-", input=lines)
        ctl.submit("-n", HOSTILE, "true")
        log = ctl.run_job(1, gpu_ids=(0,))
        log.write_bytes(b"".join(b"line %d\n" % number for number in range(100)) + b"\x1b]0;title\x07the last")
        gpu = {"index": 0, "model": "A100", "memory_mb": 81920, "used_mb": 40960, "utilisation": 87, "state": "busy"}
        ctl.observe(gpus=[{**gpu, "jobs": [1], "processes": []}])
        yield ctl


def append(path: str, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def on_screen(
    ctl: Ctl,
    play: Callable[[Screen], Awaitable[None]],
    size: tuple[int, int] = (80, 24),
    kind: type[Monitor] = Monitor,
) -> None:
    """Plays a scene before the screen of a user."""

    async def show() -> None:
        context = Context(ctl.env, None, ctl.state.root)
        app = kind(context, Wanted(), ByApi(Queue(ctl.state.root, environ=ctl.env)))
        async with app.run_test(size=size) as pilot:
            await play(Screen(app, pilot))
            assert app.failure is None

    asyncio.run(show())


def test_jobs_gpus_log_and_details_are_seen_together(busy: Ctl) -> None:
    async def play(screen: Screen) -> None:
        await screen.shows("1 running, 60 queued, 1 held", "GPU 0 A100 [####....] 40G/80G", "87%", "job 1 training (")
        await screen.shows("gflowd is not running", "JOBID", "w10", without="title")
        await screen.press("l")
        await screen.shows("-- log of job 1 training ---", "the last")
        await screen.press("tab", "home")
        await screen.shows("line 0")
        append(busy.state.job_log(1, 1), b"\nmore\n")
        await screen.press("end")
        await screen.shows("more")
        await screen.press("enter")
        await screen.shows("line 90", without="JOBID")
        await screen.press("escape", "d")
        await screen.shows("-- details of job 1", "Resources: 1 GPU", "JOBID")
        await screen.press("escape")
        await screen.shows("w15", without="Resources")
        await screen.press("G")
        await screen.shows("\\x1b[2J[red]\\u202e")
        assert screen.under_cursor() == "62"
        await screen.press("g", "j", "down", "k")
        assert screen.under_cursor() == "2"
        await screen.press("question_mark")
        await screen.shows("Page Up", without="JOBID")
        await screen.press("q")
        await screen.shows("JOBID")

    on_screen(busy, play)


def test_what_is_typed_filters_and_sorts(busy: Ctl) -> None:
    async def play(screen: Screen) -> None:
        await screen.shows("w10")
        await screen.press("slash", *"-n w7,w8")
        await screen.shows("w7", "(60 others)", without="w10")
        await screen.press("space", "-", "s")
        await screen.shows("expected one argument", "w8", "filter: -n w7,w8 -s ")
        await screen.press("escape")
        await screen.shows("w10", without="filter:")
        await screen.press("slash", *"w1c", "backspace", "enter")
        await screen.shows("filter: w1 (52 others)", "w19", without="w20")
        await screen.press("s", *["backspace"] * 5, *"-nam")
        await screen.press("enter")
        await screen.shows("unknown field 'NAM'")
        await screen.press("e", "enter")
        await screen.shows("sorted by -NAME")
        assert screen.under_cursor() in screen.text()
        await screen.press("g")
        assert screen.under_cursor() == "19"
        await screen.press("S", "g")
        await screen.shows("sorted by NAME")
        await screen.press("escape")
        await screen.shows("w20", without="filter:")

    on_screen(busy, play)


def test_jobs_are_changed_once_the_question_is_answered(ctl: Ctl) -> None:
    for name in ("a", "b", "c", "d"):
        ctl.submit("-n", name, "true")
    ctl.ok("submit", "-n", "e", "--array", "0-9", "true")
    ctl.end_job(4)

    async def play(screen: Screen) -> None:
        await screen.shows("5_[0-9]")
        await screen.press("h")
        await screen.shows("Hold job 1 a of", "(queued)?  y: yes, any other key: no")
        await screen.press("n")
        await screen.shows("? help", without="Hold job")
        await screen.press("space", "space", "h", "y")  # faster than anything is drawn
        await screen.shows("2 jobs held", "2 held")
        await screen.press("g", "c", "y")
        await screen.shows("1 job cancelled", "CA")
        assert screen.under_cursor() == "2", "what has ended goes to the end, without the cursor"
        await screen.press("r", "y")
        await screen.shows("1 job released")
        await screen.press("j", "j", "h")
        await screen.shows("Hold 10 jobs: 5_[0-9]?")
        await screen.press("y")
        await screen.shows("10 jobs held", "10 held")
        await screen.press("G", "R")
        await screen.shows("Redo job 4 d of")
        await screen.press("y")
        await screen.shows("queued as job 15")
        await screen.press("h")
        await screen.press("y")
        await screen.shows("job 4 is finished; only queued jobs can be held")
        await screen.press("a")
        await screen.shows("job 4 is finished, not running")

    on_screen(ctl, play)
    assert {job["id"]: job["state"] for job in ctl.jobs("-a") if job["id"] in (1, 2, 3, 4, 5, 14, 15)} == {
        1: "cancelled", 2: "queued", 3: "queued", 4: "finished", 5: "held", 14: "held", 15: "queued",
    }  # fmt: skip


def test_what_is_said_stays_for_its_own_while_and_what_is_typed_has_its_hint(busy: Ctl) -> None:
    async def play(screen: Screen) -> None:
        await screen.shows("w10")
        foot, monitor = screen.app._lines("foot"), screen.app
        monitor._say("first")
        first = monitor._silence
        assert first is not None
        assert first._task is not None
        monitor._say("second")
        assert first._task is None, "its time is not the second's"
        monitor.action_sort()
        assert foot._texts == (SORTING,), "it is about what is typed now"
        monitor._say("1 job held")
        monitor._anew()
        assert foot._texts == ("1 job held",), "a new size does not wipe it"
        monitor._hush()
        assert foot._texts == (SORTING,)
        monitor._end_typing()
        assert foot._texts[0].startswith("? help")

    on_screen(busy, play)


def test_the_head_tells_of_the_rows_that_are_there_and_not_of_those_that_are_wished(busy: Ctl) -> None:
    async def play(screen: Screen) -> None:
        await screen.shows("w10")
        before = screen.app._picture
        screen.app.action_turn()
        screen.app.on_told(Told(before))  # one that was on its way
        assert screen.app._lines("head")._texts == (before.sums,)
        await screen.shows("sorted by -JOBID")
        assert screen.app._picture.rows[0].label == "62"

    on_screen(busy, play)


def test_a_picture_that_comes_while_the_screen_is_left_is_for_nobody(busy: Ctl) -> None:
    heard = []

    class Leaving(Monitor):
        async def _close_all(self) -> None:
            for widget in list(self.screen.children):
                await widget.remove()
            is_told = asyncio.Event()
            self.post_message(Told(self._picture))
            self.call_later(is_told.set)
            await asyncio.wait_for(is_told.wait(), PATIENCE)
            heard.append(self._picture)
            await super()._close_all()

    async def play(screen: Screen) -> None:
        await screen.shows("w10")

    on_screen(busy, play, kind=Leaving)
    assert heard


def test_it_fits_any_screen(busy: Ctl) -> None:
    async def play(screen: Screen) -> None:
        await screen.shows("JOBID", "job 1 training")
        await screen.press("l", "j", "d", "p", "p")
        for columns, rows in ((200, 50), (20, 5), (90, 30)):
            await screen.pilot.resize_terminal(columns, rows)
            await screen.has_size(columns, rows)
            await screen.shows("1 running", *(["JOBID", "NODELIST(REASON)", "-- details"] if rows > 5 else []))
            assert screen.size() == (rows, {columns})

    on_screen(busy, play, (60, 20))


def test_a_snapshot_that_is_lost_is_told_and_the_screen_stays(ctl: Ctl) -> None:
    ctl.submit("true")

    async def play(screen: Screen) -> None:
        await screen.shows("1 queued")
        (ctl.home.parent / "state" / "snapshot.jsonl").rename(ctl.home / "aside")
        await screen.shows("snapshot.jsonl is gone", "1 queued")
        (ctl.home / "aside").rename(ctl.home.parent / "state" / "snapshot.jsonl")
        await screen.shows("1 queued", without="is gone")

    on_screen(ctl, play)


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    ctl: Ctl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "textual", None)
    monkeypatch.setattr(terminal, "check", lambda _: None)
    assert main(["--state-dir", ctl.state.root, "monitor"]) == 3
    said = installer.command("textual")
    assert capsys.readouterr().err == f"gflowctl: gflowctl monitor needs gflow[tui]: {said}\n"


def test_it_is_for_terminals_alone(ctl: Ctl) -> None:
    assert ctl.fails(2, "monitor") == ("monitor needs a terminal for input and output; gflowctl queue --watch does not")
    assert "unknown state 'x'" in ctl.fails(2, "monitor", "-s", "x")
