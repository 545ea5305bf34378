"""Request bodies for the attribution tests: invented texts inside the short markers of wire.md."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.attribution import AttributionEngine
from claudeproxy.attribution.system import fingerprint
from claudeproxy.sansio.messages import layout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claudeproxy.model import RawHeaders, RequestAttribution, Segment, Source, WholeText

VERSION = "2.1.330"
BILLING = f"x-anthropic-billing-header: cc_version={VERSION}.519; cc_entrypoint=cli; cch=00000;"
SUBAGENT_BILLING = f"x-anthropic-billing-header: cc_version={VERSION}.519; cc_entrypoint=cli; cc_is_subagent=true;"
IDENTITY = "You are Claude Code, Anthropic's official CLI for Claude."
KNOWN = "An invented paragraph that stands for the client's own prompt."
KNOWN_PART = "# Harness\nAn invented part of the client's own prompt."
FINGERPRINTS = {VERSION: frozenset({fingerprint(KNOWN), fingerprint(KNOWN_PART)})}
CWD = "/home/dev/app"
ENVIRONMENT = (
    "# Environment\nYou have been invoked in the following environment: \n"
    f" - Primary working directory: {CWD}\n - Platform: linux"
)
DATE = "Today's date is 2026-11-22."
STYLE_REMINDER = "Curt output style is active. Remember to follow the specific guidelines for this style."
SYSTEM = [{"type": "text", "text": BILLING}, {"type": "text", "text": IDENTITY}, {"type": "text", "text": KNOWN}]


def headers(**fields: str) -> RawHeaders:
    """Return header fields; underscores in names become hyphens."""
    return tuple((name.replace("_", "-").encode(), value.encode()) for name, value in fields.items())


CLAUDE = headers(user_agent=f"claude-cli/{VERSION} (external, cli)")


def text(words: str, **more: object) -> dict[str, object]:
    return {"type": "text", "text": words, **more}


def reminder(words: str) -> dict[str, object]:
    return text(f"<system-reminder>\n{words}\n</system-reminder>")


def use(call: str, name: str, **arguments: object) -> dict[str, object]:
    return {"type": "tool_use", "id": call, "name": name, "input": arguments}


def result(call: str, content: object, **more: object) -> dict[str, object]:
    return {"type": "tool_result", "tool_use_id": call, "content": content, **more}


def user(*content: object) -> dict[str, object]:
    return {"role": "user", "content": list(content)}


def said(*content: object) -> dict[str, object]:
    return {"role": "assistant", "content": list(content)}


def system(words: str) -> dict[str, object]:
    return {"role": "system", "content": words}


def tool(name: str, description: str = "Does something.") -> dict[str, object]:
    return {"name": name, "description": description, "input_schema": {"type": "object"}}


def body(
    *messages: object, system: object = SYSTEM, tools: Iterable[object] = (), ascii_only: bool = False, **more: object
) -> bytes:
    """Return a request body as the client would send it (`ascii_only`: with every other character escaped)."""
    request = {"model": "claude-example", "max_tokens": 1000, "stream": True, **more}
    value = {**request, "system": system, "tools": [*tools], "messages": [*messages]}
    return json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":")).encode("utf-8", "surrogatepass")


@dataclass
class Told:
    """Evidence that consists of texts that stood alone."""

    texts: list[WholeText]
    source: Source | None = None

    def agent_call(self, session_id: str, prompt: str) -> None:
        return None

    def injected(self, session_id: str, text: str) -> Source | None:
        return self.source

    def whole_texts(self, session_id: str | None, owner: str) -> list[WholeText]:
        return [one for one in self.texts if one.owner == owner]


def engine() -> AttributionEngine:
    return AttributionEngine(fingerprints=FINGERPRINTS)


def analyze(request: bytes, **fields: str) -> RequestAttribution:
    """Analyze with a fresh engine and check the partition on the way."""
    found = engine().analyze_request(request, headers=CLAUDE + headers(**fields))
    check_partition(request, found)
    return found


def holders(found: RequestAttribution, words: str) -> list[Segment]:
    """Return the segments that hold `words`; there must be one at least."""
    segments = [segment for segment in found.segments() if words in segment.text]
    assert segments, f"{words!r} is in no segment"
    return segments


def owners(found: RequestAttribution, words: str) -> set[tuple[str, str]]:
    """Return (label, kind) of every segment that holds `words`."""
    return {(segment.source.label, segment.kind) for segment in holders(found, words)}


def labels(found: RequestAttribution, words: str) -> set[str]:
    """Return the labels of every segment that holds `words`."""
    return {label for label, _kind in owners(found, words)}


def check_partition(request: bytes, found: RequestAttribution) -> None:
    """Assert that segments tile every block, strings are covered once, and overhead tiles the rest."""
    blocks = layout(request).blocks
    assert [block.json_path for block in blocks] == [block.json_path for block in found.blocks]
    for block, attribution in zip(blocks, found.blocks, strict=True):
        raw = request[block.start : block.end]
        at = 0
        points: dict[str, int] = {}
        for segment in attribution.segments:
            assert segment.byte_start == at, (attribution.json_path, segment)
            assert segment.byte_end > segment.byte_start
            at = segment.byte_end
            if segment.kind in {"structure", "citation", "marker"}:  # never prompt: no text is kept
                continue
            if segment.start is None or segment.end is None:
                assert json.loads(_text(segment)) is not NotImplemented
                continue
            before = points.get(segment.path, 0)
            assert segment.start == before or segment.start == 0, segment  # 0 again: a duplicate key
            points[segment.path] = segment.end
            if segment.kind != "opaque":
                assert len(segment.text) == segment.end - segment.start
                token = raw[segment.byte_start : segment.byte_end].decode("utf-8", "surrogateescape")
                assert json.loads(f'"{token}"', strict=False) == segment.text
        assert at == len(raw)
    spans = [(block.start, block.end) for block in blocks]
    at = 0
    for start, end in sorted([*spans, *((segment.byte_start, segment.byte_end) for segment in found.overhead)]):
        assert start == at
        at = end
    assert at == len(request)


def _text(segment: Segment) -> str:
    return segment.text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
