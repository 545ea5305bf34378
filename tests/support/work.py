"""How much work a piece of code does, as a number that is the same on every machine: calls instead of seconds.

A test that takes the time fails on a busy machine and passes on a fast one. Calls of Python and C functions grow with
the work as time does and never with the load. What happens inside one call (a regular expression, a query) is not
seen: that is for the benchmarks.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def calls(work: Callable[[], object]) -> int:
    """How many functions, Python's and C's, `work` calls in this thread, its own ones included."""
    count = 0

    def see(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count
