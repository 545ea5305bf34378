"""Figures as SVG, by hand: a few lines over time need no library, and the file is text that a diff can show."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 760, 240  # of one panel
LEFT, RIGHT, TOP, BOTTOM = 60, 150, 34, 40
COLOURS = ("#1f6fb2", "#c2571a", "#3c8a4b", "#8a4b9c", "#777777")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A named series of points; a gap in `points` (None) breaks the line."""

    name: str
    points: Sequence[tuple[float, float] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One diagram: lines over the same x."""

    title: str
    x: str
    y: str
    lines: Sequence[Line]


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


def _panel(panel: Panel) -> list[str]:
    points = [point for line in panel.lines for point in line.points if point is not None]
    xs, ys = ticks(max((x for x, _ in points), default=1)), ticks(max((y for _, y in points), default=1))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    last = max((x for x, _ in points), default=1) or 1  # the time axis ends where the data does

    def at(x: float, y: float) -> tuple[float, float]:
        return LEFT + (right - LEFT) * x / last, bottom - (bottom - TOP) * y / ys[-1]

    parts = [f'<text x="{LEFT}" y="{TOP - 14}">{escape(panel.title)}</text>']
    for y in ys:
        height = at(0, y)[1]
        parts.append(f'<path d="M{LEFT} {height:.1f}H{right}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{y:g}</text>')
    marks = [(at(x, 0)[0], x) for x in xs if x <= last]
    parts += [f'<text x="{place:.1f}" y="{bottom + 16}" text-anchor="middle">{x:g}</text>' for place, x in marks]
    parts.append(f'<text x="{right}" y="{bottom + 32}" text-anchor="end">{escape(panel.x)}</text>')
    parts.append(f'<text x="8" y="{TOP - 14}" font-size="11">{escape(panel.y)}</text>')
    for number, line in enumerate(panel.lines):
        colour = COLOURS[number % len(COLOURS)]
        path, pen = [], "M"
        for point in line.points:
            if point is None:
                pen = "M"
                continue
            path.append(f"{pen}{at(*point)[0]:.1f} {at(*point)[1]:.1f}")
            pen = "L"
        parts.append(f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
        parts.append(f'<text x="{right + 10}" y="{TOP + 14 + 18 * number}" fill="{colour}">{escape(line.name)}</text>')
    return parts
