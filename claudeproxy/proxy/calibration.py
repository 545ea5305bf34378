"""Calibration: one request for a size, made by us, for each new model and set of tools that passes. Off by default.

The first prompt of a model is sized by shipped weights, some ten per cent off. ``/v1/messages/count_tokens`` knows
better and costs nothing, but it takes the caller's credentials, which are never stored: so it is asked here, in the
relay's process, while the head of the request that showed them is in memory. What is asked is the tools and the system
prompt of a request that was answered, with one word for a message. It goes the way of any other exchange, upstream
settings and capture included, under an entry mode of its own; accounting learns from it as from counts of a client's.

It delays nobody: it begins after the answer has been delivered, one at a time. What comes while many wait is
passed over, and comes again; whatever fails is not tried again.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import trio

from claudeproxy.logs import get_logger
from claudeproxy.model import EntryMode, State
from claudeproxy.proxy.entry import Layer, host_field
from claudeproxy.proxy.settings import parse_upstream
from claudeproxy.sansio.headers import get, serialize_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from claudeproxy.model import (
        Buffer,
        Direction,
        ExchangeEnd,
        ExchangeStart,
        ExchangeTap,
        RawHeaders,
        ResponseStart,
        Tap,
    )
    from claudeproxy.proxy.server import ProxyServer

log = get_logger("claudeproxy.proxy")

MAX_BODY = 4 << 20  # bytes; what is larger began smaller
WAITING = 8  # answered requests that are not looked at yet
MAX_ASKED = 1_000  # models and sets of tools of one process; a person has some dozens
PATIENCE = 60.0  # seconds

_PATH = "/v1/messages"
_SENT = (b"authorization", b"x-api-key", b"user-agent", b"x-claude-code-session-id")  # and anthropic-*
_ABSENT = msgspec.Raw()


class _Asked(msgspec.Struct):
    model: str
    tools: msgspec.Raw = _ABSENT
    system: msgspec.Raw = _ABSENT


_DECODER = msgspec.json.Decoder(_Asked)


@dataclass(frozen=True, slots=True)
class _Answered:
    """A request that was answered: its head, with the credentials, and its body."""

    url: str
    headers: RawHeaders
    body: bytes


class CalibratingTap:
    """Implements `model.Tap`: `inner` hears of everything; `run` asks for sizes of what was answered.

    :param allowed: whether anything may be asked now: not while capture is paused.
    """

    def __init__(self, inner: Tap, *, allowed: Callable[[], bool] = lambda: True) -> None:
        self._inner = inner
        self._allowed = allowed
        self._seen: set[bytes] = set()
        self._send, self._receive = trio.open_memory_channel[_Answered](WAITING)

    def exchange(self, start: ExchangeStart) -> ExchangeTap:
        """Begin an exchange."""
        inner = self._inner.exchange(start)
        return _Listening(inner, start, self._offer) if _is_message(start) else inner

    async def run(self, server: ProxyServer) -> None:
        """Ask through this server, until cancelled."""
        async for answered in self._receive:
            try:
                await self._consider(server, answered)
            except Exception as error:  # noqa: BLE001 - nobody waits for it, and its text might quote a head
                log.debug("not calibrated", error=type(error).__name__)

    def _offer(self, answered: _Answered) -> None:
        try:
            self._send.send_nowait(answered)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _consider(self, server: ProxyServer, answered: _Answered) -> None:
        found = await trio.to_thread.run_sync(count_request, answered.body)
        if found is None or found[0] in self._seen or len(self._seen) >= MAX_ASKED or not self._allowed():
            return
        self._seen.add(found[0])
        with trio.move_on_after(PATIENCE):
            await _ask(server, answered, found[1])


class _Listening:
    """Keeps what a request says until its answer has ended well."""

    __slots__ = ("_inner", "_length", "_offer", "_pieces", "_start", "_well")

    def __init__(self, inner: ExchangeTap, start: ExchangeStart, offer: Callable[[_Answered], None]) -> None:
        self._inner = inner
        self._start = start
        self._offer = offer
        self._pieces: list[bytes] = []
        self._length = 0
        self._well = False

    def request_body(self, data: Buffer) -> None:
        self._inner.request_body(data)
        self._length += len(data)
        if self._length <= MAX_BODY:
            self._pieces.append(bytes(data))

    def informational(self, status_code: int, headers: RawHeaders) -> None:
        self._inner.informational(status_code, headers)

    def response_start(self, head: ResponseStart) -> None:
        self._inner.response_start(head)
        self._well = head.status_code == 200 and head.origin == "upstream"

    def response_body(self, data: Buffer) -> None:
        self._inner.response_body(data)

    def websocket(self, direction: Direction, data: Buffer) -> None:
        self._inner.websocket(direction, data)

    def end(self, end: ExchangeEnd) -> None:
        self._inner.end(end)
        if self._well and end.state is State.COMPLETE and self._length <= MAX_BODY:
            self._offer(_Answered(self._start.url, self._start.headers, b"".join(self._pieces)))


def count_request(body: bytes) -> tuple[bytes, bytes] | None:
    """Return what a request is known by (model and tools) and the request for its size; None where there is none.

    The system prompt is sent and not looked at: it tells the day and the state of a repository.
    """
    try:
        asked = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    model, tools, system = msgspec.json.encode(asked.model), bytes(asked.tools), bytes(asked.system)
    members = [b'"model":' + model]
    members += [b'"tools":' + tools] if tools else []
    members += [b'"system":' + system] if system else []
    members.append(b'"messages":[{"role":"user","content":"."}]')
    return blake2b(model + tools, digest_size=16).digest(), b"{" + b",".join(members) + b"}"


def _is_message(start: ExchangeStart) -> bool:
    if start.method != "POST" or start.entry_mode is EntryMode.CALIBRATION or urlsplit(start.url).path != _PATH:
        return False
    return get(start.headers, b"content-encoding") is None


async def _ask(server: ProxyServer, answered: _Answered, body: bytes) -> None:
    """Send a request for a size the way that the answered request went, and let its answer pass."""
    parts = urlsplit(answered.url)
    origin = parse_upstream(f"{parts.scheme}://{parts.netloc}").origin
    headers: RawHeaders = (
        (b"Host", host_field(origin)),
        *((n, v) for n, v in answered.headers if n.lower() in _SENT or n.lower().startswith(b"anthropic-")),
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(body)),
    )
    target = f"{_PATH}/count_tokens" + (f"?{parts.query}" if parts.query else "")
    from trio.testing import memory_stream_pair  # takes as long to import as all of Trio, and few calibrate

    ours, theirs = memory_stream_pair()
    layer = Layer(
        mode=EntryMode.CALIBRATION,
        authority=(origin.host, origin.port),
        tls=origin.scheme == "https",
        authenticated=True,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.proxy_request, theirs, layer)
        await ours.send_all(serialize_request("POST", target, headers) + body)
        while await ours.receive_some():
            pass
        await ours.aclose()
