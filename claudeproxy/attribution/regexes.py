"""Tells whether a regular expression of a user's may take forever.

Apart because it looks into Python's own parser of patterns, which has no public name. One hanging pattern would hold
up every explanation behind it, so a rule with one is refused; the built-in table is ours to keep in order.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import re

MANY: Final = 16  # as many repetitions as make the combinations of two nested repeats too many


def may_run_away(pattern: re.Pattern[str]) -> bool:
    """Tell whether an open repeat stands inside an open repeat, which can take exponential time: ``(a+)+``.

    Possessive repeats (``a++``) and atomic groups (``(?>...)``) never try again and may stand anywhere. Slower than
    linear is still possible, without end is not for what this finds; it does not compare alternatives (``(a|a)*``).
    """
    parser = importlib.import_module("re._parser")  # its name since Python 3.11
    return _nested(parser.parse(pattern.pattern, pattern.flags), inside=False)


def _nested(items: object, *, inside: bool) -> bool:
    return any(_step(str(operation), argument, inside=inside) for operation, argument in items)  # type: ignore[attr-defined]


def _step(operation: str, argument: object, *, inside: bool) -> bool:
    if operation in {"MAX_REPEAT", "MIN_REPEAT"}:
        low, high, inner = argument  # type: ignore[misc]
        is_open = int(high) >= MANY and low != high  # type: ignore[has-type]
        return (inside and is_open) or _nested(inner, inside=inside or is_open)  # type: ignore[has-type]
    if operation in {"POSSESSIVE_REPEAT", "ATOMIC_GROUP"}:
        inner = argument[2] if operation == "POSSESSIVE_REPEAT" else argument  # type: ignore[index]
        return _nested(inner, inside=False)
    if operation == "BRANCH":
        return any(_nested(branch, inside=inside) for branch in argument[1])  # type: ignore[index]
    if operation in {"SUBPATTERN", "ASSERT", "ASSERT_NOT"}:
        return _nested(argument[-1], inside=inside)  # type: ignore[index]
    if operation == "GROUPREF_EXISTS":
        return any(_nested(branch, inside=inside) for branch in argument[1:] if branch is not None)  # type: ignore[index]
    return False
