"""Draws growth as SVG: panels side by side, both axes logarithmic, legible on white and on black. Pure."""

from __future__ import annotations

import math
from html import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Points = Sequence[tuple[float, float]]
    Panel = tuple[str, str, Mapping[str, Points]]  # what costs, in which unit, points by peer

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, GAP = 300, 230, 52, 58, 34, 16
# Mid tones that keep three to one against white and black, told apart by dashes too (colours by Okabe and Ito).
STROKES = (("#0072b2", ""), ("#56a0d0", "6 3"), ("#d55e00", ""), ("#a07a00", "2 3"), ("#00916c", "8 3 2 3"))
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#757575}.axis{stroke:#999;fill:none}.grid{stroke:#999;opacity:.3}"
    "@media (prefers-color-scheme:light){text{fill:#333}}@media (prefers-color-scheme:dark){text{fill:#ccc}}"
)


def svg(panels: Sequence[Panel]) -> str:
    """The whole picture; peers have the same colour in each panel."""
    names = list(dict.fromkeys(name for _, _, lines in panels for name in lines))
    width = (WIDTH + GAP) * len(panels)
    rows = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT + TOP}" role="img">',
        "<title>Cost against the number of queued jobs</title>",
        f"<style>{STYLE}</style>",
        *_legend(names),
    ]
    for place, panel in enumerate(panels):
        rows += [f'<g transform="translate({place * (WIDTH + GAP)} {TOP})">', *_panel(panel, names), "</g>"]
    return "\n".join([*rows, "</svg>", ""])


def _legend(names: Sequence[str]) -> Iterator[str]:
    x = LEFT
    for place, name in enumerate(names):
        yield f'<path d="M{x} 14h26" {_stroke(place)}/>'
        yield f'<text x="{x + 32}" y="18">{escape(name)}</text>'
        x += 56 + 7 * len(name)


def _stroke(place: int) -> str:
    colour, dashes = STROKES[place % len(STROKES)]
    return f'fill="none" stroke="{colour}" stroke-width="2"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


def _panel(panel: Panel, names: Sequence[str]) -> Iterator[str]:
    title, unit, lines = panel
    points = [(x, y) for line in lines.values() for x, y in line if x > 0 and y > 0]
    yield f'<text x="{LEFT}" y="-12" font-weight="bold">{escape(title)}, {escape(unit)}</text>'
    if not points:
        yield f'<text x="{LEFT}" y="40">not measured</text>'
        return
    xs, ys = (Axis(values) for values in zip(*points, strict=True))

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = WIDTH - LEFT, HEIGHT - BOTTOM
        return LEFT + across * xs.share(x), up - up * ys.share(y)

    yield f'<path class="axis" d="M{LEFT} 0V{HEIGHT - BOTTOM}H{WIDTH}"/>'
    for tick in xs.ticks:
        yield f'<text x="{at(tick, ys.low)[0]:.0f}" y="{HEIGHT - 14}" text-anchor="middle">{_short(tick)}</text>'
    for tick in ys.ticks:
        height = at(xs.low, tick)[1]
        yield f'<path class="grid" d="M{LEFT} {height:.1f}H{WIDTH}"/>'
        yield f'<text x="{LEFT - 5}" y="{height + 4:.1f}" text-anchor="end">{_short(tick)}</text>'
    for place, name in enumerate(names):
        known = [at(x, y) for x, y in lines.get(name, ()) if x > 0 and y > 0]
        if known:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in known)
            yield f'<path d="M{path}" {_stroke(place)}><title>{escape(name)}</title></path>'


class Axis:
    """A logarithmic axis from a power of ten to a power of ten."""

    def __init__(self, values: Sequence[float]) -> None:
        first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        self.ticks = [10.0**power for power in range(first, max(last, first + 1) + 1)]
        self.low, self.high = self.ticks[0], self.ticks[-1]

    def share(self, value: float) -> float:
        """From 0 at its beginning to 1 at its end."""
        return math.log(value / self.low) / math.log(self.high / self.low)


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
