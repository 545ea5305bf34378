"""What both legs agree to speak: one pyOpenSSL context towards clients, one stdlib context towards the upstream.

Apart because these are the security settings, to be read in one look. TLS 1.2 and 1.3; HTTP/1.1 only. The server side
takes its certificate in the SNI callback, with the key in memory only; the client side always verifies certificate and
host name, and the only way to trust more is a CA file.
"""

from __future__ import annotations

import ssl
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from OpenSSL import SSL

from claudeproxy.errors import ConfigError, TLSError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography import x509

    from claudeproxy.tls.authority import Leaf

HTTP_1_1 = b"http/1.1"


@dataclass(slots=True, kw_only=True)
class HandshakeState:
    """What the SNI callback and the stream tell each other, as the application data of a `SSL.Connection`."""

    default_host: str | None  # whose certificate to show when the client names nobody (it dialled an IP address)
    server_name: str | None = None  # what the client named
    refused: Exception | None = None  # why there is no certificate


def make_server_context(find_leaf: Callable[[str], Leaf], intermediate: x509.Certificate) -> SSL.Context:
    """The context of every connection from clients; `find_leaf` gives a host's certificate or raises TLSError."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    # Nothing is resumed here; TLS 1.3 sends tickets nevertheless (see stream._finish).
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 34 KB less for each idle connection
    context.add_extra_chain_cert(intermediate)
    context.set_alpn_select_callback(_select_protocol)

    def choose_certificate(connection: SSL.Connection) -> None:
        # What is raised here would go to sys.excepthook and to nobody who can answer: keep it for the stream.
        state = connection.get_app_data()
        try:
            _choose_certificate(connection, state, find_leaf)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the stream reports it
            state.refused = exc

    context.set_tlsext_servername_callback(choose_certificate)
    return context


def _choose_certificate(connection: SSL.Connection, state: HandshakeState, find_leaf: Callable[[str], Leaf]) -> None:
    name = connection.get_servername()
    if name is not None:
        state.server_name = name.decode("ascii", "backslashreplace").lower()
    host = state.server_name or state.default_host
    if host is None:
        raise TLSError("the client named no server (SNI)")
    leaf = find_leaf(host)
    connection.use_certificate(leaf.certificate)
    connection.use_privatekey(leaf.key)


def _select_protocol(connection: SSL.Connection, offered: list[bytes]) -> bytes | SSL._NoOverlappingProtocols:
    # A client that offers only h2 is told nothing and may fall back; RFC 7301, 3.2 would have us break it off.
    return HTTP_1_1 if HTTP_1_1 in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def make_client_context(upstream_ca: Path | None = None) -> ssl.SSLContext:
    """The context of every connection to the upstream: the system's trust, plus the PEM file `upstream_ca`.

    Make it once: loading the system's store costs tens of milliseconds. Raises ConfigError when the file is unusable.
    """
    if sys.platform in ("darwin", "win32"):  # their stores are not files; on Linux this costs 25 ms a connection
        import truststore

        context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = ssl.create_default_context()
        # Python 3.13 is strict by default and then refuses corporate authorities that every other client accepts.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # TLS 1.2: `UpstreamTLSStream` sends without having to receive first
    context.set_alpn_protocols(["http/1.1"])
    if upstream_ca is not None:
        try:
            context.load_verify_locations(cafile=upstream_ca)
        except (OSError, ssl.SSLError) as exc:
            raise ConfigError(f"upstream_ca: {upstream_ca} holds no usable certificates ({exc})") from exc
    return context
