"""`UpstreamTLSStream`, against the standard library's server, pyOpenSSL's and that of OpenSSL itself."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
from contextlib import asynccontextmanager
from functools import partial
from subprocess import PIPE, STDOUT
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from claudeproxy.tls.authority import CertificateAuthority
from claudeproxy.tls.cache import CertificateCache
from claudeproxy.tls.contexts import make_client_context
from claudeproxy.tls.stream import TLSStream
from claudeproxy.tls.upstream import UpstreamTLSStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOST = "api.anthropic.com"
RECORD = 16384
MEGABYTES = bytes(range(256)) * 4096 * 3
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority.generate_root_ca()


@pytest.fixture(scope="module")
def cache(authority: CertificateAuthority) -> CertificateCache:
    return CertificateCache(authority)


@pytest.fixture(scope="module")
def context(authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_bytes(authority.root_pem)
    return make_client_context(path)


def transports() -> tuple[trio.SocketStream, trio.SocketStream]:
    left, right = socket.socketpair()
    return (
        trio.SocketStream(trio.socket.from_stdlib_socket(left)),
        trio.SocketStream(trio.socket.from_stdlib_socket(right)),
    )


@asynccontextmanager
async def connected(
    cache: CertificateCache, context: ssl.SSLContext
) -> AsyncIterator[tuple[UpstreamTLSStream, TLSStream]]:
    """Our client and our server, handshake done on both sides."""
    raw_client, raw_server = transports()
    client = UpstreamTLSStream(raw_client, context, server_hostname=HOST)
    server = TLSStream(raw_server, cache.server_context())
    async with raw_client, raw_server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            nursery.start_soon(server.do_handshake)
        yield client, server


async def everything(stream: trio.abc.Stream, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        data = await stream.receive_some()
        assert data
        received += data
    return bytes(received)


async def test_it_is_a_stream_as_trio_defines_it(cache: CertificateCache, context: ssl.SSLContext) -> None:
    async def make() -> tuple[UpstreamTLSStream, TLSStream]:
        left, right = transports()
        client = UpstreamTLSStream(left, context, server_hostname=HOST)
        server = TLSStream(right, cache.server_context())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            nursery.start_soon(server.do_handshake)
        return client, server

    await trio.testing.check_two_way_stream(make, None)


@pytest.mark.parametrize("version", VERSIONS)
async def test_more_than_buffers_hold_arrives_in_both_directions_at_once(
    cache: CertificateCache, authority: CertificateAuthority, version: ssl.TLSVersion
) -> None:
    context = ssl.create_default_context(cadata=authority.root_pem.decode())
    context.maximum_version = version
    async with connected(cache, context) as (client, server), trio.open_nursery() as nursery:
        assert server.protocol_version == version.name.replace("_", ".")
        nursery.start_soon(client.send_all, MEGABYTES)
        nursery.start_soon(server.send_all, MEGABYTES)

        async def check(stream: trio.abc.Stream) -> None:
            assert await everything(stream, len(MEGABYTES)) == MEGABYTES

        nursery.start_soon(check, client)
        nursery.start_soon(check, server)


async def test_records_that_have_arrived_are_given_together_and_no_more_than_was_asked_for(
    cache: CertificateCache, context: ssl.SSLContext
) -> None:
    async with connected(cache, context) as (client, server):
        await server.send_all(b"a" * RECORD + b"b" * 100)
        assert await client.receive_some(10) == b"a" * 10
        assert client.has_unread
        with trio.testing.assert_checkpoints():
            assert await client.receive_some() == b"a" * (RECORD - 10) + b"b" * 100
        assert not client.has_unread
        with pytest.raises(ValueError, match="max_bytes"):
            await client.receive_some(0)
    assert HOST in repr(client)


async def test_half_a_record_is_waited_for(cache: CertificateCache, context: ssl.SSLContext) -> None:
    near, far = trio.testing.memory_stream_pair()
    raw_client, raw_server = transports()
    client = UpstreamTLSStream(near, context, server_hostname=HOST)
    server = TLSStream(raw_server, cache.server_context())

    async def carry(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
        while data := await source.receive_some():
            for at in range(len(data)):
                await sink.send_all(data[at : at + 1])

    async with raw_client, raw_server, trio.open_nursery() as nursery:
        nursery.start_soon(carry, far, raw_client)
        nursery.start_soon(carry, raw_client, far)
        nursery.start_soon(server.do_handshake)
        await client.do_handshake()
        await server.send_all(b"event")
        assert await client.receive_some() == b"event"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("politely", [True, False])
async def test_an_end_is_an_end_with_or_without_close_notify(
    cache: CertificateCache, context: ssl.SSLContext, politely: bool
) -> None:
    async with connected(cache, context) as (client, server):
        await server.send_all(b"last")
        await (server.aclose() if politely else server.transport.aclose())
        assert await client.receive_some() == b"last"
        assert await client.receive_some() == b""
        assert await client.receive_some() == b""


async def test_bytes_that_are_no_records_break_the_stream(cache: CertificateCache, context: ssl.SSLContext) -> None:
    async with connected(cache, context) as (client, server):
        await server.send_all(b"good")
        await server.transport.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert await client.receive_some() == b"good"
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="TLS failed"):
                await client.receive_some()


async def test_a_host_that_the_certificate_is_not_for_fails_the_handshake(
    cache: CertificateCache, context: ssl.SSLContext
) -> None:
    raw_client, raw_server = transports()
    client = UpstreamTLSStream(raw_client, context, server_hostname="claude.ai")
    certificate = cache.get_server_config(HOST)

    def wrong(connection: SSL.Connection) -> None:
        connection.use_certificate(certificate.certificate)
        connection.use_privatekey(certificate.key)

    other = SSL.Context(SSL.TLS_SERVER_METHOD)
    other.add_extra_chain_cert(cache.authority.intermediate)
    other.set_tlsext_servername_callback(wrong)
    server = TLSStream(raw_server, other)
    async with raw_client, raw_server, trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await client.do_handshake()
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        nursery.cancel_scope.cancel()


async def test_a_server_that_closes_in_the_handshake_says_so(context: ssl.SSLContext) -> None:
    raw_client, raw_server = transports()
    client = UpstreamTLSStream(raw_client, context, server_hostname=HOST)
    async with raw_client:
        await raw_server.send_eof()
        with pytest.raises(trio.BrokenResourceError) as caught:
            await client.do_handshake()
        assert isinstance(caught.value.__cause__, ssl.SSLEOFError)
    await raw_server.aclose()


async def test_only_one_task_may_send(cache: CertificateCache, context: ssl.SSLContext) -> None:
    async with connected(cache, context) as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, MEGABYTES)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await client.send_all(b"x")
        assert await everything(server, len(MEGABYTES)) == MEGABYTES


async def test_a_cancelled_send_breaks_the_stream_for_sending(cache: CertificateCache, context: ssl.SSLContext) -> None:
    async with connected(cache, context) as (client, server):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send_all, MEGABYTES)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        with pytest.raises(trio.BrokenResourceError, match="did not finish"):
            await client.send_all(b"x")
        await server.send_all(b"still heard")
        assert await client.receive_some() == b"still heard"


async def test_a_cancelled_receive_loses_nothing(cache: CertificateCache, context: ssl.SSLContext) -> None:
    async with connected(cache, context) as (client, server):
        with trio.move_on_after(0.01):
            await client.receive_some()
        await server.send_all(b"kept")
        await client.wait_send_all_might_not_block()
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.receive_some()
        assert await client.receive_some() == b"kept"


async def test_a_closed_stream_is_of_no_use(cache: CertificateCache, context: ssl.SSLContext) -> None:
    async with connected(cache, context) as (client, _):
        await client.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await client.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await client.send_all(b"x")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
async def test_a_key_update_in_the_middle_is_answered_before_the_next_bytes(
    cache: CertificateCache, context: ssl.SSLContext, tmp_path: Path
) -> None:
    """`K` tells s_server to ask for new keys in both directions; it prints what it can still decrypt.

    It takes whatever it reads together with the `K` for part of the command, so we wait for what it says to us.
    """
    leaf = cache.get_server_config(HOST)
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key").write_bytes(leaf.key.private_bytes(*plain))
    (tmp_path / "chain").write_bytes(leaf.pem)
    files = ["-cert", str(tmp_path / "chain"), "-cert_chain", str(tmp_path / "chain"), "-key", str(tmp_path / "key")]
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-tls1_3", *files]
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            partial(trio.run_process, command, stdin=PIPE, stdout=PIPE, stderr=STDOUT, check=False)
        )
        assert process.stdin is not None
        output = b""

        async def printed(text: bytes) -> bytes:
            nonlocal output
            while text not in output:
                assert process.stdout is not None
                piece = await process.stdout.receive_some()
                assert piece, output
                output += piece
            return output

        with trio.fail_after(10):
            accepting = re.search(rb"ACCEPT 127\.0\.0\.1:(\d+)\s", await printed(b"ACCEPT 127.0.0.1:"))
            assert accepting is not None, output
            transport = await trio.open_tcp_stream("127.0.0.1", int(accepting[1]))  # noqa: TID251 - the test's own
            async with UpstreamTLSStream(transport, context, server_hostname=HOST) as client:
                await client.do_handshake()
                await client.send_all(b"with old keys\n")
                await printed(b"with old keys")
                await process.stdin.send_all(b"before\n")
                assert await client.receive_some() == b"before\n"
                await process.stdin.send_all(b"K\n")
                await trio.lowlevel.wait_readable(transport.socket)
                await process.stdin.send_all(b"after\n")
                assert await client.receive_some() == b"after\n"
                await client.send_all(b"with new keys\n")
                await printed(b"with new keys")
        process.terminate()
