"""What the memory benchmark sends: turns of many conversations, no two alike, and an upstream that bills them.

Apart from `memory.py`, which looks at processes. Sizes are as real ones: most conversations are short, some grow to
200 KB, an agent's begin with a small prompt. Bodies are put together from pieces that were written once, so that the
client weighs little.
"""

from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING

import trio
from pairs import Prose

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 200_000  # bytes of a body, then the conversation ends
MODELS = ("claude-opus-4-8", "claude-opus-4-8", "claude-sonnet-5", "claude-haiku-4-5")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_SESSION = "00000000-0000-4000-8000-{:012d}"


class Words:
    """Text that nobody sent before, for little: cut from a pool, with a number in front."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._pool = Prose(seed).text(4 << 20)
        self._number = seed << 32

    def text(self, size: int) -> str:
        """Some `size` characters."""
        start = self.random.randrange(len(self._pool) - size)
        self._number += 1
        return f"{self._number:x} {self._pool[start : start + size]}"


def conversation(number: int, words: Words) -> Iterator[bytes]:
    """Yield the body of each turn: opening, prompt, then answers and results of tools."""
    chance = words.random
    model, opening = chance.choice(MODELS), chance.choice((500, 4_000, 30_000, 80_000))
    user = json.dumps({"session_id": _SESSION.format(number)})
    head = {
        "model": model,
        "max_tokens": 32_000,
        "metadata": {"user_id": user},
        "system": [_text(words.text(opening // 3))],
        "tools": [_tool(place, words.text(400)) for place in range(opening // 600)],
    }
    before = json.dumps(head)[:-1] + ', "messages": ['
    messages = [json.dumps({"role": "user", "content": [_text(words.text(300))]})]
    for turn in range(min(300, int(chance.expovariate(1 / 25)) + 1)):
        body = f"{before}{', '.join(messages)}]}}".encode()
        yield body
        if len(body) > LARGEST:
            return
        call = {"type": "tool_use", "id": f"toolu_{number}_{turn}", "name": "Tool1", "input": {"path": words.text(40)}}
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": words.text(chance.randrange(100, 5_000))}
        messages.append(json.dumps({"role": "assistant", "content": [_text(words.text(120)), call]}))
        messages.append(json.dumps({"role": "user", "content": [result]}))


def request(body: bytes, host: str) -> bytes:
    """Return a request with this body."""
    head = f"POST /v1/messages?beta=true HTTP/1.1\r\nHost: {host}\r\nuser-agent: claude-cli/2.1.330 (external, cli)\r\n"
    head += f"content-type: application/json\r\nx-api-key: sk-ant-api03-dummy\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def upstream(stream: trio.SocketStream) -> None:
    """Answer requests of one connection: a short message whose bill is a token for four bytes, most of them cached."""
    number = 0
    try:
        while (body := await read(stream)) is not None:
            number += 1
            tokens = len(body) // 4
            usage = {"input_tokens": 5, "cache_read_input_tokens": tokens - 300, "cache_creation_input_tokens": 300}
            message = {
                "id": f"msg_{id(stream):x}_{number}", "type": "message", "role": "assistant", "model": _model(body),
                "content": [_text(f"Answer {number} to {tokens} tokens.")], "stop_reason": "end_turn",
                "usage": {**usage, "output_tokens": 12},
            }  # fmt: skip
            answer = json.dumps(message).encode()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
            await stream.send_all(head + answer)
    except trio.BrokenResourceError:
        pass


async def read(stream: trio.abc.ReceiveStream) -> bytes | None:
    """Read a message with a length; its body, None where the connection ends instead."""
    data = bytearray()
    while (end := data.find(b"\r\n\r\n")) < 0:
        if not (more := await stream.receive_some(65536)):
            return None
        data += more
    found = _LENGTH.search(data, 0, end + 2)
    length = int(found[1]) if found else 0
    while len(data) < end + 4 + length:
        if not (more := await stream.receive_some(65536)):
            return None
        data += more
    return bytes(data[end + 4 :])


def _model(body: bytes) -> str:
    return json.loads(body[body.index(b'"model": ') + 9 : body.index(b",")])  # type: ignore[no-any-return]


def _text(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


def _tool(place: int, description: str) -> dict[str, object]:
    return {"name": f"Tool{place}", "description": description, "input_schema": {"type": "object"}}
