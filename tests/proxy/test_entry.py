"""The decisions, as tables: what a stream is, whom a TLS client is shown, where a request goes."""

from __future__ import annotations

from base64 import b64encode

import pytest

from claudeproxy.errors import ProtocolError
from claudeproxy.model import EntryMode, Origin
from claudeproxy.proxy.answers import OwnAnswer
from claudeproxy.proxy.entry import (
    ConnectRequest,
    Endpoints,
    Layer,
    Opening,
    Route,
    TLSAction,
    classify,
    decide_connect,
    decide_tls,
    route_request,
)
from claudeproxy.proxy.settings import ProxySettings, parse_upstream
from claudeproxy.sansio.headers import RequestHead, get

API = "api.anthropic.com"
HERE = Endpoints(local=("127.0.0.1", 8443), remote=("127.0.0.1", 50000))
LAN = Endpoints(local=("192.168.1.5", 8443), remote=("192.168.1.9", 50000))
TUNNEL = Layer(mode=EntryMode.CONNECT, authority=(API, 443), authenticated=True)
INSIDE = Layer(mode=EntryMode.CONNECT, authority=(API, 443), authenticated=True, tls=True)
GATEWAY = parse_upstream("http://gw.example:8080/base/")


@pytest.mark.parametrize(
    ("first", "opening"),
    [
        (b"\x16\x03\x01", Opening.TLS),
        (b"CONNECT", Opening.HTTP),
        (b"p", Opening.HTTP),
        (b"\r\nGET", Opening.HTTP),
        (b"\x80\x2e\x01", Opening.JUNK),  # an SSL 2.0 hello
        (b"\x00", Opening.JUNK),
        (b"\n", Opening.JUNK),
        (b" ", Opening.JUNK),
    ],
)
def test_the_first_byte_says_what_a_stream_is(first: bytes, opening: Opening) -> None:
    assert classify(first) is opening


@pytest.mark.parametrize(
    ("layer", "endpoints", "sni", "action", "host"),
    [
        (Layer(), HERE, None, TLSAction.TERMINATE, "127.0.0.1"),
        (Layer(), HERE, "localhost", TLSAction.TERMINATE, "localhost"),
        (Layer(), HERE, API, TLSAction.INTERCEPT, API),
        (Layer(), HERE, "claude.ai", TLSAction.INTERCEPT, "claude.ai"),
        (Layer(), HERE, "evilanthropic.com", TLSAction.TUNNEL, "evilanthropic.com"),
        (Layer(), LAN, "evilanthropic.com", TLSAction.REFUSE, ""),
        (Layer(), LAN, API, TLSAction.INTERCEPT, API),
        (Layer(), LAN, None, TLSAction.REFUSE, None),
        (Layer(), Endpoints(), None, TLSAction.TERMINATE, "localhost"),
        (TUNNEL, HERE, None, TLSAction.INTERCEPT, API),
        (TUNNEL, LAN, "other.example", TLSAction.INTERCEPT, API),
        (INSIDE, HERE, API, TLSAction.REFUSE, ""),
        (Layer(tls=True), HERE, API, TLSAction.REFUSE, ""),
    ],
)
def test_whom_a_tls_client_is_shown(
    layer: Layer, endpoints: Endpoints, sni: str | None, action: TLSAction, host: str | None
) -> None:
    decision = decide_tls(ProxySettings(), layer, endpoints, sni, can_decrypt=True)
    assert decision.action is action
    assert host is None or decision.host == host


def test_an_address_that_was_declared_ours_is_ours() -> None:
    settings = ProxySettings(accepted_hosts=frozenset({"192.168.1.5"}))
    decision = decide_tls(settings, Layer(), LAN, None, can_decrypt=True)
    assert (decision.action, decision.host) == (TLSAction.TERMINATE, "192.168.1.5")


@pytest.mark.parametrize(
    ("settings", "can_decrypt", "action"),
    [
        (ProxySettings(decrypt=False), True, TLSAction.TUNNEL),
        (ProxySettings(), False, TLSAction.TUNNEL),
        (ProxySettings(decrypt=False, proxy_auth="a:b"), True, TLSAction.REFUSE),
        (ProxySettings(proxy_auth="a:b"), True, TLSAction.INTERCEPT),
    ],
)
def test_a_listed_name_is_tunnelled_when_nothing_is_decrypted(
    settings: ProxySettings, can_decrypt: bool, action: TLSAction
) -> None:
    for endpoints in (HERE, LAN):
        assert decide_tls(settings, Layer(), endpoints, API, can_decrypt=can_decrypt).action is action


def test_connect_opens_up_what_is_listed() -> None:
    assert decide_connect(ProxySettings(), API, can_decrypt=True)
    assert not decide_connect(ProxySettings(), "github.com", can_decrypt=True)
    assert not decide_connect(ProxySettings(), API, can_decrypt=False)
    assert not decide_connect(ProxySettings(decrypt=False), API, can_decrypt=True)


def route(
    target: str,
    *,
    settings: ProxySettings | None = None,
    layer: Layer | None = None,
    endpoints: Endpoints = HERE,
    method: str = "GET",
    host: str | None = None,
    fields: tuple[tuple[bytes, bytes], ...] = (),
) -> Route | ConnectRequest | OwnAnswer:
    layer = layer or Layer()
    host = host or ("localhost" if layer.authority is None else layer.authority[0])
    head = RequestHead(method=method, target=target, http_version="1.1", headers=((b"Host", host.encode()), *fields))
    return route_request(settings or ProxySettings(), layer, endpoints, head)


@pytest.mark.parametrize(
    ("target", "layer", "host", "upstream", "want"),
    [  # want: mode, upstream URL, target sent, URL in the record, new Host, recorded
        ("/v1?a", Layer(), "localhost", None, ("reverse", "https://api.anthropic.com/v1?a", "/v1?a", "=", API, True)),
        (
            "/v1",
            Layer(),
            "127.0.0.1:8443",
            GATEWAY,
            ("reverse", "http://gw.example:8080/base/v1", "/base/v1", f"https://{API}/v1", "gw.example:8080", True),
        ),
        ("/v1", INSIDE, API, None, ("connect", "https://api.anthropic.com/v1", "/v1", "=", None, True)),
        ("/v1", TUNNEL, API, None, ("connect", "http://api.anthropic.com:443/v1", "/v1", "=", None, True)),
        (
            "/v1",
            INSIDE,
            API,
            GATEWAY,
            ("connect", "http://gw.example:8080/base/v1", "/base/v1", f"https://{API}/v1", "gw.example:8080", True),
        ),
        (f"https://{API}/v1", INSIDE, API, None, ("connect", f"https://{API}/v1", "/v1", "=", None, True)),
        (f"https://{API}/v1", INSIDE, "other.example", None, ("connect", f"https://{API}/v1", "/v1", "=", API, True)),
        ("/v1", INSIDE, f"{API.upper()}.:8443", None, ("connect", f"https://{API}/v1", "/v1", "=", None, True)),
        (f"http://{API}/v1", Layer(), API, None, ("absolute", f"http://{API}/v1", "/v1", "=", None, True)),
        (f"http://{API}", Layer(), f"{API.upper()}:80", None, ("absolute", f"http://{API}/", "/", "=", None, True)),
        (f"https://{API}/v1", Layer(), "x", None, ("absolute", f"https://{API}/v1", "/v1", "=", API, True)),
        ("http://a.b:81/p", Layer(), "b", None, ("absolute", "http://a.b:81/p", "/p", "=", "a.b:81", False)),
        ("http://a.b/p", Layer(), "a b", GATEWAY, ("absolute", "http://a.b/p", "/p", "=", "a.b", False)),
        ("http://localhost:8443/v1", Layer(), "x", None, ("reverse", f"https://{API}/v1", "/v1", "=", API, True)),
        ("http://[::1]:9/", Layer(), "[::1]:9", None, ("absolute", "http://[::1]:9/", "/", "=", None, False)),
    ],
)  # fmt: skip
def test_where_a_request_goes(target: str, layer: Layer, host: str, upstream: object, want: tuple[object, ...]) -> None:
    decision = route(target, layer=layer, host=host, settings=ProxySettings(upstream=upstream))  # type: ignore[arg-type]
    assert isinstance(decision, Route)
    mode, upstream_url, sent, url, new_host, record = want
    assert (decision.mode, decision.upstream_url, decision.target, decision.record) == (
        mode,
        upstream_url,
        sent,
        record,
    )
    assert decision.url == (upstream_url if url == "=" else url)
    assert decision.host == (None if new_host is None else str(new_host).encode())


def test_only_api_hosts_go_to_the_configured_upstream() -> None:
    layer = Layer(mode=EntryMode.CONNECT, authority=("claude.ai", 443), tls=True)
    decision = route("/x", layer=layer, settings=ProxySettings(upstream=GATEWAY))
    assert isinstance(decision, Route)
    assert decision.origin == Origin(scheme="https", host="claude.ai", port=443)
    assert decision.record


@pytest.mark.parametrize(("upstream", "sent"), [(None, "*"), (GATEWAY, "/base")])
def test_a_server_wide_options_stays_one(upstream: object, sent: str) -> None:
    decision = route("*", method="OPTIONS", settings=ProxySettings(upstream=upstream))  # type: ignore[arg-type]
    assert isinstance(decision, Route)
    assert (decision.target, decision.url) == (sent, f"https://{API}")


def test_connect_is_a_tunnel_wherever_it_leads() -> None:
    assert route("github.com:22", method="CONNECT") == ConnectRequest(host="github.com", port=22)


@pytest.mark.parametrize(
    ("target", "layer"),
    [
        ("http://[::1", Layer()),
        ("ftp://x/", Layer()),
        (f"http://{API}/", INSIDE),
        ("https://other.example/", INSIDE),
        (f"https://{API}:444/", INSIDE),
    ],
)
def test_a_target_that_is_none_or_not_the_tunnels_is_an_error(target: str, layer: Layer) -> None:
    with pytest.raises(ProtocolError):
        route(target, layer=layer)


def test_connect_inside_an_opened_tunnel_is_an_error() -> None:
    with pytest.raises(ProtocolError):
        route(f"{API}:443", layer=INSIDE, method="CONNECT")


def status(decision: Route | ConnectRequest | OwnAnswer) -> int:
    return decision.status_code if isinstance(decision, OwnAnswer) else 200


@pytest.mark.parametrize(
    ("shown", "want"),
    [
        (None, 407),
        (b"Basic " + b64encode(b"user:pass"), 200),
        (b"basic  " + b64encode(b"user:pass"), 200),
        (b"Basic " + b64encode(b"user:other"), 407),
        (b"Bearer " + b64encode(b"user:pass"), 407),
        (b"Basic", 407),
        (b"\xff\xfe", 407),
    ],
)
def test_credentials_are_compared_whole(shown: bytes | None, want: int) -> None:
    settings = ProxySettings(proxy_auth="user:pass")
    fields = () if shown is None else ((b"Proxy-Authorization", shown),)
    assert status(route("x.example:443", method="CONNECT", settings=settings, fields=fields)) == want
    assert status(route("/v1", settings=settings, fields=fields)) == want
    assert status(route("/v1", settings=settings, layer=INSIDE)) == 200
    if want == 407:
        answer = route("/v1", settings=settings, fields=fields)
        assert isinstance(answer, OwnAnswer)
        assert get(answer.headers, b"proxy-authenticate") == b'Basic realm="claudeproxy"'
        assert shown is None or shown not in answer.body


@pytest.mark.parametrize("origin", [b"https://evil.example", b"null", b"file://", b"http://localhost@evil.example"])
def test_a_page_from_elsewhere_is_refused_in_clear_forms_and_let_through_in_tunnels(origin: bytes) -> None:
    fields = ((b"Origin", origin),)
    assert status(route("/v1", fields=fields)) == 403
    assert status(route(f"http://{API}/v1", fields=fields)) == 403
    assert status(route("/v1", layer=INSIDE, fields=fields)) == 200


@pytest.mark.parametrize(("host", "status"), [("other.example", 421), ("a@b", 400), ("a b", 400), ("127.1", 400)])
def test_a_request_in_a_tunnel_for_another_host_or_none_is_refused(host: str, status: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        route("/v1", layer=INSIDE, host=host)
    assert caught.value.status_hint == status


def test_a_connect_with_a_body_is_refused() -> None:
    """Its body would be the tunnel's first bytes."""
    for fields in ((b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked")):
        with pytest.raises(ProtocolError):
            route("github.com:22", method="CONNECT", fields=(fields,))
    assert isinstance(route("github.com:22", method="CONNECT", fields=((b"Content-Length", b"0"),)), ConnectRequest)


def test_an_http_1_0_request_without_host_gets_one_in_a_tunnel() -> None:
    """What is sent on is HTTP/1.1, which needs it."""
    head = RequestHead(method="GET", target="/v1", http_version="1.0", headers=())
    decision = route_request(ProxySettings(), INSIDE, HERE, head)
    assert isinstance(decision, Route)
    assert decision.host == API.encode()


def test_an_http_1_0_request_needs_no_host() -> None:
    head = RequestHead(method="GET", target="/v1", http_version="1.0", headers=())
    assert isinstance(route_request(ProxySettings(), Layer(), HERE, head), Route)
