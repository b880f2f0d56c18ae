"""How results are shown: as tables for a terminal or in Markdown, and as one JSON document. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import groupby
from math import isnan, nan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from simulation.comparison import Result, Summary
    from simulation.figures import Figures
    from simulation.replay import Kept

HOUR = 3600.0
BEGIN, END = "<!-- measured -->\n", "<!-- end of measured -->"  # where a page has its tables


def heading(result: Result) -> str:
    """What the results that follow have in common."""
    offered = f"{result.figures.jobs} jobs of {result.trace}, {_setting(result.load, result.no_limit)}"
    return f"{offered}; waits in hours; wide: half of the GPUs or more; promises, estimates: made/moved/broken"


def head(figures: Figures) -> str:
    """The names of the columns of `row`."""
    names = ("mean wait", "p95", "longest", *(f"wait {name}" for name in figures.by_width), "wide")
    waits = "".join(f"{name:>10}" for name in names)
    return f"{'policy':12}{waits}{'slowdown':>10}{'use':>7}{'jain':>6}{'spread':>8}{'promises':>15}{'estimates':>16}"


def row(result: Result) -> str:
    """One policy's figures."""
    each = result.figures
    waits = (each.mean_wait, each.p95_wait, each.longest_wait, *each.by_width.values(), each.wide_wait)
    hours = "".join("         -" if wait is None else f"{wait / HOUR:10.2f}" for wait in waits)
    rest = f"{each.slowdown:10.1f}{each.utilisation:7.1%}{each.jain:6.3f}{each.spread:8.2f}"
    return f"{result.policy:12}{hours}{rest}{_kept(each.promises):>15}{_kept(each.estimates):>16}"


def _kept(kept: Kept) -> str:
    return f"{kept.made}/{kept.moved}/{kept.broken}" if kept.made else "-"


COLUMNS = ("policy", "slowdown", "mean wait", "p95", "longest", "wide", "use, points", "worst", "jain", "broken")


def summary_rows(summaries: Iterable[Summary]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """For each load and share of jobs without limits what it is, and the rows of a table with its head."""
    for (load, no_limit), found in groupby(summaries, key=lambda each: (each.load, each.no_limit)):
        each = list(found)
        widths = tuple(each[0].by_width)
        traces = ", ".join(name.partition(".")[0] for name in each[0].traces)
        title = f"{_setting(load, no_limit).capitalize()}; {traces}:"
        yield title, [(*COLUMNS[:6], *widths, *COLUMNS[6:]), *map(_summary_row, each)]


def _summary_row(each: Summary) -> tuple[str, ...]:
    ratios = (each.slowdown, each.mean_wait, each.p95_wait, each.longest_wait, each.wide_wait, *each.by_width.values())
    broken = [part for part in (each.promises_broken, each.estimates_broken) if part is not None]
    told = " ~".join(f"{part:.1%}" for part in broken)
    return (
        each.policy,
        *(_number(ratio) for ratio in ratios),
        f"{each.utilisation:+.1f}",
        f"{each.worst_utilisation:+.1f}",
        f"{each.jain:.3f}",
        told if each.promises_broken is not None or not told else f"~{told}",
    )


def text_table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Lines with the columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        first, *others = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        yield "  ".join((first.strip().ljust(widths[0]), *others)).rstrip()


def markdown_table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Lines of a table in Markdown, numbers to the right."""
    for number, cells in enumerate(rows):
        yield f"| {' | '.join(cells)} |"
        if not number:
            yield f"|---|{'---:|' * (len(cells) - 1)}"


def written(text: str, tables: str) -> str:
    """A page with these tables between its marks. Raises ValueError when it has none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there is no {BEGIN} with {END} after it")
    return f"{before}{begin}\n{tables}{end}{after}"


def document(settings: Mapping[str, Any], results: Sequence[Result], summaries: Iterable[Summary]) -> str:
    """All as JSON: waits in seconds, parts of 1; in summaries ratios."""
    found = {
        **settings,
        "results": [asdict(each) for each in results],
        "summaries": [asdict(each) for each in summaries],
    }
    return json.dumps(found, indent=1, allow_nan=False)


def _setting(load: float | None, no_limit: float) -> str:
    limits = f"{no_limit:.0%} without a limit" if no_limit else "all with limits"
    return f"{'as they came' if load is None else f'load {load:.2f}'}, {limits}"


def _number(value: float | None) -> str:
    number = nan if value is None else value
    return "-" if isnan(number) else f"{number:.2f}" if number < 10 else f"{number:.1f}"
