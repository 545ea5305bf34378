"""Credentials reach the upstream as they were sent, and nothing else at all."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from claudeproxy.testing import Gate, Pace, always, text
from tests.support.service import ask, captured, command_serving, mocking, prompt, raw, send, stop, wait_captured

if TYPE_CHECKING:
    from pathlib import Path

# Told apart from anything that might be there for another reason.
KEY = "sk-ant-api03-dummy-k1Zw"
BEARER = "sk-ant-oat01-dummy-t8Qx"
COOKIE = "session-dummy-c5Rv"
PROXY = "proxy-dummy-p3Lm"
IN_URL = "param-dummy-u6Hn"
ANSWERED = "answer-dummy-a9Jb"
SECRETS = (KEY, BEARER, COOKIE, PROXY, IN_URL, ANSWERED)


def _found(root: Path) -> dict[str, list[str]]:
    """Which secrets lie in which files."""
    files = [path for path in root.rglob("*") if path.is_file()]
    assert files
    found = {s: [str(path) for path in files if s.encode() in path.read_bytes()] for s in SECRETS}
    return {secret: places for secret, places in found.items() if places}


async def test_credentials_arrive_byte_identical_and_are_nowhere_on_disk_in_answers_or_logs(
    home: Path, tmp_path: Path
) -> None:
    """Looked for while an exchange is open (journal, WAL), in every REST answer, and after the end."""
    gate = Gate()
    gate.release(3)
    reply = text("Secret keeping. " * 10, pace=Pace(gate=gate))
    cookies = ((b"Set-Cookie", f"id={ANSWERED}; Secure".encode()),)
    log = tmp_path / "serve.log"
    async with (
        mocking(always(replace(reply, headers=cookies))) as mock,
        command_serving(home, mock.url, log=log) as running,
        running.client("connect") as client,
        trio.open_nursery() as nursery,
    ):
        headers = {
            "x-api-key": KEY,
            "authorization": f"Bearer {BEARER}",
            "cookie": f"sid={COOKIE}",
            "proxy-authorization": f"Basic {PROXY}",
        }
        nursery.start_soon(lambda: ask(client, prompt("hello", stream=True), **headers))
        await gate.wait_arrived(4)
        await wait_captured(home, 1, lambda row: True)
        assert _found(home) == {}
        received = mock.received[0]
        assert received.header("x-api-key") == KEY
        assert received.header("authorization") == f"Bearer {BEARER}"
        assert received.header("cookie") == f"sid={COOKIE}"
        assert received.header("proxy-authorization") is None  # it was for the proxy
        assert (b"x-api-key", KEY.encode()) in received.headers
        gate.open()
        await send(client, "POST", f"/v1/oauth/token?code={IN_URL}&grant=x", json.dumps({"secret": KEY}).encode())
        rows = await wait_captured(home, 2)
        async with running.rest() as rest:
            answers = [(await rest.get("/api/claude/requests")).text, (await rest.get("/api/claude/health")).text]
            for row in rows:
                for path in (f"requests/{row.id}", f"requests/{row.id}/body", f"responses/{row.id}"):
                    answers.append((await rest.get(f"/api/claude/{path}")).text)
        assert not [secret for secret in SECRETS for answer in answers if secret in answer]
        assert answers[0].count("code=[REDACTED]&grant=x") == 2  # in the URL, and in that of the upstream
        assert _found(home) == {}
        await stop(running)
    assert _found(tmp_path) == {}
    assert "capture stored" in log.read_text()
    first, second = captured(home)
    told = {name.lower(): value for name, value in first.request.headers}
    assert {told[name] for name in ("x-api-key", "authorization", "cookie", "proxy-authorization")} == {"[REDACTED]"}
    assert dict(first.whole.headers)["Set-Cookie"] == "[REDACTED]"
    assert first.request.api_key_hash
    assert (second.request.body_kept, second.body) == ("policy", b"")


async def test_files_of_a_home_are_for_their_owner_only(home: Path) -> None:
    async with mocking(always(text("hi"))) as mock, command_serving(home, mock.url) as running:
        async with running.client() as client:
            assert raw(await ask(client, prompt("hello")))
        await wait_captured(home, 1)
        assert home.stat().st_mode & 0o777 == 0o700
        open_to_others = [path.name for path in home.rglob("*") if path.stat().st_mode & 0o077]
        assert running.process is not None
        os.kill(running.process.pid, signal.SIGTERM)
        await running.process.wait()
    assert set(open_to_others) <= {"ca.crt", "ca-bundle.pem"}
