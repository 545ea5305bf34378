"""Chrome's network panel reads our HAR: the real importer of a real browser, where there is one.

Apart from ``tests/export``, which holds the file to the specification, because Chrome reads it in its own way.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from claudeproxy.export.formats import ExportFormat, export
from claudeproxy.store.values import RequestFilters
from tests.export.support import filled
from tests.support.chrome import network_panel, program

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.heavy
@pytest.mark.skipif(program() is None, reason="no chromium: apt-get install chromium")
async def test_chrome_shows_every_exchange_with_its_times_and_bodies(tmp_path: Path) -> None:
    with filled(tmp_path / "captures.db") as storage:
        text = b"".join(export(storage, RequestFilters(), ExportFormat.HAR)).decode()
    entries = json.loads(text)["log"]["entries"]
    async with network_panel(tmp_path / "profile") as panel:
        shown = await panel.import_har(text)
        nothing = json.dumps({"log": {"version": "1.2", "creator": {"name": "", "version": ""}, "entries": []}})
        assert await panel.import_har(nothing) == []
    assert len(shown) == len(entries) == 14
    for found, entry in zip(shown, entries, strict=True):
        request, response = entry["request"], entry["response"]
        assert (found["method"], found["url"]) == (request["method"], request["url"])
        assert (found["status"], found["reason"]) == (response["status"], response["statusText"])
        assert found["sent"] == request.get("postData", {}).get("text", "")
        assert found["requestHeaders"] == [[one["name"], one["value"]] for one in request["headers"]]
        assert found["responseHeaders"] == [[one["name"], one["value"]] for one in response["headers"]]
        assert found["began"] == pytest.approx(datetime.fromisoformat(entry["startedDateTime"]).timestamp(), abs=0.001)
        assert found["seconds"] == pytest.approx(entry["time"] / 1000, abs=0.0001)
        content = response["content"]
        if content.get("encoding") == "base64":
            assert found["base64"] == content["text"]
        else:
            assert (found["text"] or "") == content.get("text", "")
    assert {one["status"] for one in shown} >= {0, 200, 429, 502}
