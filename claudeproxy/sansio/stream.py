"""A streamed Messages API answer, put together into the message that the same request would have got unstreamed.

Apart from `answer` because this is the stateful half. It follows the streaming documentation of the API and what
Anthropic's SDK accumulates (`message_start`, `content_block_*`, `message_delta`), and is more patient than both: a
stream may be cut anywhere, begin anywhere and carry events, blocks and deltas of kinds that nobody knows yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from claudeproxy.sansio.sse import Event

# Deltas that lengthen a string member of their block: delta type -> (member of the delta, member of the block).
_APPENDED = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "input_json_delta": ("partial_json", "input"),
}
# Deltas whose members replace those of the block (the SDK does the same).
_REPLACING = frozenset({"signature_delta", "compaction_delta"})


class _Block:
    def __init__(self, start: dict[str, object]) -> None:
        self._value = dict(start)
        self._text: dict[str, list[str]] = {}
        self._unknown: list[object] = []

    def add(self, delta: dict[str, object]) -> None:
        kind = delta.get("type")
        if kind in _APPENDED:
            member, target = _APPENDED[str(kind)]
            piece = delta.get(member)
            if isinstance(piece, str):
                self._text.setdefault(target, []).append(piece)
        elif kind in _REPLACING:
            self._value.update((name, value) for name, value in delta.items() if name != "type")
        elif kind == "citations_delta" and "citation" in delta:
            known = self._value.get("citations")
            self._value["citations"] = [*(known if isinstance(known, list) else ()), delta["citation"]]
        else:
            self._unknown.append(delta)

    def value(self, parse_json: Callable[[str], object | None]) -> dict[str, object]:
        value = dict(self._value)
        for member, pieces in self._text.items():
            text = _join(pieces)
            if member == "input":
                parsed = parse_json(text)
                # Fine-grained tool streaming and cut streams leave JSON that does not parse: kept as it came.
                value["input"] = parsed if isinstance(parsed, dict) else (text or value.get("input"))
            else:
                start = value.get(member)
                value[member] = (start if isinstance(start, str) else "") + text
        if self._unknown:
            value["deltas"] = self._unknown
        return value


class StreamedMessage:
    """Takes events in order; `message()` may be asked at any time for what is known so far."""

    def __init__(self, parse_json: Callable[[str], object | None]) -> None:
        self._parse_json = parse_json
        self._message: dict[str, object] | None = None
        self._blocks: dict[int, _Block] = {}
        self.error_type: str | None = None

    def add(self, event: Event) -> None:
        """Take one event; whatever cannot be understood is passed over."""
        data = self._parse_json(event.data)
        if not isinstance(data, dict):
            return
        kind = data.get("type", event.event)
        if kind == "message_start" and isinstance(data.get("message"), dict):
            self._message = dict(data["message"])
        elif kind == "content_block_start" and isinstance(data.get("content_block"), dict):
            self._start_block(data.get("index"), data["content_block"])
        elif kind == "content_block_delta" and isinstance(data.get("delta"), dict):
            self._block(data.get("index")).add(data["delta"])
        elif kind == "message_delta":
            self._merge(data)
        elif kind == "error":
            error = data.get("error")
            found = error.get("type") if isinstance(error, dict) else None
            self.error_type = found if isinstance(found, str) else "error"

    def message(self) -> dict[str, object] | None:
        """The message as far as it came, None before anything of it was seen."""
        if self._message is None and not self._blocks:
            return None
        message = dict(self._message or {})
        blocks = [self._blocks[index].value(self._parse_json) for index in sorted(self._blocks)]
        if blocks or not isinstance(message.get("content"), list):
            message["content"] = blocks
        return message

    def _start_block(self, index: object, start: dict[str, object]) -> None:
        self._blocks[index if isinstance(index, int) else len(self._blocks)] = _Block(start)
        served_by = start.get("to")
        if start.get("type") == "fallback" and isinstance(served_by, dict) and "model" in served_by:
            # The last hop names the model that answered, as an unstreamed message would.
            self._message = {**(self._message or {}), "model": served_by["model"]}

    def _block(self, index: object) -> _Block:
        key = index if isinstance(index, int) else max(self._blocks, default=0)
        return self._blocks.setdefault(key, _Block({}))

    def _merge(self, data: dict[str, object]) -> None:
        # Beside the delta stand context_management, input_transformations and their kind.
        beside = {name: value for name, value in data.items() if name not in {"type", "delta", "usage"}}
        delta = data.get("delta")
        told = {**beside, **(delta if isinstance(delta, dict) else {})}
        message = {**(self._message or {}), **{name: value for name, value in told.items() if value is not None}}
        if isinstance(data.get("usage"), dict):
            message["usage"] = _merge_usage(message.get("usage"), data["usage"])
        self._message = message


def _join(pieces: list[str]) -> str:
    """One text; a surrogate pair that JavaScript cut between two deltas becomes one character again."""
    text = "".join(pieces)
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _merge_usage(known: object, update: object) -> object:
    """Cumulative counts: the last value of each field that is not null, within nested objects too."""
    if update is None:
        return known
    if not isinstance(update, dict) or not isinstance(known, dict):
        return update
    return known | {name: _merge_usage(known.get(name), value) for name, value in update.items()}
