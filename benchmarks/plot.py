"""Figures as SVG, by hand: a few lines over time need no library, and the file is text that a diff can show.

An axis begins at 0, or is logarithmic, where what is not above 0 has no place and breaks its line.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 760, 240  # of one panel
LEFT, RIGHT, TOP, BOTTOM = 60, 190, 34, 40
COLOURS = ("#1f6fb2", "#c2571a", "#3c8a4b", "#8a4b9c", "#777777", "#b23a5e", "#2b9c9c", "#a08a1f")
FEW = 20  # points of a line, of which each gets a dot


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A named series of points; a gap in `points` (None) breaks the line."""

    name: str
    points: Sequence[tuple[float, float] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One diagram: lines over the same x. `logarithmic` names the axes that are: "", "x", "y" or "xy"."""

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    logarithmic: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """From values to places: `low` is at `start`, `high` at `end`."""

    low: float
    high: float
    marks: Sequence[float]
    start: float
    end: float
    logarithmic: bool

    def place(self, value: float) -> float | None:
        """Where a value is drawn; None: nowhere."""
        if not self.logarithmic:
            return self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low)
        if value <= 0:
            return None
        return self.start + (self.end - self.start) * log10(value / self.low) / log10(self.high / self.low)


def figure(title: str, panels: Sequence[Panel]) -> str:
    """Return the panels, one below the other, as an SVG document."""
    height = 30 + HEIGHT * len(panels)
    box = f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate(0 {30 + number * HEIGHT})">')
        parts += _panel(panel)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def ticks(top: float) -> list[float]:
    """Return four to eight round numbers from 0 to at least `top`."""
    if top <= 0:
        return [0.0, 1.0]
    step = 10.0 ** floor(log10(top / 4))
    for factor in (1, 2, 5, 10):
        if top / (step * factor) <= 7:
            step *= factor
            break
    return [step * number for number in range(ceil(top / step) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Return the powers of ten from at most `low` to at least `high`, two of them at least."""
    first, last = floor(log10(low)), ceil(log10(high))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def short(value: float) -> str:
    """A number as an axis says it: 20k, 3M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _axis(values: Sequence[float], start: float, end: float, *, logarithmic: bool, tight: bool) -> _Axis:
    """An axis for these values; a `tight` one ends where the data does, others at their last mark."""
    above = [value for value in values if value > 0] or [1.0]
    marks = decades(min(above), max(above)) if logarithmic else ticks(max(values, default=1))
    low = marks[0] if logarithmic else 0.0
    high = max(above) if tight and not logarithmic else marks[-1]
    return _Axis(low=low, high=high, marks=marks, start=start, end=end, logarithmic=logarithmic)


def _panel(panel: Panel) -> list[str]:
    points = [point for line in panel.lines for point in line.points if point is not None]
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    xs = _axis([x for x, _ in points], LEFT, right, logarithmic="x" in panel.logarithmic, tight=True)
    ys = _axis([y for _, y in points], bottom, TOP, logarithmic="y" in panel.logarithmic, tight=False)
    parts = [f'<text x="{LEFT}" y="{TOP - 14}">{escape(panel.title)}</text>']
    for y in ys.marks:
        height = ys.place(y)
        parts.append(f'<path d="M{LEFT} {height:.1f}H{right}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{(height or 0) + 4:.1f}" text-anchor="end">{short(y)}</text>')
    marks = [(xs.place(x), x) for x in xs.marks if x <= xs.high]
    parts += [f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{short(x)}</text>' for at, x in marks]
    parts.append(f'<text x="{right}" y="{bottom + 32}" text-anchor="end">{escape(panel.x)}</text>')
    parts.append(f'<text x="8" y="{TOP - 14}" font-size="11">{escape(panel.y)}</text>')
    for number, line in enumerate(panel.lines):
        colour = COLOURS[number % len(COLOURS)]
        parts += _line(line, xs, ys, colour)
        parts.append(f'<text x="{right + 10}" y="{TOP + 14 + 18 * number}" fill="{colour}">{escape(line.name)}</text>')
    return parts


def _line(line: Line, xs: _Axis, ys: _Axis, colour: str) -> list[str]:
    path, dots, pen = [], [], "M"
    for point in line.points:
        across, up = (None, None) if point is None else (xs.place(point[0]), ys.place(point[1]))
        if across is None or up is None:
            pen = "M"
            continue
        path.append(f"{pen}{across:.1f} {up:.1f}")
        dots.append(f'<circle cx="{across:.1f}" cy="{up:.1f}" r="2" fill="{colour}"/>')
        pen = "L"
    return [
        f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.3"/>',
        *(dots if len(dots) <= FEW else ()),
    ]
