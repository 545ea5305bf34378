"""Attributions for the store's tests: every block in three segments, so that places and sums can be foretold."""

from __future__ import annotations

from claudeproxy.model import BlockAttribution, Identity, RequestAttribution, Segment, Source, SourceType
from claudeproxy.sansio.messages import Section, layout

STRUCTURE = Source(type=SourceType.OVERHEAD)
SOURCES = {
    Section.TOOLS: Source(type=SourceType.MCP_SERVER, name="context7", plugin="docs"),
    Section.SYSTEM: Source(type=SourceType.FRAMEWORK, name="system prompt"),
    Section.MESSAGES: Source(type=SourceType.USER),
}
IDENTITY = Identity(
    session_id="session-1",
    agent_id="agent-1",
    parent_agent_id="agent-0",
    agent_type="Explore",
    request_class="main",
    client="claude-cli",
    client_version="2.1.330",
    model="claude-opus-4-8",
    project="/home/ann/project",
    previous_message_id="msg_0",
)


def segment(source: Source, kind: str, text: str, low: int, high: int, **changes: object) -> Segment:
    return Segment(
        source=source,
        kind=kind,
        path=str(changes.get("path", "")),
        start=changes.get("start"),  # type: ignore[arg-type]
        end=changes.get("end"),  # type: ignore[arg-type]
        byte_start=low,
        byte_end=high,
        rule=str(changes.get("rule", "test")),
        evidence=changes.get("evidence"),  # type: ignore[arg-type]
        confidence=0.5,
        text=text,
    )


def explain(body: bytes, *, rule: str = "test", identity: Identity = IDENTITY) -> RequestAttribution:
    """One byte of structure, the middle for the section's source, one byte of structure."""
    blocks = []
    for block in layout(body).blocks:
        size = block.end - block.start
        text = body[block.start + 1 : block.end - 1].decode("utf-8", "replace")
        blocks.append(
            BlockAttribution(
                json_path=block.json_path,
                message_index=block.message_index,
                role=block.role,
                segments=[
                    segment(STRUCTURE, "structure", chr(body[block.start]), 0, 1, rule=rule),
                    segment(
                        SOURCES[block.section],
                        "text",
                        text,
                        1,
                        size - 1,
                        rule=rule,
                        path=".text",
                        start=0,
                        end=len(text),
                    ),
                    segment(STRUCTURE, "structure", chr(body[block.end - 1]), size - 1, size, rule=rule),
                ],
            )
        )
    overhead = [segment(STRUCTURE, "structure", '"m"', 1, 4, path="$.model", evidence="top-level key", rule=rule)]
    return RequestAttribution(blocks=blocks, overhead=overhead, identity=identity)


def count(result: RequestAttribution) -> list[int]:
    return [len(one.text) for one in result.segments()]
