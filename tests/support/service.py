"""The whole of claudeproxy before a mock of the API, in this process or as `claudeproxy serve`, and clients of it.

Everything is real: sockets, TLS, files, processes. What was captured is looked at with `captured`, after the service
has ended (then everything is there) or with `wait_captured`, beside it.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import httpx
import trio

from claudeproxy.api.entry import serve
from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.errors import StorageError
from claudeproxy.model import State
from claudeproxy.service import ClaudeProxy, ServiceAddresses
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from claudeproxy.testing import MockUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from claudeproxy.store.values import CapturedRequest, CapturedResponse
    from claudeproxy.testing import Script

API = "https://api.anthropic.com"
KEY = "sk-ant-api03-dummy"
PATIENCE = 60.0  # seconds; a bound for failures, nothing waits for it

Mode = Literal["reverse", "connect"]


@dataclass(kw_only=True)
class Running:
    """A service that accepts connections. `process` is None when it runs in this one."""

    home: Path
    proxy: tuple[str, int]
    api: tuple[str, int]
    service: ClaudeProxy | None = None
    process: trio.Process | None = None

    @property
    def url(self) -> str:
        """The proxy, for HTTPS_PROXY and ANTHROPIC_BASE_URL alike."""
        return f"http://{self.proxy[0]}:{self.proxy[1]}"

    @property
    def ca(self) -> Path:
        """The CA's certificates."""
        return self.home / "ca.crt"

    def client(self, mode: Mode = "reverse") -> httpx.AsyncClient:
        """A client of the API: `post("/v1/messages")` goes through the proxy in that mode."""
        if mode == "reverse":
            return httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=PATIENCE)
        trust = ssl.create_default_context(cafile=str(self.ca))
        return httpx.AsyncClient(base_url=API, proxy=self.url, verify=trust, trust_env=False, timeout=PATIENCE)

    def rest(self) -> httpx.AsyncClient:
        """A client of our own REST API."""
        return httpx.AsyncClient(base_url=f"http://{self.api[0]}:{self.api[1]}", trust_env=False, timeout=PATIENCE)


@asynccontextmanager
async def mocking(
    script: Script, *, tls: ssl.SSLContext | None = None, max_body_bytes: int = 64 << 20
) -> AsyncIterator[MockUpstream]:
    """A running mock of the API."""
    mock = MockUpstream(script, tls=tls, max_body_bytes=max_body_bytes)
    async with trio.open_nursery() as nursery:
        await nursery.start(mock.run)
        yield mock
        nursery.cancel_scope.cancel()


def configuration(home: Path, **keys: object) -> ClaudeProxyConfig:
    """On free ports, and quick to give up."""
    settled = {"bind_address": "127.0.0.1:0", "api_address": "127.0.0.1:0", "drain_seconds": 5.0, **keys}
    return ClaudeProxyConfig.isolated(home=home, **settled)


@asynccontextmanager
async def serving(
    home: Path, upstream: str, *, recorder: Literal["thread", "process"] = "thread", **keys: object
) -> AsyncIterator[Running]:
    """`ClaudeProxy` with its API in this process; cancelled and waited for at the end."""
    service = ClaudeProxy(configuration(home, upstream=upstream, **keys), serve, recorder=recorder)
    async with trio.open_nursery() as nursery:
        addresses: ServiceAddresses = await nursery.start(service.run)
        assert addresses.api is not None
        yield Running(home=home, proxy=addresses.proxy[0], api=addresses.api, service=service)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def command_serving(home: Path, upstream: str, *flags: str, log: Path | None = None) -> AsyncIterator[Running]:
    """`claudeproxy serve` in a process group of its own, which is killed at the end if it still runs."""
    where = ["--home", str(home), "--bind", "127.0.0.1:0", "--api", "127.0.0.1:0", "--upstream", upstream]
    (log or home.with_suffix(".log")).touch()
    with (log or home.with_suffix(".log")).open("ab") as errors:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "claudeproxy_cli", "serve", *where, *flags],
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        with trio.fail_after(PATIENCE):
            banner = await process.stdout.receive_some()
        assert banner, (log or home.with_suffix(".log")).read_text()
        state = json.loads((home / "serve.json").read_text())
        yield Running(
            home=home,
            proxy=(state["proxy"][0], state["proxy"][1]),
            api=(state["api"][0], state["api"][1]),
            process=process,
        )
    finally:
        with trio.CancelScope(shield=True):
            kill_group(process.pid)
            await process.wait()


def kill_group(pid: int) -> None:
    """SIGKILL to a session's processes, those that outlived its leader too."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


async def stop(running: Running) -> None:
    """End a `command_serving` as Ctrl-C does, and wait for it."""
    assert running.process is not None
    running.process.send_signal(signal.SIGINT)
    with trio.fail_after(PATIENCE):
        assert await running.process.wait() == 0


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A captured request with its response, bodies read."""

    request: CapturedRequest
    response: CapturedResponse | None
    body: bytes
    answer: bytes
    sources: Mapping[str, int]  # label to tokens

    @property
    def whole(self) -> CapturedResponse:
        """The response; fails when there is none."""
        assert self.response is not None, self.request
        return self.response


def captured(home: Path, *, verify: bool = True) -> list[Pair]:
    """Everything captured in a home, the oldest first; every hash is checked."""
    with CaptureStorage(home / "captures.db", read_only=True) as storage:
        if verify:
            report = storage.verify()
            assert report.ok, report.problems
        return [_pair(storage, row) for row in reversed(_rows(storage))]


def _rows(storage: CaptureStorage) -> Sequence[CapturedRequest]:
    return storage.query_requests(RequestFilters(limit=10_000)).rows


def _pair(storage: CaptureStorage, row: CapturedRequest) -> Pair:
    answered = row.status_code is not None
    return Pair(
        request=row,
        response=storage.get_response(row.correlation_id) if answered else None,
        body=row.body,
        answer=storage.response_body(row.id) if answered else b"",
        sources={total.source.label: total.token_count for total in storage.sources(row.id)},
    )


def settled(row: CapturedRequest) -> bool:
    """Whether it has ended and, if it has a body, is explained."""
    return row.state is not State.IN_FLIGHT and (row.total_tokens is not None or row.body_kept != "whole")


async def wait_captured(
    home: Path, count: int, ready: Callable[[CapturedRequest], bool] = settled
) -> list[CapturedRequest]:
    """Wait until `count` requests are in the database and all are `ready`; the oldest first."""
    with trio.fail_after(PATIENCE):
        while True:
            with suppress(StorageError), CaptureStorage(home / "captures.db", read_only=True) as storage:
                while True:
                    rows = await trio.to_thread.run_sync(_rows, storage)
                    if len(rows) >= count and all(map(ready, rows)):
                        assert len(rows) == count
                        return list(reversed(rows))
                    await trio.sleep(0.02)  # another process writes: there is nothing to be told by
            await trio.sleep(0.02)  # a database that is being made, or locked


def prompt(words: str, *, stream: bool = False, **more: object) -> bytes:
    """The body of a small request for a message."""
    return json.dumps(
        {
            "model": "claude-opus-5-5",
            "max_tokens": 64,
            "system": "Answer briefly.",
            "messages": [{"role": "user", "content": words}],
            "stream": stream,
            **more,
        },
        ensure_ascii=False,
    ).encode()


HEADERS = {"content-type": "application/json", "anthropic-version": "2023-06-01", "x-api-key": KEY}


async def ask(client: httpx.AsyncClient, body: bytes, **headers: str) -> httpx.Response:
    """POST /v1/messages; the answer's body is read, still content-encoded (`response.extensions["raw"]`)."""
    return await send(client, "POST", "/v1/messages?beta=true", body, **headers)


async def send(client: httpx.AsyncClient, method: str, path: str, body: bytes = b"", **headers: str) -> httpx.Response:
    """Any request; see `ask`."""
    async with client.stream(method, path, content=body or None, headers={**HEADERS, **headers}) as response:
        response.extensions["raw"] = b"".join([piece async for piece in response.aiter_raw()])
        return response


def raw(response: httpx.Response) -> bytes:
    """The body as it was on the wire, content coding included."""
    value = response.extensions["raw"]
    assert isinstance(value, bytes)
    return value
