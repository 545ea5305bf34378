"""What a client sends and what it gets, byte for byte, and when."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.model import State
from tests.proxy.support import API, MODES, OK, request, running_proxy
from tests.support.raw_upstream import answering, raw_upstream

if TYPE_CHECKING:
    from tests.support.wire import Wire

BODY = bytes(range(256)) * 700  # every byte value, more than any one receive


@pytest.mark.parametrize(("mode", "entry"), MODES.items())
async def test_every_way_in_relays_the_exact_bytes_and_records_them(mode: str, entry: str) -> None:
    seen: list[tuple[bytes, bytes]] = []
    answer = b"HTTP/1.1 201 Fine By Me\r\nx-B: 2\r\nX-a: 1\r\nx-B: 3\r\ncontent-length: %d\r\n\r\n%b" % (
        len(BODY),
        BODY,
    )

    async def script(wire: Wire) -> None:
        for _ in range(2):
            seen.append(await wire.read_message())
            await wire.send(answer)
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter(mode, "/v1/messages?beta=true")
        fields = "x-Api-KEY: sk-ant-api03-dummy\r\nAccept: */*\r\naccept: b\r\n"
        for _ in range(2):
            await client.send(request("POST", target, host, BODY, fields=fields))
            head, body = await client.read_message()
            assert head + body == answer
    forwarded = (
        f"POST /v1/messages?beta=true HTTP/1.1\r\nHost: 127.0.0.1:{upstream.port}\r\n"
        f"{fields}Content-Length: {len(BODY)}\r\n\r\n"
    )
    assert seen == [(forwarded.encode(), BODY)] * 2
    assert upstream.connections == 1
    for recorded in await proxy.tap.ended(2):
        plain = mode in ("connect+plain", "absolute")
        assert recorded.start.entry_mode == entry
        assert recorded.start.url == f"http{'' if plain else 's'}://{API}/v1/messages?beta=true"
        assert recorded.start.upstream_url == f"{upstream.url}/v1/messages?beta=true"
        assert recorded.start.body_length == len(BODY)
        assert recorded.request == BODY
        assert recorded.response == BODY
        assert recorded.head is not None
        assert (recorded.head.status_code, recorded.head.reason, recorded.head.origin) == (
            201,
            "Fine By Me",
            "upstream",
        )
        end = recorded.end_value
        assert end.state is State.COMPLETE
        assert end.error is None
        instants = [end.proxy_received, end.forwarded, end.response_received, end.delivered]
        assert [recorded.start.monotonic, *instants] == sorted([recorded.start.monotonic, *instants])


async def test_an_event_reaches_the_client_while_the_upstream_holds_the_next() -> None:
    first, second = b"7\r\ndata: 1\r\n", b"7\r\ndata: 2\r\n0\r\n\r\n"
    client_has_first = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await wire.send(first)
        await client_has_first.wait()
        await wire.send(second)
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("connect+tls", "/v1/messages")
        await client.send(request("POST", target, host, b"{}"))
        await client.read_head()
        assert await client.read_exactly(len(first)) == first
        client_has_first.set()
        assert await client.read_exactly(len(second)) == second
        recorded = await proxy.tap.only()
        assert recorded.response == b"data: 1data: 2"


async def test_the_head_reaches_the_client_before_the_first_body_byte() -> None:
    client_has_head = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await client_has_head.wait()
        await wire.send(b"ok")
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        await client.send(request("POST", target, host, b"{}"))
        await client.read_head()
        client_has_head.set()
        assert await client.read_exactly(2) == b"ok"


async def test_a_chunked_request_with_trailers_arrives_verbatim_and_its_payload_is_recorded() -> None:
    wire_body = b"5;ext=1\r\nhello\r\n00a\r\n, world. Y\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n"
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        seen.append(await wire.read_head())
        seen.append(await wire.read_exactly(len(wire_body)))
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n" + wire_body)
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/files")
        await client.send(f"POST {target} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for byte in wire_body:  # cut anywhere
            await client.send(bytes([byte]))
        await client.read_head()
        assert await client.read_exactly(len(wire_body)) == wire_body
        recorded = await proxy.tap.only()
        assert recorded.start.body_length is None
        assert recorded.request == recorded.response == b"hello, world. Y"
        assert recorded.end_value.response_trailers == ((b"X-Sum", b"1"), (b"x-sum", b"2"))
    assert seen[1] == wire_body


@pytest.mark.parametrize(
    ("method", "answer", "connections"),
    [
        # Where a body is announced that must not come, the upstream is asked on another connection: it may come.
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", 2),
        ("GET", b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n", 1),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: x\r\n\r\n", 2),
        ("POST", b"HTTP/1.1 529 \r\nContent-Length: 0\r\n\r\n", 1),
    ],
)
async def test_answers_without_a_body_leave_the_clients_connection_usable(
    method: str, answer: bytes, connections: int
) -> None:
    answers = [OK, answer]

    async def script(wire: Wire) -> None:
        while answers:
            await wire.read_message()
            await wire.send(answers.pop())
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/thing")
        await client.send(request(method, target, host))
        assert await client.read_head() == answer
        await client.send(request("GET", target, host))
        assert await client.read_exactly(len(OK)) == OK
        assert upstream.connections == connections
        assert [r.end_value.state for r in await proxy.tap.ended(2)] == [State.COMPLETE] * 2
        assert proxy.tap.exchanges[0].response == b""


async def test_expect_100_continue_is_answered_by_the_upstream_before_the_body_is_sent() -> None:
    async def script(wire: Wire) -> None:
        assert b"Expect: 100-continue\r\n" in await wire.read_head()
        await wire.send(b"HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\n")
        assert await wire.read_exactly(4) == b"body"
        await wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("connect+tls", "/v1/messages")
        await client.send(request("POST", target, host, b"body", fields="Expect: 100-continue\r\n")[:-4])
        assert await client.read_head() == b"HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\n"
        await client.send(b"body")
        assert await client.read_head() == b"HTTP/1.1 103 Early Hints\r\n\r\n"
        assert await client.read_exactly(len(OK)) == OK
        recorded = await proxy.tap.only()
        assert recorded.informational == [100, 103]
        assert recorded.request == b"body"
        assert not recorded.end_value.early_response


async def test_a_refused_expectation_reaches_a_client_that_has_not_sent_its_body() -> None:
    answer = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    async def script(wire: Wire) -> None:
        await wire.read_head()
        await wire.send(answer)

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        await client.send(request("POST", target, host, b"body", fields="Expect: 100-continue\r\n")[:-4])
        assert await client.read_to_end() == answer
        recorded = await proxy.tap.only()
        assert recorded.end_value.state is State.COMPLETE
        assert recorded.end_value.early_response


async def test_an_early_answer_arrives_while_the_body_is_sent_and_the_connection_goes_on() -> None:
    async def script(wire: Wire) -> None:
        await wire.read_head()
        await wire.send(OK)
        assert await wire.read_exactly(200_000) == b"x" * 200_000
        await wire.read_message()
        await wire.send(OK)
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("connect+tls", "/v1/messages")
        whole = request("POST", target, host, b"x" * 200_000)
        await client.send(whole[:1000])
        assert await client.read_exactly(len(OK)) == OK
        await client.send(whole[1000:])
        await client.send(request("GET", target, host))
        assert await client.read_exactly(len(OK)) == OK
        first = proxy.tap.exchanges[0]
        await first.ended.wait()
        assert first.request == b"x" * 200_000
        assert first.end_value.early_response
        assert first.end_value.state is State.COMPLETE


async def test_an_early_answer_and_close_reaches_a_client_that_goes_on_sending() -> None:
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"

    async def script(wire: Wire) -> None:
        await wire.read_head()
        await wire.send(answer)
        await wire.aclose()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        await client.send(request("POST", target, host, b"x" * 300_000)[:200_000])
        assert await client.read_exactly(len(answer)) == answer
        recorded = await proxy.tap.only()
        assert recorded.end_value.state is State.COMPLETE


async def test_pipelined_requests_are_answered_in_turn() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def script(wire: Wire) -> None:
        for number in range(3):
            seen.append(await wire.read_message())
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        ahead = b"".join(request("POST", target, host, body) for body in (b"one", b"two", b"three"))
        await client.send(ahead[:-2])
        assert (await client.read_message())[1] == b"0"
        assert (await client.read_message())[1] == b"1"
        await client.send(ahead[-2:])
        assert (await client.read_message())[1] == b"2"
        assert [r.request for r in proxy.tap.exchanges] == [b"one", b"two", b"three"]
    assert [body for _, body in seen] == [b"one", b"two", b"three"]


async def test_more_pipelined_bytes_than_are_held_wait_in_the_socket() -> None:
    count = 40
    body = b"z" * 5000

    async with raw_upstream(answering(*[OK] * count)) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, request("POST", target, host, body) * count)
            for _ in range(count):
                assert await client.read_exactly(len(OK)) == OK
        assert [r.request for r in proxy.tap.exchanges] == [body] * count


async def test_an_http_1_0_client_gets_the_payload_of_a_chunked_answer_and_a_close() -> None:
    async def script(wire: Wire) -> None:
        await wire.read_head()
        await wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await wire.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client = await proxy.dial()
        await client.send(f"GET /v1/models HTTP/1.0\r\nHost: {proxy.own_host}\r\n\r\n".encode())
        assert await client.read_to_end() == b"HTTP/1.1 200 OK\r\nX-A: 1\r\nConnection: close\r\n\r\nabcde"
        recorded = await proxy.tap.only()
        assert recorded.start.http_version == "1.0"
        assert recorded.response == b"abcde"


async def test_a_client_that_asks_for_close_is_closed_and_the_upstream_is_kept() -> None:
    async with raw_upstream(answering(OK, OK)) as upstream, running_proxy(upstream.url) as proxy:
        for _ in range(2):
            client, target, host = await proxy.enter("reverse", "/v1/models")
            await client.send(request("GET", target, host, fields="Connection: close\r\n"))
            assert await client.read_to_end() == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert upstream.connections == 1


async def test_an_upstream_that_closes_after_its_answer_leaves_the_client_connection_open() -> None:
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with raw_upstream(answering(closing)) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/models")
        for _ in range(2):
            await client.send(request("GET", target, host))
            assert await client.read_exactly(len(OK)) == OK
        assert upstream.connections == 2


async def test_an_answer_that_ends_with_the_connection_ends_with_the_clients() -> None:
    async def script(wire: Wire) -> None:
        await wire.read_head()
        await wire.send(b"HTTP/1.0 200 OK\r\n\r\nhello")

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/models")
        await client.send(request("GET", target, host))
        assert await client.read_to_end() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
        recorded = await proxy.tap.only()
        assert recorded.end_value.state is State.COMPLETE
        assert recorded.head is not None
        assert recorded.head.http_version == "1.0"


async def test_a_pooled_connection_that_the_upstream_closed_is_not_used() -> None:
    closed = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(OK)
        await wire.aclose()
        closed.set()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/models")
        for number in (1, 2):
            await client.send(request("GET", target, host))
            assert await client.read_exactly(len(OK)) == OK
            await closed.wait()
            assert upstream.connections == number
        assert [r.end_value.state for r in await proxy.tap.ended(2)] == [State.COMPLETE] * 2


async def test_a_reused_connection_that_closes_unanswered_closes_the_client_and_is_not_repeated() -> None:
    requests: list[bytes] = []

    async def script(wire: Wire) -> None:
        requests.append(await wire.read_head())
        await wire.send(OK)
        requests.append(await wire.read_head())

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/models")
        await client.send(request("GET", target, host))
        assert await client.read_exactly(len(OK)) == OK
        await client.send(request("GET", target, host))
        assert await client.read_to_end() == b""
        recorded = proxy.tap.exchanges[1]
        await recorded.ended.wait()
        assert (recorded.end_value.state, recorded.end_value.error_kind) == (State.UPSTREAM_ERROR, "closed")
        assert recorded.head is None
        assert upstream.connections == 1
    assert len(requests) == 2


async def test_a_base_path_stands_before_every_path() -> None:
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        seen.append(await wire.read_head())
        await wire.send(OK)
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(f"{upstream.url}/gw/") as proxy:
        client, target, host = await proxy.enter("connect+tls", "/v1/models?limit=1")
        await client.send(request("GET", target, host))
        assert await client.read_exactly(len(OK)) == OK
        recorded = await proxy.tap.only()
        assert recorded.start.url == f"https://{API}/v1/models?limit=1"
        assert recorded.start.upstream_url == f"{upstream.url}/gw/v1/models?limit=1"
    assert seen[0].startswith(b"GET /gw/v1/models?limit=1 HTTP/1.1\r\n")


async def test_hop_by_hop_fields_stay_on_their_leg() -> None:
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        seen.append(await wire.read_head())
        await wire.send(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: x-h\r\nX-H: 1\r\n" + OK[17:])
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("absolute", "/v1/models")
        fields = (
            "Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\nConnection: keep-alive\r\nVia: a\r\n"
        )
        await client.send(request("GET", target, host, fields=fields))
        head, _ = await client.read_message()
        assert b"timeout" not in head
        assert b"Via" not in head
    assert seen == [f"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:{upstream.port}\r\nVia: a\r\n\r\n".encode()]


@pytest.mark.parametrize("mode", ["connect+tls", "reverse"])
async def test_a_hundred_concurrent_streams_each_get_exactly_their_own_bytes(mode: str) -> None:
    everyone = 100
    arrived = 0
    all_there = trio.Event()

    async def script(wire: Wire) -> None:
        nonlocal arrived
        _, body = await wire.read_message()
        arrived += 1
        if arrived == everyone:
            all_there.set()
        await all_there.wait()
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(10):
            chunk = hashlib.sha256(body + bytes([number])).hexdigest().encode() * (number + 1)
            await wire.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await wire.send(b"0\r\n\r\n")
        await wire.wait_gone()

    def expected(body: bytes) -> bytes:
        return b"".join(hashlib.sha256(body + bytes([n])).hexdigest().encode() * (n + 1) for n in range(10))

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:

        async def one(number: int) -> None:
            body = b"%d " % number * (number * 40 + 1)
            client, target, host = await proxy.enter(mode, f"/v1/messages?n={number}")
            await client.send(request("POST", target, host, body))
            raw = (await client.read_until(b"\r\n0\r\n\r\n")).partition(b"\r\n\r\n")[2]
            payload = b"".join(raw.split(b"\r\n")[1:-3:2])
            assert payload == expected(body)

        async with trio.open_nursery() as nursery:
            for number in range(everyone):
                nursery.start_soon(one, number)
        assert len(proxy.tap.exchanges) == everyone
        for recorded in proxy.tap.exchanges:
            await recorded.ended.wait()
            number = int(recorded.start.url.rpartition("=")[2])
            assert recorded.request == b"%d " % number * (number * 40 + 1)
            assert recorded.response == expected(recorded.request)
            assert recorded.end_value.state is State.COMPLETE
        assert proxy.server.statistics().exchanges_total == everyone
