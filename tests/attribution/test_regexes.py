from __future__ import annotations

import re

import pytest

from claudeproxy.attribution.regexes import may_run_away


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        r"(?:\w+\s*)*x",
        "(?:a*|b)+",
        "((a{2,40})b?){3,}",
        "(a)?(?(1)(b+)+|c)",
        "(?=(a+)*)x",
        "(?:(?:a+)b)*?",
        "(?>(a+)+)",
    ],
)
def test_open_repeats_inside_open_repeats_may_take_for_ever(pattern: str) -> None:
    """Exponential on the wrong text."""
    assert may_run_away(re.compile(pattern))


@pytest.mark.parametrize(
    "pattern",
    [
        "a+b+",
        r"(?:\n[^\n]++)*",
        "(?:(?>a+)b)*",
        "(a{3})+",
        "(?:a{0,3}b)*",
        "(?:ab?)+",
        r"Team (?P<who>\w+): ",
        "(?<!a)b",
        r"(a)\1*",
    ],
)
def test_bounded_and_possessive_repeats_end(pattern: str) -> None:
    """They never try the same text in more ways than one can wait for."""
    assert not may_run_away(re.compile(pattern))


def test_a_comment_in_a_verbose_pattern_is_no_pattern() -> None:
    """The flags are the pattern's own."""
    assert not may_run_away(re.compile("a+ # (b+)+", re.VERBOSE))
    assert may_run_away(re.compile("(?x) (a+ # b\n)+"))
