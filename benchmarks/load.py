"""The load: one client process that sends prepared requests and takes the time of what comes back.

Bytes are prepared before the clock starts and answers are searched for their end only, so that the client's own work
is small and the same for every contender.
"""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio
from bodies import MARK_BYTES, template

if TYPE_CHECKING:
    import ssl

CHUNK = 65536
STAMPS = re.compile(rb"@(\d{19})")
HOST = "api.anthropic.com"
AUTHORITY = f"{HOST}:443"
TRIES = 5
DRAIN = 30.0  # seconds after the last request was sent, until which answers are waited for


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

    @property
    def host(self) -> str:
        """What the `Host` header says."""
        return HOST if self.trust is not None else f"127.0.0.1:{self.port}"

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
    """What is asked for. `requests` per connection and round; paced streams leave an event every `delay` seconds.

    The streams of a round take turns within that time, whoever brought which request when (`target`): events that leave
    together wait for each other at everybody's, and how far together they leave would say how the requests came.
    """

    name: str
    concurrency: int
    requests: int
    delay: float = 0.0

    def phase(self, number: int) -> float:
        """Seconds by which connection `number` is behind connection 0, within `delay`."""
        return self.delay * number / self.concurrency

    def target(self, number: int) -> str:
        """The path that makes the upstream answer so on connection `number`."""
        kind = self.name.split("-", maxsplit=1)[0]
        pace = f"&delay={self.delay}&phase={self.phase(number):.6f}" if self.delay else ""
        return f"/v1/messages?beta=true&kind={kind}{pace}"


@dataclass(slots=True, kw_only=True)
class Sample:
    """What one round of one contender gave; times in seconds."""

    whole: list[float] = field(default_factory=list)  # from the first byte sent to the last byte received
    first: list[float] = field(default_factory=list)  # ... to the first byte received
    events: list[float] = field(default_factory=list)  # paced: from an event's leaving to its arrival
    seconds: float = 0.0  # of the round
    sent: int = 0  # by `drive`
    failed: int = 0  # requests that were not answered as they should; asked again on a new connection, timed then


class Requests:
    """Requests of some size, none of which was sent before: the same history, and another result of a tool at its end.

    That is what a turn of a conversation is. All contenders get the same; only to one that looks at what it keeps does
    it make a difference.
    """

    def __init__(self, size: int) -> None:
        self._headers, self._before, self._after = template(size)
        self._number = 0
        self.size = len(self._before) + MARK_BYTES + len(self._after)

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
    host = route.host
    go = trio.Event()
    prepared = [
        [requests.make(route.prefix + scenario.target(number), host) for _ in range(scenario.requests)]
        for number in range(scenario.concurrency)
    ]
    async with trio.open_nursery() as nursery:
        for number, bodies in enumerate(prepared):
            warm = requests.make(route.prefix + "/v1/messages?kind=json", host)
            await nursery.start(_client, route, warm, bodies, scenario.phase(number), go, sample)
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
    await exchange(stream, warm, Sample())
    task_status.started()
    await go.wait()
    await trio.sleep(stagger)
    for body in bodies:
        for _ in range(TRIES):
            try:
                await exchange(stream, body, sample)
                break
            except (NotAnsweredError, trio.BrokenResourceError):
                sample.failed += 1
                await trio.aclose_forcefully(stream)
                stream = await route.open()
    await trio.aclose_forcefully(stream)


async def drive(
    route: Route, target: str, requests: Requests, sample: Sample, *, rate: float, seconds: float, pool: int
) -> None:
    """Send requests at random instants, `rate` a second on average, whether those before were answered or not.

    Times count from the instant at which a request was to be sent, so that a request that had to wait for a connection,
    or for this process, has waited. The instants are the same for every contender. `pool` connections lie open before
    the first; a request that finds none of them free opens another. `sample` is filled on the way.
    """
    chance, at, host = random.Random(0), 0.0, route.host
    opened: list[trio.abc.Stream] = []
    free: list[trio.abc.Stream] = []

    async def connection() -> trio.abc.Stream:
        if free:
            return free.pop()
        opened.append(stream := await route.open())
        return stream

    async def send(request: bytes, instant: float) -> None:
        for _ in range(TRIES):
            try:
                stream = await connection()
                await exchange(stream, request, sample, start=instant)
            except (NotAnsweredError, trio.BrokenResourceError, OSError):
                continue  # a connection that lay unused may have been closed
            free.append(stream)
            return

    try:
        for _ in range(pool):
            stream = await route.open()
            opened.append(stream)
            await exchange(stream, requests.make(route.prefix + "/v1/messages?kind=json", host), Sample())
        free += opened
        with trio.move_on_after(seconds + DRAIN):
            async with trio.open_nursery() as nursery:
                start = time.perf_counter()
                while (at := at + chance.expovariate(rate)) < seconds:
                    request = requests.make(route.prefix + target, host)
                    await trio.sleep(max(0.0, start + at - time.perf_counter()))
                    nursery.start_soon(send, request, start + at)
                    sample.sent += 1
        sample.failed = sample.sent - len(sample.whole)
        sample.seconds = time.perf_counter() - start
    finally:
        for stream in opened:
            await trio.aclose_forcefully(stream)


async def exchange(stream: trio.abc.Stream, request: bytes, sample: Sample, *, start: float | None = None) -> None:
    """Send a request and read its answer; times from `start` (``perf_counter``), now by default.

    Raises NotAnsweredError, trio.BrokenResourceError.
    """
    start = time.perf_counter() if start is None else start
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
