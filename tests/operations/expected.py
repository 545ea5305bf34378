"""The counts that were written down, by version of Python: its compiler decides what a line is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOLERANCE = 0.05
"""Wake-ups of an event loop come in this or that order: that much says nothing of the code."""

_PATH = Path(__file__).with_name("expected.json")


def load(implementation: str, version: Sequence[object]) -> Mapping[str, int]:
    """Return the counts of this Python; empty where none were written down."""
    counts: Mapping[str, Mapping[str, int]] = json.loads(_PATH.read_text()) if _PATH.exists() else {}
    return counts.get(_key(implementation, version), {})


def save(implementation: str, version: Sequence[object], counts: Mapping[str, int]) -> None:
    """Write the counts of this Python down, in place of the earlier ones."""
    known = json.loads(_PATH.read_text()) if _PATH.exists() else {}
    _PATH.write_text(json.dumps({**known, _key(implementation, version): counts}, indent=1) + "\n")


def _key(implementation: str, version: Sequence[object]) -> str:
    return f"{implementation} {version[0]}.{version[1]}"
