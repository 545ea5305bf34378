"""The attribution engine on its own: a request body in, segments with their sources out. No proxy, no database."""

# prints: MCP: docs        schema     5 tokens  Look a page up.
# prints: User             prompt     8 tokens  What does the manual say about moss?

from __future__ import annotations

import json

from claudeproxy import AttributionEngine, TokenCounter

BODY = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 256,
    "tools": [
        {"name": "mcp__docs__lookup", "description": "Look a page up.", "input_schema": {"type": "object"}},
        {"name": "Read", "description": "Read a file.", "input_schema": {"type": "object"}},
    ],
    "messages": [{"role": "user", "content": "What does the manual say about moss?"}],
}


def main() -> None:
    engine = AttributionEngine()
    counter = TokenCounter()
    for segment in engine.analyze_request(json.dumps(BODY).encode()).segments():
        if segment.text:
            tokens = counter.count(segment.text)
            print(f"{segment.source.label:<16} {segment.kind:<8} {tokens:>3} tokens  {segment.text[:40]}")


if __name__ == "__main__":
    main()
