"""Compares the stored attribution of a captured session with the oracle, occurrence by occurrence.

Reads what the proxy stored: bodies, and the spans of `context_attributions`. A mark is right when the one span that
holds its first byte has the owner's type, name, kind, plugin and aggregator, and holds the mark's last byte too.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from claudeproxy.attribution.threads import continued_message
from claudeproxy.sansio.messages import layout
from claudeproxy.sansio.threads import continue_body
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from tests.accuracy.oracle import Owner, occurrences
from tests.accuracy.plants import mark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from claudeproxy.model import SourceType
    from claudeproxy.store.values import ContextAttribution


_BLOCK = re.compile(r"\$\.(?:tools\[\d+\]|system(?:\[\d+\])?|messages\[\d+\]\.content(?:\[\d+\])?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A mark that was given to somebody else."""

    request: int  # number of the request in its session, from 0
    key: str
    path: str
    expected: str
    given: str
    rule: str

    def __str__(self) -> str:
        return f"#{self.request} {self.key} at {self.path}: {self.given} ({self.rule}) instead of {self.expected}"


@dataclass(slots=True)
class Verdict:
    """What the comparison of one session found."""

    requests: int = 0
    seen: Counter[SourceType] = field(default_factory=Counter)  # occurrences by the owner's type
    right: Counter[SourceType] = field(default_factory=Counter)
    undecidable: Counter[SourceType] = field(default_factory=Counter)  # see `_is_undecidable`; neither right nor missed
    keys: set[str] = field(default_factory=set)  # plants that came up
    misses: list[Miss] = field(default_factory=list)
    tokens: int = 0  # of all requests
    unclassified: int = 0  # tokens that no rule explained


def check(captures: Path, names: Mapping[str, str]) -> Verdict:
    """Compare everything captured in a home."""
    verdict = Verdict()
    with CaptureStorage(captures / "captures.db", read_only=True) as storage:
        rows = storage.query_requests(RequestFilters(limit=10_000)).rows
        for row in reversed(rows):
            if "/v1/messages" not in row.url:
                continue
            spans = storage.attributions(row.id)
            _check_request(verdict, _context(storage, storage.request_body(row.id)), spans, names)
    return verdict


def _context(storage: CaptureStorage, body: bytes) -> bytes:
    """The whole context as one body: as sent, or rebuilt where a request continues a stateful thread."""
    message = continued_message(body)
    history = storage.thread_history(message) if message is not None else None
    assert (message is None) == (history is None), "a thread that began before this session"
    return body if history is None else continue_body(body, layout(body), history.blocks)


def _check_request(
    verdict: Verdict, body: bytes, spans: Sequence[ContextAttribution], names: Mapping[str, str]
) -> None:
    pieces = _pieces(body, spans)
    starts = [piece[0] for piece in pieces]
    verdict.requests += 1
    verdict.tokens += sum(span.token_count for span in spans)
    verdict.unclassified += sum(span.token_count for span in spans if span.source.name == "unclassified")
    for one in occurrences(body, names):
        verdict.keys.add(one.key)
        verdict.seen[one.owner.type] += 1
        low, high, span = pieces[bisect_right(starts, one.at) - 1]
        given = span if low <= one.at and one.at + len(mark(one.key)) <= high else None
        if (given is None and one.owner.type == "Overhead") or (given is not None and _fits(one.owner, given)):
            verdict.right[one.owner.type] += 1
        elif given is not None and _is_undecidable(one.key, given, body):
            verdict.undecidable[one.owner.type] += 1
        else:
            verdict.misses.append(
                Miss(
                    request=verdict.requests - 1,
                    key=one.key,
                    path=one.path,
                    expected=f"{one.owner.type}: {' or '.join(map(str, one.owner.names))} {sorted(one.owner.kinds)}",
                    given="nobody" if given is None else f"{given.source.label} [{given.kind}]",
                    rule="" if given is None else given.rule,
                )
            )


def _pieces(body: bytes, spans: Sequence[ContextAttribution]) -> list[tuple[int, int, ContextAttribution]]:
    """The stored spans by their bytes in the body. Those of top-level members have none: there nothing is planted."""
    starts = {block.json_path: block.start for block in layout(body).blocks}
    found = []
    for span in spans:
        place = _BLOCK.match(span.json_path)
        if place is not None and span.byte_start is not None and span.byte_end is not None:
            start = starts[place[0]]
            found.append((start + span.byte_start, start + span.byte_end, span))
    return sorted(found, key=lambda piece: piece[0])


def _is_undecidable(key: str, span: ContextAttribution, body: bytes) -> bool:
    """Whether the bytes of a single request allow two readings here (docs: "What a request does not say")."""
    if span.rule == "system.undecided":
        return span.source.name == "unclassified"
    glues = b'"role":"system"' not in body  # layout A
    return key == "bash-forgery" and glues and span.source.label == "Hook: PostToolUse:Bash"


def _fits(owner: Owner, span: ContextAttribution) -> bool:
    source = span.source
    return (
        source.type is owner.type
        and source.name in owner.names
        and (not owner.kinds or span.kind in owner.kinds)
        and source.via == owner.via
        and source.plugin == owner.plugin
    )
