"""Hosts, authorities, request targets and host sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.errors import ProtocolError
from claudeproxy.sansio.target import HostSet, Target, is_loopback, normalize_host, parse_authority, parse_target

if TYPE_CHECKING:
    import ipaddress


@pytest.mark.parametrize(
    ("text", "default", "expected"),
    [
        ("api.anthropic.com:443", None, ("api.anthropic.com", 443)),
        ("API.Anthropic.COM.:443", None, ("api.anthropic.com", 443)),
        ("[::1]:8443", None, ("::1", 8443)),
        ("[0:0:0:0:0:0:0:1]", 443, ("::1", 443)),
        ("127.0.0.1:8443", None, ("127.0.0.1", 8443)),
        ("localhost", 80, ("localhost", 80)),
        ("localhost:", 80, ("localhost", 80)),
        ("my_gateway:65535", None, ("my_gateway", 65535)),
        ("xn--bcher-kva.example", 443, ("xn--bcher-kva.example", 443)),
        ("a-1.b2:00443", None, ("a-1.b2", 443)),
        ("4chan.org", 443, ("4chan.org", 443)),
    ],
)
def test_an_authority_is_split_into_one_normal_host_and_a_port(
    text: str, default: int | None, expected: tuple[str, int]
) -> None:
    assert parse_authority(text, default_port=default) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", ":443", "host", "host:", "host:0", "host:65536", "host:123456", "host:+1", "host:1e3", "host: 443",
        " host:443",
        "user@host:443", "user:password@host:443", "host:443@evil:443", "::1:443", "[::1", "::1]:443", "[::1]443",
        "[127.0.0.1]:443", "[fe80::1%25eth0]:443", "[]:443", "[[::1]]:443", "127.1:443", "0x7f.0.0.1:443",
        "2130706433:443",
        "0x7f000001:443", "127.0.0.256:443", "127.0.0.01:443", "a..b:443", ".a:443", "-a:443", "a-:443", "a b:443",
        "host/:443", "ho\x00st:443", "bücher.example:443", "\u212aelvin.example:443", "host:４４３", "a.b..:443",
        "a" * 64 + ":443", ".".join(["a" * 60] * 5) + ":443", "%61.com:443", "a\\b:443",
    ],
)  # fmt: skip
def test_an_authority_that_clients_read_differently_is_an_error(text: str) -> None:
    with pytest.raises(ProtocolError):
        parse_authority(text, default_port=None)


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/", ("origin", None, None, None, "/")),
        ("POST", "/v1/messages?beta=true", ("origin", None, None, None, "/v1/messages?beta=true")),
        ("GET", "//evil.com/a", ("origin", None, None, None, "//evil.com/a")),
        ("OPTIONS", "*", ("asterisk", None, None, None, "*")),
        ("CONNECT", "api.anthropic.com:443", ("authority", None, "api.anthropic.com", 443, "")),
        ("GET", "http://Example.COM", ("absolute", "http", "example.com", 80, "/")),
        ("GET", "HTTPS://[::1]:8/a?b", ("absolute", "https", "::1", 8, "/a?b")),
        ("GET", "http://a?b=/c", ("absolute", "http", "a", 80, "/?b=/c")),
        ("OPTIONS", "http://a:81", ("absolute", "http", "a", 81, "*")),
        ("OPTIONS", "http://a:81/", ("absolute", "http", "a", 81, "/")),
        ("POST", "http://127.0.0.1:8443/v1/messages", ("absolute", "http", "127.0.0.1", 8443, "/v1/messages")),
    ],
)
def test_each_form_of_a_request_target_is_told_apart(method: str, target: str, expected: tuple[object, ...]) -> None:
    result = parse_target(method, target)
    assert (result.form, result.scheme, result.host, result.port, result.path) == expected


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", ""), ("GET", "*"), ("GET", "v1/messages"), ("GET", "api.anthropic.com:443"), ("GET", "http://"),
        ("GET", "http:///a"), ("GET", "http:/a"), ("GET", "ftp://a/"), ("GET", "file:///etc/passwd"), ("GET", "/a b"),
        ("GET", "http://a#b"), ("GET", "http://u:p@a/"), ("GET", "http://a\\@b/"), ("GET", "/\x7f"), ("GET", "/é"),
        ("CONNECT", "/"), ("CONNECT", "a"), ("CONNECT", "https://a:443"), ("CONNECT", "a:443/"), ("CONNECT", "*"),
    ],
)  # fmt: skip
def test_a_target_in_no_allowed_form_is_an_error(method: str, target: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_target(method, target)
    assert caught.value.status_hint == 400


@given(st.sampled_from(["GET", "OPTIONS", "CONNECT"]), st.text(max_size=60) | st.from_regex(r"https?://[!-~]*"))
def test_any_text_gives_a_target_or_a_protocol_error(method: str, text: str) -> None:
    try:
        target = parse_target(method, text)
    except ProtocolError:
        return
    assert isinstance(target, Target)
    assert (target.host is None) == (target.form in ("origin", "asterisk"))
    if target.host is not None:
        assert normalize_host(target.host) == target.host
        assert target.port is not None
        assert 0 < target.port < 65536


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_ip_address_comes_back_in_its_shortest_form(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    text = f"[{address.exploded}]:{port}" if address.version == 6 else f"{address}:{port}"
    assert parse_authority(text, default_port=None) == (str(address), port)


@pytest.fixture
def hosts() -> HostSet:
    return HostSet(["Anthropic.com", "*.claude.ai", ".claude.com.", "localhost", "127.0.0.1", "[::1]"])


@pytest.mark.parametrize(
    "host",
    ["anthropic.com", "api.anthropic.com", "API.ANTHROPIC.COM.", "a.b.anthropic.com", "claude.ai", "x.claude.ai",
     "claude.com", "127.0.0.1", "::1", "[::1]", "0::1", "localhost"],
)  # fmt: skip
def test_a_host_set_holds_its_names_and_all_under_them(hosts: HostSet, host: str) -> None:
    assert host in hosts


@pytest.mark.parametrize(
    "host",
    ["evilanthropic.com", "anthropic.com.evil.com", "com", "", ".", "anthropic", "anthropic.co", "1.127.0.0.1",
     "127.0.0.2", "::2", "::ffff:127.0.0.1", "claude.ai:443", "claude.ai2", "bücher.claude.ai", "a b.claude.ai",
     "api.anthropic.com/"],
)  # fmt: skip
def test_a_host_set_does_not_hold_what_only_looks_alike(hosts: HostSet, host: str) -> None:
    assert host not in hosts


def test_a_host_set_holds_no_other_objects_and_compares_by_its_names(hosts: HostSet) -> None:
    assert None not in hosts
    assert HostSet(["b", "A"]) == HostSet(["a", "b", "b."])
    assert HostSet(["a"]) != HostSet(["b"])
    assert HostSet(["a"]) != "a"
    assert len({HostSet(["a"]), HostSet(["A"])}) == 1
    assert list(HostSet(["b", "a"])) == ["a", "b"]
    assert len(HostSet(["b", "a"])) == 2
    assert repr(HostSet(["b", "a"])) == "HostSet(['a', 'b'])"


@pytest.mark.parametrize("name", ["", "*", "*.", "a b", "http://a", "a:443"])
def test_a_host_set_refuses_a_name_that_is_none(name: str) -> None:
    with pytest.raises(ProtocolError):
        HostSet([name])


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.255.0.3", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_loopback_names_and_addresses_are_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "localhost.evil.com", "notlocalhost", "128.0.0.1", "", "127.1", "a b", "::ffff:8.8.8.8"])  # fmt: skip # noqa: E501
def test_what_is_not_loopback_is_not_taken_for_it(host: str) -> None:
    assert not is_loopback(host)
