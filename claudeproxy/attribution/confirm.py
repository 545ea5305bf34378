"""Lets evidence from outside speak where the rules do not know, or are not sure.

Apart from `explain` because an explanation follows from the request alone and is remembered; evidence may come later.
The rules see finer than any record of whole items (one file of many, one server of a listing), so they are never
overruled: evidence names what they left unclassified, and confirms what they suppose.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from claudeproxy.attribution.names import UNCLASSIFIED

if TYPE_CHECKING:
    from claudeproxy.model import Evidence, Segment

RULE = "evidence.transcript"


def doubtful(segments: tuple[Segment, ...]) -> list[int]:
    """Return which segments evidence may say more of."""
    return [number for number, one in enumerate(segments) if one.confidence < 1 and one.text.strip()]


def confirm(segments: tuple[Segment, ...], session_id: str, evidence: Evidence) -> tuple[Segment, ...]:
    """Return the segments of an injected block with what `evidence` adds to them, which may be nothing."""
    doubted = doubtful(segments)
    if not doubted:
        return segments
    changed = list(segments)
    for number in doubted:
        segment = segments[number]
        source = evidence.injected(session_id, segment.text)
        if source is None:
            continue
        if segment.source == UNCLASSIFIED:
            changed[number] = replace(segment, source=source, rule=RULE, evidence=segment.rule, confidence=1.0)
        elif segment.source == source:
            changed[number] = replace(segment, confidence=1.0)
    return tuple(changed)
