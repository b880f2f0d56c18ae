"""The small pieces of the screen: lines of text that the program writes, and a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.widget import Widget

from gflowctl.monitor import drawing
from gflowctl.output import render

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.style import Style
    from textual.strip import Strip


class Lines(Widget):
    """Some lines of one style, cut where the screen ends, or with `fills` broken between words."""

    def __init__(self, name: str, style: Style = drawing.NOTHING, *, fills: bool = False) -> None:
        super().__init__(id=name)
        self.style = style
        self._fills = fills
        self._texts: Sequence[str] = ()

    def show(self, *texts: str, style: Style | None = None) -> None:
        """Other lines; none takes no room."""
        if (texts, style or self.style) != (self._texts, self.style):
            self._texts, self.style = texts, style or self.style
            self._measure()
            self.refresh()

    def on_resize(self) -> None:
        """The lines may be more or fewer."""
        self._measure()

    def _measure(self) -> None:
        self.styles.height = len(self._broken())

    def _broken(self) -> list[str]:
        wide = self.app.size.width
        return [line for text in self._texts for line in (render.paragraph(text, wide) if self._fills else [text])]

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        lines, wide = self._broken(), self.size.width
        text = lines[y] if y < len(lines) else ""
        return drawing.strip([Segment(drawing.cell(text, wide), self.style)], wide)


class Question(Lines):
    """A question that one key answers: `y` with yes, any other with no."""

    def __init__(self) -> None:
        super().__init__("question", drawing.REVERSE, fills=True)
        self._action: Callable[[], None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it waits for an answer."""
        return self._action is not None

    def ask(self, text: str, action: Callable[[], None]) -> None:
        """Asks whether to do `action`."""
        self._action = action
        self.show(f"{text}  y: yes, any other key: no")

    def answer(self, key: str) -> None:
        """Does it, or not."""
        action, self._action = self._action, None
        self.show()
        if action is not None and key in ("y", "Y"):
            action()


class Typing(Lines):
    """A line that is typed, after a label."""

    def __init__(self) -> None:
        super().__init__("typing")
        self.text = ""
        self._label = ""
        self._cursor = 0

    def begin(self, label: str, text: str) -> None:
        """Shows the line."""
        self._label, self.text, self._cursor = label, text, len(text)
        self._draw()

    def end(self) -> None:
        """Shows it no longer."""
        self.show()

    def press(self, key: str, character: str | None) -> None:
        """What a key does: the keys of a shell, as far as one misses them."""
        before, after = self.text[: self._cursor], self.text[self._cursor :]
        match key:
            case "left" | "ctrl+b":
                self._cursor = max(0, self._cursor - 1)
            case "right" | "ctrl+f":
                self._cursor = min(len(self.text), self._cursor + 1)
            case "home" | "ctrl+a":
                self._cursor = 0
            case "end" | "ctrl+e":
                self._cursor = len(self.text)
            case "backspace" | "ctrl+h":
                self._put(before[:-1], after)
            case "delete" | "ctrl+d":
                self._put(before, after[1:])
            case "ctrl+w":
                self._put(before.rstrip().rpartition(" ")[0], after)
            case "ctrl+u":
                self._put("", after)
            case "ctrl+k":
                self._put(before, "")
            case _:
                if character is not None and character.isprintable():
                    self._put(before + character, after)
        self._draw()

    def insert(self, text: str) -> None:
        """What was pasted."""
        shown = "".join(letter for letter in text if letter.isprintable())
        self._put(self.text[: self._cursor] + shown, self.text[self._cursor :])
        self._draw()

    def _put(self, before: str, after: str) -> None:
        self.text, self._cursor = before + after, len(before)

    def _draw(self) -> None:
        self.show(f"{self._label}: {self.text}")
        self.refresh()

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 -- there is one line
        """The end of the line, if it is longer than the screen."""
        wide = self.size.width
        before = f"{self._label}: {self.text[: self._cursor]}"
        while render.width(before) > wide - 1:
            before = before[1:]
        at, after = self.text[self._cursor : self._cursor + 1] or " ", self.text[self._cursor + 1 :]
        return drawing.strip([Segment(before), Segment(at, drawing.REVERSE), Segment(after)], wide)
