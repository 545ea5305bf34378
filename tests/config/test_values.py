from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.accounting.listed import PriceClass, PriceOverride
from claudeproxy.config.values import (
    PRICE_CLASSES,
    Address,
    check_host,
    check_ip,
    check_price,
    check_url,
    format_size,
    mask_url,
    parse_address,
    parse_dollars,
    parse_list,
    parse_mapping,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8443", "127.0.0.1", 8443),
        ("8443", "127.0.0.1", 8443),
        (" LocalHost:1 ", "localhost", 1),
        ("[::1]:8443", "::1", 8443),
        ("[0:0:0:0:0:0:0:1]:0", "::1", 0),
        ("0.0.0.0:65535", "0.0.0.0", 65535),
    ],
)
def test_addresses_are_read_as_people_write_them(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host=host, port=port)


@pytest.mark.parametrize(
    "text", ["", "host", ":80", "::1:80", "[::1]", "[::1:80", "h:65536", "h:-1", "h:٣", "[x]:1", "a b:1"]
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:8443"):
        parse_address(text)


@given(st.integers(0, 65535), st.sampled_from(["127.0.0.1", "::1", "localhost", "proxy.example"]))
def test_an_address_reads_back_from_its_text(port: int, host: str) -> None:
    address = Address(host=host, port=port)
    assert parse_address(str(address)) == address


def test_loopback_is_told_from_the_rest() -> None:
    assert [
        Address(host=h, port=1).is_loopback for h in ("127.3.2.1", "::1", "localhost", "0.0.0.0", "box.example")
    ] == [
        True,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("512", 512),
        ("64MiB", 64 << 20),
        ("1.5 GB", 1_500_000_000),
        ("500k", 500_000),
        ("2 gib", 2 << 30),
        ("7b", 7),
    ],
)
def test_sizes_are_read_with_decimal_and_binary_units(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "MB", "-1", "5 q", "1,5GB", "0x10"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="500MB or 2GiB"):
        parse_size(text)


@given(st.integers(0, 1 << 60))
def test_a_size_reads_back_from_its_text(count: int) -> None:
    assert parse_size(format_size(count)) == count


def test_lists_are_comma_separated_or_json() -> None:
    assert parse_list("a, b,,c ") == ["a", "b", "c"]
    assert parse_list('["a", "b"]') == ["a", "b"]
    assert parse_list("") == []
    with pytest.raises(ValueError, match="not JSON"):
        parse_list("[a")


def test_mappings_are_pairs_or_json() -> None:
    assert parse_mapping("api.example=1.2.3.4, b = ::1") == {"api.example": "1.2.3.4", "b": "::1"}
    assert parse_mapping('{"a": "1.2.3.4"}') == {"a": "1.2.3.4"}
    with pytest.raises(ValueError, match="NAME=VALUE"):
        parse_mapping("a:1.2.3.4")
    with pytest.raises(ValueError, match="not JSON"):
        parse_mapping("{a")


def test_hosts_are_names_without_scheme_port_or_wildcard() -> None:
    assert check_host(" Claude.AI. ") == "claude.ai"
    assert check_host("[::1]") == "::1"
    with pytest.raises(ValueError, match=r"'anthropic\.com' without"):
        check_host("*.anthropic.com")
    for text in ("https://claude.ai", "claude.ai:443", "claude.ai/x", "", "-x.com", "ünicode.com"):
        with pytest.raises(ValueError, match="host name"):
            check_host(text)


def test_ips_are_canonical() -> None:
    assert check_ip("[0:0::1]") == "::1"
    with pytest.raises(ValueError, match="not an IP"):
        check_ip("localhost")


def test_urls_have_a_scheme_and_a_host() -> None:
    assert check_url(" https://gateway.example/base/ ", credentials=False) == "https://gateway.example/base"
    assert check_url("http://u:p%40@proxy.example:3128", credentials=True) == "http://u:p%40@proxy.example:3128"
    for text in ("proxy.example:3128", "socks5://h:1", "http://", "http://h:port", "http://[::1"):
        with pytest.raises(ValueError, match="http://HOST:PORT"):
            check_url(text, credentials=True)


def test_urls_carry_nothing_that_has_no_meaning() -> None:
    with pytest.raises(ValueError, match="query"):
        check_url("https://h/?a=1", credentials=False)
    with pytest.raises(ValueError, match="credentials"):
        check_url("https://u:p@h", credentials=False)
    with pytest.raises(ValueError, match="no path"):
        check_url("http://h:1/path", credentials=True)


def test_a_masked_url_has_no_credentials() -> None:
    assert mask_url("http://user:p@ss@proxy.example:3128") == "http://****@proxy.example:3128"
    assert mask_url("http://proxy.example") == "http://proxy.example"


def test_a_table_of_prices_is_text_for_the_recorder():
    found = check_price({"models": "claude-opus-*", "uncached": 4.5, "write_5m": "5.625", "since": date(2026, 7, 1)})
    assert found == {"models": "claude-opus-*", "uncached": "4.5", "write_5m": "5.625", "since": "2026-07-01"}
    assert PriceOverride.parse(found).applies("claude-opus-4-8", date(2026, 7, 1))
    assert set(PRICE_CLASSES) == set(PriceClass)


@pytest.mark.parametrize(
    ("entry", "remedy"),
    [
        ("claude", "as a table"),
        ({"models": "m", "input": 1}, "known are models"),
        ({"models": "m", "read": -1}, "US dollars"),
        ({"models": "m", "read": True}, "US dollars"),
        ({"models": "m", "read": 1, "until": "soon"}, "write a day"),
        ({"models": "", "read": 1}, "needs `models`"),
        ({"models": "m"}, "needs a price"),
    ],
)
def test_a_table_of_prices_that_cannot_be_used_says_what_to_write(entry, remedy):
    with pytest.raises(ValueError, match=remedy):
        check_price(entry)


@pytest.mark.parametrize(("text", "amount"), [("5", "5"), (" $2.50 ", "2.50"), (0.1, "0.1"), (3, "3")])
def test_dollars_are_taken_exactly(text, amount):
    assert parse_dollars(text) == Decimal(amount)


@pytest.mark.parametrize("text", ["", "0", "0.00", "-1", "1e3", "nan", "5 EUR", True])
def test_what_is_no_amount_of_dollars_says_what_to_write(text):
    with pytest.raises(ValueError, match=r"such as 5 or 2\.50"):
        parse_dollars(text)
