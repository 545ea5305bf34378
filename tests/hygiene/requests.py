"""The whole corpus of requests."""

from __future__ import annotations

from tests.hygiene import framing, heads

GROUPS = {**framing.GROUPS, **heads.GROUPS}
TRICKS = [trick for group in GROUPS.values() for trick in group]
