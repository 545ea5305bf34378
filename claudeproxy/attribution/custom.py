"""Applies the rules that only users write: to paragraphs of a system prompt, and to the names of sources.

Apart from `system` and `segmenter`, which know what the client writes: a user's rule says what a person or a program
put there. (Rules for tools' names are asked in `names.Servers`, where every name passes; rules for injected text in
`segmenter`, like the built-in ones.)
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from claudeproxy.attribution.names import UNCLASSIFIED
from claudeproxy.attribution.spans import Claim, Span, cover
from claudeproxy.model import SourceType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.attribution.rules import Rule
    from claudeproxy.model import Segment, Source

_PARAGRAPH = re.compile(r"(?:\A\n*|\n\n+)(?=[^\n])")


def claim_paragraphs(text: str, spans: list[Span], rules: Sequence[Rule]) -> list[Span]:
    """Return `spans`, which cover a system text, with the paragraphs that a rule knows given to its source.

    A closed rule takes its paragraph; an open one goes on up to a paragraph of the client's own or of another rule.
    """
    if not rules:
        return spans
    starts = [match.end() for match in _PARAGRAPH.finditer(text)]
    claims = [_claim(text, at, rules) for at in starts]
    taken: list[Span] = []
    current: Claim | None = None
    for number, (at, found) in enumerate(zip(starts, claims, strict=True)):
        stop = starts[number + 1] if number + 1 < len(starts) else len(text)
        if found is not None:
            rule, claim = found
            taken.append(Span(at, stop, claim))
            current = None if rule.closed else claim
        elif current is not None and not _is_framework(spans, at):
            taken.append(Span(at, stop, current))
        else:
            current = None
    return overlay(spans, taken)


def _claim(text: str, at: int, rules: Sequence[Rule]) -> tuple[Rule, Claim] | None:
    for rule in rules:
        match = rule.pattern.match(text, at)
        if match is not None:
            return rule, Claim(source=rule.source(match), kind=rule.kind, rule=rule.id, confidence=rule.confidence)
    return None


def _is_framework(spans: Sequence[Span], at: int) -> bool:
    claim = next(span.claim for span in spans if span.end > at)
    return claim.source.type is SourceType.FRAMEWORK and claim.source != UNCLASSIFIED


def overlay(spans: Sequence[Span], above: Sequence[Span]) -> list[Span]:
    """Return spans that cover what `spans` cover, with `above` (in order, apart from each other) laid over them."""
    if not above:
        return list(spans)
    below: list[Span] = []
    for span in spans:
        at = span.start
        for upper in above:
            if upper.end <= at or upper.start >= span.end:
                continue
            if upper.start > at:
                below.append(Span(at, upper.start, span.claim))
            at = upper.end
        if at < span.end:
            below.append(Span(at, span.end, span.claim))
    return cover([*below, *above], spans[0].start, spans[-1].end)


def rename(segments: tuple[Segment, ...], rules: Sequence[Rule]) -> tuple[Segment, ...]:
    """Return the segments with the sources that a rule renames under their new names."""
    if not rules:
        return segments
    names: dict[Source, Source] = {}
    for segment in segments:
        if segment.source not in names:
            names[segment.source] = _renamed(segment.source, rules)
    return tuple(
        segment if names[segment.source] == segment.source else replace(segment, source=names[segment.source])
        for segment in segments
    )


def _renamed(source: Source, rules: Sequence[Rule]) -> Source:
    """Return the new name that the first fitting rule gives; plugin and `via` stay where the rule names none."""
    for rule in rules:
        match = rule.matches(source.label)
        if match is not None:
            new = rule.source(match)
            return replace(new, plugin=new.plugin or source.plugin, via=new.via or source.via)
    return source
