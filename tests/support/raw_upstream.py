"""An upstream whose every byte is scripted: a handler gets each connection as a `Wire`. Real sockets, plain or TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from tests.support.wire import Wire

if TYPE_CHECKING:
    import ssl

Script = Callable[[Wire], Awaitable[None]]


class RawUpstream:
    """Where it listens and how many connections it saw."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0
        self.errors: list[BaseException] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def raw_upstream(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawUpstream]:
    """Serve `script` to each connection; the connection is closed when it returns. What it raises fails the test."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    upstream = RawUpstream(listeners[0].socket.getsockname()[1])

    async def serve(raw: trio.SocketStream) -> None:
        upstream.connections += 1
        stream: trio.abc.Stream = raw
        if tls is not None:
            stream = trio.SSLStream(raw, tls, server_side=True, https_compatible=True)
        wire = Wire(stream, raw)
        try:
            if isinstance(stream, trio.SSLStream):
                await stream.do_handshake()
            await script(wire)
            await stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except EOFError:
            pass
        finally:
            await trio.aclose_forcefully(raw)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield upstream
        nursery.cancel_scope.cancel()


def answering(*answers: bytes) -> Script:
    """A script: for each request with Content-Length (or none) on a connection, the next answer."""

    async def script(wire: Wire) -> None:
        for answer in answers:
            await wire.read_message()
            await wire.send(answer)
        await wire.wait_gone()

    return script
