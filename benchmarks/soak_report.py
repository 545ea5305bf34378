"""What is said of a soak when it is over: the JSON file with every sample, and the figure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from plot import Line, Panel, figure
from processes import machine
from sampling import slope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from soak import Soak

SETTLED = (0.5, 0.96)  # of the run: over this the slopes are taken; before, memories fill

Row: TypeAlias = "dict[str, float | int | None]"


def result(soak: Soak, health: dict[str, object], end: dict[str, object]) -> dict[str, object]:
    """What the JSON file holds."""
    first, last = (share * soak.seconds for share in SETTLED)
    settled = [row for row in soak.samples if first <= (row["seconds"] or 0) <= last]
    rises: dict[str, float] = {}
    for name in ("relay", "recorder"):
        for what, unit in (("resident", 1e6), ("descriptors", 1)):
            points = [(row["seconds"] or 0, value / unit) for row in settled if (value := row.get(f"{name}_{what}"))]
            rises[f"{name}_{what}_per_hour"] = round(3600 * slope(points), 3)
            rises[f"{name}_{what}_most"] = round(max((value for _, value in points), default=0), 1)
    checker = soak.checker
    return {
        "machine": machine(),
        "hours": round(soak.seconds / 3600, 3),
        "rate": soak.rate,
        "sent": soak.sent,
        "reached_upstream_and_checked": checker.checked,
        "did_not_reach_upstream": checker.unreached,
        "bytes_compared": checker.bytes_compared,
        "problems": checker.problems,
        "states": {name: dict(counted) for name, counted in sorted(checker.states.items())},
        "recorder_kills": soak.kills,
        "rest_reads": soak.reads,
        "rest_failures": soak.failed_reads,
        "live_events": soak.live_events,
        "deleted": soak.deleted,
        "held_back": soak.held_back,
        "settled_from_to_seconds": [round(first), round(last)],
        "slopes": rises,
        "health": {key: health.get(key) for key in ("status", "capture", "recorder")},
        **end,
        "samples": soak.samples,
    }


def written(found: dict[str, object]) -> str:
    """The JSON file: one line a sample."""
    head = json.dumps({key: value for key, value in found.items() if key != "samples"}, indent=1)
    samples = found["samples"]
    assert isinstance(samples, list)
    lines = ",\n".join(f"  {json.dumps(row)}" for row in samples)
    return f'{head[:-2]},\n "samples": [\n{lines}\n ]\n}}\n'


def picture(found: dict[str, object], samples: Sequence[Row]) -> str:
    """The figure: memory, descriptors and files over time."""
    hours = found["hours"]
    scale, unit = (60.0, "minutes") if isinstance(hours, float) and hours <= 2 else (3600.0, "hours")

    def line(name: str, key: str, by: float) -> Line:
        points = [((row["seconds"] or 0) / scale, value / by) if (value := row.get(key)) else None for row in samples]
        return Line(name=name, points=points)

    memory = [line("proxy", "relay_resident", 1e6), line("recorder", "recorder_resident", 1e6)]
    descriptors = [line("proxy", "relay_descriptors", 1), line("recorder", "recorder_descriptors", 1)]
    files = [line("database", "database", 1e6), line("journal", "journal", 1e6)]
    panels = (
        Panel(title="Resident memory", x=unit, y="MB", lines=memory),
        Panel(title="Open descriptors", x=unit, y="", lines=descriptors),
        Panel(title="Files on disk (the oldest captures are deleted)", x=unit, y="MB", lines=files),
    )
    return figure(f"Soak of {hours} hours, {found['sent']} exchanges with mixed faults", panels)
