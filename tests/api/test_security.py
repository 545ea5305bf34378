"""Who is let in: every rule of `judge`, then the same through the whole application."""

from __future__ import annotations

import pytest

from claudeproxy.api.security import MAX_BODY_BYTES, Policy, Refusal, host_name, judge, known_hosts
from claudeproxy.errors import ConfigError

TOKEN = "a-dummy-token"


def asked(policy: Policy | None = None, target: str = "/", **headers: str) -> Refusal | None:
    """Judge a request with these headers (underscores for hyphens); Host is ours unless given."""
    fields = {"host": "127.0.0.1:3001", **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
    return judge(raw, target, policy or Policy())


def status(refusal: Refusal | None) -> int:
    return 0 if refusal is None else refusal.status


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:3001",
        "localhost",
        "LOCALHOST:9",
        "localhost.",
        "[::1]",
        "[::1]:3001",
        "[0:0:0:0:0:0:0:1]",
    ],
)
def test_every_spelling_of_the_loopback_hosts_is_accepted(host: str) -> None:
    assert asked(host=host) is None


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example",  # DNS rebinding: the name still is the attacker's
        "rebound.example:3001",
        "localhost.example",
        "127.0.0.1.example",
        "localhost@rebound.example",
        "rebound.example/localhost",
        "127.0.0.1, rebound.example",
        "[::1",
        "[::2]",
        "[not-an-address]",
        "::1",
        "",
    ],
)
def test_a_foreign_or_malformed_host_is_forbidden(host: str) -> None:
    assert status(asked(host=host)) == 403


def test_a_request_without_host_is_forbidden() -> None:
    assert status(judge([], "/", Policy())) == 403


def test_two_hosts_must_both_be_ours() -> None:
    assert status(judge([(b"host", b"localhost"), (b"Host", b"rebound.example")], "/", Policy())) == 403


def test_the_authority_of_an_absolute_target_counts_too() -> None:
    assert asked(target="http://localhost:3001/openapi.json") is None
    assert status(asked(target="http://rebound.example/openapi.json")) == 403


def test_configured_names_are_hosts_and_origins() -> None:
    policy = Policy(hosts=known_hosts(["Box.Example:3001", "fd00::5"]))
    assert asked(policy, host="box.example:9999", origin="https://box.example") is None
    assert asked(policy, host="[FD00::5]:3001") is None
    assert status(asked(policy, host="other.example")) == 403


@pytest.mark.parametrize("name", ["http://box.example", "a b", "[x]"])
def test_a_configured_name_that_is_none_is_a_configuration_error(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a host name"):
        known_hosts([name])


@pytest.mark.parametrize(
    "origin", ["http://localhost:5173", "https://127.0.0.1", "http://[::1]:3001", "HTTP://localhost"]
)
def test_a_loopback_origin_is_accepted(origin: str) -> None:
    assert asked(origin=origin) is None


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "file://",
        "chrome-extension://abcdef",
        "http://localhost.evil.example",
        "localhost",
        "",
    ],
)
def test_a_foreign_origin_is_forbidden(origin: str) -> None:
    assert status(asked(origin=origin)) == 403


def test_a_cross_site_request_is_forbidden_even_without_origin() -> None:
    assert status(asked(sec_fetch_site="cross-site")) == 403
    for site in ("same-origin", "same-site", "none"):
        assert asked(sec_fetch_site=site) is None


def test_a_required_token_is_required() -> None:
    policy = Policy(token=TOKEN, token_required=True)
    assert asked(policy, authorization=f"Bearer {TOKEN}") is None
    assert asked(policy, authorization=f"bearer  {TOKEN} ") is None
    refusal = asked(policy)
    assert refusal is not None
    assert refusal.status == 401
    assert refusal.headers == ((b"www-authenticate", b'Bearer realm="claudeproxy"'),)


@pytest.mark.parametrize(
    "given", ["Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer", "Bearer \xff", f"Bearer {TOKEN}x"]
)
@pytest.mark.parametrize("required", [True, False])
def test_a_wrong_token_is_refused_whether_or_not_one_is_required(given: str, required: bool) -> None:
    assert status(asked(Policy(token=TOKEN, token_required=required), authorization=given)) == 401


def test_a_token_that_is_not_required_may_be_left_out() -> None:
    assert asked(Policy(token=TOKEN)) is None
    assert asked(Policy(token=TOKEN), authorization=f"Bearer {TOKEN}") is None


def test_a_token_does_not_open_the_door_to_a_foreign_page() -> None:
    policy = Policy(token=TOKEN, token_required=True)
    assert status(asked(policy, authorization=f"Bearer {TOKEN}", origin="https://evil.example")) == 403


def test_an_authorization_header_is_ignored_where_no_token_is_configured() -> None:
    assert asked(authorization="Bearer sk-ant-api03-dummy") is None


def test_requiring_a_token_without_having_one_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="api_token"):
        Policy(token_required=True)


def test_the_token_is_not_in_the_repr() -> None:
    assert TOKEN not in repr(Policy(token=TOKEN))


def test_a_body_over_the_limit_is_refused_by_its_length_and_the_connection_closed() -> None:
    assert asked(content_length=str(MAX_BODY_BYTES)) is None
    for length in (str(MAX_BODY_BYTES + 1), "9" * 5000):
        refusal = asked(content_length=length)
        assert refusal is not None
        assert refusal.status == 413
        assert (b"connection", b"close") in refusal.headers


def test_host_name_compares_what_means_the_same() -> None:
    assert host_name("ExAmPlE.com.:80") == host_name("example.com") == "example.com"
    assert host_name("[0:0::1]:80") == "::1"
    assert host_name("a:b:c") is None
