"""A cache that is bounded by bytes, whatever goes in how often."""

from __future__ import annotations

from claudeproxy.attribution.remembered import Remembered


def test_the_least_recently_used_goes_first_when_the_bytes_are_too_many() -> None:
    memory: Remembered[str, int] = Remembered(30)
    for number, key in enumerate("abc"):
        memory.remember(key, number, 10)
    assert memory.recall("a") == 0
    memory.remember("d", 3, 10)
    assert [memory.recall(key) for key in "abcd"] == [0, None, 2, 3]


def test_what_is_remembered_again_counts_once() -> None:
    """Else it would shrink with every repetition, down to nothing."""
    memory: Remembered[str, int] = Remembered(30)
    for number in range(100):
        memory.remember("a", number, 10)
    memory.remember("b", 1, 20)
    assert (memory.recall("a"), memory.recall("b")) == (99, 1)


def test_what_is_larger_than_the_whole_is_returned_and_not_kept() -> None:
    memory: Remembered[str, int] = Remembered(30)
    assert memory.remember("a", 7, 31) == 7
    assert len(memory) == 0
