"""The client's half of `conversation`: tells exchanges to a tap as the relay does, bytes as they pass.

Apart from what is measured. Answers are streamed, with the bill of a simulated prompt cache, a minute after the other.
"""

from __future__ import annotations

import hashlib
import json
from itertools import count
from typing import TYPE_CHECKING

from claudeproxy.capture.journal_writer import JournalWriter
from claudeproxy.capture.policy import BodyPolicy
from claudeproxy.capture.redact import KeyHasher
from claudeproxy.capture.tap import JournalTap
from claudeproxy.model import EntryMode, ExchangeEnd, ExchangeStart, ResponseStart, State
from claudeproxy.sansio.messages import exact_block, layout
from claudeproxy.testing import PromptCache, prompt_blocks
from claudeproxy.testing.events import compose, stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from claudeproxy.testing import Turn

MINUTE = 60_000_000_000  # ns
START = 1_790_000_000_000_000_000  # ns since the epoch
URL = "https://api.anthropic.com/v1/messages?beta=true"
CHUNK = 65_536


class Client:
    """Tells exchanges to a tap as the relay does. `seen` are the hashes of all blocks that were sent."""

    def __init__(self, journal: Path) -> None:
        writer = JournalWriter(journal)
        self.tap = JournalTap(writer, policy=BodyPolicy(), key_hash=KeyHasher(b"0" * 32))
        self._cache, self._ids, self._minutes = PromptCache(), (f"toolu_{n:024}" for n in count()), 0
        self._seen: set[bytes] = set()

    def answer(self, turn: Turn) -> list[bytes]:
        """Events of the answer, with the bill that the API would send."""
        request = json.loads(turn.body)
        bill = self._cache.bill(request["model"], prompt_blocks(request), now=60.0 * self._minutes)
        name = f"msg_{self._minutes:024}"
        message = compose(turn.reply, bill, model=request["model"], message_id=name, tool_ids=self._ids)
        return stream(message, piece=turn.reply.piece)

    def new(self, body: bytes) -> int:
        """Bytes of the blocks that no request before had."""
        total = 0
        for block in layout(body).blocks:
            data = exact_block(body, block)
            if (name := hashlib.sha256(data).digest()) not in self._seen:
                self._seen.add(name)
                total += len(data)
        return total

    def send(self, turn: Turn, events: Sequence[bytes]) -> Iterator[None]:
        """Two steps: the request is there; the answer has ended."""
        self._minutes += 1
        at = self._minutes * MINUTE
        head = ((b"Host", b"api.anthropic.com"), (b"X-Api-Key", b"sk-ant-api03-dummy"))
        exchange = self.tap.exchange(
            ExchangeStart(
                correlation_id=f"{self._minutes:032x}", entry_mode=EntryMode.CONNECT, method="POST", url=URL,
                upstream_url=URL, http_version="1.1", headers=(*head, *turn.headers), body_length=len(turn.body),
                request_initiated=START + at, monotonic=at,
            )
        )  # fmt: skip
        for place in range(0, len(turn.body), CHUNK):
            exchange.request_body(turn.body[place : place + CHUNK])
        yield
        fields = ((b"Content-Type", b"text/event-stream; charset=utf-8"), (b"request-id", b"req_%024d" % self._minutes))
        exchange.response_start(
            ResponseStart(
                status_code=200, reason="OK", http_version="1.1", headers=fields, origin="upstream",
                monotonic=at + 2_000_000_000,
            )
        )  # fmt: skip
        for event in events:
            exchange.response_body(event)
        exchange.end(
            ExchangeEnd(
                state=State.COMPLETE, error=None, error_kind=None, proxy_received=at + 2_000_000,
                forwarded=at + 3_000_000, response_received=at + 2_000_000_000, delivered=at + 20_000_000_000,
                request_head_us=100, request_body_us=100, response_head_us=100, connect_us=0,
                monotonic=at + 20_000_000_000,
            )
        )  # fmt: skip
        yield
