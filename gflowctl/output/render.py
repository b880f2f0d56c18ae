"""What gflowctl prints: tables, colour, JSON, times. The only module that writes to stdout and stderr."""

from __future__ import annotations

import os
import sys
import time

from gflowd.core.errors import SystemFailed, brief
from gflowd.core.job.value_base import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Final

BOLD, DIM, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN = "1", "2", "31", "32", "33", "34", "35", "36"
STATE_COLORS = {
    "queued": YELLOW, "held": MAGENTA, "starting": CYAN, "running": GREEN, "suspended": MAGENTA, "stopping": CYAN,
    "finished": BLUE, "failed": RED, "cancelled": DIM, "timeout": RED,
}  # fmt: skip
NARROWEST_COLUMN = 8
LONGEST_WORD = 12  # columns: a column longer than this is narrowed


def reopen_closed_streams() -> None:
    """Opens a closed stdin, stdout or stderr as /dev/null, so that none of our files gets its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            fd = os.open(os.devnull, os.O_RDWR)
            if fd != number:
                os.dup2(fd, number)
                os.close(fd)
            stream = open(number, mode, encoding="utf-8")  # noqa: SIM115 -- it lives as long as we do
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)  # which libtmux 0.15 asks for its encoding
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def write(text: str) -> None:
    """Writes to stdout unchanged. Raises BrokenPipeError, or `SystemFailed` for any other failure."""
    _guarded(lambda: sys.stdout.write(text))


def write_bytes(data: bytes) -> None:
    """Writes bytes to stdout and flushes them. Raises as `write`."""

    def put() -> None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    _guarded(put)


def flush() -> None:
    """Flushes what was written. Raises as `write`."""
    _guarded(sys.stdout.flush)


def _guarded(action: Callable[[], object]) -> None:
    try:
        action()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_stdout()
        raise SystemFailed(f"standard output: {error.strerror}") from error


def abandon_stdout() -> None:
    """Discards what is still buffered for stdout, so that the interpreter's final flush cannot fail."""
    _abandon(1)


def _abandon(stream: int) -> None:
    fd = os.open(os.devnull, os.O_WRONLY)
    os.dup2(fd, stream)
    os.close(fd)


_name = "gflowctl"  # of the program that speaks


def speak_as(name: str) -> None:
    """Makes `note` name another program."""
    global _name
    _name = name


def note(text: str) -> None:
    """One line for the user on stderr."""
    say(f"{_name}: {text}")


def fail(text: str) -> None:
    """Reports an error; flushes stdout first, unless stdout itself failed."""
    try:
        flush()
    except (SystemFailed, BrokenPipeError):
        abandon_stdout()
    note(text)


def say(text: str) -> None:
    """One line on stderr that does not name the program, as some of Slurm's do not."""
    try:
        sys.stderr.write(f"{brief(escape(text))}\n")
        sys.stderr.flush()
    except OSError:  # the message cannot be delivered; keep our exit status
        _abandon(2)


def notes_are_read() -> bool:
    """Whether a person may be looking at stderr."""
    return sys.stderr.isatty()


def write_json(value: object) -> None:
    """One JSON document; uses orjson if reading the snapshot has already imported it. Bytes of a path that are not
    UTF-8 are written as escapes, as `json.loads` reads them.
    """
    if orjson := sys.modules.get("orjson"):
        try:
            write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")
        except TypeError:  # it takes UTF-8 alone, and integers of 64 bits
            pass
        else:
            return
    import json

    text = json.dumps(value, indent=2, ensure_ascii=False)
    write((text if _is_utf8(text) else json.dumps(value, indent=2)) + "\n")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def rfc3339(at: float | None) -> str | None:
    """`2025-01-31T17:30:00.000000Z`: UTC with microseconds; None for None."""
    if at is None:
        return None
    seconds, micro = divmod(round(at * 1_000_000), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{micro:06}Z"


def escape(text: str) -> str:
    """`text` with every character that does not print (control, direction marks) written as an escape."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in text
    )


def width(text: str) -> int:
    """How many terminal columns `text` takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def is_terminal() -> bool:
    """Whether stdout is one."""
    return sys.stdout.isatty()


def draws_blocks() -> bool:
    """Whether output may contain block characters: on a UTF-8 terminal, never in a pipe."""
    return is_terminal() and (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def terminal_columns() -> int:
    """The width of the terminal on stdout; 80 if unknown."""
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def use_color(choice: str) -> bool:
    """Whether to colour: `choice` is never, auto or always; NO_COLOR (no-color.org) and dumb terminals decide auto."""
    if choice == "auto":
        return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return choice == "always"


def paint(text: str, color: str, *, on: bool) -> str:
    """`text` in a colour or weight (an SGR parameter of ECMA-48)."""
    return f"\x1b[{color}m{text}\x1b[0m" if on and color and text else text


def cut(text: str, columns: int) -> str:
    """`text` in at most `columns`; a cut is marked."""
    if width(text) <= columns:
        return text
    while text and width(text) > columns - 1:
        text = text[:-1]
    return f"{text}+"


def wrap(text: str, columns: int) -> list[str]:
    """`text` in lines of at most `columns`, broken after commas if possible, else between words; a word that is
    longer than a line is cut.
    """
    lines = [""]
    for phrase in text.replace(", ", ",\0").split("\0"):
        for piece in [phrase] if width(phrase) <= columns else phrase.split(" "):
            longer = f"{lines[-1]} {piece}" if lines[-1] else piece
            if lines[-1] and width(longer) > columns:
                lines.append(piece)
            else:
                lines[-1] = longer
    return [cut(line, columns) for line in lines]


def paragraph(text: str, columns: int) -> list[str]:
    """`text` in lines of at most `columns`, broken between words; of a longer word nothing is lost."""
    lines = [""]
    for word in text.split(" "):
        rest = word
        if lines[-1] and width(f"{lines[-1]} {rest}") > columns:
            lines.append("")
        while width(rest) > columns:
            part = cut(rest, columns + 1)[:-1]
            lines[-1], rest = part, rest[len(part) :]
            lines.append("")
        lines[-1] = f"{lines[-1]} {rest}" if lines[-1] else rest
    return lines


class Column(Value):
    """A column of a table: its title, whether it is right-aligned, whether it may be cut or wrapped, or left out
    (`spare`), if there is no room for it, the width below which it is not cut, and its cells' colour.
    """

    __slots__ = ("color", "flexible", "least", "right", "spare", "title", "wraps")

    def __init__(
        self,
        title: str,
        *,
        right: bool = False,
        flexible: bool = False,
        wraps: bool = False,
        spare: bool = False,
        least: int = NARROWEST_COLUMN,
        color: Callable[[Any], str] | None = None,
    ) -> None:
        self.title: Final = title
        self.right: Final = right
        self.flexible: Final = flexible or wraps
        self.wraps: Final = wraps
        self.spare: Final = spare
        self.least: Final = max(least, width(title))
        self.color: Final = color


def table(
    columns: Sequence[Column], rows: Sequence[tuple[Any, Sequence[str]]], *, color: bool, columns_wide: int
) -> str:
    """Aligned lines under a header. A row is the argument for `Column.color`, and the cells.

    `columns_wide` is the width to fit flexible columns into; 0: as wide as it gets.
    """
    whole = [_escaped([row[place] for _, row in rows]) for place in range(len(columns))]
    widths = [max(width(column.title), _widest(cells)) for column, cells in zip(columns, whole, strict=True)]
    if columns_wide:
        columns, widths, whole = _fitted(list(columns), widths, whole, columns_wide)
    abouts: Sequence[Any] = [about for about, _ in rows]
    if any(column.wraps for column in columns):
        abouts, whole = _wrapped(columns, widths, abouts, whole)
    forms, shown = [], []
    for column, wide, cells in zip(columns, widths, whole, strict=True):
        colors = [BOLD, *(column.color(about) if column.color else "" for about in abouts)] if color else None
        form, padded = _stacked(column, wide, [column.title, *cells], colors)
        forms.append(form)
        shown.append(padded)
    form = "  ".join(forms)
    return "\n".join([(form % row).rstrip() for row in zip(*shown, strict=True)]) + "\n"


def _escaped(cells: list[str]) -> list[str]:
    """The cells of a column; checks once for all of them whether anything needs escaping."""
    return cells if "".join(cells).isprintable() else [escape(cell) for cell in cells]


def _widest(cells: list[str]) -> int:
    return max(map(len if "".join(cells).isascii() else width, cells), default=0)


def _fitted(
    columns: list[Column], widths: list[int], whole: list[list[str]], wide: int
) -> tuple[list[Column], list[int], list[list[str]]]:
    """The columns, their widths and their cells for a line of `wide`: first without those that can be spared, then with
    long words cut.
    """
    narrowest = [
        _narrowest(column, wanted, cells) for column, wanted, cells in zip(columns, widths, whole, strict=True)
    ]
    for place in reversed(range(len(columns))):
        if columns[place].spare and _together(narrowest) > wide:
            del columns[place], widths[place], whole[place], narrowest[place]
    squeeze(narrowest, widths, wide)
    least = [column.least if column.flexible else wanted for column, wanted in zip(columns, widths, strict=True)]
    squeeze(least, widths, wide)
    return columns, widths, whole


def _together(widths: Sequence[int]) -> int:
    """How wide a line is."""
    return sum(widths) + 2 * (len(widths) - 1)


def squeeze(narrowest: Sequence[int], widths: list[int], wide: int) -> None:
    """Narrows the widest flexible column repeatedly until the line fits or no column can be narrowed further."""
    while _together(widths) > wide:
        able = [place for place, least in enumerate(narrowest) if widths[place] > least]
        if not able:
            return
        widths[max(able, key=widths.__getitem__)] -= 1


def _narrowest(column: Column, wide: int, cells: Iterable[str]) -> int:
    """The smallest width of a column whose cells need `wide`."""
    if not column.flexible:
        return wide
    words = (word for cell in cells for word in cell.split(" ")) if column.wraps else ()
    return max(column.least, min(LONGEST_WORD, max(map(width, words), default=0)))


def _wrapped(
    columns: Sequence[Column], widths: Sequence[int], abouts: Sequence[Any], whole: Sequence[list[str]]
) -> tuple[list[Any], list[list[str]]]:
    """Splits each row into as many as its cells need: their argument for colours, and their cells by column."""
    from itertools import zip_longest

    lines: list[tuple[Any, ...]] = []
    for about, *row in zip(abouts, *whole, strict=True):
        parts = [
            wrap(cell, wide) if column.wraps else [cell]
            for column, wide, cell in zip(columns, widths, row, strict=True)
        ]
        lines += ((about, *part) for part in zip_longest(*parts, fillvalue=""))
    return [line[0] for line in lines], [[line[place] for line in lines] for place in range(1, 1 + len(columns))]


def _stacked(column: Column, wide: int, cells: list[str], colors: Sequence[str] | None) -> tuple[str, Sequence[str]]:
    """The `%` format for the cells of a column in `wide`, and the cells, already padded if `%` cannot count them."""
    if column.flexible and _widest(cells) > wide:
        cells = [cut(cell, wide) for cell in cells]
    if colors is None and "".join(cells).isascii():
        return f"%{wide if column.right else -wide}s", cells
    padded = []
    for cell, color in zip(cells, colors or [""] * len(cells), strict=True):
        blank, painted = " " * (wide - width(cell)), paint(cell, color, on=True)
        padded.append(blank + painted if column.right else painted + blank)
    return "%s", padded
