"""The order in which the client sorts names, and what keeps it."""

from __future__ import annotations

import re

import pytest

from claudeproxy.attribution.ordering import collation_key, in_order, is_at_least


def headings(*names: str) -> list[re.Match[str]]:
    return list(re.finditer(r"(?P<name>[^|]+)", "|".join(names)))


def test_names_sort_as_the_client_sorts_them():
    """Punctuation, digits, letters whatever their case; accents weigh little."""
    names = ["7", "a__b", "alpha-one.v2", "Beta_Caps", "émile", "hub", "plugin:x:y", "q", "slow.one", "说"]
    assert sorted(set(names), key=collation_key) == names
    assert collation_key("a") < collation_key("A")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (("a", "b", "c"), "abc"),
        (("b", "a", "c"), "bc"),
        (("a", "q", "c", "b", "c", "d"), "abcd"),
        (("z", "a"), "z"),
        (("a", "b", "b"), "ab"),
    ],
)
def test_the_most_that_ascend_are_kept(given, kept):
    """The first always."""
    assert "".join(match["name"] for match in in_order(headings(*given))) == kept


def test_of_equals_the_last_is_kept():
    """A quotation comes before what it quotes."""
    chosen = in_order(headings("a", "b", "b", "c"))
    assert [match.start() for match in chosen] == [0, 4, 6]


def test_versions_are_compared_by_numbers():
    """What is unknown is not new."""
    assert is_at_least("2.1.330", (2, 1))
    assert not is_at_least("2.0.76", (2, 1))
    assert is_at_least("2.10.0", (2, 9))
    assert not is_at_least(None, (2, 1))
    assert not is_at_least("next", (2, 1))
