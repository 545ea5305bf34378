"""How the client writes single messages and blocks: the small functions behind `client`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.testing.replies import Text, Thinking, ToolUse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from claudeproxy.testing.replies import ContentBlock

EPHEMERAL = {"type": "ephemeral"}


def rendered(messages: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """Show history as the client does: the breakpoint on the last block; a lone text block further up as a string."""
    shown = [{**message, "content": _collapsed(message)} for message in messages]
    last = messages[-1]["content"]
    if isinstance(last, list) and last:
        shown[-1] = {**messages[-1], "content": [*last[:-1], {**last[-1], "cache_control": EPHEMERAL}]}
    return shown


def _collapsed(message: Mapping[str, object]) -> object:
    content = message["content"]
    if message["role"] != "assistant" and isinstance(content, list) and len(content) == 1:
        block = content[0]
        return block["text"] if block["type"] == "text" else content
    return content


def text_block(text: str) -> dict[str, object]:
    """Make a text block."""
    return {"type": "text", "text": text}


def reminder(text: str) -> str:
    """Wrap injected text as it stands in user messages."""
    return f"<system-reminder>\n{text}\n</system-reminder>"


def glued(content: object, reminders: Sequence[str]) -> object:
    """Append reminders to a tool result, inside its string, or as a last text part."""
    if isinstance(content, str):
        return "\n\n".join((content, *reminders))
    return [*content, *map(text_block, reminders)] if isinstance(content, list) else content


def with_id(block: ContentBlock, call_id: str) -> ContentBlock:
    """Give a tool call the id that its result will name."""
    if isinstance(block, ToolUse) and block.id is None:
        return ToolUse(name=block.name, input=block.input, id=call_id)
    return block


def as_json(block: ContentBlock) -> dict[str, object]:
    """Word an answer's block as the client sends it back."""
    match block:
        case Text(text=text):
            return text_block(text)
        case Thinking(thinking=thinking, signature=signature):
            return {"type": "thinking", "thinking": thinking, "signature": signature}
        case ToolUse(name=name, input=arguments, id=call_id):
            return {"type": "tool_use", "id": call_id, "name": name, "input": dict(arguments)}
