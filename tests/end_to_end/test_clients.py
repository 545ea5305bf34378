"""Other people's clients through the proxy, and certificates that are not to be trusted, on either side."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest
import trio
import trustme

from claudeproxy.model import State
from claudeproxy.testing import MockUpstream, always, text
from tests.support import clients
from tests.support.claude_code import DUMMY_KEY, needs
from tests.support.service import (
    API,
    PATIENCE,
    ask,
    captured,
    command_serving,
    mocking,
    prompt,
    raw,
    serving,
    stop,
    wait_captured,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import Mode, Running

MODES = pytest.mark.parametrize("mode", ["reverse", "connect"])


def _one(home: Path, mode: str) -> None:
    (pair,) = captured(home)
    assert pair.request.state is State.COMPLETE
    assert pair.request.entry_mode == mode
    assert pair.sources["User"] > 0
    told = {name.lower(): value for name, value in pair.request.headers}
    assert DUMMY_KEY not in json.dumps(told)


@MODES
@needs("curl")
async def test_curl(home: Path, mode: Mode) -> None:
    async with mocking(always(text("for curl"))) as mock, serving(home, mock.url) as running:
        url = f"{running.url if mode == 'reverse' else 'https://api.anthropic.com'}/v1/messages"
        way = {"HTTPS_PROXY": running.url, "CURL_CA_BUNDLE": str(running.ca)} if mode == "connect" else {}
        done = await clients.curl(
            "-H", f"x-api-key: {DUMMY_KEY}", "--data-binary", "@-", url, env=way, stdin=prompt("from curl")
        )
    assert done.json["content"] == [{"type": "text", "text": "for curl"}], done.stderr
    _one(home, mode)


def _environment(running: Running, mode: Mode) -> dict[str, str]:
    if mode == "reverse":
        return {"ANTHROPIC_BASE_URL": running.url}
    return {"HTTPS_PROXY": running.url, "SSL_CERT_FILE": str(running.ca)}


@MODES
@pytest.mark.parametrize("stream", [False, pytest.param(True, marks=pytest.mark.heavy)])
async def test_pythons_sdk(home: Path, mode: Mode, stream: bool) -> None:
    async with mocking(always(text("for the SDK"))) as mock, serving(home, mock.url) as running:
        done = await clients.python_sdk(_environment(running, mode), {"stream": stream})
        sent = mock.received[0]
        assert DUMMY_KEY in f"{sent.header('x-api-key')} {sent.header('authorization')}"
    assert done.json["text"] == "for the SDK", done.stderr
    _one(home, mode)


@pytest.mark.heavy
@needs("npm", "node")
async def test_nodes_sdk_which_ignores_proxies_in_reverse_mode(home: Path) -> None:
    directory = await trio.to_thread.run_sync(clients.install_node_sdk)
    async with mocking(always(text("for node"))) as mock, serving(home, mock.url) as running:
        done = await clients.node_sdk(directory, {"ANTHROPIC_BASE_URL": running.url}, {"stream": True})
    assert done.json["text"] == "for node", done.stderr
    _one(home, "reverse")


def _tls(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def _secure(mock: MockUpstream) -> str:
    return f"https://localhost:{mock.port}"


async def test_an_upstream_over_tls_is_verified_with_the_given_ca(home: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "extra.pem"))
    async with mocking(always(text("verified")), tls=_tls(authority, "localhost")) as mock:
        async with serving(home, _secure(mock), upstream_ca=tmp_path / "extra.pem") as running:
            async with running.client("connect") as client:
                response = await ask(client, prompt("hello"))
    assert response.status_code == 200
    assert json.loads(raw(response))["content"][0]["text"] == "verified"
    _one(home, "connect")


@pytest.mark.heavy
async def test_a_client_that_distrusts_us_is_one_log_line_with_the_remedy(home: Path, tmp_path: Path) -> None:
    """It comes again and again, as clients do, and is said once."""
    log = tmp_path / "serve.log"
    async with mocking(always(text("hi"))) as mock, command_serving(home, mock.url, log=log) as running:
        done = await clients.python_sdk({"HTTPS_PROXY": running.url})
        assert "certificate" in done.stderr.lower()
        for _ in range(3):
            async with httpx.AsyncClient(base_url=API, proxy=running.url, trust_env=False) as distrusting:
                with pytest.raises(httpx.ConnectError):
                    await ask(distrusting, prompt("I do not trust you"))
        async with running.client("connect") as client:
            assert (await ask(client, prompt("I trust you"))).status_code == 200
        await wait_captured(home, 1)
        with trio.fail_after(PATIENCE):
            await stop(running)
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if "does not trust" in line["event"]]
    assert line["level"] == "warning"
    assert line["server_name"] == "api.anthropic.com"
    assert "claudeproxy run" in line["remedy"]
    assert "NODE_EXTRA_CA_CERTS" in line["remedy"]


@needs("openssl")
async def test_openssl_verifies_our_leaf_and_its_chain(home: Path) -> None:
    async with mocking(always(text("hi"))) as mock, serving(home, mock.url) as running:
        done = await clients.run(
            [
                *("openssl", "s_client", "-proxy", f"{running.proxy[0]}:{running.proxy[1]}"),
                *("-connect", "api.anthropic.com:443", "-servername", "api.anthropic.com"),
                *("-verify_hostname", "api.anthropic.com", "-verify_return_error", "-CAfile", str(running.ca)),
            ]
        )
    assert b"Verify return code: 0 (ok)" in done.stdout, done.stderr
