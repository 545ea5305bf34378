"""Credentials reach the upstream as they were sent, and nothing else at all."""

from __future__ import annotations

import json
import os
import signal
from base64 import b64encode
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.model import State
from claudeproxy.testing import Gate, Pace, always, text
from tests.cli.support import cli
from tests.end_to_end.planting import Plants, answer, everything_stored, refused, requests
from tests.support.raw_upstream import raw_upstream
from tests.support.service import (
    PATIENCE,
    ask,
    captured,
    command_serving,
    mocking,
    prompt,
    raw,
    send,
    stop,
    wait_captured,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.wire import Wire

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


async def told(port: int, data: bytes) -> bytes:
    """Send bytes on a connection of their own, in pieces of 7; what comes back until its end, or for an instant."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)  # noqa: TID251 - a client
    came = b""
    async with stream:
        with suppress(trio.BrokenResourceError):
            for at in range(0, len(data), 7):
                await stream.send_all(data[at : at + 7])
        with trio.move_on_after(PATIENCE), suppress(trio.BrokenResourceError):
            while piece := await stream.receive_some():
                came += piece
                if came.endswith((b"}", b"\r\n\r\n")) and (b"\r\n0\r\n" in came or b" 103 " not in came):
                    break
    return came


@pytest.mark.heavy
async def test_secrets_in_every_place_are_nowhere_to_be_found(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files (journal, WAL, state), every stored value, search term, export, REST answer, command and log line."""
    plants = Plants()
    token, credentials = plants("api_token").decode() * 2, f"user:{plants('proxy_auth').decode()}"
    for key, value in {
        "API_TOKEN": token,
        "PROXY_AUTH": credentials,
        "LOG_LEVEL": "debug",
        "CAPTURE_OTHER_BODIES": "true",
        "UPSTREAM_PROXY": "",
    }.items():
        monkeypatch.setenv(f"CLAUDEPROXY_{key}", value)
    log = tmp_path / "serve.log"
    allowed = b"Proxy-Authorization: Basic " + b64encode(credentials.encode()) + b"\r\n"
    answered, relayed, own = answer(plants), requests(plants), refused(plants)
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        seen.append(await wire.read_head())
        await wire.send(answered)
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, command_serving(home, upstream.url, log=log) as running:
        shown: dict[str, bytes] = {}
        for data in relayed:
            line, _, rest = data.partition(b"\r\n")
            await told(running.proxy[1], line + b"\r\n" + allowed + rest)
        for number, data in enumerate(own):
            line, _, rest = data.partition(b"\r\n")
            with_credentials = line + b"\r\n" + allowed + rest
            shown[f"refusal {number}"] = await told(running.proxy[1], with_credentials)
            shown[f"refusal {number}, without credentials"] = await told(running.proxy[1], data)
        # The request whose trailer is refused was on its way by then: it leaves a record, too.
        rows = await wait_captured(home, len(relayed) + 1, lambda row: row.state is not State.IN_FLIGHT)
        assert len(seen) >= len(relayed)
        assert plants("never sent") not in b"".join(seen)
        assert len(plants.found_in(b"".join(seen))) > 50  # they did reach the upstream
        while_running = {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}
        assert any("journal" in name for name in while_running)
        async with running.rest() as rest_client:
            right = {"authorization": f"Bearer {token}"}
            wrong = {"authorization": f"Bearer {plants('wrong api_token').decode()}"}
            paths = ["requests", "health", "sessions", "contexts", "metrics/summary", "metrics/sources", "secrets"]
            paths += ["export?format=jsonl", "export?format=har", "requests?q=zqPlant000Qx", "quota"]
            for row in rows:
                paths += [f"requests/{row.id}", f"requests/{row.id}/body", f"contexts?request_id={row.id}"]
                paths += [f"responses/{row.id}", f"responses/{row.id}/body"]
            for path in paths:
                for given in (right, wrong):
                    answer_ = await rest_client.get(f"/api/claude/{path}", headers=given)
                    shown[f"{path} {answer_.status_code}"] = answer_.content + repr(answer_.headers.raw).encode()
            shown["metrics"] = (await rest_client.get("/metrics", headers=right)).content
        await stop(running)
    commands: list[tuple[str, ...]] = [("query", "--json"), ("query", "--csv"), ("config", "show"), ("secrets",)]
    commands += [("export", "--format", "har"), ("export",), ("doctor", "--json"), ("sessions",), ("sources", "--json")]
    commands += [("show", row.id, *more) for row in rows[:3] for more in ((), ("--json",), ("--curl",), ("--body",))]
    for command in commands:
        done = await trio.to_thread.run_sync(lambda arguments=command: cli(*arguments, "--home", home))
        shown[" ".join(command)] = (done.stdout + done.stderr).encode()
    shown |= {f"{path} afterwards": path.read_bytes() for path in home.rglob("*") if path.is_file()}
    shown |= while_running | {"log": log.read_bytes()}
    shown |= {f"value {n}": value for n, value in enumerate(everything_stored(home / "captures.db"))}
    leaks = {where: found for where, data in shown.items() if (found := plants.found_in(data))}
    leaks.pop("requests?q=zqPlant000Qx 200", None)  # repeats nothing: the question itself is not stored
    assert leaks == {}
    assert "capture stored" in log.read_text()
    kept = {pair.request.url.partition("?")[0]: pair.request.body_kept for pair in captured(home)}
    assert {kept[url] for url in kept if "auth" in url.lower()} == {"policy"}
