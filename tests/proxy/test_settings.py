"""URLs as people write them become origins; what cannot be meant is refused without repeating it."""

from __future__ import annotations

import pytest

from claudeproxy.errors import ConfigError
from claudeproxy.model import Origin
from claudeproxy.proxy.settings import ProxySettings, parse_upstream, parse_upstream_proxy


def test_an_upstream_is_an_origin_and_a_base_path() -> None:
    upstream = parse_upstream("https://GW.example/anthropic/")
    assert upstream.origin == Origin(scheme="https", host="gw.example", port=443)
    assert upstream.base_path == "/anthropic"
    assert str(upstream) == "https://gw.example/anthropic"
    assert str(parse_upstream("http://[::1]:9")) == "http://[::1]:9"


def test_an_upstream_proxy_has_decoded_credentials_that_its_repr_hides() -> None:
    proxy = parse_upstream_proxy("http://us%40er:p%3Ass@corp.example:3128")
    assert proxy.origin == Origin(scheme="http", host="corp.example", port=3128)
    assert proxy.authorization == b"Basic dXNAZXI6cDpzcw=="
    assert "Basic" not in repr(proxy)
    assert parse_upstream_proxy("http://corp.example:3128").authorization is None


@pytest.mark.parametrize(
    "url",
    [
        "corp.example:3128",
        "socks5://x:1",
        "http://",
        "http://secret@:1",
        "http://x:99999",
        "https://x/?q",
        "http://a_b..c",
    ],
)
def test_a_url_that_leads_nowhere_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_upstream(url)
    assert "secret" not in str(caught.value)


def test_credentials_stay_out_of_a_settings_repr() -> None:
    assert "secret" not in repr(ProxySettings(proxy_auth="user:secret"))


def test_our_names_are_the_loopback_ones_and_those_declared() -> None:
    settings = ProxySettings(accepted_hosts=frozenset({"proxy.corp"}))
    assert [settings.is_own_name(name) for name in ("localhost", "::1", "proxy.corp", "api.anthropic.com")] == [
        True,
        True,
        True,
        False,
    ]
