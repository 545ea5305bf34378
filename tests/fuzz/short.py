"""The short run: the seeds, and a fixed number of changes to them, the same ones every time. Needs nothing installed.

Apart from the guided run because a test must do the same on every machine, and tell in seconds.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fuzz.target import Target


def inputs(target: Target, rounds: int | None = None) -> Iterator[bytes]:
    """The seeds of a target, then changed ones."""
    seeds = list(target.seeds())
    yield from [b"", *seeds]
    chance = random.Random(target.name)
    for _ in range(target.rounds if rounds is None else rounds):
        yield _changed(chance, seeds, target)


def _changed(chance: random.Random, seeds: list[bytes], target: Target) -> bytes:
    data = bytearray(chance.choice(seeds))
    for _ in range(1 + min(int(chance.expovariate(0.5)), 12)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(7):
            case 0:
                data[at:at] = bytes([chance.randrange(256)])
            case 1:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 2:
                del data[at : at + 1 + chance.randrange(8)]
            case 3:
                data[at:at] = data[at : at + 1 + chance.randrange(40)]
            case 4:
                other = chance.choice(seeds)
                start = chance.randrange(len(other) + 1)
                data[at:at] = other[start : start + 1 + chance.randrange(60)]
            case _:
                word = chance.choice(target.words or [b"\0"])
                data[at : at + chance.randrange(2) * len(word)] = word
    return bytes(data[: target.max_bytes])
