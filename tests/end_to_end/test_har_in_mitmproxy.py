"""mitmproxy reads our HAR: ``mitmdump -r``, fetched from PyPI by uv, where there is uv.

Apart from ``tests/export``, which holds the file to the specification, because mitmproxy reads it in its own way.
"""

from __future__ import annotations

import base64
import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from claudeproxy.export.formats import ExportFormat, export
from claudeproxy.store.values import RequestFilters
from tests.export.support import filled
from tests.support.claude_code import needs

if TYPE_CHECKING:
    from pathlib import Path

MITMPROXY = "mitmproxy==11.0.2"
TELL = """
import base64, json
def response(flow):
    told = {"method": flow.request.method, "url": flow.request.url, "status": flow.response.status_code}
    told["sent"] = base64.b64encode(flow.request.raw_content or b"").decode()
    told["got"] = base64.b64encode(flow.response.raw_content or b"").decode()
    told["headers"] = [[name.decode(), value.decode()] for name, value in flow.request.headers.fields]
    print(json.dumps(told), flush=True)
"""


@pytest.mark.heavy
@needs("uv")
def test_mitmproxy_reads_every_exchange_with_its_bodies(tmp_path: Path) -> None:
    program = ["uv", "tool", "run", "--from", MITMPROXY, "mitmdump"]
    fetched = subprocess.run([*program, "--version"], capture_output=True, text=True, timeout=300, check=False)
    if fetched.returncode:
        pytest.skip(f"mitmproxy is not to be had here: {fetched.stderr[-200:]}")
    with filled(tmp_path / "captures.db") as storage:
        text = b"".join(export(storage, RequestFilters(), ExportFormat.HAR)).decode()
    entries = json.loads(text)["log"]["entries"]
    (tmp_path / "captures.har").write_text(text)
    (tmp_path / "tell.py").write_text(TELL)
    command = [
        *program,
        "-n",
        "-q",
        "-r",
        str(tmp_path / "captures.har"),
        "-s",
        str(tmp_path / "tell.py"),
        "--set",
        f"confdir={tmp_path}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    read = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(read) == len(entries) == 14, done.stdout[-2000:] + done.stderr[-2000:]
    for found, entry in zip(read, entries, strict=True):
        request, content = entry["request"], entry["response"]["content"]
        assert (found["method"], found["url"], found["status"]) == (
            request["method"],
            request["url"],
            entry["response"]["status"],
        )
        assert base64.b64decode(found["sent"]).decode() == request.get("postData", {}).get("text", "")
        own = [["content-length", str(len(base64.b64decode(found["sent"])))]]  # mitmproxy adds what it misses
        assert [one for one in found["headers"] if one not in own] == [
            [one["name"], one["value"]] for one in request["headers"]
        ]
        written = content.get("text", "")
        got = base64.b64decode(written) if content.get("encoding") == "base64" else written.encode()
        assert base64.b64decode(found["got"]) == got
