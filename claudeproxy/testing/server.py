"""MockUpstream: a scripted Messages API on a real socket, plain or TLS.

Public: `claudeproxy demo`, the tests, the examples and the benchmarks use it, and so may anyone who tests a program
that talks to the API. It listens on the loopback, answers by script and remembers everything it was sent. It is no
model and no security boundary, and speaks HTTP/1.1 only (as the real client does).

One connection is one task; while it answers, a second task watches for the client leaving, so that a test can wait
for exactly that. HTTP is h11's, in `testing.wire`; what is said is `testing.endpoints`'s.
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING

import trio

from claudeproxy.testing.endpoints import Endpoints
from claudeproxy.testing.received import Outcome, ReceivedRequest
from claudeproxy.testing.wire import BadRequestError, BreakOffError, Connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.testing.scripts import Script

log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024  # the API's own limit is 32 MB


class MockUpstream:
    """The scripted API.

    ::

        mock = MockUpstream(Replies([text("Hello")]))
        async with trio.open_nursery() as nursery:
            await nursery.start(mock.run)
            ...                                    # talk to mock.url
            request = await mock.wait_request(1)

    `script` chooses the answers to `POST /v1/messages`; `tls` makes it a TLS server with that context; `cache_minimum`
    is the smallest cached prefix in tokens. `keep_bodies=False` forgets bodies once they are answered (benchmarks).
    """

    def __init__(
        self,
        script: Script,
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        max_head_bytes: int = MAX_HEAD_BYTES,
        max_body_bytes: int = MAX_BODY_BYTES,
        cache_minimum: int | None = None,
        keep_bodies: bool = True,
    ) -> None:
        self.received: list[ReceivedRequest] = []
        self.connections = 0  # accepted so far
        self._endpoints = Endpoints(script, cache_minimum=cache_minimum)
        self._tls = tls
        self._host, self._port = host, port
        self._max_head, self._max_body = max_head_bytes, max_body_bytes
        self._keep_bodies = keep_bodies
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"<MockUpstream {self.url} connections={self.connections} received={len(self.received)}>"

    @property
    def port(self) -> int:
        """The port it listens on (0 before `run`, if none was asked for)."""
        return self._port

    @property
    def url(self) -> str:
        """Its origin, such as ``http://127.0.0.1:41873``."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self._port}"

    @property
    def messages(self) -> list[ReceivedRequest]:
        """Those of `received` that ask for a message."""
        return [request for request in self.received if request.is_message]

    @property
    def unanswered(self) -> Sequence[str]:
        """What the script had no reply for, in words; empty when the script was complete."""
        return self._endpoints.unanswered

    async def wait_request(self, number: int) -> ReceivedRequest:
        """Wait for the request of this number (1 is the first; every method and path counts) to be wholly here."""
        while len(self.received) < number:
            await self._changed.wait()
        return self.received[number - 1]

    async def wait_message(self, number: int) -> ReceivedRequest:
        """Wait for the `number`-th request for a message."""
        while len(self.messages) < number:
            await self._changed.wait()
        return self.messages[number - 1]

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; reports the port when it is ready."""
        listeners = await trio.open_tcp_listeners(self._port, host=self._host)
        self._port = listeners[0].socket.getsockname()[1]
        task_status.started(self._port)
        await trio.serve_listeners(self.handle, listeners)

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until it ends; failures of the connection end here."""
        self.connections += 1
        if self._tls is not None:
            stream = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        connection = Connection(
            stream, number=self.connections, max_head_bytes=self._max_head, max_body_bytes=self._max_body
        )
        try:
            await self._serve(connection)
            await stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError) as exc:
            log.debug("connection %d of the mock ended: %r", connection.number, exc)
        finally:
            await trio.aclose_forcefully(stream)

    async def _serve(self, connection: Connection) -> None:
        while True:
            try:
                request = await connection.receive(len(self.received) + 1)
            except BadRequestError as exc:
                await self._endpoints.refuse(connection, exc)
                return
            if request is None:
                return
            # Other connections may have been served meanwhile: the number is the place in the list.
            request.number = len(self.received) + 1
            self.received.append(request)
            self._notify()
            outcome = await self._answer(connection, request)
            if not self._keep_bodies:
                request.body = b""
                vars(request).pop("decoded", None)
                vars(request).pop("json", None)
            request.finish(outcome)
            if outcome is not Outcome.ANSWERED or not connection.reusable:
                return

    async def _answer(self, connection: Connection, request: ReceivedRequest) -> Outcome:
        """Answer, with an eye on the client. The outcome is settled even when the connection breaks."""
        outcome = Outcome.CLIENT_GONE  # unless the answer gets through
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.watch, nursery.cancel_scope)
            try:
                await self._endpoints.answer(connection, request)
                outcome = Outcome.ANSWERED
            except BreakOffError:
                outcome = Outcome.BROKEN_OFF
            except trio.BrokenResourceError:
                pass
            nursery.cancel_scope.cancel()
        return outcome

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
