"""Which fields go on to the next connection, and which end here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.sansio.hops import forward_headers, names_option, wants_close

if TYPE_CHECKING:
    from claudeproxy.model import RawHeaders


def test_hop_by_hop_fields_are_dropped_and_the_others_stay_in_order() -> None:
    headers = (
        (b"Host", b"a"),
        (b"Connection", b"keep-alive, X-Hop"),
        (b"keep-alive", b"timeout=5"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"Proxy-Authorization", b"Basic dummy"),
        (b"Proxy-Authenticate", b"Basic"),
        (b"TE", b"gzip"),
        (b"Upgrade", b"h2c"),
        (b"x-hop", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Trailer", b"X-Sum"),
        (b"Expect", b"100-continue"),
        (b"X-Dup", b"1"),
        (b"x-dup", b"2"),
    )
    assert forward_headers(headers) == (
        (b"Host", b"a"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Trailer", b"X-Sum"),
        (b"Expect", b"100-continue"),
        (b"X-Dup", b"1"),
        (b"x-dup", b"2"),
    )


@pytest.mark.parametrize(
    "name",
    [b"Host", b"Content-Length", b"Transfer-Encoding", b"Authorization", b"X-Api-Key", b"anthropic-version", b"Cookie",
     b"Content-Type", b"Content-Encoding", b"Expect"],
)  # fmt: skip
def test_connection_cannot_name_an_end_to_end_field_away(name: bytes) -> None:
    headers: RawHeaders = ((b"Connection", b"close, " + name.lower()), (name, b"v"))
    if name == b"X-Api-Key":
        headers = ((b"Connection", b"close"), (b"connection", b"X-API-KEY"), (name, b"v"))
    assert forward_headers(headers) == ((name, b"v"),)


def test_an_upgrade_stays_only_when_it_is_kept() -> None:
    headers = ((b"connection", b"keep-alive, Upgrade"), (b"upgrade", b"websocket"), (b"Sec-WebSocket-Key", b"k"))
    assert forward_headers(headers) == ((b"Sec-WebSocket-Key", b"k"),)
    assert forward_headers(headers, keep_upgrade=True) == (
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
        (b"Sec-WebSocket-Key", b"k"),
    )
    assert forward_headers(((b"Upgrade", b"websocket"),), keep_upgrade=True) == ()


def test_te_trailers_is_kept_with_its_connection_option() -> None:
    kept = ((b"TE", b"trailers"), (b"Connection", b"TE"))
    assert forward_headers(((b"TE", b"Trailers"), (b"TE", b"gzip"))) == ((b"TE", b"Trailers"), (b"Connection", b"TE"))
    assert forward_headers(((b"TE", b"trailers"), (b"Connection", b"te"), (b"Connection", b"close"))) == kept


def test_host_is_replaced_in_place_or_put_first() -> None:
    headers = ((b"Accept", b"*/*"), (b"hOsT", b"127.0.0.1:8443"))
    assert forward_headers(headers, host=b"api.anthropic.com") == (
        (b"Accept", b"*/*"),
        (b"hOsT", b"api.anthropic.com"),
    )
    assert forward_headers(headers[:1], host=b"a") == ((b"Host", b"a"), (b"Accept", b"*/*"))


@pytest.mark.parametrize(
    ("version", "connection", "closes"),
    [("1.1", None, False), ("1.1", b"Close", True), ("1.1", b"keep-alive, close", True), ("1.1", b"closed", False),
     ("1.0", None, True), ("1.0", b"Keep-Alive", False), ("1.0", b"keep-alive, close", True)],
)  # fmt: skip
def test_persistence_follows_version_and_connection(version: str, connection: bytes | None, closes: bool) -> None:
    headers: RawHeaders = () if connection is None else ((b"connection", connection),)
    assert wants_close(version, headers) is closes


def test_an_option_is_looked_for_in_every_connection_field() -> None:
    headers = ((b"Connection", b"close"), (b"connection", b"keep-alive , UPGRADE"))
    assert names_option(headers, b"upgrade")
    assert not names_option(headers, b"up")
