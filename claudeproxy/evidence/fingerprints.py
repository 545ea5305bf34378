"""Loads the fingerprints of the client's own prompt text, by client version.

Apart because attribution reads no files: it is handed what this returns. The file holds hashes only (the text belongs
to the client's vendor): for each version the first 16 hex digits of the SHA-256 of each framework paragraph (text
split on blank lines, stripped, at least 20 characters, UTF-8) that came up in two or more unrelated projects. A
version without paragraphs is unknown, not empty: it is left out.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE = "framework-fingerprints.json"


@cache
def load_fingerprints() -> Mapping[str, frozenset[str]]:
    """Return client version -> paragraph hashes, for the versions whose prompt text is known."""
    raw = json.loads(files("claudeproxy.evidence").joinpath("data", _FILE).read_text(encoding="utf-8"))
    return {version: frozenset(known["paragraphs"]) for version, known in raw.items() if known["paragraphs"]}
