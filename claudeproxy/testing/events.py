"""A scripted reply as the API words it: the message document, or the events of a stream.

Apart from the server so that a test can compare what a proxy delivered with what was meant. Knows nothing of sockets,
chunks or time. Event order and fields follow Anthropic's streaming documentation and the SDKs' types: message_start
(with the full usage), per block content_block_start, deltas, content_block_stop, a ping after the first block began,
message_delta (usage again, cumulative), message_stop.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.testing.bill import count_tokens
from claudeproxy.testing.replies import Text, Thinking, ToolUse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from claudeproxy.testing.bill import PromptBill
    from claudeproxy.testing.replies import ContentBlock, Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A reply with every open choice made: what `document` and `stream` both tell."""

    id: str
    model: str
    content: tuple[dict[str, object], ...]
    stop_reason: str
    usage: Mapping[str, object]

    def document(self) -> dict[str, object]:
        """The answer to a request without `stream`."""
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": list(self.content),
            "stop_reason": self.stop_reason,
            "stop_sequence": None,
            "usage": dict(self.usage),
        }


def compose(reply: Reply, bill: PromptBill, *, model: str, message_id: str, tool_ids: Iterator[str]) -> Message:
    """Settle what `reply` leaves open. `tool_ids` supplies ids for the tool calls that have none."""
    content = tuple(_block(block, tool_ids) for block in reply.content)
    calls = any(isinstance(block, ToolUse) for block in reply.content)
    thinking = sum(count_tokens(b.thinking) for b in reply.content if isinstance(b, Thinking))
    usage = bill.usage()
    usage["output_tokens"] = _output_tokens(reply) if reply.output_tokens is None else reply.output_tokens
    if thinking:
        usage["output_tokens_details"] = {"thinking_tokens": thinking}
    usage["service_tier"] = "standard"
    usage.update(reply.usage)
    return Message(
        id=reply.message_id or message_id,
        model=reply.model or model,
        content=content,
        stop_reason=reply.stop_reason or ("tool_use" if calls else "end_turn"),
        usage=usage,
    )


def stream(message: Message, *, piece: int) -> list[bytes]:
    """Word a message as server-sent events, each with its closing blank line. `piece`: characters of a delta."""
    start = {**message.document(), "content": [], "stop_reason": None, "usage": {**message.usage, "output_tokens": 1}}
    events = [_event("message_start", {"message": start})]
    for index, block in enumerate(message.content):
        events.append(_event("content_block_start", {"index": index, "content_block": _empty(block)}))
        if index == 0:
            events.append(_event("ping", {}))
        events += [
            _event("content_block_delta", {"index": index, "delta": delta}) for delta in _deltas(block, max(1, piece))
        ]
        events.append(_event("content_block_stop", {"index": index}))
    delta_usage = {key: value for key, value in message.usage.items() if key not in {"service_tier", "cache_creation"}}
    end = {"delta": {"stop_reason": message.stop_reason, "stop_sequence": None}, "usage": delta_usage}
    events += [_event("message_delta", end), _event("message_stop", {})]
    return events


def error_event(error_type: str, message: str) -> bytes:
    """Return an error inside a stream that began with status 200."""
    return _event("error", {"error": {"type": error_type, "message": message}})


def _event(name: str, data: Mapping[str, object]) -> bytes:
    body = json.dumps({"type": name, **data}, separators=(",", ":"), ensure_ascii=False)
    return f"event: {name}\ndata: {body}\n\n".encode("utf-8", "surrogatepass")


def _block(block: ContentBlock, tool_ids: Iterator[str]) -> dict[str, object]:
    match block:
        case Text(text=text):
            return {"type": "text", "text": text}
        case Thinking(thinking=thinking, signature=signature):
            return {"type": "thinking", "thinking": thinking, "signature": signature}
        case ToolUse(name=name, input=arguments, id=call_id):
            return {"type": "tool_use", "id": call_id or next(tool_ids), "name": name, "input": dict(arguments)}


def _empty(block: Mapping[str, object]) -> dict[str, object]:
    """Return the block as content_block_start shows it: what the deltas fill is still empty."""
    blank: dict[str, object] = {"text": "", "thinking": "", "signature": "", "input": {}}
    return {key: blank.get(key, value) for key, value in block.items()}


def _deltas(block: Mapping[str, object], piece: int) -> Iterator[dict[str, object]]:
    match block["type"]:
        case "text":
            for part in _pieces(str(block["text"]), piece):
                yield {"type": "text_delta", "text": part}
        case "thinking":
            for part in _pieces(str(block["thinking"]), piece):
                yield {"type": "thinking_delta", "thinking": part}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case _:
            yield {"type": "input_json_delta", "partial_json": ""}  # the API begins with an empty one
            for part in _pieces(json.dumps(block["input"], ensure_ascii=False), piece):
                yield {"type": "input_json_delta", "partial_json": part}


def _pieces(text: str, size: int) -> Iterator[str]:
    for start in range(0, len(text), size):
        yield text[start : start + size]


def _output_tokens(reply: Reply) -> int:
    texts = (
        block.text
        if isinstance(block, Text)
        else block.thinking
        if isinstance(block, Thinking)
        else block.name + json.dumps(block.input)
        for block in reply.content
    )
    return sum(map(count_tokens, texts))
