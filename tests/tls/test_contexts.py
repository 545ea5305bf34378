"""What both legs agree to speak."""

from __future__ import annotations

import ssl
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.errors import ConfigError
from claudeproxy.tls.authority import CertificateAuthority
from claudeproxy.tls.cache import CertificateCache
from claudeproxy.tls.contexts import make_client_context, make_server_context
from claudeproxy.tls.stream import TLSStream

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def cache() -> CertificateCache:
    return CertificateCache(CertificateAuthority.generate_root_ca())


def test_the_upstream_is_always_verified_by_certificate_and_name() -> None:
    context = make_client_context()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="the system decides there")
def test_python_versions_agree_on_how_strict_to_be() -> None:
    assert not make_client_context().verify_flags & ssl.VERIFY_X509_STRICT


def test_a_server_cannot_stop_us_from_sending_by_a_new_handshake():
    assert make_client_context().options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize("content", [None, b"", b"junk"])
def test_an_unusable_ca_file_is_a_configuration_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "extra.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="upstream_ca"):
        make_client_context(path)


@pytest.mark.parametrize(
    ("trusted", "name", "accepted"),
    [(True, "api.anthropic.com", True), (False, "api.anthropic.com", False), (True, "claude.ai", False)],
)
async def test_an_upstream_is_accepted_only_with_a_trusted_certificate_for_its_name(
    cache: CertificateCache, tmp_path: Path, trusted: bool, name: str, accepted: bool
) -> None:
    """The server shows a certificate for api.anthropic.com whatever it is asked for."""
    extra = tmp_path / "extra.pem"
    extra.write_bytes(cache.authority.root_pem)
    context = make_client_context(extra if trusted else None)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0], trio.open_nursery() as nursery:

        async def serve() -> None:
            async with await listeners[0].accept() as transport:
                leaf = cache.get_server_config("api.anthropic.com")
                stream = TLSStream(transport, make_server_context(lambda _: leaf, cache.authority.intermediate))
                try:
                    await stream.do_handshake()
                    await stream.receive_some()
                except Exception:  # the client's verdict is what is asked for
                    await trio.lowlevel.checkpoint()

        nursery.start_soon(serve)
        transport = trio.SocketStream(trio.socket.socket())
        await transport.socket.connect(listeners[0].socket.getsockname())
        async with transport:
            client = trio.SSLStream(transport, context, server_hostname=name)
            if accepted:
                await client.do_handshake()
                assert client.selected_alpn_protocol() == "http/1.1"
            else:
                with pytest.raises(trio.BrokenResourceError) as caught:
                    await client.do_handshake()
                assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
