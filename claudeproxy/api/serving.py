"""Hypercorn inside our own nursery, with the cures that its Trio worker needs.

Apart from the application because none of this is about the API. What is cured, each tried against the real thing:

- A client that stops reading an answer would hold up the shutdown for ever: Hypercorn shields its sends. Here every
  connection's socket is known and is closed when the time is up, whatever is being sent.
- Quart-Trio takes ``http.disconnect`` after a finished answer as a reason to cancel the task that Hypercorn is
  recycling the connection in, so that idle keep-alive connections are never closed. `HoldDisconnect` keeps it back.
- What h11 cannot parse is answered with an empty body; the API's errors are JSON (`ApiStream`).
- Hypercorn's own worker splits KeyboardInterrupt out of its errors and wraps a busy port in three exception groups.
  The accept loop here is trio's, so that the first passes through, and the port is opened before anything else.

It handles no signals: whoever opened the nursery does.
"""

from __future__ import annotations

import errno
import logging
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from claudeproxy.api.errors import describe, error_json, error_text
from claudeproxy.api.security import SECURITY_HEADERS
from claudeproxy.errors import ConfigError
from claudeproxy.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, Scope
    from hypercorn.typing import ASGISendEvent as SendEvent

    _HypercornStream = trio.SSLStream[trio.SocketStream]  # what it declares; ApiStream has all that it uses

log = get_logger(__name__)

GRACE_SECONDS = 2.0
"""How long answers under way may take after the shutdown began; a query takes well under one."""

KEEP_ALIVE_SECONDS = 30
MAX_HEAD_BYTES = 32 * 1024

STREAM = "claudeproxy.stream"
"""In the state of a request's scope: its `ApiStream`."""

ENDING = "claudeproxy.ending"
"""In the state of the lifespan's scope: the event that is set when the shutdown begins. What goes on for ever ends."""

LOST_SECONDS = 30
"""Until a client of an endless answer that acknowledges nothing counts as lost (it sleeps, or the network is gone)."""

MAX_MESSAGE_BYTES = 4096
"""The largest WebSocket message that is read. Nothing is expected but control frames."""

_PING = b"\x89\x00"  # a whole frame: final, opcode 9, no mask from a server, no payload (RFC 6455, 5.2)


async def open_listeners(bind: str) -> list[trio.SocketListener]:
    """Listen on ``HOST:PORT`` (port 0: any free one; ``localhost``: both families).

    Raises ConfigError, one clear line, when that cannot be had: for a busy port, a foreign address, no permission.
    """
    host, separator, port = bind.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"the API cannot listen on {bind!r}: give HOST:PORT, such as 127.0.0.1:3001")
    try:
        return await trio.open_tcp_listeners(int(port), host=host.strip("[]") or None)
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            reason = "another program is listening there; stop it, or choose another `api_address`"
        raise ConfigError(f"the API cannot listen on {bind}: {reason}") from error


async def serve_app(
    app: ASGIFramework,
    *,
    bind: str | None = None,
    listeners: Sequence[trio.SocketListener] | None = None,
    shutdown_trigger: Callable[[], Awaitable[object]] | None = None,
    grace: float = GRACE_SECONDS,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` until `shutdown_trigger` returns or the caller cancels; started with the ``HOST:PORT`` addresses.

    Give either `bind` or `listeners` that are open already. After the trigger no connection is accepted, idle ones are
    closed at once, answers under way get `grace` seconds; a cancellation gives them none. Raises ConfigError when
    `bind` cannot be had.
    """
    if listeners is None:
        listeners = await open_listeners(bind or "127.0.0.1:0")
    server = _Server(app)
    lifespan = Lifespan(server.app, server.config, {ENDING: server.ending})
    async with trio.open_nursery() as nursery:
        await nursery.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        await server.run(listeners, shutdown_trigger or trio.sleep_forever, grace, task_status)
        await lifespan.wait_for_shutdown()
        nursery.cancel_scope.cancel()


class _Server:
    """The connections of one `serve_app`."""

    def __init__(self, app: ASGIFramework) -> None:
        self.app = ASGIWrapper(cast("ASGIFramework", HoldDisconnect(app)))
        self.config = _configuration()
        self.ending = trio.Event()
        self._context = WorkerContext(None)
        self._streams: set[ApiStream] = set()

    async def run(
        self,
        listeners: Sequence[trio.SocketListener],
        shutdown_trigger: Callable[[], Awaitable[object]],
        grace: float,
        task_status: trio.TaskStatus[list[str]],
    ) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._abort_when_cancelled)
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(self._accept, list(listeners), connections)
                    task_status.started([_address(listener) for listener in listeners])
                    await shutdown_trigger()
                    accepting.cancel_scope.cancel()
                self.ending.set()
                await self._context.terminated.set()  # idle connections close now, the others after their answer
                nursery.cancel_scope.deadline = trio.current_time() + grace
            nursery.cancel_scope.cancel()

    async def _accept(self, listeners: list[trio.SocketListener], connections: trio.Nursery) -> None:
        await trio.serve_listeners(self._connection, listeners, handler_nursery=connections)

    async def _connection(self, transport: trio.SocketStream) -> None:
        stream = ApiStream(transport)
        self._streams.add(stream)
        state = ConnectionState({STREAM: stream})
        try:
            # It asks a stream for no more than ApiStream has.
            server = TCPServer(
                self.app, self.config, self._context, state, cast("trio.SSLStream[trio.SocketStream]", stream)
            )
            stream.send_lock = server.send_lock
            await server
        except Exception as error:  # noqa: BLE001 - one connection's failure ends that connection and nothing else
            log.warning("api connection failed", **describe(error))
        finally:
            self._streams.discard(stream)
            stream.abort()

    async def _abort_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            for stream in tuple(self._streams):
                stream.abort()


class ApiStream(trio.abc.HalfCloseableStream):
    """A connection that can be cut off at once, and that puts the API's error into Hypercorn's empty refusals.

    `answering` counts the application's answers under way: while there is one, bytes pass untouched.
    """

    def __init__(self, transport: trio.SocketStream) -> None:
        self._transport = transport
        self.socket = transport.socket
        self.send_lock = trio.Lock()  # Hypercorn's, once it has one
        self.answering = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; ClosedResourceError when `abort` cut it off."""
        await self._transport.send_all(data if self.answering else _refusal_in_json(bytes(data)))

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket takes more."""
        await self._transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive; ``b""`` at the end."""
        return await self._transport.receive_some(max_bytes)

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        await self._transport.send_eof()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._transport.aclose()

    async def ping(self) -> None:
        """Send a WebSocket ping, between two messages. Hypercorn's own keep a closed connection for one interval more.

        Raises BrokenResourceError and ClosedResourceError when the client is gone.
        """
        async with self.send_lock:
            with trio.CancelScope(shield=True):  # half a frame would break the connection
                await self._transport.send_all(_PING)

    def expect_life(self) -> None:
        """End the connection when the client acknowledges nothing for `LOST_SECONDS`, where the system can."""
        if (option := getattr(trio.socket, "TCP_USER_TIMEOUT", None)) is not None:
            with suppress(OSError):  # it is gone already
                self.socket.setsockopt(trio.socket.IPPROTO_TCP, option, LOST_SECONDS * 1000)

    def abort(self) -> None:
        """Close the socket now: whoever waits in it, shielded or not, gets ClosedResourceError."""
        self.socket.close()


class HoldDisconnect:
    """ASGI wrapper that tells a connection's stream when the application answers, and keeps a late disconnect back."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Pass everything on but the disconnect that follows the application's last body message."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stream = cast("ApiStream | None", scope["state"].get(STREAM))
        started = finished = False

        async def sending(message: SendEvent) -> None:
            nonlocal started, finished
            if stream is not None and message["type"] == "http.response.start" and not started:
                started = True
                stream.answering += 1
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                finished = True
            await send(message)

        async def receiving() -> ASGIReceiveEvent:
            message = await receive()
            if finished and message["type"] == "http.disconnect":
                await trio.sleep_forever()  # the application returns by itself, which cancels this
            return message

        try:
            await self._app(scope, receiving, sending)
        finally:
            if stream is not None and started:
                stream.answering -= 1


def _refusal_in_json(data: bytes) -> bytes:
    if not data.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")) or b"\r\ncontent-length: 0\r\n" not in data:
        return data
    status = int(data[9:12])
    body = error_json(error_text(status), "The bytes received are not an HTTP request that this API can read.")
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        body = error_json(error_text(status))
    extra = b"".join(b"%s: %s\r\n" % header for header in (*SECURITY_HEADERS, (b"content-type", b"application/json")))
    return data.replace(b"content-length: 0\r\n", b"content-length: %d\r\n%s" % (len(body), extra), 1) + body


def _configuration() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("claudeproxy.api.server")
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.h11_max_incomplete_size = MAX_HEAD_BYTES
    config.websocket_max_message_size = MAX_MESSAGE_BYTES
    return config


def _address(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
