"""What the soak sends and how the API misbehaves: kinds of exchanges, all their bytes known from a number.

Apart from the run (`soak`) and from what is checked afterwards (`soak_check`): a request is made from its number alone,
and so is its answer, so that whoever knows the number knows every byte that was to be seen. Nothing is kept in memory.
"""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from pairs import Prose

POOL = 4 << 20  # bytes of words that bodies are cut from: two cuts at different places share no block
MODEL = "claude-opus-4-8"
BIG = 8 << 20
EVENTS = 60  # of a stream
TARGET = "/v1/messages?beta=true&soak="


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way an exchange can go. `states`: how it may be recorded; `weight`: how often it comes."""

    name: str
    weight: int
    states: tuple[str, ...] = ("complete",)
    answer: str = "json"  # json, stream, big, error, event-error, gzip, early
    upstream: str = ""  # what the upstream does to it: cut, reset, short, garbage, silent
    client: str = ""  # what the client does: esc, reset, half, slow-read, slow-write, chunked
    size: int = 6000


ABORTED, CUT, FAILED = "aborted_by_client", "cut_by_upstream", "upstream_error"
# A client that is slow to leave (a busy machine) finds the whole answer in its socket by then: delivered is complete.
LEFT = (ABORTED, "complete")

KINDS = (
    Kind(name="json", weight=20),
    Kind(name="stream", weight=30, answer="stream"),
    Kind(name="gzip", weight=6, answer="gzip"),
    Kind(name="long context", weight=6, answer="stream", size=120_000),
    Kind(name="chunked upload", weight=4, client="chunked"),
    Kind(name="429, 500, 529", weight=8, answer="error"),
    Kind(name="event: error", weight=4, answer="event-error"),
    Kind(name="Esc in a stream", weight=8, answer="stream", upstream="paced", client="esc", states=LEFT),
    Kind(name="client resets", weight=4, answer="stream", upstream="paced", client="reset", states=LEFT),
    Kind(name="half a request", weight=3, client="half", states=(ABORTED,), size=40_000),
    Kind(name="stream cut", weight=4, answer="stream", upstream="cut", states=(CUT,)),
    Kind(name="stream reset", weight=3, answer="stream", upstream="reset", states=(CUT,)),
    Kind(name="length too short", weight=3, upstream="cut", states=(CUT,)),
    Kind(name="garbage", weight=3, upstream="garbage", states=(FAILED,)),
    Kind(name="no answer", weight=3, upstream="silent", states=(FAILED,)),
    Kind(
        name="early answer", weight=2, answer="early", client="early", states=("complete", ABORTED, CUT), size=400_000
    ),
    Kind(name="slow reader", weight=2, answer="big", client="slow-read", size=2000),
    Kind(name="slow writer", weight=2, client="slow-write", size=40_000),
    Kind(name="big request", weight=1, size=BIG),
    Kind(name="big answer", weight=1, answer="big"),
)
_ORDER = random.Random(7).choices(KINDS, [kind.weight for kind in KINDS], k=1000)


def kind_of(number: int) -> Kind:
    """Return the kind of an exchange."""
    return _ORDER[number % len(_ORDER)]


@lru_cache(1)
def _pool() -> bytes:
    return Prose(11).text(POOL).encode("ascii", "replace").replace(b'"', b"'").replace(b"\\", b"/").replace(b"\n", b" ")


def words(number: int, size: int) -> str:
    """Return text that no other number has: cut from the pool, marked in front."""
    pool = _pool()
    start = int.from_bytes(sha256(b"%d" % number).digest()[:4], "big") % (len(pool) - 1)
    text = (pool[start:] + pool * (size // len(pool) + 1))[:size]
    return f"{number} " + text.decode()


def request_body(number: int) -> bytes:
    """Return the body of a request: one session for ten numbers, every block unlike all others."""
    kind = kind_of(number)
    piece = max(40, kind.size // 5)
    messages = [
        {"role": role, "content": [{"type": "text", "text": words(number * 8 + place, piece)}]}
        for place, role in enumerate(("user", "assistant", "user", "assistant", "user"))
    ]
    user = json.dumps({"session_id": f"00000000-0000-4000-8000-{number // 10:012d}"})
    body = {"model": MODEL, "max_tokens": 100, "stream": kind.answer in {"stream", "event-error"}, "messages": messages}
    return json.dumps({**body, "metadata": {"user_id": user}}).encode()


def answer_body(number: int) -> bytes:
    """Return the body of the whole answer, before the upstream's fault; content coding included."""
    kind = kind_of(number)
    usage = {"input_tokens": kind.size // 4, "output_tokens": 60}
    if kind.answer in {"stream", "event-error"}:
        return b"".join(_events(number, usage, broken=kind.answer == "event-error"))
    if kind.answer == "error":
        error = {"type": "overloaded_error", "message": f"Overloaded {number}"}
        return json.dumps({"type": "error", "error": error}).encode()
    size = {"big": BIG if not kind.client else BIG // 16}.get(kind.answer, 400)
    message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": MODEL, "usage": usage}
    content = [{"type": "text", "text": words(number * 8 + 7, size)}]
    whole = json.dumps({**message, "content": content, "stop_reason": "end_turn"}).encode()
    return gzip.compress(whole, 1, mtime=0) if kind.answer == "gzip" else whole


def _events(number: int, usage: dict[str, int], *, broken: bool) -> list[bytes]:
    message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": MODEL, "content": []}
    block = {"type": "text", "text": ""}
    text = words(number * 8 + 7, EVENTS * 20)
    sent: list[dict[str, object]] = [
        {"type": "message_start", "message": {**message, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": block},
    ]
    for at in range(0, EVENTS * 20, 20):
        delta = {"type": "text_delta", "text": text[at : at + 20]}
        sent.append({"type": "content_block_delta", "index": 0, "delta": delta})
    if broken:
        sent = [*sent[:20], {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}]
    else:
        sent += [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 60}},
            {"type": "message_stop"},
        ]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in sent]


def status_of(number: int) -> int:
    """Return the status of the answer."""
    kind = kind_of(number)
    if kind.answer == "early":
        return 413
    return (429, 500, 529)[number % 3] if kind.answer == "error" else 200
