"""The names an authority may vouch for."""

from __future__ import annotations

import pytest

from claudeproxy.errors import AuthorityError
from claudeproxy.tls.names import DEFAULT_NAMES, LOOPBACK_NAMES, is_covered, normalize, permitted_names


@pytest.mark.parametrize(
    ("host", "normal"),
    [
        ("API.Anthropic.com.", "api.anthropic.com"),
        ("[::1]", "::1"),
        ("0:0::1", "::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("my_gateway", "my_gateway"),
    ],
)
def test_a_host_has_one_normal_form(host: str, normal: str) -> None:
    assert normalize(host) == normal


@pytest.mark.parametrize("host", ["", ".", "a b", "a..b", "*.anthropic.com", "bücher.example", "\u212aa.com", "127.1", "a/b", "a\x00"])  # fmt: skip # noqa: E501
def test_what_is_no_host_is_an_authority_error(host: str) -> None:
    with pytest.raises(AuthorityError):
        normalize(host)
    assert not is_covered(host, DEFAULT_NAMES)


def test_the_defaults_and_loopback_are_always_permitted_and_each_name_once() -> None:
    assert permitted_names(["Gateway.corp.example", "claude.ai"]) == (
        *DEFAULT_NAMES,
        "gateway.corp.example",
        *LOOPBACK_NAMES,
    )


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("anthropic.com", True),
        ("a.b.anthropic.com", True),
        ("evilanthropic.com", False),
        ("anthropic.com.evil.com", False),
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("::1", True),
        ("::2", False),
        ("localhost", True),
        ("com", False),
    ],
)
def test_a_name_is_covered_on_label_boundaries_and_an_address_exactly(host: str, covered: bool) -> None:
    assert is_covered(host, permitted_names([])) is covered
