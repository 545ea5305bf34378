from __future__ import annotations

from pathlib import Path

import pytest

from claudeproxy_cli.environment import (
    FIRST_PARTY,
    Launch,
    connect_environment,
    covers,
    inherited,
    no_proxy,
    reverse_environment,
    with_credentials,
)

API = ("api.anthropic.com",)


def _connect(**caller: str) -> Launch:
    return connect_environment(
        caller,
        proxy_url="http://127.0.0.1:8443",
        proxy_auth=None,
        node_ca=Path("/home/ca.crt"),
        bundle=Path("/home/ca-bundle.pem"),
        api_hosts=API,
    )


def test_a_child_gets_the_proxy_with_its_scheme_and_both_ways_to_trust_it() -> None:
    launch = _connect(PATH="/bin")
    assert launch.environment == {
        "PATH": "/bin",
        "HTTPS_PROXY": "http://127.0.0.1:8443",
        "https_proxy": "http://127.0.0.1:8443",
        "NODE_EXTRA_CA_CERTS": "/home/ca.crt",
        "SSL_CERT_FILE": "/home/ca-bundle.pem",
        "REQUESTS_CA_BUNDLE": "/home/ca-bundle.pem",
        "CURL_CA_BUNDLE": "/home/ca-bundle.pem",
        "GIT_SSL_CAINFO": "/home/ca-bundle.pem",
        "NO_PROXY": "localhost,127.0.0.1",
        "no_proxy": "localhost,127.0.0.1",
    }
    assert launch.notes == ()


def test_all_proxy_goes_and_http_proxy_stays() -> None:
    environment = _connect(ALL_PROXY="socks5://x", all_proxy="socks5://x", HTTP_PROXY="http://corp:1").environment
    assert "ALL_PROXY" not in environment
    assert "all_proxy" not in environment
    assert environment["HTTP_PROXY"] == "http://corp:1"


def test_what_keeps_the_api_from_the_proxy_is_taken_out_and_said() -> None:
    launch = _connect(NO_PROXY=".corp.example,.anthropic.com,10.0.0.0/8", no_proxy="api.anthropic.com:443 *")
    assert launch.environment["NO_PROXY"] == ".corp.example,10.0.0.0/8,localhost,127.0.0.1"
    assert launch.environment["no_proxy"] == launch.environment["NO_PROXY"]
    assert launch.notes == (
        "taken out of NO_PROXY, because it covers the API: api.anthropic.com:443, *, .anthropic.com",
    )


def test_a_gateway_that_is_not_intercepted_is_said() -> None:
    (note,) = _connect(ANTHROPIC_BASE_URL="https://gateway.example/anthropic").notes
    assert "gateway.example" in note
    assert "--reverse" in note
    assert _connect(ANTHROPIC_BASE_URL="https://api.anthropic.com").notes == ()


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("*", True),
        ("api.anthropic.com", True),
        ("API.Anthropic.com.", True),
        ("anthropic.com", True),
        (".anthropic.com", True),
        ("*.anthropic.com", True),
        ("com", True),
        ("api.anthropic.com:443", True),
        ("evilanthropic.com", False),
        ("pi.anthropic.com", False),
        ("claude.ai", False),
        ("10.0.0.0/8", False),
        ("::1", False),
        (".", False),
    ],
)
def test_no_proxy_entries_cover_on_label_boundaries(entry: str, *, expected: bool) -> None:
    assert covers(entry, "api.anthropic.com") is expected


def test_loopback_names_are_not_added_twice() -> None:
    assert no_proxy({"NO_PROXY": "127.0.0.1, localhost,a.example"}, api_hosts=API) == (
        "127.0.0.1,localhost,a.example",
        [],
    )


def test_the_callers_proxy_becomes_ours() -> None:
    assert inherited({"HTTPS_PROXY": "http://me:pw@corp.example:3128"}, reverse=False).upstream_proxy == (
        "http://me:pw@corp.example:3128"
    )
    assert inherited({"https_proxy": "corp.example:1", "HTTPS_PROXY": "http://b:2"}, reverse=False).upstream_proxy == (
        "http://corp.example:1"
    )
    assert inherited({"ALL_PROXY": "https://corp.example:1"}, reverse=False).upstream_proxy == "https://corp.example:1"
    assert inherited({}, reverse=False).upstream_proxy is None


def test_a_socks_proxy_cannot_be_ours_and_that_is_said() -> None:
    way = inherited({"all_proxy": "socks5h://127.0.0.1:1080"}, reverse=False)
    assert way.upstream_proxy is None
    assert way.notes == ("all_proxy names a socks5h proxy, which claudeproxy cannot use: going direct",)


def test_our_own_proxy_is_not_put_behind_itself() -> None:
    ours = ["http://127.0.0.1:8443"]
    caller = {"HTTPS_PROXY": "http://me:pw@127.0.0.1:8443/", "ANTHROPIC_BASE_URL": "http://127.0.0.1:8443"}
    way = inherited(caller, reverse=True, ours=ours)
    assert (way.upstream_proxy, way.upstream) == (None, None)
    assert inherited({"HTTPS_PROXY": "http://127.0.0.1:port"}, reverse=False, ours=ours).upstream_proxy is not None


def test_a_gateway_becomes_the_upstream_in_reverse_mode_only() -> None:
    caller = {"ANTHROPIC_BASE_URL": "https://gateway.example/anthropic"}
    assert inherited(caller, reverse=True).upstream == "https://gateway.example/anthropic"
    assert inherited(caller, reverse=False).upstream is None


def test_reverse_mode_keeps_the_clients_own_behaviour() -> None:
    launch = reverse_environment(
        {"ALL_PROXY": "x", "ENABLE_TOOL_SEARCH": "auto"}, base_url="http://127.0.0.1:1", gateway=False
    )
    assert launch.environment == {
        **FIRST_PARTY,
        "ENABLE_TOOL_SEARCH": "auto",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
        "NO_PROXY": "localhost,127.0.0.1",
        "no_proxy": "localhost,127.0.0.1",
    }


def test_a_client_behind_a_gateway_is_not_told_that_it_talks_to_the_api() -> None:
    launch = reverse_environment({}, base_url="http://127.0.0.1:1", gateway=True)
    assert launch.environment.keys() == {"ANTHROPIC_BASE_URL", "NO_PROXY", "no_proxy"}


def test_credentials_are_encoded_in_the_proxys_url() -> None:
    assert with_credentials("http://127.0.0.1:1", "me@x:p/w:d") == "http://me%40x:p%2Fw%3Ad@127.0.0.1:1"
    assert with_credentials("http://127.0.0.1:1", None) == "http://127.0.0.1:1"
