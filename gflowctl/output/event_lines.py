"""Events as text: JSON lines, or a table that grows."""

from __future__ import annotations

import time

from gflowctl.output import render
from gflowd.core.events import kinds
from gflowd.core.syntax import durations, fast_json, memory
from gflowd.core.syntax.plurals import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gflowd.core.events.kinds import Event
    from gflowd.core.syntax.clocks import Clock

_TIMES = ("at", "start", "end")
TITLES = ("ID", "TIME", "KIND", "JOB", "USER", "NAME")
DETAILS = "DETAILS"
LEAST = (5, 8, 13, 3, 0, 0)  # columns from the start, since later events may need them
WITHOUT_JOB = 4  # cells in the line of an event that concerns no job
NARROW = 100  # columns: less has no room for users
LONGEST_NAME, SHORT_NAME = 24, 12
COLORS = {
    kinds.JOB_SUBMITTED: render.YELLOW, kinds.JOB_STARTED: render.GREEN, kinds.JOB_HELD: render.MAGENTA,
    kinds.JOB_SUSPENDED: render.MAGENTA, kinds.JOB_UNSUSPENDED: render.GREEN, kinds.JOB_STOPPING: render.CYAN,
    kinds.JOB_RELEASED: render.YELLOW, kinds.JOB_REQUEUED: render.YELLOW, kinds.GPU_FAULTY: render.RED,
    kinds.GPU_VANISHED: render.RED, kinds.WORKER_RESTARTED: render.RED,
}  # fmt: skip


def write_json(events: Iterable[Event]) -> None:
    """An object for each event, on a line of its own, at once."""
    lines = [fast_json.dumps(_for_json(kinds.shown(event))) + b"\n" for event in events]
    if lines:
        render.write_bytes(b"".join(lines))


def _for_json(event: Event) -> Event:
    """With times as RFC 3339."""
    return {
        name: render.rfc3339(value) if name in _TIMES or name.endswith("_at") else value
        for name, value in event.items()
    }


class Table:
    """Lines under a header. Columns become wider when events need it; on a terminal a line is cut where that ends."""

    def __init__(self, clock: Clock, *, is_terminal: bool, color: str) -> None:
        self._clock = clock
        self._is_terminal = is_terminal
        self._color = render.use_color(color)
        self._widths = list(LEAST)
        self._has_header = False

    def write(self, events: Iterable[Event]) -> None:
        """Prints them at once."""
        columns = render.terminal_columns() if self._is_terminal else 0
        longest = SHORT_NAME if 0 < columns < NARROW else LONGEST_NAME
        rows = [(_color(event), self._cells(event, longest)) for event in events]
        if not self._has_header:
            rows.insert(0, (render.BOLD, [*TITLES, DETAILS]))
            self._has_header = True
        for _, cells in rows:
            for place, cell in enumerate(cells[: len(TITLES) if len(cells) > WITHOUT_JOB else 2]):
                self._widths[place] = max(self._widths[place], render.width(cell))
        render.write("".join(self._line(color, cells, columns) for color, cells in rows))
        render.flush()

    def _cells(self, event: Event, longest: int) -> list[str]:
        at, name = event["at"], render.escape(event.get("name") or "")
        when = self._clock.near(at, time.time(), seconds=True) if self._is_terminal else self._clock.stamp(at)
        if self._is_terminal:
            name = render.cut(name, longest)
        detail = self._about_reservation(event) if "reservation" in event else _detail(event)
        head = [event["id"], when, event["kind"]]
        if "job" not in event:  # what is told of it begins where the job would be
            return [*head, render.escape(detail)]
        return [*head, _job(event), event["user"], name, render.escape(detail)]

    def _about_reservation(self, event: Event) -> str:
        if "start" not in event:  # its record is gone
            return str(event["reservation"])
        gpus = count(event["gpus"], "GPU")
        if event["gpu_list"] is not None:
            gpus = f"GPU {','.join(map(str, event['gpu_list']))}"
        start, end = (self._clock.near(event[name], time.time()) for name in ("start", "end"))
        again = f", {event['repeat']}" if event["repeat"] else ""
        return f"{event['reservation']}: {gpus} for {event['user']}, {start} to {end}{again}"

    def _line(self, color: str, cells: Sequence[str], columns: int) -> str:
        widths = [*self._widths, 0] if len(cells) > WITHOUT_JOB else [*self._widths[: WITHOUT_JOB - 1], 0]
        shown = list(zip(cells, widths, strict=True))
        if 0 < columns < NARROW and len(cells) > WITHOUT_JOB:
            del shown[TITLES.index("USER")]
        text = "  ".join(cell + " " * (wide - render.width(cell)) for cell, wide in shown).rstrip()
        return render.paint(render.cut(text, columns) if columns else text, color, on=self._color) + "\n"


def _color(event: Event) -> str:
    state: str | None = event.get("state") if event["kind"] == kinds.JOB_ENDED else None
    return COLORS.get(event["kind"], "") if state is None else render.STATE_COLORS.get(state, "")


def _job(event: Event) -> str:
    """`42`, or `42_3`."""
    job, array_id, index = event.get("job"), event.get("array_id"), event.get("array_index")
    return "" if job is None else str(job) if index is None else f"{array_id}_{index}"


def _detail(event: Event) -> str:
    family = event["kind"].partition("_")[0]
    describe = _DETAILS.get(event["kind"]) or _DETAILS.get(family)
    return "" if describe is None else describe(event)


def _request(event: Event) -> str:
    parts = [count(event["count"], "job")] if event["count"] > 1 else []
    parts += ["held"] if event.get("state") == "held" else []
    parts += [count(event["gpus"], "GPU"), count(event["cpus"], "CPU")]
    if event["memory_mb"] is not None:
        parts.append(memory.show(event["memory_mb"]))
    if event["time_limit"] is not None:
        parts.append(f"{durations.clock(event['time_limit'])} at most")
    return ", ".join(parts)


def _started(event: Event) -> str:
    parts = [f"attempt {event['attempt']}"] if event["attempt"] > 1 else []
    if event["gpu_ids"]:
        parts.append(f"on GPU {','.join(map(str, event['gpu_ids']))}")
    return ", ".join([*parts, f"waited {durations.clock(event['wait_seconds'])}"])


def _ended(event: Event) -> str:
    """What the state says already is left out."""
    why = f"exit {event['exit_code']}" if event["reason"] == "NonZeroExit" else event["reason"]
    told = event["state"] if why in (None, "CancelledByUser", "TimeLimit") else f"{event['state']} ({why})"
    return told if event["run_seconds"] is None else f"{told}, ran {durations.clock(event['run_seconds'])}"


def _requeued(event: Event) -> str:
    return f"attempt {event['attempt']} ({event['reason']})"


def _stopping(event: Event) -> str:
    return str(event["reason"])


def _gpu(event: Event) -> str:
    model = f" ({event['model']})" if event.get("model") else ""
    why = f": {event['reason']}" if event.get("reason") else ""
    return f"GPU {event['gpu']}{model}{why}"


def _daemon(event: Event) -> str:
    return f"gflowd {event['version']}, pid {event['pid']}{', after a crash' if event.get('unclean') else ''}"


def _worker(event: Event) -> str:
    return f"{event['worker']}, pid {event['pid']}, {count(event['restarts'], 'restart')}"


_DETAILS: dict[str, Callable[[Event], str]] = {
    kinds.JOB_SUBMITTED: _request, kinds.JOB_UPDATED: _request, kinds.JOB_STARTED: _started, kinds.JOB_ENDED: _ended,
    kinds.JOB_REQUEUED: _requeued, kinds.JOB_STOPPING: _stopping, "gpu": _gpu, "daemon": _daemon, "worker": _worker,
}  # fmt: skip
