"""What follows from a model's name: its tokenizer's family, whether it drops old thinking, how it sees images.

Apart because these are facts about products, not arithmetic, and change when a model comes out. Sources: Anthropic's
documentation on extended thinking (thinking blocks of earlier turns), vision (image sizes) and token counting.
A name that says nothing is taken for the newest kind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

# claude-opus-4-5-20251101, claude-haiku-4.5, claude-sonnet-4-20250514; a date is no minor version
_NEW_STYLE = re.compile(r"claude-([a-z]+)-(\d{1,2})(?:[-.](\d{1,2})(?!\d))?")
_OLD_STYLE = re.compile(r"claude-(\d)(?:[-.](\d)(?!\d))?(?:-(opus|sonnet|haiku))?")  # claude-3-7-sonnet-latest

# First version of each line that keeps the thinking of earlier turns / that has the new tokenizer.
_KEEPS_THINKING = {"opus": (4, 5), "sonnet": (4, 6), "haiku": (4, 6)}
_NEW_TOKENIZER = {"opus": (4, 7), "sonnet": (5, 0), "haiku": (5, 5)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTraits:
    """How a model counts. `family` is the key of its shipped weights."""

    family: str  # "old" or "new"
    drops_thinking: bool  # thinking of earlier turns goes once a plain (not tool-result) user message follows
    image_edge: int  # pixels: longer images are shrunk first
    image_tokens: int  # the most that one image costs


@lru_cache(256)
def model_traits(model: str) -> ModelTraits:
    """Return what the name says; provider prefixes (``anthropic/``, ``us.anthropic.``) and suffixes do not matter."""
    line, version = _parse(model.lower())
    old = version < _NEW_TOKENIZER.get(line, (0, 0))
    return ModelTraits(
        family="old" if old else "new",
        drops_thinking=version < _KEEPS_THINKING.get(line, (0, 0)),
        image_edge=1568 if old else 2576,
        image_tokens=1568 if old else 4784,
    )


def model_version(name: str) -> tuple[str, tuple[int, int]]:
    """Return a model's line and version, ``("opus", (4, 5))``; ``("", (99, 0))`` for a name of another shape."""
    return _parse(name.lower())


def _parse(name: str) -> tuple[str, tuple[int, int]]:
    if match := _OLD_STYLE.search(name):
        return match[3] or "opus", (int(match[1]), int(match[2] or 0))
    if match := _NEW_STYLE.search(name):
        return match[1], (int(match[2]), int(match[3] or 0))
    return "", (99, 0)
