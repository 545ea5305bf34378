"""Growth: points that were taken are not taken again, and curves are drawn of what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from growth import Points
from growth_captures import captures
from growth_figures import FIGURES
from growth_load import added
from pairs import SMALL, fill

from claudeproxy.store.storage import CaptureStorage

if TYPE_CHECKING:
    from pathlib import Path


def test_points_survive_an_interruption_and_are_not_missing_any_more(tmp_path: Path):
    path = tmp_path / "growth.json"
    points = Points(path)
    assert points.missing("bodies", "bytes", (1_000, 10_000)) == [1_000, 10_000]
    points.taking("bodies")([{"bytes": 1_005.0, "mode": "reverse"}])
    assert Points(path).missing("bodies", "bytes", (1_000, 10_000)) == [10_000]
    assert Points(path).missing("connections", "connections", (1,)) == [1]


def test_points_of_another_shape_are_other_points(tmp_path: Path):
    points = Points(tmp_path / "growth.json")
    points.taking("captures")([{"captures": 10.0, "shape": "real"}])
    assert points.missing("captures", "captures", (10, 100), shape="real") == [100]
    assert points.missing("captures", "captures", (10, 100), shape="small") == [10, 100]


def test_what_is_added_is_told_against_the_direct_connection_of_the_same_point():
    rows = [
        {"bytes": size, "mode": "reverse", "contender": name, "ms": size / 1000 + more}
        for size in (1_000.0, 2_000.0)
        for name, more in (("direct", 0.0), ("splice", 1.0))
    ]
    assert [(row["bytes"], row["added_ms"]) for row in added(rows, "bytes", "ms")] == [(1_000, 1), (2_000, 1)]


def test_captures_are_made_gone_on_with_and_measured(tmp_path: Path):
    rows: list[dict[str, float | str | None]] = []
    with CaptureStorage(tmp_path / "small-80.db") as storage:
        fill(storage, 30, SMALL)  # interrupted: it goes on with the next batch of conversations
    captures("small", [80], rows.extend, tmp_path, filling=True)
    (row,) = rows
    assert row["captures"] == 70
    assert row["retention_deleted"] == 2
    assert row["query list, CPU ms"] > 0
    assert row["megabytes"] > 0
    ElementTree.fromstring(FIGURES["captures"](rows))


def test_databases_are_left_as_they_are_when_that_is_asked_for(tmp_path: Path):
    with CaptureStorage(tmp_path / "small-80.db") as storage:
        fill(storage, 1, SMALL)
    rows: list[dict[str, float | str | None]] = []
    captures("small", [40, 80], rows.extend, tmp_path, filling=False)
    assert [(row["captures"], row.get("fill_cpu_ms")) for row in rows] == [(1, None)]


@pytest.mark.parametrize(
    ("part", "key", "figure"), [("connections", "connections", "event"), ("bodies", "bytes", "whole")]
)
def test_curves_are_drawn_of_the_points_that_there_are(part: str, key: str, figure: str):
    rows = [
        {
            key: x, "mode": "reverse", "contender": name, f"{figure}_median_ms": y, f"{figure}_p99_ms": 2 * y,
            "relay_cpu_ms": y, "relay_mb": y, "recorder_cpu_ms": y, "recorder_mb": y,
        }
        for x in (1.0, 10.0)
        for name, y in (("direct", 1.0), ("splice", 2.0), ("claudeproxy", 3.0))
    ]  # fmt: skip
    text = FIGURES[part](rows)
    ElementTree.fromstring(text)
    assert text.count("<circle") >= 2 * 2 + 2 * 3 * 2
