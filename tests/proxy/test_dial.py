"""Ways to the upstream: TLS that is always verified, a corporate proxy, and errors with a stable kind."""

from __future__ import annotations

import ssl
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

from claudeproxy.errors import UpstreamError, UpstreamLoopError
from claudeproxy.model import Origin
from claudeproxy.proxy.dial import Dialer
from claudeproxy.proxy.settings import ProxySettings, parse_upstream, parse_upstream_proxy
from tests.proxy.support import API, OK, request, running_proxy
from tests.support.raw_upstream import Script, answering, raw_upstream
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "upstream.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.mark.parametrize("mode", ["tls", "connect+tls"])
async def test_the_upstream_is_the_host_that_the_client_asked_for(
    mode: str, authority: trustme.CA, ca_file: Path
) -> None:
    """Over verified TLS, found through `upstream_addresses`, with the client's own Host."""
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        for _ in range(2):
            seen.append(await wire.read_head())
            await wire.send(OK)
        await wire.wait_gone()

    async with raw_upstream(script, tls=server_context(authority, API)) as upstream:
        settings = {"upstream_addresses": {API: "127.0.0.1"}, "transparent_port": upstream.port}
        async with running_proxy(upstream_ca=ca_file, **settings) as proxy:
            below = await proxy.connect(API, upstream.port) if mode == "connect+tls" else None
            client = await proxy.dial_tls(API, below)
            for _ in range(2):
                await client.send(request("GET", "/v1/models", API))
                assert await client.read_exactly(len(OK)) == OK
            recorded = await proxy.tap.ended(2)
            assert recorded[0].start.url == f"https://{API}:{upstream.port}/v1/models"
            assert [r.end_value.connect_us > 0 for r in recorded] == [True, False]
            assert upstream.connections == 1
    assert seen == [f"GET /v1/models HTTP/1.1\r\nHost: {API}\r\n\r\n".encode()] * 2


@pytest.mark.parametrize("names", [("other.example.com",), None])
async def test_a_wrong_upstream_certificate_is_refused(
    names: tuple[str, ...] | None, authority: trustme.CA, ca_file: Path
) -> None:
    """A wrong name, or an authority that nobody trusts."""
    context = server_context(authority, *names) if names else server_context(trustme.CA(), API)
    async with (
        raw_upstream(answering(OK), tls=context) as upstream,
        running_proxy(upstream_ca=ca_file, upstream_addresses={API: "127.0.0.1"}) as proxy,
    ):
        client = await proxy.dial_tls(API, await proxy.connect(API, upstream.port))
        await client.send(request("POST", "/v1/messages", API, b"{}", fields="x-api-key: sk-ant-api03-dummy\r\n"))
        assert (await client.read_message())[0].startswith(b"HTTP/1.1 502 ")
        assert (await proxy.tap.only()).end_value.error_kind == "certificate"


async def dial_errors(settings: ProxySettings, origin: Origin) -> UpstreamError:
    dialer = Dialer(settings, ssl.create_default_context)
    with pytest.raises(UpstreamError) as caught:
        await dialer.open_origin(origin)
    return caught.value


def here(scheme: str, port: int) -> Origin:
    return Origin(scheme=scheme, host="127.0.0.1", port=port)


async def speak_plain(wire: Wire) -> None:
    await wire.read_exactly(5)
    await wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def close_after_the_hello(wire: Wire) -> None:
    length = await wire.read_exactly(5)
    await wire.read_exactly(int.from_bytes(length[3:]))


async def reset_at_once(wire: Wire) -> None:
    await wire.read_exactly(1)
    await wire.reset()


@pytest.mark.parametrize(
    ("script", "kind"), [(speak_plain, "tls"), (close_after_the_hello, "closed"), (reset_at_once, "reset")]
)
async def test_a_peer_without_tls_is_an_error(script: Script, kind: str) -> None:
    async with raw_upstream(script) as upstream:
        error = await dial_errors(ProxySettings(), here("https", upstream.port))
        assert error.kind == kind


async def test_a_name_that_does_not_resolve_is_an_error() -> None:
    error = await dial_errors(ProxySettings(), Origin(scheme="http", host="nowhere.invalid", port=80))
    assert error.kind == "dns"


async def test_a_peer_that_never_answers_the_handshake_runs_into_the_limit() -> None:
    async with raw_upstream(Wire.wait_gone) as upstream:
        error = await dial_errors(ProxySettings(connect_timeout=0.1), here("https", upstream.port))
        assert error.kind == "timeout"


@pytest.mark.parametrize("listening", ["127.0.0.1", "0.0.0.0"])
async def test_our_own_listener_is_recognised_by_address_and_behind_a_wildcard_by_port(listening: str) -> None:
    async with raw_upstream(Wire.wait_gone) as upstream:
        dialer = Dialer(ProxySettings(), ssl.create_default_context)
        dialer.listening.add((listening, upstream.port))
        with pytest.raises(UpstreamLoopError):
            await dialer.open("127.0.0.1", upstream.port)


async def test_our_own_listener_is_recognised_behind_a_mapped_address() -> None:
    """The kernel connects ``::ffff:127.0.0.1`` to an IPv4 listener, and calls the peer by the longer name."""
    async with raw_upstream(Wire.wait_gone) as upstream:
        dialer = Dialer(ProxySettings(), ssl.create_default_context)
        dialer.listening.add(("127.0.0.1", upstream.port))
        with pytest.raises(UpstreamError) as caught:
            await dialer.open("::ffff:127.0.0.1", upstream.port)
        assert caught.value.kind in {"loop", "unreachable"}  # the latter on a machine without IPv6


async def test_who_comes_from_another_machine_reaches_no_service_of_this_one() -> None:
    """The REST API and others trust whoever reaches a loopback address."""
    async with raw_upstream(Wire.wait_gone) as upstream:
        dialer = Dialer(ProxySettings(), ssl.create_default_context)
        dialer.listening.add(("192.0.2.1", 8443))
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(UpstreamError) as caught:
                await dialer.open(host, upstream.port)
            assert caught.value.kind == "forbidden"


@pytest.mark.parametrize(
    ("listening", "settings"),
    [
        ("127.0.0.1", {}),
        ("192.0.2.1", {"upstream": "http://127.0.0.1:{port}"}),
        ("192.0.2.1", {"upstream_addresses": {"127.0.0.1": "127.0.0.1"}}),
    ],
)
async def test_a_service_of_this_machine_is_reached_from_it_or_by_configuration(
    listening: str, settings: dict[str, object]
) -> None:
    async with raw_upstream(Wire.wait_gone) as upstream:
        values = dict(settings)
        if isinstance(url := values.get("upstream"), str):
            values["upstream"] = parse_upstream(url.format(port=upstream.port))
        dialer = Dialer(ProxySettings(**values), ssl.create_default_context)  # type: ignore[arg-type]
        dialer.listening.add((listening, 1))
        stream = await dialer.open("127.0.0.1", upstream.port)
        await stream.aclose()


# ---- the upstream proxy


def corporate_proxy(seen: list[bytes], answer: bytes, then: Callable[[Wire], object] | None = None) -> Script:
    async def script(wire: Wire) -> None:
        seen.append(await wire.read_head())
        await wire.send(answer)
        await wire.wait_gone()

    return script


# The proxy is reached by a name that is not loopback in itself: hosts of this machine are dialled without it.
AWAY = {"corp.example": "127.0.0.1", "api.example": "127.0.0.1"}


async def test_the_upstream_proxy_gets_a_connect_with_credentials() -> None:
    seen: list[bytes] = []
    async with raw_upstream(corporate_proxy(seen, b"HTTP/1.1 200 OK\r\n\r\nfirst")) as corporate:
        url = f"http://us%40er:p%3Ass@corp.example:{corporate.port}"
        settings = ProxySettings(upstream_proxy=parse_upstream_proxy(url), upstream_addresses=AWAY)
        stream = await Dialer(settings, ssl.create_default_context).open("api.example", 8443)
        assert await stream.receive_some() == b"first"
        await stream.aclose()
    credentials = b64encode(b"us@er:p:ss").decode()
    assert seen == [
        b"CONNECT api.example:8443 HTTP/1.1\r\nHost: api.example:8443\r\n"
        + f"Proxy-Authorization: Basic {credentials}\r\n\r\n".encode()
    ]


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", b"junk\r\n\r\n", b""]
)
async def test_a_proxy_that_refuses_is_an_error_of_its_own_kind(answer: bytes) -> None:
    async def script(wire: Wire) -> None:
        await wire.read_head()
        await wire.send(answer)

    async with raw_upstream(script) as corporate:
        proxy = parse_upstream_proxy(f"http://corp.example:{corporate.port}")
        settings = ProxySettings(upstream_proxy=proxy, upstream_addresses=AWAY)
        error = await dial_errors(settings, Origin(scheme="https", host="api.example", port=443))
        assert error.kind == "proxy"
        assert ("credentials" in str(error)) == (b"407" in answer)


async def test_a_plain_request_goes_to_the_upstream_proxy_in_absolute_form() -> None:
    seen: list[bytes] = []
    async with raw_upstream(corporate_proxy(seen, OK)) as corporate:
        upstream_proxy = parse_upstream_proxy(f"http://u:p@corp.example:{corporate.port}")
        async with running_proxy(upstream_proxy=upstream_proxy, upstream_addresses=AWAY) as proxy:
            client = await proxy.dial()
            await client.send(request("GET", "http://api.example/x", "api.example"))
            assert await client.read_exactly(len(OK)) == OK
    assert seen == [
        b"GET http://api.example/x HTTP/1.1\r\nHost: api.example\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
    ]


async def test_an_upstream_proxy_may_itself_be_reached_over_tls(authority: trustme.CA) -> None:
    seen: list[bytes] = []
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    context = server_context(authority, "corp.example")
    async with raw_upstream(corporate_proxy(seen, b"HTTP/1.1 200 OK\r\n\r\n"), tls=context) as corporate:
        proxy = parse_upstream_proxy(f"https://corp.example:{corporate.port}")
        settings = ProxySettings(upstream_proxy=proxy, upstream_addresses=AWAY)
        stream = await Dialer(settings, lambda: trusting).open("api.example", 443)
        await trio.aclose_forcefully(stream)
    assert seen[0].startswith(b"CONNECT api.example:443 ")
