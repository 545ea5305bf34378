"""The load: one client process that sends prepared requests and takes the time of what comes back.

Bytes are prepared before the clock starts and answers are searched for their end only, so that the client's own work
is small and the same for every contender.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from claudeproxy.testing import long_conversation

if TYPE_CHECKING:
    import ssl

CHUNK = 65536
STAMPS = re.compile(rb"@(\d{19})")
HOST = "api.anthropic.com"
AUTHORITY = f"{HOST}:443"
TRIES = 5
MARK_BYTES = 20


class NotAnsweredError(Exception):
    """A contender did not answer a request, or not to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How a contender is reached: a port, and for TLS the certificates that the client trusts.

    `connect` is the HOST:PORT to which a proxy is asked for a tunnel first, `name` is who the certificate must be for,
    and `prefix` stands before the API's paths.
    """

    port: int
    trust: ssl.SSLContext | None = None
    connect: str | None = None
    name: str = HOST
    prefix: str = ""

    async def open(self) -> trio.abc.Stream:
        """Connect, through the tunnel and the handshake where there are any."""
        tcp = await trio.open_tcp_stream("127.0.0.1", self.port)  # noqa: TID251 - the client's own connection
        if self.connect is not None:
            await tcp.send_all(f"CONNECT {self.connect} HTTP/1.1\r\nHost: {self.connect}\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head:
                data = await tcp.receive_some(CHUNK)
                if not data:
                    raise RuntimeError("the proxy closed during CONNECT")
                head += data
            if b" 200 " not in head.split(b"\r\n")[0] + b" ":
                raise RuntimeError(f"the proxy refused: {head[:200]!r}")
        if self.trust is None:
            return tcp
        return trio.SSLStream(tcp, self.trust, server_hostname=self.name, https_compatible=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is asked for. `requests` per connection and round; paced streams leave an event every `delay` seconds."""

    name: str
    concurrency: int
    requests: int
    delay: float = 0.0

    @property
    def target(self) -> str:
        """The path that makes the upstream answer so."""
        kind = self.name.split("-", maxsplit=1)[0]
        return f"/v1/messages?beta=true&kind={kind}" + (f"&delay={self.delay}" if self.delay else "")


@dataclass(slots=True, kw_only=True)
class Sample:
    """What one round of one contender gave; times in seconds."""

    whole: list[float] = field(default_factory=list)  # from the first byte sent to the last byte received
    first: list[float] = field(default_factory=list)  # ... to the first byte received
    events: list[float] = field(default_factory=list)  # paced: from an event's leaving to its arrival
    seconds: float = 0.0  # of the round
    failed: int = 0  # requests that were not answered as they should; asked again on a new connection, timed then


class Requests:
    """Requests of some size, none of which was sent before: the same history, and another result of a tool at its end.

    That is what a turn of a conversation is. All contenders get the same; only to one that looks at what it keeps does
    it make a difference.
    """

    def __init__(self, size: int) -> None:
        turn = next(turn for turn in long_conversation() if len(turn.body) >= size and turn.agent is None)
        result = json.loads(turn.body)["messages"][-1]["content"][-1]["content"]
        words = json.dumps(result, ensure_ascii=False).encode()[: -1 - MARK_BYTES]
        place = turn.body.rindex(words) + len(words)
        self._before, self._after = turn.body[:place], turn.body[place + MARK_BYTES :]
        self._headers = turn.headers
        self._number = 0
        self.size = len(turn.body)

    def make(self, target: str, host: str) -> bytes:
        """Make one request, unlike all before."""
        self._number += 1
        mark = b"%0*d" % (MARK_BYTES, self._number)
        head = [f"POST {target} HTTP/1.1".encode(), *(name + b": " + value for name, value in self._headers)]
        head += [b"Connection: keep-alive", f"Host: {host}".encode(), b"Content-Length: %d" % self.size]
        return b"\r\n".join([*head, b"", self._before + mark + self._after])


async def measure(route: Route, scenario: Scenario, requests: Requests) -> Sample:
    """Open the connections, warm each with a request, then let all of them go at once."""
    sample = Sample()
    host = HOST if route.trust is not None else f"127.0.0.1:{route.port}"
    go = trio.Event()
    prepared = [
        [requests.make(route.prefix + scenario.target, host) for _ in range(scenario.requests)]
        for _ in range(scenario.concurrency)
    ]
    async with trio.open_nursery() as nursery:
        for number, bodies in enumerate(prepared):
            warm = requests.make(route.prefix + "/v1/messages?kind=json", host)
            stagger = scenario.delay * number / scenario.concurrency
            await nursery.start(_client, route, warm, bodies, stagger, go, sample)
        start = time.perf_counter()
        go.set()
    sample.seconds = time.perf_counter() - start
    return sample


async def _client(
    route: Route,
    warm: bytes,
    bodies: list[bytes],
    stagger: float,
    go: trio.Event,
    sample: Sample,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    stream = await route.open()
    await _exchange(stream, warm, Sample())
    task_status.started()
    await go.wait()
    await trio.sleep(stagger)
    for body in bodies:
        for _ in range(TRIES):
            try:
                await _exchange(stream, body, sample)
                break
            except (NotAnsweredError, trio.BrokenResourceError):
                sample.failed += 1
                await trio.aclose_forcefully(stream)
                stream = await route.open()
    await trio.aclose_forcefully(stream)


async def _exchange(stream: trio.abc.Stream, request: bytes, sample: Sample) -> None:
    start = time.perf_counter()
    await stream.send_all(request)
    data = await stream.receive_some(CHUNK)
    first = time.perf_counter() - start
    if not data.startswith(b"HTTP/1.1 200"):
        raise NotAnsweredError(f"not an answer: {bytes(data[:300])!r}")
    while b"\r\n\r\n" not in data:
        data += await _more(stream)
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    # claude-tap's forward proxy sends both; RFC 9112 section 6.3 has the transfer coding win.
    if length is None or b"chunked" in head.lower():
        await _stream(stream, body, sample)
    else:
        missing = int(length[1]) - len(body)
        while missing > 0:
            missing -= len(await _more(stream))
    sample.whole.append(time.perf_counter() - start)
    sample.first.append(first)


async def _stream(stream: trio.abc.Stream, tail: bytes, sample: Sample) -> None:
    """Read a chunked body to its end; note when stamped events arrived."""
    while True:
        arrived = time.monotonic_ns()
        done = 0
        for stamp in STAMPS.finditer(tail):
            sample.events.append((arrived - int(stamp[1])) / 1e9)
            done = stamp.end()
        if tail.endswith(b"0\r\n\r\n"):
            return
        tail = tail[max(done, len(tail) - 25) :] + await _more(stream)


async def _more(stream: trio.abc.Stream) -> bytes:
    data = await stream.receive_some(CHUNK)
    if not data:
        raise NotAnsweredError("the answer ended too soon")
    return bytes(data)
