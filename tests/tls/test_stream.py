"""`TLSStream`, against the standard library's TLS, OpenSSL's own client and Trio's stream checks."""

from __future__ import annotations

import shutil
import socket
import ssl
import struct
import sys
from contextlib import asynccontextmanager
from functools import partial
from subprocess import PIPE, STDOUT
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from OpenSSL import SSL

from claudeproxy.errors import HandshakeError
from claudeproxy.tls.authority import CertificateAuthority
from claudeproxy.tls.cache import CertificateCache
from claudeproxy.tls.stream import TLSStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

HOST = "api.anthropic.com"
MEGABYTES = bytes(range(256)) * 4096 * 3


@pytest.fixture(scope="module")
def cache() -> CertificateCache:
    return CertificateCache(CertificateAuthority.generate_root_ca())


def client_context(
    cache: CertificateCache | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, alpn: tuple[str, ...] = ()
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = version
    if cache is not None:
        context.load_verify_locations(cadata=cache.authority.root_pem.decode())
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def transports() -> tuple[trio.SocketStream, trio.SocketStream]:
    left, right = socket.socketpair()
    return (
        trio.SocketStream(trio.socket.from_stdlib_socket(left)),
        trio.SocketStream(trio.socket.from_stdlib_socket(right)),
    )


@asynccontextmanager
async def connected(
    cache: CertificateCache,
    *,
    context: ssl.SSLContext | None = None,
    name: str | None = HOST,
    default_host: str | None = None,
    https_compatible: bool = False,
    make_transports: Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]] = transports,
) -> AsyncIterator[tuple[trio.SSLStream[trio.abc.Stream], TLSStream]]:
    """A standard library client and our server, handshake done on both sides."""
    raw_client, raw_server = make_transports()
    client = trio.SSLStream(
        raw_client, context or client_context(cache), server_hostname=name, https_compatible=https_compatible
    )
    server = TLSStream(raw_server, cache.server_context(), default_host=default_host)
    async with raw_client, raw_server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            nursery.start_soon(server.do_handshake)
        yield client, server


async def handshake_fails(
    cache: CertificateCache, context: ssl.SSLContext, name: str | None = HOST
) -> tuple[ssl.SSLError | None, HandshakeError]:
    """What either side says about a handshake that does not come about."""
    raw_client, raw_server = transports()
    client = trio.SSLStream(raw_client, context, server_hostname=name)
    server = TLSStream(raw_server, cache.server_context())
    seen: list[ssl.SSLError] = []

    async def dial() -> None:
        with pytest.raises(trio.BrokenResourceError) as caught:
            await client.do_handshake()
        if isinstance(caught.value.__cause__, ssl.SSLError):
            seen.append(caught.value.__cause__)
        await trio.aclose_forcefully(client)

    async with raw_client, raw_server, trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        with pytest.raises(HandshakeError) as caught:
            await server.do_handshake()
        with pytest.raises(HandshakeError):  # the same answer to whoever asks again
            await server.receive_some()
    return (seen[0] if seen else None), caught.value


class ClientTLSStream(TLSStream):
    """The other end in Trio's checks, which want both ends to be half-closeable; knows no authorities."""

    def __init__(self, transport: trio.abc.Stream, *, verify: bool = False, version: int = SSL.TLS1_3_VERSION) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_verify(SSL.VERIFY_PEER if verify else SSL.VERIFY_NONE)
        context.set_max_proto_version(version)
        super().__init__(transport, context)
        self._connection.set_tlsext_host_name(HOST.encode())
        self._connection.set_connect_state()

    async def _finish(self) -> None:
        await self._flush()


# --- Trio's own checks


async def test_it_is_a_half_closeable_stream_as_trio_defines_it(cache: CertificateCache) -> None:
    async def pair(
        make: Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]],
    ) -> tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]:
        left, right = make()
        client, server = ClientTLSStream(left), TLSStream(right, cache.server_context())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            nursery.start_soon(server.do_handshake)
        return client, server

    await trio.testing.check_half_closeable_stream(
        lambda: pair(trio.testing.memory_stream_pair), lambda: pair(trio.testing.lockstep_stream_pair)
    )


# --- the handshake


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_client_verifies_the_certificate_of_the_name_it_asked_for(
    cache: CertificateCache, version: ssl.TLSVersion
) -> None:
    async with connected(cache, context=client_context(cache, version)) as (client, server):
        assert client.getpeercert()["subjectAltName"] == (("DNS", HOST),)
        assert server.server_name == HOST
        assert server.protocol_version == client.version()
        assert "open" in repr(server)
        await server.do_handshake()  # nothing more to do


@pytest.mark.parametrize(
    ("offered", "chosen"), [(("h2", "http/1.1"), "http/1.1"), (("http/1.1",), "http/1.1"), ((), None), (("h2",), None)]
)
async def test_only_http_1_1_is_ever_agreed_on(
    cache: CertificateCache, offered: tuple[str, ...], chosen: str | None
) -> None:
    async with connected(cache, context=client_context(cache, alpn=offered)) as (client, _):
        assert client.selected_alpn_protocol() == chosen


async def test_a_client_that_names_nobody_gets_the_default_host(cache: CertificateCache) -> None:
    async with connected(cache, name="127.0.0.1", default_host="127.0.0.1") as (client, server):
        assert client.getpeercert()["subjectAltName"] == (("IP Address", "127.0.0.1"),)
        assert server.server_name is None


@pytest.mark.parametrize("name", ["example.com", "evilanthropic.com", "127.0.0.1"])
async def test_a_name_that_is_not_covered_is_answered_with_unrecognized_name(
    cache: CertificateCache, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.1 stands for "no name": clients send no SNI for an address, and this stream has no default host."""
    unhandled: list[object] = []
    monkeypatch.setattr(sys, "excepthook", lambda *args: unhandled.append(args))
    error, failure = await handshake_fails(cache, client_context(cache), name)
    assert error is not None
    assert error.reason == "TLSV1_UNRECOGNIZED_NAME"
    assert not failure.distrusted
    assert "no certificate" in str(failure)
    assert unhandled == []


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
async def test_a_client_that_does_not_trust_the_root_is_recognised(cache: CertificateCache, version: int) -> None:
    left, right = transports()
    client, server = ClientTLSStream(left, verify=True, version=version), TLSStream(right, cache.server_context())

    async def dial() -> None:
        with pytest.raises(HandshakeError):
            await client.do_handshake()

    async with left, right, trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        with pytest.raises(HandshakeError) as caught:
            await server.do_handshake()
        assert caught.value.distrusted
        assert "unknown ca" in str(caught.value)


def first_flight() -> tuple[ssl.SSLObject, bytes]:
    out = ssl.MemoryBIO()
    client = client_context(None).wrap_bio(ssl.MemoryBIO(), out, server_hostname=HOST)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return client, out.read()


@pytest.mark.parametrize("reset", [False, True])
async def test_a_client_that_leaves_after_seeing_the_certificate_distrusts_it(
    cache: CertificateCache, reset: bool
) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0], trio.open_nursery() as nursery:

        async def dial() -> None:
            client = trio.socket.socket()
            await client.connect(listeners[0].socket.getsockname())
            await client.send(first_flight()[1])
            assert await client.recv(65536)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()

        nursery.start_soon(dial)
        async with await listeners[0].accept() as transport:
            with pytest.raises(HandshakeError) as caught:
                await TLSStream(transport, cache.server_context()).do_handshake()
            assert caught.value.distrusted


async def test_a_client_that_leaves_before_that_says_nothing_about_trust(cache: CertificateCache) -> None:
    client, server = transports()
    async with client, server:
        await client.send_all(first_flight()[1][:100])
        await client.send_eof()
        with pytest.raises(HandshakeError) as caught:
            await TLSStream(server, cache.server_context()).do_handshake()
        assert not caught.value.distrusted


async def test_bytes_that_are_not_tls_fail_the_handshake_even_if_the_client_is_gone(cache: CertificateCache) -> None:
    client, server = trio.testing.memory_stream_pair()
    await client.send_all(b"GET / HTTP/1.1\r\n\r\n")
    await client.aclose()
    with pytest.raises(HandshakeError) as caught:
        await TLSStream(server, cache.server_context()).do_handshake()
    assert not caught.value.distrusted
    assert "handshake failed" in str(caught.value)


async def test_a_cancelled_handshake_leaves_a_broken_stream(cache: CertificateCache) -> None:
    client, server = trio.testing.memory_stream_pair()
    stream = TLSStream(server, cache.server_context())
    await client.send_all(first_flight()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.do_handshake)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert "broken" in repr(stream)
    await trio.aclose_forcefully(stream)
    with pytest.raises(trio.ClosedResourceError):
        await stream.do_handshake()


class Dribbling(trio.abc.Stream):
    """Gives what arrives a few bytes at a time."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self.inner.receive_some(7))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.inner.aclose()


async def test_a_hello_in_many_pieces_is_understood(cache: CertificateCache) -> None:
    def pair() -> tuple[trio.abc.Stream, trio.abc.Stream]:
        left, right = transports()
        return left, Dribbling(right)

    async with connected(cache, make_transports=pair) as (_, server):
        assert server.server_name == HOST


async def test_nothing_lies_unread_at_the_client_after_the_handshake(cache: CertificateCache) -> None:
    """Session tickets wait for the first answer: unread, they would turn the client's close into a reset."""
    async with connected(cache) as (client, server):
        with trio.move_on_after(0.01) as scope:
            await client.transport_stream.receive_some()
        assert scope.cancelled_caught
        await server.send_all(b"x")
        assert await client.receive_some() == b"x"


# --- data


async def test_data_and_ends_arrive_in_both_directions(cache: CertificateCache) -> None:
    async with connected(cache) as (client, server):
        await client.send_all(b"request")
        assert await server.receive_some() == b"request"
        await server.send_all(bytearray(b"event 1"))
        assert await client.receive_some() == b"event 1"
        await server.send_all(b"")
        await server.send_eof()
        await server.send_eof()
        assert await client.receive_some() == b""
        with pytest.raises(trio.ClosedResourceError):
            await server.send_all(b"more")
        await client.aclose()
        assert await server.receive_some() == b""
        assert await server.receive_some() == b""


async def test_both_sides_may_send_more_than_buffers_hold_before_they_read(cache: CertificateCache) -> None:
    async with connected(cache) as (client, server):
        received = bytearray()

        async def server_receives() -> None:
            while len(received) < len(MEGABYTES):
                received.extend(await server.receive_some())

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.send_all, MEGABYTES)
                nursery.start_soon(server_receives)
                await client.send_all(MEGABYTES)  # reads nothing until all is sent
                answer = bytearray()
                while len(answer) < len(MEGABYTES):
                    answer += await client.receive_some()
        assert received == MEGABYTES
        assert answer == MEGABYTES


async def test_records_that_have_arrived_are_given_together(cache: CertificateCache) -> None:
    async with connected(cache, make_transports=trio.testing.memory_stream_pair) as (client, server):
        await client.send_all(MEGABYTES[:65536])
        assert len(await server.receive_some()) == 65536
        await client.send_all(MEGABYTES[:40000])
        assert len(await server.receive_some(20000)) == 20000
        assert len(await server.receive_some(16384)) <= 16384


async def test_no_more_is_given_than_was_asked_for(cache: CertificateCache) -> None:
    async with connected(cache) as (client, server):
        await client.send_all(b"abc")
        assert [await server.receive_some(1) for _ in range(3)] == [b"a", b"b", b"c"]
        with pytest.raises(ValueError):
            await server.receive_some(0)


async def test_an_end_without_close_notify_is_an_end(cache: CertificateCache) -> None:
    async with connected(cache) as (client, server):
        await client.transport_stream.aclose()
        assert await server.receive_some() == b""


async def test_bytes_that_are_no_records_break_the_stream(cache: CertificateCache) -> None:
    async with connected(cache) as (client, server):
        await client.transport_stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await server.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await server.send_all(b"x")


async def test_the_handshake_comes_by_itself_with_the_first_use(cache: CertificateCache) -> None:
    raw_client, raw_server = transports()
    client = trio.SSLStream(raw_client, client_context(cache), server_hostname=HOST)
    server = TLSStream(raw_server, cache.server_context())
    async with raw_client, raw_server, trio.open_nursery() as nursery:
        nursery.start_soon(server.send_all, b"hello")
        nursery.start_soon(client.send_all, b"hi")
        assert await server.receive_some() == b"hi"
        assert await client.receive_some() == b"hello"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_a_key_update_in_the_middle_is_answered(cache: CertificateCache) -> None:
    """`K` tells s_client to ask for new keys in both directions: our answer goes out from `receive_some`.

    It takes whatever it reads together with the `K` for part of the command, so we wait for what it says to it.
    """
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", HOST, "-tls1_3"]
    async with listeners[0], trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            partial(trio.run_process, command, stdin=PIPE, stdout=PIPE, stderr=STDOUT, check=False)
        )
        assert process.stdin is not None
        output = b""

        async def printed(text: bytes) -> None:
            nonlocal output
            while text not in output:
                assert process.stdout is not None
                piece = await process.stdout.receive_some()
                assert piece, output
                output += piece

        async with TLSStream(await listeners[0].accept(), cache.server_context()) as server:
            await server.do_handshake()
            await process.stdin.send_all(b"before\n")
            assert await server.receive_some() == b"before\n"
            await process.stdin.send_all(b"K\n")
            await printed(b"KEYUPDATE")
            await server.send_all(b"with old keys\n")
            await process.stdin.send_all(b"after\n")
            assert await server.receive_some() == b"after\n"
            await server.send_all(b"with new keys\n")
            await printed(b"with old keys\nwith new keys")
        process.terminate()


async def test_a_send_waits_for_an_answer_of_tls_itself_that_is_on_its_way(cache: CertificateCache) -> None:
    """A client that asks to renegotiate is told no from `receive_some`; records must not overtake each other."""
    left, right = trio.testing.memory_stream_pair()
    client, server = ClientTLSStream(left, version=SSL.TLS1_2_VERSION), TLSStream(right, cache.server_context())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        nursery.start_soon(server.do_handshake)
    assert client._connection.renegotiate()
    with pytest.raises(SSL.WantReadError):
        client._connection.do_handshake()
    await client._flush()

    unblocked = trio.Event()
    sends: list[int] = []

    async def blocked() -> None:
        sends.append(len(sends))
        await unblocked.wait()

    right.send_stream.send_all_hook = blocked
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.receive_some)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(server.send_all, b"data")
        await trio.testing.wait_all_tasks_blocked()
        assert sends == [0]
        unblocked.set()
        await trio.testing.wait_all_tasks_blocked()
        assert sends == [0, 1]
        nursery.cancel_scope.cancel()


# --- cancellation and closing


async def test_a_cancelled_send_breaks_the_stream_for_sending(cache: CertificateCache) -> None:
    async with connected(cache, make_transports=trio.testing.memory_stream_pair) as (client, server):
        assert isinstance(server.transport, trio.StapledStream)
        server.transport.send_stream.send_all_hook = trio.sleep_forever
        with trio.move_on_after(0) as scope:
            await server.send_all(b"lost")
        assert scope.cancelled_caught
        with pytest.raises(trio.BrokenResourceError):
            await server.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await server.send_eof()
        await client.send_all(b"still readable")
        assert await server.receive_some() == b"still readable"
        assert "broken" in repr(server)


async def test_a_cancelled_receive_loses_nothing(cache: CertificateCache) -> None:
    async with connected(cache) as (client, server):
        with trio.move_on_after(0) as scope:
            await server.receive_some()
        assert scope.cancelled_caught
        await client.send_all(b"abc")
        assert await server.receive_some() == b"abc"


async def test_closing_says_goodbye(cache: CertificateCache) -> None:
    """Without close_notify a client cannot tell the end of a body that ends with the connection from a cut."""
    async with connected(cache) as (client, server):
        await server.send_all(b"all")
        await server.aclose()
        await server.aclose()
        assert await client.receive_some() == b"all"
        assert await client.receive_some() == b""  # not https_compatible: a missing close_notify would raise
        for use in (server.receive_some, lambda: server.send_all(b"x"), server.wait_send_all_might_not_block):
            with pytest.raises(trio.ClosedResourceError):
                await use()
        assert "closed" in repr(server)


async def test_closing_does_not_wait_for_a_client_that_does_not_read(
    cache: CertificateCache, autojump_clock: trio.testing.MockClock
) -> None:
    async with connected(cache, make_transports=trio.testing.memory_stream_pair) as (_, server):
        assert isinstance(server.transport, trio.StapledStream)
        server.transport.send_stream.send_all_hook = trio.sleep_forever
        start = trio.current_time()
        await server.aclose()
        assert trio.current_time() - start <= 1.0


async def test_closing_ends_a_send_that_is_under_way(cache: CertificateCache) -> None:
    async with connected(cache) as (_, server), trio.open_nursery() as nursery:

        async def send() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await server.send_all(MEGABYTES)

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        await server.aclose()


async def test_closing_after_the_client_reset_is_quiet(cache: CertificateCache) -> None:
    async with connected(cache) as (client, server):
        await client.transport_stream.aclose()
        await server.aclose()


async def test_only_one_task_may_use_a_direction(cache: CertificateCache) -> None:
    async with connected(cache) as (_, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.receive_some)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await server.receive_some()
        nursery.cancel_scope.cancel()
