"""The relay: lines for a request of 20 KB, and for each event of its answer, with capture into a journal.

Over real sockets, one byte string at a time: the client waits for what the upstream sent before that sends more, so
that the proxy reads what it reads in the same pieces in every run.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import trio

from tests.capture.support import make_tap
from tests.operations.lines import Lines
from tests.proxy.support import running_proxy

EVENTS = 100
BODY = b'{"model": "claude-opus-4-6", "messages": [{"role": "user", "content": "%b"}]}' % (b"word " * 4_000)
HEAD = (
    b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: sk-ant-api03-dummy\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"event: content_block_delta\ndata: " + b"x" * 150 + b"\n\n"
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
WARM = 3
RUNS = 20  # the end of one runs into the next


def relayed() -> dict[str, int]:
    """Count an exchange without events and one with a hundred of them, each on a connection that is warm."""
    alone, streamed = trio.run(_count, 0), trio.run(_count, EVENTS)
    return {
        "relay: an exchange, its request of 20 KB": alone,
        "relay: an event of its answer": (streamed - alone) // EVENTS,
    }


async def _count(events: int) -> int:
    step = trio.Semaphore(0)

    async def upstream(stream: trio.SocketStream) -> None:
        while True:
            missing = len(HEAD) + len(BODY)
            got = b""
            while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < len(BODY):
                if not (data := await stream.receive_some(missing)):
                    return
                got += data
            for piece in (ANSWER, *[CHUNK] * events, b"0\r\n\r\n"):
                await stream.send_all(piece)
                await step.acquire()

    with tempfile.TemporaryDirectory() as journal:
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, upstream, [listener])
            url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
            tap = make_tap(Path(journal))
            async with running_proxy(url, tap=tap) as proxy:
                client = await trio.open_tcp_stream(proxy.host, proxy.port)  # noqa: TID251 - the client
                for _ in range(WARM):
                    await _exchange(client, events, step)
                with Lines() as lines:
                    for _ in range(RUNS):
                        await _exchange(client, events, step)
                await client.aclose()
            nursery.cancel_scope.cancel()
        tap.writer.close()
    return lines.count // RUNS


async def _exchange(client: trio.SocketStream, events: int, step: trio.Semaphore) -> None:
    await client.send_all(HEAD + BODY)
    got = b""
    for sent in range(events + 2):
        while got.count(b"\r\n\r\n") + got.count(b"\n\n\r\n") <= sent:
            got += await client.receive_some(65536)
        step.release()
