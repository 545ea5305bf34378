"""What tests of the command share: running it, with and without a terminal, and a database to read."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from claudeproxy.attribution.engine import AttributionEngine
from claudeproxy.model import (
    Answer,
    BodyKept,
    EntryMode,
    Instants,
    RecordedBody,
    RecordedExchange,
    RecordedResponse,
    State,
    Usage,
)
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.testing.conversations import demo_conversation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FOREIGN = {
    *("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"),
    *("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"),
    *("ANTHROPIC_BASE_URL", "CLAUDE_CONFIG_DIR", "NO_COLOR"),
}

COMMAND = [sys.executable, "-m", "claudeproxy_cli"]
START = 1_795_000_000_000_000_000  # 2026-11-18, the first request; one every minute
MINUTE = 60_000_000_000


def cli(*arguments: object, env: Mapping[str, str] | None = None, **more: object) -> subprocess.CompletedProcess[str]:
    """Run the command as a shell would, its output piped."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **more,  # type: ignore[call-overload]
    )


def on_terminal(*arguments: object, env: Mapping[str, str] | None = None, columns: int = 80) -> tuple[int, str]:
    """Run the command with a terminal for its output: exit code, and what a person saw (escapes included)."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns), **(env or {})}
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], env=environment, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    text = drain(leader)
    return process.wait(60), text


def drain(leader: int, *, until: str | None = None, seconds: float = 60) -> str:
    """Everything that is written to a terminal until it closes, or until some text has come."""
    collected = b""
    deadline = time.monotonic() + seconds
    while until is None or until.encode() not in collected:
        if not select.select([leader], [], [], max(deadline - time.monotonic(), 0))[0]:
            raise AssertionError(f"the terminal stayed silent after {collected!r}")
        try:
            piece = os.read(leader, 65536)
        except OSError:  # Linux says EIO when the last writer has gone
            piece = b""
        if not piece:
            break
        collected += piece
    return collected.decode().replace("\r\n", "\n")


def exchanges() -> list[RecordedExchange]:
    """The demonstration's turns as the recorder would hand them to the store, one a minute, the oldest first."""
    return [_exchange(number, turn.body, turn.headers) for number, turn in enumerate(demo_conversation())]


def _exchange(number: int, body: bytes, headers: Sequence[tuple[bytes, bytes]]) -> RecordedExchange:
    began = START + number * MINUTE
    redacted = tuple((n, b"[REDACTED]" if n.lower() in {b"x-api-key", b"authorization"} else v) for n, v in headers)
    message = json.dumps({"id": f"msg_{number}", "type": "message", "role": "assistant", "content": []}).encode()
    return RecordedExchange(
        correlation_id=f"{number + 1:08x}-0000-4000-8000-000000000000",
        owner="test",
        state=State.COMPLETE,
        entry_mode=EntryMode.CONNECT,
        method="POST",
        url="https://api.anthropic.com/v1/messages?beta=true",
        upstream_url="https://api.anthropic.com/v1/messages?beta=true",
        http_version="1.1",
        headers=redacted,
        api_key_hash=None,
        instants=Instants(
            request_initiated=began,
            proxy_received=began + 1_000_000,
            forwarded=began + 2_000_000,
            response_received=began + 422_000_000,
            delivered=began + 2_000_000_000,
        ),
        request_body=RecordedBody(kept=BodyKept.WHOLE, data=body, length=len(body)),
        response=RecordedResponse(
            status_code=200,
            reason="OK",
            http_version="1.1",
            headers=((b"content-type", b"application/json"), (b"request-id", b"req_1")),
            trailers=(),
            origin="upstream",
            body=RecordedBody(kept=BodyKept.WHOLE, data=message, length=len(message)),
            answer=Answer(
                message=json.loads(message),
                message_id=f"msg_{number}",
                stop_reason="end_turn",
                usage=Usage(input_tokens=10, cache_read_input_tokens=1000, output_tokens=100 + number),
            ),
        ),
    )


def fill(home: Path, recorded: Sequence[RecordedExchange] | None = None) -> list[str]:
    """Store and explain exchanges as the recorder does; tokens are a quarter of the characters. Returns the ids."""
    home.mkdir(exist_ok=True)
    engine = AttributionEngine()
    recorded = exchanges() if recorded is None else recorded
    with CaptureStorage(home / "captures.db") as storage:
        ids = storage.record(recorded, {})
        for request_id, exchange in zip(ids, recorded, strict=True):
            if exchange.request_body.data:
                result = engine.analyze_request(exchange.request_body.data, headers=exchange.headers)
                counts = [len(segment.text) // 4 for segment in result.segments()]
                storage.save_attribution(request_id, result, counts, rules_version=engine.version)
    return ids


def altered(number: int, **changes: object) -> RecordedExchange:
    """One of the exchanges, changed."""
    return replace(exchanges()[number], **changes)  # type: ignore[arg-type]
