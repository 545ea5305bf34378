"""The load that does not wait: what a slow answer delays is counted."""

from __future__ import annotations

import trio
from load import Requests, Route, Sample, drive

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
TARGET = "/v1/messages?kind=json"


class Upstream:
    """Answers one request after the other, each after `seconds`; hangs up after `lasts` of a connection."""

    def __init__(self, seconds: float, lasts: int = 1_000_000) -> None:
        self._seconds, self._lasts, self._one = seconds, lasts, trio.Lock()

    async def serve(self, stream: trio.SocketStream) -> None:
        for _ in range(self._lasts):
            data = b""
            while b"\r\n\r\n" not in data:
                if not (more := await stream.receive_some(65536)):
                    return
                data += more
            head, _, body = data.partition(b"\r\n\r\n")
            missing = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]) - len(body)
            while missing > 0:
                missing -= len(await stream.receive_some(65536))
            async with self._one:
                await trio.sleep(self._seconds)
            await stream.send_all(ANSWER)


async def driven(upstream: Upstream, *, rate: float, seconds: float) -> Sample:
    sample = Sample()
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, upstream.serve, [listener])
        route = Route(port=listener.socket.getsockname()[1])
        await drive(route, TARGET, Requests(1_000), sample, rate=rate, seconds=seconds, pool=2)
        nursery.cancel_scope.cancel()
    return sample


async def test_requests_are_sent_when_they_are_due_and_times_count_from_then():
    """One a twentieth of a second is answered and some five are sent: the last one waits for all those before it."""
    sample = await driven(Upstream(0.05), rate=100, seconds=0.4)
    assert sample.sent == len(sample.whole) > 20
    assert max(sample.whole) > 0.05 * sample.sent - 0.4
    assert sample.failed == 0


async def test_a_connection_that_was_closed_meanwhile_is_replaced():
    sample = await driven(Upstream(0.0, lasts=2), rate=100, seconds=0.2)
    assert sample.sent == len(sample.whole) > 5
    assert sample.failed == 0


async def test_the_same_number_of_requests_is_sent_to_everybody():
    first, second = [await driven(Upstream(seconds), rate=100, seconds=0.2) for seconds in (0.0, 0.01)]
    assert first.sent == second.sent
