"""The bundled fingerprints."""

from __future__ import annotations

import re

from claudeproxy.evidence.fingerprints import load_fingerprints


def test_known_versions_have_paragraphs():
    """One version of each layout."""
    known = load_fingerprints()
    assert {"2.1.330", "2.1.197", "2.1.100", "2.0.76", "1.0.128"} == set(known)
    assert all(known.values())


def test_the_file_holds_hashes_and_nothing_else():
    """The client's prompt is its vendor's text: none of it is in this repository."""
    assert all(re.fullmatch(r"[0-9a-f]{16}", item) for items in load_fingerprints().values() for item in items)
