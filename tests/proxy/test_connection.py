"""Classify, unwrap, classify again: who is opened up, who is tunnelled, who is refused."""

from __future__ import annotations

import json
import ssl
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
import structlog
import trio

from claudeproxy.model import State
from tests.proxy.support import API, OK, Proxy, request, running_proxy, trusting_context
from tests.support.raw_upstream import answering, raw_upstream

if TYPE_CHECKING:
    from tests.support.wire import Wire


async def echo_backwards(wire: Wire) -> None:
    """Reads to the client's end, then sends it all reversed: needs a half-close to work."""
    await wire.send((await wire.read_to_end())[::-1])


async def test_another_host_is_tunnelled_byte_for_byte_with_half_closes_and_unrecorded() -> None:
    every_byte = bytes(range(256)) * 1000
    async with raw_upstream(echo_backwards) as other, running_proxy() as proxy:
        client = await proxy.connect("127.0.0.1", other.port)
        assert proxy.server.statistics().tunnels == 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_and_end, client, every_byte)
            assert await client.read_to_end() == every_byte[::-1]
        assert proxy.tap.exchanges == []


async def _send_and_end(wire: Wire, data: bytes) -> None:
    await wire.send(data)
    await wire.raw.send_eof()


async def test_bytes_sent_together_with_connect_are_part_of_the_tunnel() -> None:
    async with raw_upstream(echo_backwards) as other, running_proxy() as proxy:
        client = await proxy.dial()
        await client.send(f"CONNECT 127.0.0.1:{other.port} HTTP/1.1\r\nHost: x\r\n\r\nab".encode())
        await client.read_head()
        await _send_and_end(client, b"cd")
        assert await client.read_to_end() == b"dcba"


async def test_a_reset_tunnel_is_reset_on_the_other_side() -> None:
    async def script(wire: Wire) -> None:
        await wire.read_exactly(1)
        await wire.reset()

    async with raw_upstream(script) as other, running_proxy() as proxy:
        client = await proxy.connect("127.0.0.1", other.port)
        await client.send(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await client.read_to_end()


async def test_connect_to_a_dead_host_is_a_502() -> None:
    async with raw_upstream(answering()) as gone:
        pass
    async with running_proxy() as proxy:
        client = await proxy.dial()
        await client.send(f"CONNECT 127.0.0.1:{gone.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, body = await client.read_message()
        assert head.startswith(b"HTTP/1.1 502 ")
        assert "refused" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize("decrypting", [True, False])
async def test_switched_off_everything_is_tunnelled_and_nothing_recorded(decrypting: bool) -> None:
    """`enabled: false`, or no certificates: CONNECT to the API is carried unopened, reverse mode relays unrecorded."""
    off = {"decrypt": False} if decrypting else {}
    async with raw_upstream(echo_backwards) as other:
        addresses = {"upstream_addresses": {API: "127.0.0.1"}, **off}
        async with running_proxy(decrypting=decrypting, **addresses) as proxy:
            client = await proxy.connect(API, other.port)
            await _send_and_end(client, b"\x16\x03\x01 not opened")
            assert await client.read_to_end() == b"\x16\x03\x01 not opened"[::-1]
            assert proxy.tap.exchanges == []
    async with raw_upstream(answering(OK)) as upstream, running_proxy(upstream.url, decrypt=False) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/models")
        await client.send(request("GET", target, host))
        assert await client.read_exactly(len(OK)) == OK
        assert proxy.tap.exchanges == []


async def test_absolute_form_to_another_host_is_relayed_unrecorded() -> None:
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        seen.append(await wire.read_head())
        await wire.send(OK)
        await wire.wait_gone()

    async with raw_upstream(script) as other, running_proxy() as proxy:
        client = await proxy.dial()
        await client.send(request("GET", f"http://127.0.0.1:{other.port}/x?y", "elsewhere"))
        assert await client.read_exactly(len(OK)) == OK
        assert proxy.tap.exchanges == []
    assert seen == [f"GET /x?y HTTP/1.1\r\nHost: 127.0.0.1:{other.port}\r\n\r\n".encode()]


# ---- direct TLS


async def test_tls_with_an_unlisted_name_is_tunnelled_to_that_name() -> None:
    async with raw_upstream(echo_backwards) as other:
        settings = {"transparent_port": other.port, "upstream_addresses": {"www.example.com": "127.0.0.1"}}
        async with running_proxy(**settings) as proxy:
            hello = _client_hello("www.example.com")
            client = await proxy.dial()
            await _send_and_end(client, hello)
            assert await client.read_to_end() == hello[::-1]
            assert proxy.tap.exchanges == []


async def test_tls_to_a_name_that_cannot_be_reached_is_closed() -> None:
    async with raw_upstream(answering()) as gone:
        pass
    settings = {"transparent_port": gone.port, "upstream_addresses": {"www.example.com": "127.0.0.1"}}
    async with running_proxy(**settings) as proxy:
        client = await proxy.dial()
        await client.send(_client_hello("www.example.com"))
        with pytest.raises((trio.BrokenResourceError, EOFError)):
            await client.read_exactly(1)


async def test_tls_that_asks_for_nobody_we_may_carry_gets_an_unrecognized_name_alert() -> None:
    async with running_proxy(proxy_auth="user:secret") as proxy:
        with pytest.raises(trio.BrokenResourceError) as caught:
            await proxy.dial_tls("www.example.com")
        assert isinstance(caught.value.__cause__, ssl.SSLError)
        assert "UNRECOGNIZED_NAME" in str(caught.value.__cause__)


async def test_junk_that_begins_like_tls_is_refused_with_an_alert() -> None:
    async with running_proxy() as proxy:
        client = await proxy.dial()
        await client.send(b"\x16\x09\x01junk")
        assert (await client.read_exactly(7))[:1] == b"\x15"


async def test_a_client_that_leaves_in_its_hello_is_no_error() -> None:
    async with running_proxy() as proxy:
        client = await proxy.dial()
        await client.send(_client_hello(API)[:20])
        await client.raw.send_eof()
        assert await client.read_to_end() == b""


async def test_a_hello_that_never_ends_is_cut_off() -> None:
    async with running_proxy(handshake_timeout=0.1) as proxy:
        client = await proxy.dial()
        await client.send(_client_hello(API)[:20])
        assert (await client.read_exactly(7))[:1] == b"\x15"


async def test_tls_inside_tls_without_connect_is_refused() -> None:
    async with running_proxy() as proxy:
        outer = await proxy.dial_tls("localhost")
        with pytest.raises(trio.BrokenResourceError):
            await proxy.dial_tls(API, outer)


async def test_connect_inside_an_opened_tunnel_is_refused() -> None:
    async with running_proxy() as proxy:
        client = await proxy.dial_tls(API, await proxy.connect(API, 443))
        await client.send(f"CONNECT {API}:443 HTTP/1.1\r\nHost: {API}\r\n\r\n".encode())
        assert (await client.read_message())[0].startswith(b"HTTP/1.1 400 ")


async def test_a_client_that_distrusts_the_ca_is_logged_once_with_the_remedy() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running_proxy() as proxy:
            for _ in range(3):
                below = await proxy.connect(API, 443)
                stream = trio.SSLStream(below.stream, ssl.create_default_context(), server_hostname=API)
                with pytest.raises(trio.BrokenResourceError):
                    await stream.do_handshake()
                await below.close()
            while proxy.server.statistics().handshakes_failed < 3:
                await trio.lowlevel.checkpoint()
    (entry,) = [entry for entry in logs if "does not trust" in entry["event"]]
    assert "NODE_EXTRA_CA_CERTS" in entry["remedy"]
    assert entry["server_name"] == API


# ---- loops


async def test_connect_to_the_proxy_itself_is_refused() -> None:
    async with running_proxy() as proxy:
        client = await proxy.dial()
        await client.send(f"CONNECT localhost:{proxy.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, body = await client.read_message()
        assert head.startswith(b"HTTP/1.1 502 ")
        assert "itself" in json.loads(body)["error"]["message"]


async def test_an_upstream_that_leads_back_to_us_is_a_502() -> None:
    """As a hosts file would have it that names us for the API."""
    async with running_proxy(upstream_addresses={API: "127.0.0.1"}) as proxy:
        client = await proxy.dial_tls(API, await proxy.connect(API, proxy.port))
        await client.send(request("GET", "/v1/models", API))
        head, _ = await client.read_message()
        assert head.startswith(b"HTTP/1.1 502 ")
        end = (await proxy.tap.only()).end_value
        assert (end.state, end.error_kind) == (State.UPSTREAM_ERROR, "loop")
        assert "upstream_addresses" in (end.error or "")


# ---- who may come in


@pytest.mark.parametrize(
    ("host", "fields", "status"),
    [
        ("{own}", "", 200),
        ("localhost:1234", "", 200),
        ("[::1]", "", 200),
        ("proxy.corp", "", 200),
        (API, "", 403),
        ("evil.example", "", 403),
        ("{own}", "Origin: http://localhost:5173\r\n", 200),
        ("{own}", "Origin: https://evil.example\r\n", 403),
        ("{own}", "Origin: null\r\n", 403),
        ("{own}", "Origin: http://localhost.evil.example\r\n", 403),
    ],
)
async def test_a_web_page_cannot_use_the_port(host: str, fields: str, status: int) -> None:
    async with (
        raw_upstream(answering(OK)) as upstream,
        running_proxy(upstream.url, accepted_hosts=frozenset({"proxy.corp"})) as proxy,
    ):
        client = await proxy.dial()
        host = host.format(own=proxy.own_host)
        await client.send(request("POST", "/v1/messages", host, b"{}", fields=fields))
        head, _ = await client.read_message()
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert upstream.connections == (status == 200)
        assert len(proxy.tap.exchanges) == (status == 200)


async def test_an_absolute_form_request_of_a_web_page_is_refused() -> None:
    async with running_proxy() as proxy:
        client = await proxy.dial()
        await client.send(request("GET", f"http://{API}/v1", API, fields="Origin: https://evil.example\r\n"))
        assert (await client.read_message())[0].startswith(b"HTTP/1.1 403 ")


def _basic(credentials: str) -> str:
    return f"Proxy-Authorization: Basic {b64encode(credentials.encode()).decode()}\r\n"


@pytest.mark.parametrize(("fields", "status"), [("", 407), (_basic("user:wrong"), 407), (_basic("user:secret"), 200)])
async def test_credentials_are_asked_for_at_every_way_in(fields: str, status: int) -> None:
    async with (
        raw_upstream(answering(*[OK] * 4)) as upstream,
        running_proxy(upstream.url, proxy_auth="user:secret") as proxy,
    ):
        for target, host in (("/v1/models", proxy.own_host), (f"http://{API}/v1/models", API)):
            client = await proxy.dial()
            await client.send(request("GET", target, host, fields=fields))
            await _expect(client, status)
        client = await proxy.dial_tls(API)
        await client.send(request("GET", "/v1/models", API, fields=fields))
        await _expect(client, status)
        client = await proxy.dial()
        await client.send(f"CONNECT {API}:443 HTTP/1.1\r\nHost: {API}\r\n{fields}\r\n".encode())
        await _expect(client, status)
        if status == 200:
            await _inside_needs_none(proxy, client)


async def _expect(client: Wire, status: int) -> None:
    head = await client.read_head()
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert (b"\r\nProxy-Authenticate: Basic " in head) == (status == 407)


async def _inside_needs_none(proxy: Proxy, tunnel: Wire) -> None:
    client = await proxy.dial_tls(API, tunnel)
    await client.send(request("GET", "/v1/models", API))
    assert await client.read_exactly(len(OK)) == OK


def _client_hello(name: str) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting_context().wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()
