"""An API that bills: conversations against the testing package's bill, whose token counts the ledger cannot know."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, field

from claudeproxy.model import Answer, Usage
from claudeproxy.sansio.answer import read_usage
from claudeproxy.testing.bill import PromptBill, PromptCache, prompt_blocks

TAIL = 5  # tokens that this API adds after the last block
MODEL = "claude-opus-4-6"
WORDS = (
    *("the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "while", "Parsers"),
    *("read_file(path)", "and", "count", "42", "Tokens", "of", "JSON"),
)


def text(number: int, length: int = 60) -> str:
    """Different words for each number, the same for the same one."""
    return " ".join(WORDS[(number * 7 + i * (1 + number % 5)) % len(WORDS)] for i in range(length)) + f" {number}"


def tool(name: str, number: int) -> dict[str, object]:
    properties = {"path": {"type": "string", "description": text(number, 5)}, "limit": {"type": "integer"}}
    schema = {"type": "object", "properties": properties}
    return {"name": name, "description": text(number, 80), "input_schema": schema}


def to_body(request: dict[str, object]) -> bytes:
    return json.dumps(request, separators=(",", ":")).encode()


def usage_of(bill: PromptBill, **more: object) -> Usage:
    return read_usage({**bill.usage(), **more})


@dataclass
class Conversation:
    """A client that sends its whole history each turn, breakpoints on the system prompt and on the last block."""

    cache: PromptCache = field(default_factory=lambda: PromptCache(minimum=10))
    model: str = MODEL
    request: dict[str, object] = field(default_factory=dict)
    turn: int = 0

    def __post_init__(self) -> None:
        self.request = {
            "model": self.model,
            "max_tokens": 100,
            "tools": [tool("Read", 1), tool("Grep", 2)],
            "system": [
                {"type": "text", "text": text(3), "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                {"type": "text", "text": text(4, 20)},
            ],
            "messages": [],
        }

    @property
    def messages(self) -> list[dict[str, object]]:
        return self.request["messages"]

    def say(self, *blocks: dict[str, object]) -> bytes:
        """Add a user message; return the body of the next request."""
        self.messages.append({"role": "user", "content": list(blocks) or [{"type": "text", "text": text(self.turn)}]})
        return self.body()

    def body(self) -> bytes:
        """The next request, with its breakpoint where the client puts it: at the last block."""
        sent = deepcopy(self.request)
        sent["messages"][-1]["content"][-1]["cache_control"] = {"type": "ephemeral"}
        return to_body(sent)

    def bill(self, body: bytes) -> PromptBill:
        """What the API charges for the prompt, its tail apart from all blocks."""
        bill = self.cache.bill(self.model, prompt_blocks(json.loads(body)), now=float(self.turn))
        return PromptBill(
            input_tokens=bill.input_tokens + TAIL,
            cache_read=bill.cache_read,
            created_5m=bill.created_5m,
            created_1h=bill.created_1h,
        )

    def answer(self, body: bytes, *content: dict[str, object]) -> tuple[Usage, Answer]:
        """Answer with these blocks (a text by default), and add the answer to the history."""
        self.turn += 1
        blocks = list(content) or [{"type": "text", "text": text(100 + self.turn, 30)}]
        message = {"role": "assistant", "content": blocks}
        output = sum(b.tokens for b in prompt_blocks({"messages": [message]}))
        usage = usage_of(self.bill(body), output_tokens=output)
        self.messages.append(message)
        return usage, Answer(message={"type": "message", **message}, stop_reason="end_turn", usage=usage)


def true_blocks(body: bytes) -> list[int]:
    """What the API counts for each block."""
    return [block.tokens for block in prompt_blocks(json.loads(body))]
