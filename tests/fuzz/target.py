"""What a fuzz target is, and the little that all of them need."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar
from zlib import crc32

from claudeproxy.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A property of a parser: `check` raises when it does not hold for these bytes.

    `seeds` are where fuzzing begins, `words` what the bytes of this format are made of, `rounds` how often the short
    run tries. `invariant` says in one sentence what `check` asks.
    """

    name: str
    invariant: str
    check: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    words: Sequence[bytes] = ()
    rounds: int = 1000
    max_bytes: int = 4096


def chance(data: bytes) -> random.Random:
    """The same random numbers for the same bytes, so that a finding can be had again from its bytes alone."""
    return random.Random(crc32(data))


def pieces(data: bytes, *, cuts: int = 3) -> list[bytes]:
    """`data` in a few pieces, some of them empty; where it is cut follows from its bytes."""
    numbers = chance(data)
    edges = sorted(numbers.randrange(len(data) + 1) for _ in range(numbers.randrange(cuts + 1)))
    return [data[low:high] for low, high in pairwise([0, *edges, len(data)])]


def single_bytes(data: bytes) -> list[bytes]:
    """`data` byte by byte."""
    return [data[at : at + 1] for at in range(len(data))]


def outcome(work: Callable[[], T]) -> T | str:
    """What `work` returns, or REFUSED; any error but ProtocolError is a finding."""
    try:
        return work()
    except ProtocolError:
        return REFUSED
