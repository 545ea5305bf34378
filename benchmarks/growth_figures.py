"""The curves of `growth`: rows in, SVG out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from growth_load import added
from plot import Line, Panel, figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from overhead import Row

GROUPS = {
    "Lists": ("list", "list, last page", "list, session", "list, project", "list, source", "list, model and status"),
    "Searches": ("search, one match", "search, rare word", "search, common word", "search, common word, everywhere"),
    "One capture, one session": ("detail", "breakdown", "body", "session", "sessions, a page"),
    "Contexts": (
        "contexts, a page", "contexts, a page far down", "contexts, a source's page", "contexts, the first thousand",
        "contexts, a source's first thousand", "contexts, the output's first thousand",
    ),
    "Metrics": (
        "metrics, summary", "metrics, sources", "metrics, sources of half", "metrics, history by hour",
        "metrics, history by day", "everything counted",
    ),
}  # fmt: skip


def line(name: str, rows: Iterable[Row], x: str, y: str, *, by: float = 1.0) -> Line:
    """The rows that have both, in order of `x`."""
    points = [(a, b / by) for row in rows if isinstance(a := row.get(x), float) and isinstance(b := row.get(y), float)]
    return Line(name=name, points=sorted(points))


def _each(rows: Sequence[Row], x: str, y: str) -> list[Line]:
    """A line for splice and claudeproxy in either mode."""
    ways = [(contender, mode) for contender in ("splice", "claudeproxy") for mode in ("reverse", "connect")]
    return [
        line(f"{contender}, {mode}", [r for r in rows if (r["contender"], r["mode"]) == (contender, mode)], x, y)
        for contender, mode in ways
    ]


def _processes(rows: Sequence[Row], x: str, what: str) -> list[Line]:
    """Claudeproxy's relay and recorder in either mode, and the splice that has no recorder."""
    found = []
    for mode in ("reverse", "connect"):
        ours = [row for row in rows if row["contender"] == "claudeproxy" and row["mode"] == mode]
        theirs = [row for row in rows if row["contender"] == "splice" and row["mode"] == mode]
        found += [line(f"{name}, {mode}", ours, x, f"{name}_{what}") for name in ("relay", "recorder")]
        found.append(line(f"splice, {mode}", theirs, x, f"relay_{what}"))
    return found


def connections(rows: Sequence[Row]) -> str:
    """Delay of an event, CPU for an exchange and memory over connections."""
    x, panels = "connections", []
    for name, key in (("median", "event_median_ms"), ("99th percentile", "event_p99_ms")):
        lines = _each(added(rows, x, key), x, "added_ms")
        panels.append(Panel(title=f"Added to an event, {name}", x=x, y="ms", lines=lines, logarithmic="xy"))
    for title, unit, what in (("CPU for an exchange of 100 KB", "ms", "cpu_ms"), ("Resident memory, peak", "MB", "mb")):
        panels.append(Panel(title=title, x=x, y=unit, lines=_processes(rows, x, what), logarithmic="x"))
    return figure("Connections at once, 500 events a second between them", panels)


def bodies(rows: Sequence[Row]) -> str:
    """Time added to a request, CPU for it and for a MB of it, and memory over the size of its body."""
    x = "bytes"
    lines = _each(added(rows, x, "whole_median_ms"), x, "added_ms")
    per_mb = [_per_mb(row) for row in rows]
    panels = [
        Panel(title="Added to a request, median", x=x, y="ms", lines=lines, logarithmic="xy"),
        Panel(title="CPU for a request", x=x, y="ms", lines=_processes(rows, x, "cpu_ms"), logarithmic="xy"),
        Panel(title="CPU for a MB", x=x, y="ms", lines=_processes(per_mb, x, "per_mb"), logarithmic="xy"),
        Panel(title="Resident memory, peak", x=x, y="MB", lines=_processes(rows, x, "mb"), logarithmic="x"),
    ]
    return figure("Size of a request, the next turn of a conversation", panels)


def _per_mb(row: Row) -> Row:
    size, found = row["bytes"], dict(row)
    assert isinstance(size, float)
    for name in ("relay", "recorder"):
        if isinstance(used := row.get(f"{name}_cpu_ms"), float):
            found[f"{name}_per_mb"] = used / (size / 1e6)
    return found


def captures(rows: Sequence[Row]) -> str:
    """Size of the database, time of each query and of retention over captures."""
    x = "captures"
    shapes = {name: [row for row in rows if row["shape"] == shape] for shape, name in _SHAPES.items()}
    shapes = {name: found for name, found in shapes.items() if found}

    def panel(title: str, unit: str, y: str, *, logarithmic: str = "xy") -> Panel:
        lines = [line(name, found, x, y) for name, found in shapes.items()]
        return Panel(title=title, x=x, y=unit, lines=lines, logarithmic=logarithmic)

    panels = [
        panel("Database after a checkpoint", "MB", "megabytes"),
        panel("Database for a capture", "bytes", "bytes_per_capture"),
        panel("Deleting the oldest thirtieth, CPU for a capture", "ms", "retention_cpu_ms_per_capture"),
        panel("Deleting the oldest thirtieth, longest step", "ms", "retention_longest_step_ms"),
    ]
    for name, found in shapes.items():
        for title, questions in GROUPS.items():
            lines = [line(_short(question), found, x, f"query {question}, CPU ms") for question in questions]
            panels.append(Panel(title=f"{title}, captures of {name}, CPU", x=x, y="ms", lines=lines, logarithmic="xy"))
    return figure("Captures in the database", panels)


def _short(question: str) -> str:
    """A question's name without what the panel's title says."""
    return question.partition(", ")[2] or question


_SHAPES = {"real": "real size", "small": "2 KB"}
FIGURES: Mapping[str, Callable[[Sequence[Row]], str]] = {
    "connections": connections,
    "bodies": bodies,
    "captures": captures,
}
