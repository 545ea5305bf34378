"""WebSockets: after the 101 both sides' bytes are carried as they are, with half-closes.

Apart because an upgraded connection is no longer HTTP. Nothing is unpacked here, so extensions, fragmentation and pings
stay between client and API. The tap is told the bytes and not messages: what these are is found out behind the journal,
where it cannot harm the connection.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from claudeproxy.model import Direction, ResponseStart, State
from claudeproxy.proxy.relay import send_client
from claudeproxy.proxy.streams import Ending, PrefixedStream, splice
from claudeproxy.sansio.headers import ResponseHead, serialize_response
from claudeproxy.sansio.hops import forward_headers

if TYPE_CHECKING:
    import trio

    from claudeproxy.proxy.exchange import Exchange


async def relay_websocket(exchange: Exchange, head: ResponseHead, first: bytes, client: trio.abc.Stream) -> None:
    """Pass the 101 on, with `first`, which followed it, then carry bytes until both sides are through.

    The caller has stopped reading the client. Raises ClientGoneError when it does not even take the 101.
    """
    upstream = exchange.upstream
    assert upstream is not None
    assert exchange.response_received is not None
    exchange.tap.response_start(
        ResponseStart(
            status_code=head.status_code,
            reason=head.reason,
            http_version=head.http_version,
            headers=head.headers,
            origin="upstream",
            monotonic=exchange.response_received,
        )
    )
    exchange.answered = True
    await send_client(client, serialize_response(head, forward_headers(head.headers, keep_upgrade=True)))
    ending = await splice(
        client,
        PrefixedStream(upstream.stream, first) if first else upstream.stream,
        on_left=partial(exchange.tap.websocket, Direction.SENT),
        on_right=partial(exchange.tap.websocket, Direction.RECEIVED),
    )
    match ending:
        case Ending.CLEAN:
            exchange.delivered = time.monotonic_ns()
            exchange.settle(State.COMPLETE)
        case Ending.LEFT_BROKE:
            exchange.settle(State.ABORTED_BY_CLIENT, "the client reset the WebSocket", "client_closed")
        case Ending.RIGHT_BROKE:
            exchange.settle(State.CUT_BY_UPSTREAM, "the upstream reset the WebSocket", "reset")
