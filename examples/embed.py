"""The proxy, the capture and the attribution inside a program of yours, in one nursery.

A scripted upstream stands in for the API, so that it runs without a key and without a network.
"""

# prints: POST https://api.anthropic.com/v1/messages complete 200
# prints: User

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import h11
import trio

from claudeproxy import CaptureStorage, ClaudeProxy, ClaudeProxyConfig, RequestFilters
from claudeproxy.testing import MockUpstream, always, text

BODY = b'{"model": "claude-sonnet-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Which moss?"}]}'


async def main(home: Path) -> None:
    mock = MockUpstream(always(text("Tortula muralis.")))
    async with trio.open_nursery() as outside:
        port = await outside.start(mock.run)
        config = ClaudeProxyConfig.isolated(home=home, bind_address="127.0.0.1:0", upstream=f"http://127.0.0.1:{port}")
        async with trio.open_nursery() as nursery:
            addresses = await nursery.start(ClaudeProxy(config).run)
            await ask(*addresses.proxy[0])
            nursery.cancel_scope.cancel()  # drains, then records what the journal holds
        outside.cancel_scope.cancel()

    with CaptureStorage(config.database_path, read_only=True) as storage:
        for request in storage.query_requests(RequestFilters(limit=10)).rows:
            print(request.method, request.url, request.state, request.status_code)
            for source in storage.sources(request.id):
                if source.token_count:  # punctuation alone counts as none
                    print(f"  {source.source.label:<24} {source.token_count:>6} tokens")


async def ask(host: str, port: int) -> None:
    """One request, as a client with ANTHROPIC_BASE_URL would send it."""
    stream = await trio.open_tcp_stream(host, port)
    connection = h11.Connection(h11.CLIENT)
    headers = [("Host", f"{host}:{port}"), ("x-api-key", "sk-ant-api03-dummy"), ("Content-Length", str(len(BODY)))]
    request = h11.Request(method="POST", target="/v1/messages", headers=headers)
    async with stream:
        await stream.send_all((connection.send(request) or b"") + BODY)
        while not isinstance(event := connection.next_event(), h11.Response):
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())


if __name__ == "__main__":
    os.umask(0o077)
    with tempfile.TemporaryDirectory() as directory:
        trio.run(main, Path(directory))
