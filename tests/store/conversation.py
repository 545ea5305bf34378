"""A conversation as a coding agent sends it, request by request: the whole history every time.

The shapes that make storage hard, each as observed on the wire: the billing header block that is new in every request,
the cache_control that moves with the last block, content that is a string once the breakpoint has moved on, tools that
appear in mid-conversation, a subagent with its own system prompt and tools, top-level members that change.
All text is made here.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORDS = [
    f"{a}{b}{c}" for a in ("re", "con", "in", "de", "pro") for b in ("ta", "lo", "mi", "su") for c in ("ns", "t", "r")
]
_EPHEMERAL = {"type": "ephemeral", "ttl": "1h"}

Block = dict[str, object]


@dataclass
class Conversation:
    """One agent's side of a conversation. `requests` yields (body, response body) for each turn."""

    seed: int = 1
    tools: int = 20
    system_size: int = 14_000
    result_size: int = 5_500
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._tools = [self._tool(f"Tool{i}") for i in range(self.tools)]
        self._system = [self._text(300), self._text(self.system_size)]
        self._messages: list[tuple[str, list[Block]]] = [("user", [self._reminder(), self._user()])]

    def turns(self, count: int) -> Iterator[tuple[bytes, bytes]]:
        for turn in range(count):
            if turn and turn % 40 == 0:  # a deferred tool's schema was loaded: it takes its place in the list
                self._tools.insert(self.random.randrange(len(self._tools)), self._tool(f"mcp__server__tool{turn}"))
            body = self._request(turn)
            answer, content = self._answer(turn)
            yield body, answer
            self._messages.append(("assistant", content))
            self._messages.append(("user", self._reply(turn, content)))

    def _request(self, turn: int) -> bytes:
        messages = []
        for index, (role, content) in enumerate(self._messages):
            if index == len(self._messages) - 1:
                *head, last = content
                messages.append({"role": role, "content": [*head, {**last, "cache_control": _EPHEMERAL}]})
            elif len(content) == 1 and content[0]["type"] == "text" and role == "user":
                messages.append({"role": role, "content": content[0]["text"]})
            else:
                messages.append({"role": role, "content": content})
        billing = (
            f"x-anthropic-billing-header: cc_version=2.1.330.519; cc_entrypoint=cli; cch={turn:05x}; "
            f"cc_prev_req=req_{self._hex(24)}; cc_prompt_id={self._hex(32)}; cc_turn_index={turn};"
        )
        request: dict[str, object] = {
            "model": "claude-opus-4-8",
            "messages": messages,
            "system": [
                {"type": "text", "text": billing},
                *({"type": "text", "text": text, "cache_control": _EPHEMERAL} for text in self._system),
            ],
            "tools": self._tools,
            "metadata": {"user_id": json.dumps({"device_id": "d" * 64, "session_id": "11111111-2222-4333-8444"})},
            "max_tokens": 64000,
            "thinking": {"type": "adaptive", "display": "summarized"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "output_config": {"effort": "high"},
            "diagnostics": {"previous_message_id": f"msg_{turn:024d}"},
            "stream": True,
        }
        return json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode()

    def _answer(self, turn: int) -> tuple[bytes, list[Block]]:
        say = self._text(240)
        content: list[Block] = [
            {"type": "thinking", "thinking": "", "signature": self._hex(300)},
            {"type": "text", "text": say},
            {"type": "tool_use", "id": f"toolu_{self._hex(24)}", "name": "Tool3", "input": {"path": self._text(60)}},
        ]
        events = [{"type": "message_start", "message": {"id": f"msg_{turn:024d}", "usage": {"input_tokens": 4}}}]
        events += [{"type": "content_block_delta", "index": 1, "delta": {"text": word}} for word in say.split()]
        events.append({"type": "message_stop"})
        stream = "".join(f"event: {e['type']}\ndata: {json.dumps(e, separators=(',', ':'))}\n\n" for e in events)
        return stream.encode(), content if turn % 10 < 9 else content[:2]

    def _reply(self, turn: int, content: list[Block]) -> list[Block]:
        if turn % 10 == 9:
            return [self._user()]
        size = int(self.result_size * self.random.random() * 2)
        result = {"tool_use_id": content[-1]["id"], "type": "tool_result", "content": self._text(size)}
        return [result, self._reminder()] if turn % 7 == 0 else [result]

    def _user(self) -> Block:
        return {"type": "text", "text": self._text(150)}

    def _reminder(self) -> Block:
        return {"type": "text", "text": f"<system-reminder>\n{self._text(400)}\n</system-reminder>"}

    def _tool(self, name: str) -> Block:
        schema = {"type": "object", "properties": {"path": {"type": "string", "description": self._text(80)}}}
        return {"name": name, "description": self._text(2_000), "input_schema": schema}

    def _text(self, size: int) -> str:
        words = []
        while size > 0:
            word = self.random.choice(_WORDS) + self.random.choice(["", "", ",", ".", "\n", " é", '"', str(size)])
            size -= len(word) + 1
            words.append(word)
        return " ".join(words)

    def _hex(self, size: int) -> str:
        return f"{self.random.getrandbits(size * 4):0{size}x}"
