"""What becomes of an exchange that does not go as it should: who is told what, and what the record says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.model import ExchangeEnd, State
from tests.proxy.support import OK, Proxy, request, running_proxy
from tests.support.raw_upstream import answering, raw_upstream

if TYPE_CHECKING:
    from tests.support.wire import Wire

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"7\r\ndata: 1\r\n"


async def end_of_only(proxy: Proxy) -> ExchangeEnd:
    return (await proxy.tap.only()).end_value


# ---- the client goes away


@pytest.mark.parametrize("farewell", ["aclose", "close", "reset"])
@pytest.mark.parametrize("mode", ["reverse", "connect+tls"])
async def test_a_client_that_leaves_in_a_stream_closes_the_upstream_at_once(mode: str, farewell: str) -> None:
    upstream_closed = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(CHUNKED + EVENT)
        await wire.wait_gone()
        upstream_closed.set()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter(mode, "/v1/messages")
        await client.send(request("POST", target, host, b"{}"))
        await client.read_until(EVENT)
        await getattr(client, farewell)()
        await upstream_closed.wait()
        recorded = await proxy.tap.only()
        assert recorded.end_value.state is State.ABORTED_BY_CLIENT
        assert recorded.end_value.error_kind == "client_closed"
        assert recorded.end_value.delivered is None
        assert recorded.response == b"data: 1"


async def test_a_client_that_leaves_before_the_answer_closes_the_upstream_at_once() -> None:
    received, upstream_closed = trio.Event(), trio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_message()
        received.set()
        await wire.wait_gone()
        upstream_closed.set()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("connect+tls", "/v1/messages")
        await client.send(request("POST", target, host, b"{}"))
        await received.wait()
        await client.aclose()
        await upstream_closed.wait()
        recorded = await proxy.tap.only()
        assert recorded.end_value.state is State.ABORTED_BY_CLIENT
        assert recorded.head is None
        assert recorded.end_value.forwarded is not None


async def test_a_client_that_leaves_in_its_own_body_is_recorded_with_what_came() -> None:
    got, upstream_closed = trio.Event(), trio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_head()
        await wire.read_exactly(5)
        got.set()
        await wire.wait_gone()
        upstream_closed.set()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        await client.send(request("POST", target, host, b"hello, world")[:-7])
        await got.wait()
        await client.reset()
        await upstream_closed.wait()
        recorded = await proxy.tap.only()
        assert recorded.end_value.state is State.ABORTED_BY_CLIENT
        assert recorded.end_value.proxy_received is None
        assert recorded.request == b"hello"


async def test_a_client_that_leaves_with_requests_sent_ahead_is_noticed() -> None:
    received, upstream_closed = trio.Event(), trio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_message()
        received.set()
        await wire.wait_gone()
        upstream_closed.set()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        await client.send(request("POST", target, host, b"{}") * 2)
        await received.wait()
        await client.close()
        await upstream_closed.wait()
        assert (await end_of_only(proxy)).state is State.ABORTED_BY_CLIENT


async def test_a_client_that_leaves_while_the_upstream_is_dialled_sends_nothing() -> None:
    accepted = trio.Event()
    after_hello: list[bytes] = []

    async def script(wire: Wire) -> None:  # takes the TCP connection and never answers the ClientHello
        await wire.read_exactly(1)
        accepted.set()
        after_hello.append(await wire.read_to_end())

    async with (
        raw_upstream(script) as upstream,
        running_proxy(upstream.url.replace("http", "https")) as proxy,
    ):
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        await client.send(request("POST", target, host, b"{}"))
        await accepted.wait()
        await client.close()
        end = await end_of_only(proxy)
        assert (end.state, end.forwarded) == (State.ABORTED_BY_CLIENT, None)


# ---- the upstream fails


async def test_an_unreachable_upstream_is_a_502_in_the_shape_of_the_api() -> None:
    async with raw_upstream(answering()) as gone:
        pass
    async with running_proxy(gone.url) as proxy:
        client, target, host = await proxy.enter("connect+tls", "/v1/messages")
        await client.send(request("POST", target, host, b"{}"))
        head, body = await client.read_message()
        assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        error = json.loads(body)
        assert (error["type"], error["error"]["type"]) == ("error", "api_error")
        assert error["error"]["message"].startswith("claudeproxy: ")
        recorded = await proxy.tap.only()
        assert recorded.head is not None
        assert (recorded.head.status_code, recorded.head.origin) == (502, "proxy")
        assert recorded.response == body
        end = recorded.end_value
        assert (end.state, end.error_kind, end.forwarded) == (State.UPSTREAM_ERROR, "refused", None)
        assert not end.early_response


async def test_a_502_reaches_a_client_that_is_still_sending() -> None:
    async with raw_upstream(answering()) as gone:
        pass
    async with running_proxy(gone.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        await client.send(request("POST", target, host, b"x" * 3_000_000)[:300_000])
        head, _ = await client.read_message()
        assert b" 502 " in head
        assert await client.read_to_end() == b""


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "closed"),
        (b"HTTP/1.1 200 O", "closed"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000, "protocol"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "protocol"),
    ],
)
async def test_an_upstream_that_does_not_answer_in_http_is_a_502(answer: bytes, kind: str) -> None:
    async def script(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(answer)

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        await client.send(request("POST", target, host, b"{}"))
        head, _ = await client.read_message()
        assert b" 502 " in head
        end = await end_of_only(proxy)
        assert (end.state, end.error_kind) == (State.UPSTREAM_ERROR, kind)


async def test_a_502_to_head_has_no_body() -> None:
    async def script(wire: Wire) -> None:
        await wire.read_message()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/")
        await client.send(request("HEAD", target, host))
        raw = await client.read_to_end()
        assert raw.startswith(b"HTTP/1.1 502 ")
        assert raw.endswith(b"\r\n\r\n")
        assert (await proxy.tap.only()).response == b""


async def test_an_upstream_that_resets_instead_of_answering_is_a_502() -> None:
    async def script(wire: Wire) -> None:
        await wire.read_message()
        await wire.reset()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        await client.send(request("POST", target, host, b"{}"))
        head, _ = await client.read_message()
        assert b" 502 " in head
        assert (await end_of_only(proxy)).error_kind == "reset"


@pytest.mark.parametrize("mode", ["reverse", "connect+tls"])
@pytest.mark.parametrize(
    "cut",
    [CHUNKED + EVENT, CHUNKED, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", CHUNKED + EVENT + b"0\r\n"],
)
async def test_an_answer_that_is_cut_never_ends_cleanly(mode: str, cut: bytes) -> None:
    async def script(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(cut)

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter(mode, "/v1/messages")
        await client.send(request("POST", target, host, b"{}"))
        assert await client.read_exactly(len(cut)) == cut
        assert await client.read_to_end() == b""  # the message is incomplete: its framing says so
        end = await end_of_only(proxy)
        assert (end.state, end.error_kind, end.delivered) == (State.CUT_BY_UPSTREAM, "closed", None)


async def test_a_cut_that_would_look_like_an_end_is_passed_on_as_a_reset() -> None:
    head_out = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await head_out.wait()
        await wire.reset()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        await client.send(request("POST", target, host, b"{}"))
        await client.read_until(b"half")
        head_out.set()
        with pytest.raises(trio.BrokenResourceError):
            await client.read_to_end()
        end = await end_of_only(proxy)
        assert (end.state, end.error_kind) == (State.CUT_BY_UPSTREAM, "reset")


@pytest.mark.parametrize("at_once", [True, False])
async def test_malformed_chunks_from_the_upstream_are_not_passed_on(at_once: bool) -> None:
    client_has_event = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_message()
        bad = b" 5\r\nhello\r\n"
        await wire.send(CHUNKED + EVENT + (bad if at_once else b""))
        await client_has_event.wait()
        await wire.send(bad)
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        await client.send(request("POST", target, host, b"{}"))
        if not at_once:
            await client.read_until(EVENT)
            client_has_event.set()
        assert await client.read_to_end() == (CHUNKED + EVENT if at_once else b"")
        end = await end_of_only(proxy)
        assert (end.state, end.error_kind) == (State.CUT_BY_UPSTREAM, "protocol")
        assert (await proxy.tap.only()).response == b"data: 1"


async def test_bytes_after_an_answer_keep_its_connection_out_of_the_pool() -> None:
    async def script(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        for _ in range(2):
            await client.send(request("GET", target, host))
            assert await client.read_exactly(len(OK)) == OK
        assert upstream.connections == 2


ANSWER = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nT: 1\r\n\r\n"
)


@pytest.mark.parametrize("how", ["aclose", "reset"])
async def test_an_upstream_that_ends_after_any_byte_leaves_one_record_that_says_so(how: str) -> None:
    cut = 0

    async def script(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(ANSWER[:cut])
        await getattr(wire, how)()

    head_end = ANSWER.rindex(b"chunked\r\n\r\n") + len(b"chunked\r\n\r\n")
    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        for cut in range(len(ANSWER) + 1):
            client, target, host = await proxy.enter("reverse", "/v1/messages")
            await client.send(request("POST", target, host, b"{}"))
            if cut < len(ANSWER):
                await client.wait_gone()
            while len(proxy.tap.exchanges) <= cut:
                await trio.lowlevel.checkpoint()
            recorded = proxy.tap.exchanges[cut]
            await recorded.ended.wait()
            state = recorded.end_value.state
            if how == "reset":  # what had arrived before a reset may or may not be seen
                assert state in (State.UPSTREAM_ERROR, State.CUT_BY_UPSTREAM, State.COMPLETE)
            elif cut < head_end:
                assert state is State.UPSTREAM_ERROR
            else:
                assert state is (State.CUT_BY_UPSTREAM if cut < len(ANSWER) else State.COMPLETE)
            assert recorded.head is not None
            assert recorded.head.origin == "proxy" or b"ab".startswith(recorded.response)
        assert proxy.server.statistics().exchanges == 0


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_client_that_ends_after_any_byte_leaves_one_record_or_none(how: str) -> None:
    async with raw_upstream(answering(OK)) as upstream, running_proxy(upstream.url) as proxy:
        fields = "Content-Type: application/json\r\n"
        whole = request("POST", "/v1/messages", proxy.own_host, b'{"a": 1}', fields=fields)
        head_end = whole.index(b"\r\n\r\n") + 4
        for cut in range(len(whole) + 1):
            client = await proxy.dial()
            await client.send(whole[:cut])
            await getattr(client, how)()
        while proxy.server.statistics().connections or proxy.server.statistics().connections_total <= len(whole):
            await trio.lowlevel.checkpoint()
        states = {recorded.end_value.state for recorded in proxy.tap.exchanges}
        assert states <= {State.ABORTED_BY_CLIENT, State.COMPLETE}
        most = len(whole) + 1 - head_end
        # A reset may overtake the bytes before it.
        assert len(proxy.tap.exchanges) == most if how == "close" else len(proxy.tap.exchanges) <= most
        assert proxy.server.statistics().exchanges == 0


# ---- the client's request is malformed


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /v1 HTTP/1.1\nHost: localhost\n\n", 400),
        (b"GET /v1 HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n", 400),
        (b"POST /v1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /v1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /v1 HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70000 + b"\r\n\r\n", 431),
        (b"GET /v1 HTTP/1.1\r\n\r\n", 400),
        (b"GET v1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"CONNECT nowhere HTTP/1.1\r\nHost: nowhere\r\n\r\n", 400),
        (b"CONNECT :443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT a:99999 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /v1 HTTP/3.0\r\nHost: localhost\r\n\r\n", 505),
        (b"\x00\x01\x02", 400),
    ],
)
async def test_a_malformed_head_gets_a_clear_answer_and_a_close(raw: bytes, status: int) -> None:
    async with running_proxy("http://127.0.0.1:9") as proxy:
        client = await proxy.dial()
        await client.send(raw)
        head, body = await client.read_message()
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert json.loads(body)["error"]["message"].startswith("claudeproxy: ")
        assert await client.read_to_end() == b""
        assert proxy.tap.exchanges == []


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_malformed_chunk_in_a_request_is_a_400_and_does_not_reach_the_upstream(at_once: bool) -> None:
    got: list[bytes] = []

    async def script(wire: Wire) -> None:
        try:
            while True:
                got.append(await wire.read_exactly(1))
        finally:
            pass

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        head = f"POST {target} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        bad = b"0x5\r\nhello\r\n"
        if at_once:
            await client.send(head + bad)
        else:
            await client.send(head + b"1\r\na\r\n")
            with trio.fail_after(5):
                while not proxy.tap.exchanges or not proxy.tap.exchanges[0].request:
                    await trio.lowlevel.checkpoint()
            await client.send(bad)
        answer, _ = await client.read_message()
        assert b" 400 " in answer
        end = await end_of_only(proxy)
        assert (end.state, end.error_kind) == (State.ABORTED_BY_CLIENT, "protocol")
    assert b"hello" not in b"".join(got)


async def test_a_malformed_chunk_after_the_answer_began_cuts_the_client_off() -> None:
    async def script(wire: Wire) -> None:
        await wire.read_head()
        await wire.send(CHUNKED + EVENT)
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        await client.send(
            f"POST {target} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n".encode()
        )
        await client.read_until(EVENT)
        await client.send(b"junk\r\n")
        assert await client.read_to_end() == b""
        end = await end_of_only(proxy)
        assert (end.state, end.error_kind) == (State.ABORTED_BY_CLIENT, "protocol")


# ---- limits


async def test_a_head_that_trickles_is_answered_with_408() -> None:
    async with running_proxy("http://127.0.0.1:9", head_timeout=0.1) as proxy:
        client = await proxy.dial()
        await client.send(b"GET /v1 HT")
        head, _ = await client.read_message()
        assert head.startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with (
        raw_upstream(answering(OK)) as upstream,
        running_proxy(upstream.url, idle_timeout=0.1) as proxy,
    ):
        client, target, host = await proxy.enter("reverse", "/v1/models")
        await client.send(request("GET", target, host))
        assert await client.read_to_end() == OK


async def test_a_connection_that_never_says_anything_is_closed() -> None:
    async with running_proxy("http://127.0.0.1:9", head_timeout=0.1) as proxy:
        client = await proxy.dial()
        assert await client.read_to_end() == b""


async def test_a_silent_stream_has_no_limit() -> None:
    """Every limit of the proxy passes by while the upstream says nothing; what it says then still arrives."""
    goes_on = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(CHUNKED + EVENT)
        await goes_on.wait()
        await wire.send(b"0\r\n\r\n")
        await wire.wait_gone()

    short = dict.fromkeys(("connect_timeout", "handshake_timeout", "head_timeout", "idle_timeout"), 0.05)
    async with raw_upstream(script) as upstream, running_proxy(upstream.url, **short) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        await client.send(request("POST", target, host, b"{}"))
        await client.read_until(EVENT)
        with trio.move_on_after(0.2):  # four times every limit
            await client.read_until(b"0\r\n\r\n")
        goes_on.set()
        await client.read_until(b"0\r\n\r\n")
        assert (await end_of_only(proxy)).state is State.COMPLETE


async def test_an_early_answer_waits_only_so_long_for_the_rest_of_the_request() -> None:
    async def script(wire: Wire) -> None:
        await wire.read_head()
        await wire.send(OK)
        await wire.wait_gone()

    async with (
        raw_upstream(script) as upstream,
        running_proxy(upstream.url, idle_timeout=0.1, linger_timeout=0.1) as proxy,
    ):
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        await client.send(request("POST", target, host, b"never all of it")[:-3])
        assert await client.read_to_end() == OK
        end = await end_of_only(proxy)
        assert (end.state, end.early_response, end.forwarded) == (State.COMPLETE, True, None)
