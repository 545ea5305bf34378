"""The processes that a proxy is measured between and beside: a lean upstream, and the two bare splices.

Run by overhead.py: ``python peers.py upstream|splice ...``; prints its port and serves until it is ended. The upstream
knows the request's end and three answers, all of them made before the first request, so that it weighs little beside
what is measured: `claudeproxy.testing` would spend more time on the prompt cache than a proxy does on everything.
The splices are the least that a Trio program can do: copy what comes, in both directions, and look at nothing.
"""

from __future__ import annotations

import argparse
import json
import ssl
import time
from functools import partial

import trio

from claudeproxy.testing import long_conversation
from claudeproxy.testing.bill import PromptBill
from claudeproxy.testing.events import Message, compose, stream
from claudeproxy.testing.replies import Reply, Text

CHUNK = 65536
MODEL = json.loads(next(iter(long_conversation())).body)["model"]  # that which is asked for, as an API answers
STAMP = b"@0000000000000000000"  # where an event says when it left: 19 digits of time.monotonic_ns()


def message(events: int) -> Message:
    """A message whose stream has so many events (message_start, block start, ping, stop and two ends are six)."""
    words = "A few words of an answer, as they come: " * (events - 6)
    reply = Reply(content=(Text(text=words),))
    return compose(reply, PromptBill(input_tokens=25_000), model=MODEL, message_id="msg_bench", tool_ids=iter(()))


def chunked(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


class Upstream:
    """Answers by the query: ``kind=json``, ``kind=burst`` (all events in one write), or ``kind=paced``.

    A paced answer has an event every ``delay=SECONDS``, each as long after the full ones of those as ``phase=SECONDS``
    says: when an event leaves does not depend on when the request came.
    """

    def __init__(self, events: int) -> None:
        whole = message(events)
        document = json.dumps(whole.document()).encode()
        head = b"HTTP/1.1 200 OK\r\nrequest-id: req_bench\r\n"
        self._json = b"%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
            head,
            len(document),
            document,
        )
        self._head = head + b"Content-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
        words = stream(whole, piece=40)
        assert len(words) == events, len(words)
        self._burst = self._head + b"".join(map(chunked, words)) + b"0\r\n\r\n"
        self._paced = [chunked(event.replace(b'"text":"A few words of an ans', b'"text":"' + STAMP)) for event in words]

    async def serve(self, stream: trio.abc.Stream, *, tls: ssl.SSLContext | None) -> None:
        """Serve one connection."""
        if tls is not None:
            stream = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        try:
            while target := await self._request(stream):
                await self._answer(stream, target)
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _request(self, stream: trio.abc.Stream) -> bytes:
        """Read a request; returns its target, empty at the end of the connection."""
        head = b""
        while b"\r\n\r\n" not in head:
            more = await stream.receive_some(CHUNK)
            if not more:
                return b""
            head += more
        head, _, body = head.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        missing = length - len(body)
        while missing > 0:
            missing -= len(await stream.receive_some(CHUNK))
        return head.split(b" ", 2)[1]

    async def _answer(self, stream: trio.abc.Stream, target: bytes) -> None:
        if b"kind=paced" not in target:
            await stream.send_all(self._burst if b"kind=burst" in target else self._json)
            return
        pace = {key: float(value) for key, _, value in (part.partition(b"=") for part in target.split(b"&")[-2:])}
        delay, phase = pace[b"delay"], pace[b"phase"]
        await stream.send_all(self._head)
        now = trio.current_time()
        start = now + (phase - now) % delay
        for number, event in enumerate(self._paced):
            await trio.sleep(max(0.0, start + number * delay - trio.current_time()))
            await stream.send_all(event.replace(STAMP, b"@%019d" % time.monotonic_ns()))
        await stream.send_all(b"0\r\n\r\n")


async def splice(
    client: trio.abc.Stream, *, port: int, tls: ssl.SSLContext | None, trust: ssl.SSLContext | None
) -> None:
    """Copy between a client and the upstream. With `tls` the client comes by CONNECT, and both legs are TLS."""
    try:
        if tls is not None:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await client.receive_some(CHUNK)
            await client.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
            client = trio.SSLStream(client, tls, server_side=True, https_compatible=True)
        upstream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", port)  # noqa: TID251 - the bare minimum
        if trust is not None:
            upstream = trio.SSLStream(upstream, trust, server_hostname="127.0.0.1", https_compatible=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy, client, upstream, nursery.cancel_scope)
            await copy(upstream, client, nursery.cancel_scope)
        await trio.aclose_forcefully(upstream)
    except trio.BrokenResourceError:
        pass
    finally:
        await trio.aclose_forcefully(client)


async def copy(source: trio.abc.Stream, target: trio.abc.Stream, scope: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(CHUNK):
            await target.send_all(data)
    except trio.BrokenResourceError:
        pass
    scope.cancel()


def server_context(pem: str | None) -> ssl.SSLContext | None:
    if pem is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(pem)
    return context


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["upstream", "splice"])
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--to", type=int, help="splice: the upstream's port")
    parser.add_argument("--pem", help="certificate and key: serve TLS")
    parser.add_argument("--trust", help="splice: CA of the upstream, which then is TLS")
    args = parser.parse_args()
    tls = server_context(args.pem)
    if args.role == "upstream":
        handler = partial(Upstream(args.events).serve, tls=tls)
    else:
        trust = ssl.create_default_context(cafile=args.trust) if args.trust else None
        handler = partial(splice, port=args.to, tls=tls, trust=trust)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
    print(listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(handler, listeners)


if __name__ == "__main__":
    trio.run(main)
