"""How values look outside."""

from __future__ import annotations

import pytest

from claudeproxy.api.presenting import dollars, header_object


@pytest.mark.parametrize(
    ("picodollars", "text"),
    [
        (None, None),
        (0, "0"),
        (1, "0.000000000001"),
        (1_500_000_000_000, "1.5"),
        (2_000_000_000_000_000, "2000"),
        (-250_000_000_000, "-0.25"),
        (123_456_789_012_345_678, "123456.789012345678"),
    ],
)
def test_money_is_an_exact_decimal_without_exponent(picodollars: int | None, text: str | None) -> None:
    assert dollars(picodollars) == text


def test_repeated_headers_are_joined_under_the_first_spelling() -> None:
    headers = (("Anthropic-Beta", "a"), ("host", "h"), ("anthropic-beta", "b"))
    assert header_object(headers) == {"Anthropic-Beta": "a, b", "host": "h"}
