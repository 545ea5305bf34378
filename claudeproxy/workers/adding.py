"""What several workers count, as if one had counted it.

Apart because it is arithmetic on plain values: a worker says what `Relay.statistics` says. Totals of those that died
stay in the sum; what was open in them does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

# Not sums since the start but what is so now: it dies with its process.
_NOW: Final = frozenset(
    {"connections", "tunnels", "upstream_idle", "draining", "open", "bytes_held", "owed_ends", "last_error", "owner"}
)
_NOW_IN: Final = {"proxy": frozenset({"exchanges"})}  # in `capture` they are all there were


def add(parts: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Add up the numbers, at any depth; of switches: whether one is on; of texts: the last one there is."""
    return {name: _sum([part[name] for part in parts if name in part]) for part in parts[:1] for name in part}


def _sum(values: Sequence[object]) -> object:
    inner = [value for value in values if isinstance(value, Mapping)]
    if inner:
        return add(inner)
    numbers = [value for value in values if isinstance(value, int | float)]
    if not numbers:
        return next((value for value in reversed(values) if value is not None), None)
    return any(numbers) if isinstance(numbers[0], bool) else sum(numbers)


def totals(part: Mapping[str, object], within: str = "") -> dict[str, object]:
    """What is left of what a worker said last, now that it is gone."""
    left: dict[str, object] = {}
    for name, value in part.items():
        if isinstance(value, Mapping):
            left[name] = totals(value, name)
        elif name in _NOW or name in _NOW_IN.get(within, ()):
            left[name] = None if isinstance(value, str) or value is None else type(value)()
        else:
            left[name] = value
    return left
