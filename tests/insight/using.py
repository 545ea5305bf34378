"""Requests with sources of one's choice, and the aggregates as they should be, added up the slow way."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from claudeproxy.model import BlockAttribution, Identity, Instants, RequestAttribution, Source, SourceType
from claudeproxy.sansio.messages import layout
from tests.store.exchanges import exchange
from tests.store.explaining import segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.store.storage import CaptureStorage

USER = Source(type=SourceType.USER)
SKILL = Source(type=SourceType.SKILL, name="vectorize")
DOCS = Source(type=SourceType.MCP_SERVER, name="context7", plugin="docs")
DOCS_VIA = Source(type=SourceType.MCP_SERVER, name="context7", via="gateway")  # the same name: one row of metrics
SOURCES = (USER, SKILL, DOCS, DOCS_VIA)

BODY = b'{"messages":[{"role":"user","content":"hello there"}]}'


def use(
    storage: CaptureStorage, number: int, parts: Sequence[tuple[Source, int]], *, at: int, answered: bool = True
) -> str:
    """Record request `number` at an instant, with a context of these sources and tokens."""
    given = exchange(
        number, BODY, instants=Instants(request_initiated=at, forwarded=at, response_received=at + 5_000_000)
    )
    if not answered:
        given = exchange(number, BODY, instants=Instants(request_initiated=at), response=None)
    (request_id,) = storage.record([given], {})
    explain(storage, request_id, parts)
    return request_id


def explain(
    storage: CaptureStorage, request_id: str, parts: Sequence[tuple[Source, int]], *, version: str = "1"
) -> None:
    """Say anew where the context of a request came from."""
    (block,) = layout(BODY).blocks
    whole = segment(USER, "text", "hello", 0, block.end - block.start)
    result = RequestAttribution(
        blocks=[BlockAttribution(json_path=block.json_path, message_index=0, role="user", segments=[whole])],
        overhead=[segment(source, "text", str(n), n, n + 1, path="$.x") for n, (source, _) in enumerate(parts)],
        identity=Identity(session_id="s"),
    )
    storage.save_attribution(request_id, result, [0, *(tokens for _, tokens in parts)], rules_version=version)


def counted(parts: Sequence[tuple[Source, int]]) -> dict[tuple[str, str], int]:
    """Tokens by type and name, as metrics name them. The one block is the user's, with no tokens."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    for source, tokens in ((USER, 0), *parts):
        found[str(source.type), source.name or str(source.type)] += tokens
    return dict(found)
