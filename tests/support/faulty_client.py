"""A client with its hands on the wire: every way into the proxy, every byte of its own, every manner of leaving.

Real sockets, real TLS. What it saw of an answer is read with h11, strictly: an answer that is not whole says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import h11
import trio

from tests.support.wire import Wire

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

API = "api.anthropic.com"

Farewell = Literal["closes", "resets"]

_PIECE = 65536


class Ways:
    """The ways into a proxy that listens at `address`; `trust` says which certificates the client takes."""

    def __init__(self, address: tuple[str, int], trust: Callable[[], ssl.SSLContext]) -> None:
        self.host, self.port = address
        self._trust = trust
        self._open: list[Wire] = []

    @property
    def own_host(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def dial(self) -> Wire:
        raw = await trio.open_tcp_stream(self.host, self.port)  # noqa: TID251
        wire = Wire(raw, raw)
        self._open.append(wire)
        return wire

    async def dial_tls(self, name: str, below: Wire | None = None) -> Wire:
        below = below or await self.dial()
        stream = trio.SSLStream(below.stream, self._trust(), server_hostname=name, https_compatible=True)
        await stream.do_handshake()
        return Wire(stream, below.raw)

    async def connect(self, host: str, port: int, over: Wire | None = None) -> Wire:
        wire = over or await self.dial()
        await wire.send(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        head = await wire.read_head()
        assert head.startswith(b"HTTP/1.1 200 "), head
        return wire

    # Each way in gives a wire and the target and Host that a request for the API's `path` has there.

    async def enter(self, mode: str, path: str) -> tuple[Wire, str, str]:
        if mode == "connect+tls":
            return await self.dial_tls(API, await self.connect(API, 443)), path, API
        if mode == "connect+plain":
            return await self.connect(API, 80), path, API
        if mode == "tls":
            return await self.dial_tls(API), path, API
        if mode == "tls to proxy, connect+tls":
            outer = await self.connect(API, 443, over=await self.dial_tls("localhost"))
            return await self.dial_tls(API, outer), path, API
        if mode == "tls to proxy by IP, connect+tls":
            outer = await self.connect(API, 443, over=await self.dial_tls("127.0.0.1"))
            return await self.dial_tls(API, outer), path, API
        if mode == "tls to proxy, reverse":
            return await self.dial_tls("localhost"), path, f"localhost:{self.port}"
        if mode == "reverse":
            return await self.dial(), path, self.own_host
        if mode == "absolute":
            return await self.dial(), f"http://{API}{path}", API
        if mode == "absolute to the proxy":
            return await self.dial(), f"http://{self.own_host}{path}", self.own_host
        raise AssertionError(mode)

    async def close(self) -> None:
        for wire in self._open:
            await wire.close()


def request(method: str, target: str, host: str, body: bytes = b"", *, fields: str = "") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body or method == "POST" else ""
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}{length}\r\n".encode() + body


async def leave(wire: Wire, how: Farewell) -> None:
    """Go: by a FIN, or by a reset."""
    if how == "resets":
        await wire.reset()
    else:
        await wire.aclose()


async def send_until_stuck(wire: Wire, data: bytes, *, seconds: float = 0.3) -> int:
    """Send `data` to a peer that will stop taking it; how many bytes were given away."""
    for start in range(0, len(data), _PIECE):
        with trio.move_on_after(
            seconds
        ) as limit:  # how long "no more" takes to be believed; a slow one gives less away
            await wire.send(data[start : start + _PIECE])
        if limit.cancelled_caught:
            return start
    raise AssertionError(f"all {len(data)} bytes were taken")


@dataclass(kw_only=True)
class Seen:
    """What a client saw of an answer."""

    informational: list[int] = field(default_factory=list)
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    payload: bytearray = field(default_factory=bytearray)
    ending: Literal["whole", "cut", "reset", "left"] = "left"
    reusable: bool = False

    @property
    def words(self) -> str:
        """For a table."""
        before = "".join(f"{status}, then " for status in self.informational)
        if self.status is None:
            what = {"cut": "its connection closed", "reset": "its connection reset", "left": "no answer"}[self.ending]
            return before + what
        ours = b'"claudeproxy: ' in self.payload
        events = self.payload.count(b"event: ")
        what = f"{self.status} from the proxy" if ours else f"{self.status}"
        if events and self.ending != "whole":
            what += f" and {events} event{'s' if events > 1 else ''}"
        return (
            before + what + {"whole": "", "left": "", "cut": ", then a close", "reset": ", then a reset"}[self.ending]
        )


class AnswerReader:
    """Reads one answer from a wire; `seen` grows as it comes. `on_progress` is called after each piece."""

    def __init__(self, wire: Wire, *, method: str = "POST", on_progress: Callable[[Seen], None] | None = None) -> None:
        self.seen = Seen()
        self._wire = wire
        self._on_progress = on_progress
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        self._http.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        self._http.send(h11.EndOfMessage())

    async def run(self, *, until: Callable[[Seen], bool] = lambda seen: False) -> Seen:
        """Read to the answer's end, whatever that is, or until something was seen."""
        while not until(self.seen):
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                self.seen.ending = "cut"
                return self.seen
            if event is h11.NEED_DATA:
                try:
                    self._http.receive_data(bytes(await self._wire.stream.receive_some(65536)))
                except trio.BrokenResourceError:
                    self.seen.ending = "reset"
                    return self.seen
            elif isinstance(event, h11.ConnectionClosed):
                self.seen.ending = "cut"
                return self.seen
            elif isinstance(event, h11.EndOfMessage):
                self.seen.ending = "whole"
                self.seen.reusable = self._http.their_state is not h11.MUST_CLOSE
                return self.seen
            else:
                self._take(event)
        return self.seen

    def _take(self, event: object) -> None:
        if isinstance(event, h11.InformationalResponse):
            self.seen.informational.append(event.status_code)
        elif isinstance(event, h11.Response):
            self.seen.status = event.status_code
            self.seen.headers = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            self.seen.payload += event.data
        if self._on_progress is not None:
            self._on_progress(self.seen)
