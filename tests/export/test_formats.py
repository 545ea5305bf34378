from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from claudeproxy.export.exchanges import matching_ids
from claudeproxy.export.formats import EXPORTERS, ExportFormat, export
from claudeproxy.store.values import RequestFilters
from tests.export.support import filled

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy.store.storage import CaptureStorage


def test_every_format_has_an_exporter() -> None:
    assert EXPORTERS.keys() == set(ExportFormat)


def test_jsonl_has_a_line_for_each_exchange_in_order(stored: CaptureStorage) -> None:
    lines = b"".join(export(stored, RequestFilters(), ExportFormat.JSONL)).splitlines()
    assert [json.loads(line)["id"] for line in lines] == matching_ids(stored, RequestFilters())


@pytest.mark.parametrize("export_format", list(ExportFormat))
def test_what_is_deleted_while_it_runs_is_left_out(tmp_path: Path, export_format: ExportFormat) -> None:
    with filled(tmp_path / "captures.db") as storage:
        pieces = export(storage, RequestFilters(), export_format)
        data = next(pieces) + next(pieces)
        with storage.writing() as connection:
            connection.execute("DELETE FROM requests WHERE n BETWEEN 2 AND 12")
        data += b"".join(pieces)
    if export_format is ExportFormat.HAR:
        assert len(json.loads(data)["log"]["entries"]) == 3
    else:
        assert len([json.loads(line) for line in data.splitlines()]) == 3
