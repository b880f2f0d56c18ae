"""The screen itself: which piece is where, which key does what, and what is asked before a job is changed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual import events
from textual.app import App
from textual.binding import Binding
from textual.message import Message

from gflowctl.monitor import drawing, gpu_lines, job_filter
from gflowctl.monitor.feed import Feed, Trouble, Wanted
from gflowctl.monitor.help import Help
from gflowctl.monitor.job_table import JobTable
from gflowctl.monitor.log_tail import Log
from gflowctl.monitor.screen_contents import Details, Picture
from gflowctl.monitor.text_pane import TextPane
from gflowctl.monitor.widgets import Lines, Question, Typing
from gflowctl.output import render
from gflowctl.view import jobs, terminals
from gflowd.core.errors import BadUsage, GflowError
from gflowd.core.syntax.plurals import count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.style import Style
    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.timer import Timer

    from gflowctl.context import Context
    from gflowctl.monitor.job_actions import Changes
    from gflowctl.monitor.screen_contents import Row

NOTHING, DETAILS, LOG = "", "details", "log"
FILTER, SORT = "filter", "sort"
TALL = 30  # lines: on such a screen there are details at once
SAID = 8.0  # seconds for which something is said below
KEYS = (
    "? help", "q quit", "/ filter", "s sort", "l log", "d details", "c cancel", "h hold", "r release", "R redo",
    "a attach", "Space mark", "p GPUs", "z whole screen",
)  # fmt: skip
FILTERING = "Enter: keep, Esc: undo; -s running,PD -u USER -n NAME -P PROJECT --me -a -c WORDS"
SORTING = "Enter: sort, Esc: undo; FIELD[,-FIELD] of gflowctl queue, e.g. USER,-TIME"
BACK = ("step_back", "leave", "whole_log")  # which all lead back from the page of keys
ALWAYS = ("ctrl+c", "ctrl+z")  # keys that are never text
ERROR = drawing.style(render.RED) + drawing.BOLD


class Told(Message):
    """What the feed, or a change of jobs, has found."""

    def __init__(self, what: Picture | Details | Log | Trouble | Exception | str) -> None:
        super().__init__()
        self.what = what


class Monitor(App[None]):
    """`changes` is how jobs are changed. After it has run, `failure` is what nobody foresaw."""

    TITLE = "gflowctl monitor"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: ansi_default; color: ansi_default; overflow: hidden; }
    Lines { height: 1; }
    #gpus { height: 0; overflow-x: hidden; }
    JobTable { height: 1fr; min-height: 2; overflow-x: hidden; overflow-y: auto; }
    TextPane { height: 1fr; overflow-x: hidden; }
    #pane { height: 40%; display: none; }
    #notes, #question, #typing { height: 0; }
    ScrollView { scrollbar-size: 1 1; scrollbar-color: ansi_blue; scrollbar-background: ansi_default; }
    """
    # Each has priority, so that this one place takes them in their order, however fast they come: a key that is sent to
    # a widget is handled some time later.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(keys, action, show=False, priority=True)
        for keys, action in (
            ("ctrl+c", "quit"), ("q", "leave"), ("ctrl+z", "stop"), ("escape", "step_back"),
            ("question_mark", "help"), ("slash", "filter"), ("s", "sort"), ("S", "turn"), ("l", "pane('log')"),
            ("d", "pane('details')"), ("enter", "whole_log"), ("z", "zoom"), ("p", "gpus"), ("c", "change('cancel')"),
            ("h", "change('hold')"), ("r", "change('release')"), ("R", "change('redo')"), ("a", "attach"),
            ("up,k", "by(0, -1)"), ("down,j", "by(0, 1)"), ("left", "by(-8, 0)"), ("right", "by(8, 0)"),
            ("pageup,ctrl+b", "page(-1)"), ("pagedown,ctrl+f", "page(1)"), ("home,g", "to(0)"), ("end,G", "to(-1)"),
            ("space", "space"), ("u", "unmark"), ("tab", "other(1)"), ("shift+tab", "other(-1)"),
        )
    ]  # fmt: skip

    def __init__(self, context: Context, wanted: Wanted, changes: Changes) -> None:
        super().__init__(ansi_color=True)
        self.failure: Exception | None = None
        self.signal = 0  # that ended it
        self._gflow = context
        self._wanted = wanted
        self._kept = wanted  # while something is typed: what there was before
        self._changes = changes
        self._feed = Feed(context, wanted, lambda what: self.post_message(Told(what)))
        self._mode, self._is_zoomed = NOTHING, False
        self._shows_gpus = True
        self._typed: str = ""  # what is being typed: a filter or a sorting
        self._picture = Picture()
        self._asks_later = ""  # what is to be done once the jobs that are wished are there
        self._is_first = True  # there is no picture yet
        self._said: tuple[str, Style] | None = None  # what is said below for now, until `_silence`
        self._silence: Timer | None = None
        self._hint: tuple[str, Style] | None = None  # about what is being typed

    # its pieces

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield Lines("head", drawing.BOLD)
        yield TextPane("gpus")
        yield Lines("notes", ERROR, fills=True)
        yield Lines("titles", drawing.BOLD)
        yield JobTable()
        yield Lines("about", drawing.BOLD)
        yield TextPane("pane")
        yield Question()
        yield Typing()
        yield Lines("foot")

    def on_mount(self) -> None:
        """Begins to read."""
        self.screen.set_focus(self._table, scroll_visible=False)
        self._lines("head").show("gflow monitor: reading the queue")
        self._lines("about").show()
        self._foot()
        if self.size.height >= TALL:
            self._look_at(DETAILS)
        if not self.is_headless:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._end, number)
            # Instead of Textual's, which would take the terminal again where it was never given back: a process may be
            # continued without having been stopped from here, and hears of it at any time after.
            loop.add_signal_handler(signal.SIGTSTP, self.action_stop)
            loop.add_signal_handler(signal.SIGCONT, self._repaint)
        self.app_resume_signal.subscribe(self, lambda _: self._repaint())
        self._feed.start()

    def _end(self, number: int) -> None:
        self.signal = number
        self.exit()

    def action_stop(self) -> None:
        """Gives the terminal back and stops, until the process is continued in the foreground."""
        with self.suspend():
            os.kill(os.getpid(), signal.SIGSTOP)
            while os.tcgetpgrp(0) != os.getpgrp():  # by `bg`
                os.kill(os.getpid(), signal.SIGSTOP)
        self._repaint()

    def _repaint(self) -> None:
        """All of it: another program has had the terminal."""
        self.screen.refresh()

    def on_unmount(self) -> None:
        """Ends the reading."""
        self._feed.stop()

    @property
    def _is_left(self) -> bool:
        """Whether its pieces are being removed, or are already: what is still told is for nobody."""
        return not self.is_running or not self.screen_stack

    @property
    def _table(self) -> JobTable:
        return self.screen_stack[0].query_one(JobTable)

    def _lines(self, name: str) -> Lines:
        return self.screen_stack[0].query_one(f"#{name}", Lines)

    def _text(self, name: str) -> TextPane:
        return self.screen_stack[0].query_one(f"#{name}", TextPane)

    @property
    def _question(self) -> Question:
        return self.screen_stack[0].query_one(Question)

    @property
    def _typing(self) -> Typing:
        return self.screen_stack[0].query_one(Typing)

    # what is told

    def on_told(self, message: Told) -> None:
        """Shows it, unless the screen is being left."""
        if self._is_left:
            return
        match message.what:
            case Picture() as picture:
                self._show(picture)
            case Details() as details:
                self._show_details(details)
            case Log() as log:
                self._show_log(log)
            case Trouble(text=text):
                self._lines("notes").show(render.escape(text))
            case str() as text:
                self._say(text)
            case error:
                self.failure = error
                self.exit()

    def _show(self, picture: Picture) -> None:
        self._picture, self._is_first = picture, False
        self._table.show(picture)
        self._head()
        self._show_gpus()
        self._lines("notes").show(*picture.notes)
        if self._asks_later:
            self.action_change(self._asks_later)

    def _head(self) -> None:
        """Says of which jobs the picture is, which may still be one of those that were wished before."""
        picture = self._picture
        said = [picture.sums]
        match picture.asked:
            case (job_filter.Choice() as choice, str() as sort):
                said += [f"filter: {choice.text} ({picture.others} others)"] * bool(choice.text)
                said += [f"sorted by {sort}"] * (sort != job_filter.SORTED)
        if self._table.marked:
            said.append(f"{len(self._table.marked)} marked")
        self._lines("head").show(render.escape("; ".join(said)))
        self._lines("titles").show(self._table.titles)

    def _show_gpus(self) -> None:
        pane, gpus = self._text("gpus"), self._picture.gpus
        room = max(2, self.size.height // (6 if self._mode else 3))
        pane.styles.height = min(len(gpus), room) if self._shows_gpus and not self._is_zoomed else 0
        pane.display = bool(gpus) and self._shows_gpus and not self._is_zoomed
        pane.can_focus = len(gpus) > room
        pane.show(gpu_lines.lines(gpus, self.size.width))

    def _show_details(self, details: Details) -> None:
        if self._mode != DETAILS or details.job_id != self._wanted.job_id:
            return
        wide = max((len(key) for key, _ in details.lines), default=0) + 1
        room = max(20, self.size.width - wide - 2)
        lines: list[list[Segment]] = []
        for key, text in details.lines:
            first, *more = [part for line in text.split("\n") for part in render.paragraph(line, room)]
            lines.append([Segment(f"{key}:".ljust(wide), drawing.BOLD), Segment(f" {first}")])
            lines += [[Segment(" " * (wide + 1) + part)] for part in more]
        self._text("pane").show(lines)

    def _show_log(self, log: Log) -> None:
        if self._mode != LOG or log.job_id != self._wanted.job_id:
            return
        pane = self._text("pane")
        if log.trouble is not None:
            pane.show([[Segment(render.escape(f"{log.trouble} ({log.path})"), drawing.DIM)]])
            return
        lines = list(log.lines)
        if log.omitted:
            about = f"(earlier output is not shown: gflowctl log {log.job_id})"
            lines.insert(0, [Segment(about, drawing.DIM)])
        pane.show(lines, to_end=pane.is_at_end)

    def on_job_table_moved(self) -> None:
        """Other details, or another log."""
        if self._is_first or self._is_left:
            return
        self._head()
        self._follow()

    def _follow(self) -> None:
        row = self._table.row if self._mode else None
        job_id = None if row is None else row.job.id
        if job_id != self._wanted.job_id or (self._mode == LOG) != self._wanted.shows_log:
            self._text("pane").show(())
            self._text("pane").to(0)
        self._want(replace(self._wanted, job_id=job_id, shows_log=self._mode == LOG))
        self._about(row)

    def _about(self, row: Row | None) -> None:
        if row is None:
            self._lines("about").show(*([f"-- {self._mode} "] if self._mode else []))
            return
        said = f"-- {self._mode} of job {row.label} {row.cells[1]} "
        style = drawing.REVERSE if self.focused is self._text("pane") else drawing.BOLD
        self._lines("about").show(said.ljust(max(self.size.width, len(said)), "-"), style=style)

    def on_descendant_focus(self) -> None:
        """Where the keys move is marked."""
        if self._is_left:
            return
        self._about(self._table.row if self._mode else None)

    def _want(self, wanted: Wanted) -> None:
        if wanted != self._wanted:
            self._wanted = wanted
            self._feed.want(wanted)

    def on_resize(self) -> None:
        """All that depends on the width."""
        self.call_after_refresh(self._anew)

    def _anew(self) -> None:
        if self._is_left:
            return
        if not self._is_first:
            self._head()
        self._show_gpus()
        self._foot()
        self._about(self._table.row if self._mode else None)

    # what is said below

    def _foot(self) -> None:
        text, style = self._said or self._hint or (self._keys(), drawing.DIM)
        self._lines("foot").show(text, style=style)

    def _keys(self) -> str:
        room, said = self.size.width, ""
        for key in KEYS:
            if len(said) + len(key) + 2 > room:
                break
            said += f"{key}  "
        return said.rstrip()

    def _say(self, text: str, *, is_error: bool = False) -> None:
        """For a while, or until something else is said."""
        self._hush()
        self._said = render.escape(text), ERROR if is_error else drawing.BOLD
        self._silence = self.set_timer(SAID, self._hush)
        self._foot()

    def _hush(self) -> None:
        if self._silence is not None:
            self._silence.stop()
        self._said = self._silence = None
        if not self._is_left:
            self._foot()

    def _tell(self, text: str, *, is_error: bool = False) -> None:
        """About what is being typed, as long as it is."""
        self._hint = render.escape(text), ERROR if is_error else drawing.DIM
        self._hush()

    # keys

    async def on_event(self, event: events.Event) -> None:
        """A key answers a question, or is text."""
        is_text = isinstance(event, events.Key | events.Paste) and not event.is_forwarded and not self._helps
        if not is_text or not self.screen_stack or not (self._typed or self._question.is_open):
            await super().on_event(event)
        elif isinstance(event, events.Paste):
            self._take_paste(event.text)
        elif isinstance(event, events.Key) and not self._takes(event):
            await super().on_event(event)

    def _takes(self, event: events.Key) -> bool:
        """Whether it has its own meaning now."""
        if event.key in ALWAYS:
            return False
        if self._question.is_open:
            self._question.answer(event.key)
        elif event.key == "escape":
            self._want(self._kept)
            self._end_typing()
        elif event.key == "enter":
            self._keep_typed()
        else:
            self._typing.press(event.key, event.character)
            self._try_typed()
        return True

    def _take_paste(self, text: str) -> None:
        if self._typed:
            self._typing.insert(text)
            self._try_typed()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 -- Textual's
        """Whether a key has its meaning: on the page of keys one can only move and leave."""
        if self._helps:
            return action in ("quit", "stop", "help", "by", "page", "to", "space", *BACK)
        return True

    @property
    def _helps(self) -> bool:
        return isinstance(self.screen, Help)

    @property
    def _scrolled(self) -> JobTable | TextPane:
        """What the keys move in."""
        if self._helps:
            return self.screen.query_one(TextPane)
        return self.focused if isinstance(self.focused, TextPane) else self._table

    def action_by(self, x: int, y: int) -> None:
        """Some columns or lines further."""
        self._scrolled.by(x, y)

    def action_page(self, by: int) -> None:
        """A page up or down."""
        self._scrolled.page(by)

    def action_to(self, place: int) -> None:
        """To the first line, or to the last."""
        self._scrolled.to(place)

    def action_space(self) -> None:
        """Marks the job; in a text, a page down."""
        found = self._scrolled
        if isinstance(found, JobTable):
            found.mark()
        else:
            found.page(1)

    def action_unmark(self) -> None:
        """Marks none."""
        self._table.unmark()

    def action_other(self, by: int) -> None:
        """The keys move in another piece."""
        if by > 0:
            self.screen.focus_next()
        else:
            self.screen.focus_previous()

    # keys that look

    def action_help(self) -> None:
        """The page of keys, or back from it."""
        if self._helps:
            self.pop_screen()
        else:
            self.push_screen(Help())

    def action_leave(self) -> None:
        """Back from the page of keys, or from all."""
        if self._helps:
            self.pop_screen()
        else:
            self.exit()

    def _look_at(self, mode: str) -> None:
        self._mode = mode
        self._table.is_bound = bool(mode)
        pane, table = self._text("pane"), self._table
        self._is_zoomed = self._is_zoomed and bool(mode)
        pane.display = bool(mode)
        pane.styles.height = "1fr" if self._is_zoomed else "40%"
        table.display = self._lines("titles").display = not self._is_zoomed
        if self._is_zoomed:
            self.screen_stack[0].set_focus(pane, scroll_visible=False)
        elif self.focused is not table:
            self.screen_stack[0].set_focus(table, scroll_visible=False)
        self._show_gpus()
        self._follow()

    def action_pane(self, mode: str) -> None:
        """Details or the log of the job; nothing if that is there already."""
        self._look_at(NOTHING if mode == self._mode else mode)

    def action_whole_log(self) -> None:
        """The log over the whole screen."""
        if self._helps:
            self.pop_screen()
        else:
            self._is_zoomed = True
            self._look_at(LOG)

    def action_zoom(self) -> None:
        """What is below the table over the whole screen, or no longer."""
        self._is_zoomed = not self._is_zoomed
        self._look_at(self._mode or DETAILS)

    def action_step_back(self) -> None:
        """A step back."""
        if self._helps:
            self.pop_screen()
        elif self._is_zoomed:
            self._is_zoomed = False
            self._look_at(self._mode)
        elif self._mode:
            self._look_at(NOTHING)
        elif self._wanted.choice.text:
            self._want(replace(self._wanted, choice=job_filter.Choice()))

    def action_gpus(self) -> None:
        """Hides the GPUs, or shows them."""
        self._shows_gpus = not self._shows_gpus
        self._show_gpus()

    # what is typed

    def action_filter(self) -> None:
        """Which jobs are listed."""
        self._type(FILTER, self._wanted.choice.text, FILTERING)

    def action_sort(self) -> None:
        """In which order."""
        self._type(SORT, self._wanted.sort, SORTING)

    def action_turn(self) -> None:
        """The other way round."""
        first, *more = self._wanted.sort.split(",")
        turned = first.removeprefix("-") if first.startswith("-") else f"-{first}"
        self._want(replace(self._wanted, sort=",".join([turned, *more])))

    def _type(self, what: str, text: str, hint: str) -> None:
        self._typed, self._kept = what, self._wanted
        self._tell(hint)
        self._typing.begin(what, text)

    def _try_typed(self) -> None:
        """The filter holds at once."""
        if self._typed == FILTER:
            try:
                found = job_filter.parse(self._typing.text, self._gflow.user)
            except BadUsage as error:
                self._tell(str(error), is_error=True)
                return
            self._tell(FILTERING)
            self._want(replace(self._wanted, choice=found))

    def _keep_typed(self) -> None:
        text = self._typing.text
        try:
            if self._typed == FILTER:
                self._want(replace(self._wanted, choice=job_filter.parse(text, self._gflow.user)))
            else:
                self._want(replace(self._wanted, sort=job_filter.sorting(text)))
        except BadUsage as error:
            self._tell(str(error), is_error=True)
            return
        self._end_typing()

    def _end_typing(self) -> None:
        self._typed = ""
        self._typing.end()
        self._hint = None
        self._hush()

    # keys that act

    def action_change(self, what: str) -> None:
        """Asks, then does it; of jobs that are shown as was wished last, which may take a moment."""
        if self._picture.asked != (self._wanted.choice, self._wanted.sort):
            self._asks_later = what
            return
        self._asks_later = ""
        rows = self._table.chosen
        if not rows:
            return
        act: Callable[[Sequence[str]], str] = getattr(self._changes, what)
        words = [word for row in rows for word in row.words]
        question = f"{what.capitalize()} {named(rows)}?"
        self._question.ask(render.escape(question), lambda: self._do(act, words))

    def _do(self, act: Callable[[Sequence[str]], str], words: Sequence[str]) -> None:
        """In a thread of its own: it may have to wait for the lock."""

        def work() -> None:
            try:
                said: str | Exception = act(words)
            except GflowError as error:
                said = str(error)
            except Exception as error:
                said = error
            self.post_message(Told(said))
            self._feed.again()

        self._table.marked.clear()
        threading.Thread(target=work, name="gflow-change", daemon=True).start()

    def action_attach(self) -> None:
        """Leaves the screen to the job's terminal until that is left."""
        row = self._table.row
        if row is None:
            return
        try:
            command, environ = terminals.attach(self._gflow, row.job)
        except GflowError as error:
            self._say(str(error), is_error=True)
            return
        self._feed.pause(on=True)
        try:
            with self.suspend():
                subprocess.run(command, env=environ, check=False)
        except FileNotFoundError:
            self._say("tmux is not installed", is_error=True)
        finally:
            self._feed.pause(on=False)
        self._repaint()


def named(rows: Sequence[Row]) -> str:
    """`job 12 train of ada (running)`, `3 jobs: 12,14,15`."""
    if len(rows) == 1 and len(rows[0].ids) == 1:
        row = rows[0]
        return f"job {row.label} {jobs.name(row.job)} of {row.job.spec.user} ({row.state})"
    number = sum(len(row.ids) for row in rows)
    return f"{count(number, 'job')}: {','.join(row.label for row in rows[:10])}{' and more' * (len(rows) > 10)}"
