"""Bodies of requests of some size, with a place near their end that makes each unlike all others.

A turn of a conversation as it is, from 65 KB to 1.2 MB; below that a system prompt and a word of the user; above it
the same conversation with images of 1 MB (base64) in its first message, for text of that size no model would read.
"""

from __future__ import annotations

import base64
import json
import random
from typing import TYPE_CHECKING

from claudeproxy.testing import long_conversation
from claudeproxy.testing.prose import Prose

if TYPE_CHECKING:
    from claudeproxy.model import RawHeaders
    from claudeproxy.testing import Turn

MARK_BYTES = 20
LEAST, MOST = 65_000, 1_200_000  # bytes of the conversation's turns
IMAGE_BYTES = 1_000_000
FRAME_BYTES = 304  # of a small body without its system prompt


def template(size: int) -> tuple[RawHeaders, bytes, bytes]:
    """Headers of a request, and its body before and after the `MARK_BYTES` that are to be filled with digits."""
    turn = _turn(min(max(size, LEAST), MOST))
    if size < LEAST:
        body, words = _small(turn, size)
    else:
        body = turn.body if size <= MOST else _with_images(turn, size)
        words = _result(turn) or ""
    end = json.dumps(words, ensure_ascii=False).encode()[: -1 - MARK_BYTES]
    place = body.rindex(end) + len(end)
    return turn.headers, body[:place], body[place + MARK_BYTES :]


def _turn(size: int) -> Turn:
    return next(turn for turn in long_conversation() if len(turn.body) >= size and not turn.agent and _result(turn))


def _result(turn: Turn) -> str | None:
    """The tool's result that a turn ends with; None when it ends with something else."""
    content = json.loads(turn.body)["messages"][-1]["content"]
    last = content[-1] if isinstance(content, list) else {}
    return last["content"] if last.get("type") == "tool_result" else None


def _small(turn: Turn, size: int) -> tuple[bytes, str]:
    prose = Prose(1)
    words = prose.paragraph(120) + "." * MARK_BYTES
    system = [{"type": "text", "text": prose.paragraph(max(1, size - FRAME_BYTES))}]
    messages = [{"role": "user", "content": [{"type": "text", "text": words}]}]
    model = json.loads(turn.body)["model"]
    return _dumped({"model": model, "system": system, "messages": messages, "max_tokens": 64000, "stream": True}), words


def _with_images(turn: Turn, size: int) -> bytes:
    request = json.loads(turn.body)
    chance, missing, images = random.Random(0), size - len(turn.body), []
    while missing > 0:
        data = base64.b64encode(chance.randbytes(min(missing, IMAGE_BYTES) * 3 // 4)).decode()
        source = {"type": "base64", "media_type": "image/png", "data": data}
        images.append({"type": "image", "source": source})
        missing -= IMAGE_BYTES
    request["messages"][0]["content"][:0] = images
    return _dumped(request)


def _dumped(request: dict[str, object]) -> bytes:
    return json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode()
