"""Counts that are remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.accounting.counts import CachedCounts

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_counts_are_remembered_until_they_are_the_oldest() -> None:
    asked: list[list[str]] = []

    def count(texts: Sequence[str]) -> list[int]:
        asked.append(list(texts))
        return [len(text) for text in texts]

    counts = CachedCounts(count, size=2)
    assert counts(["a", "bb", "a"]) == [1, 2, 1]
    assert counts(["bb"]) == [2]
    assert counts(["ccc", "\ud800"]) == [3, 1]  # a lone half of a surrogate pair is text too
    assert counts(["bb"]) == [2]
    assert asked == [["a", "bb"], ["ccc", "\ud800"], ["bb"]]
    assert counts([]) == []
