"""Synthetic captures that share history as real ones do: conversations whose every request sends all that came before.

Apart from `queries.py`, which measures, because a database of a hundred thousand pairs takes a while to make and is
worth keeping (`--keep`). Bodies grow to some 200 KB: the conversation begins with a large system prompt and tools, as
clients send them, and ends after `TURNS` turns; `SMALL` ones weigh 2 KB and end after a few. Sources are laid over the
blocks by rank, not by the real rules, and tokens are a quarter of the bytes, not what a ledger learned: what is
measured is the store, which keeps accounts and attributions of the real shape, and both have benchmarks of their own.
"""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.accounting.bookkeeper import PROVIDER
from claudeproxy.accounting.prices import PriceBook
from claudeproxy.accounting.receipts import receipt
from claudeproxy.model import (
    Account,
    Accuracy,
    Answer,
    BlockAttribution,
    BodyKept,
    EntryMode,
    Identity,
    Instants,
    LedgerChange,
    RecordedBody,
    RecordedExchange,
    RecordedResponse,
    RequestAttribution,
    Segment,
    Source,
    SourceType,
    State,
    Usage,
)
from claudeproxy.sansio.messages import layout
from claudeproxy.store.values import RequestFilters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claudeproxy.store.storage import CaptureStorage

TURNS = 40  # requests in a conversation
BATCH = 40  # captures in a transaction: whole conversations
DAYS = 30  # that the captures are spread over
DAY = 86_400_000_000_000  # ns
START = 1_790_000_000_000_000_000  # ns since the epoch
MODEL = "claude-opus-4-8"
BEFORE, AFTER = 12, 3  # tokens that the API adds to a prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How large a conversation is: its turns, and characters of each part."""

    turns: int = TURNS
    system: int = 30_000
    tools: int = 30
    tool: int = 3_000
    said: int = 300  # by the user at first, and in each answer
    result: int = 2_200


REAL = Shape()
SMALL = Shape(turns=4, system=750, tools=0, said=100, result=100)  # bodies of 2 KB in the mean

_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "ar", "en", "is", "ol", "um")]
_SERVERS = [Source(type=SourceType.MCP_SERVER, name=f"server{n}") for n in range(8)]
_SOURCES = [
    Source(type=SourceType.USER),
    Source(type=SourceType.ASSISTANT, name="text"),
    Source(type=SourceType.FRAMEWORK, name="system prompt"),
    Source(type=SourceType.MEMORY, name="CLAUDE.md"),
    Source(type=SourceType.SKILL, name="vectorize"),
    *(Source(type=SourceType.TOOL, name=name) for name in ("Bash", "Read", "Edit", "Grep")),
    *_SERVERS,
]


class Prose:
    """Words with the frequencies of language: few are common, most are rare."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        shared = random.Random(0)
        self._words = ["".join(shared.choices(_SYLLABLES, k=shared.randint(1, 4))) for _ in range(20_000)]
        self._weights = [1 / rank for rank in range(1, len(self._words) + 1)]
        self._sums = [0.0]
        for weight in self._weights:
            self._sums.append(self._sums[-1] + weight)

    def text(self, size: int) -> str:
        """Some `size` characters."""
        return " ".join(self._random.choices(self._words, cum_weights=self._sums[1:], k=max(1, size // 6)))


def conversation(
    number: int, prose: Prose, opening: dict[str, object], shape: Shape = REAL
) -> Iterator[tuple[bytes, str]]:
    """Yield body and answer of each turn."""
    messages: list[dict[str, object]] = [{"role": "user", "content": [_text(f"task{number} {prose.text(shape.said)}")]}]
    for turn in range(shape.turns):
        body = {"model": MODEL, **opening, "messages": messages, "max_tokens": 64000, "stream": True}
        said = f"answer{number}x{turn} {prose.text(shape.said)}"
        yield json.dumps(body, separators=(",", ":")).encode(), said
        call = {
            "type": "tool_use",
            "id": f"toolu_{number}_{turn}",
            "name": "Bash",
            "input": {"command": prose.text(60)},
        }
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": prose.text(shape.result)}
        messages += [{"role": "assistant", "content": [_text(said), call]}, {"role": "user", "content": [result]}]


def fill(storage: CaptureStorage, pairs: int, shape: Shape = REAL) -> None:
    """Record, explain and index exchanges in order of time, until there are `pairs` of them.

    What an interrupted filling left goes on with the next conversation.
    """
    prose = Prose(1)
    tools = [
        {
            "name": f"mcp__server{n % 8}__tool{n}",
            "description": prose.text(shape.tool),
            "input_schema": {"type": "object"},
        }
        for n in range(shape.tools)
    ]
    opening: dict[str, object] = {"tools": tools, "system": [_text(prose.text(shape.system))]}
    if there := storage.query_requests(RequestFilters(limit=1)).total:
        prose = Prose(1 + there)
    prices = PriceBook()
    for batch in range(-(-there // BATCH) * BATCH, pairs, BATCH):
        with storage.joined():
            for first in range(batch, batch + BATCH, shape.turns):
                session = first // shape.turns
                turns = conversation(session, prose, opening, shape)
                _record(storage, enumerate(turns, start=first), session, pairs, prices)


def _record(
    storage: CaptureStorage,
    turns: Iterator[tuple[int, tuple[bytes, str]]],
    session: int,
    pairs: int,
    prices: PriceBook,
) -> None:
    """Record one conversation: the number of each request, which ends at `pairs`, with its body and answer."""
    blocks: list[BlockAttribution] = []
    for number, (body, said) in turns:
        if number >= pairs:
            return
        known = len(blocks)
        result = explained(body, session, blocks)
        sizes = [len(one.text) // 4 for one in result.segments()]
        exchange = _exchange(number, pairs, body, said, _usage(sizes, known, said))
        (request_id,) = storage.record([exchange], {})
        account = _account(exchange, sizes, known, prices)
        storage.save_attribution(request_id, result, sizes, rules_version="benchmark", account=account)
        storage.index_texts(request_id, {"content": [_text(said)]})


def _usage(sizes: list[int], known: int, said: str) -> Usage:
    """The bill: what came before is read from the cache, what this turn brought is written to it."""
    created = sum(sizes[known:])
    return Usage(
        input_tokens=AFTER, cache_read_input_tokens=BEFORE + sum(sizes[:known]), cache_creation_input_tokens=created,
        cache_creation_5m=created, cache_creation_1h=0, output_tokens=len(said) // 4,
    )  # fmt: skip


def _account(exchange: RecordedExchange, sizes: list[int], known: int, prices: PriceBook) -> Account:
    """As a ledger settles it: this turn's blocks share what is new on the bill, those before were told by theirs."""
    assert exchange.response is not None
    answer, began = exchange.response.answer, exchange.instants.request_initiated
    bill = prices.price(answer.usage, MODEL, at=began, provider=PROVIDER)
    return Account(
        provider=PROVIDER, model=MODEL, total=BEFORE + sum(sizes) + AFTER, before=BEFORE, unseen=0, blocks=sizes,
        after=AFTER, accuracy=[Accuracy.EXACT] * known + [Accuracy.SHARED] * (len(sizes) - known), counted=True,
        error=0.0, bill=receipt(bill, answer, MODEL, len), note=None, change=LedgerChange(state="{}", page=b""),
    )  # fmt: skip


def explained(body: bytes, session: int, blocks: list[BlockAttribution]) -> RequestAttribution:
    """Give each block to one source, always the same for the same block; `blocks` are those of the turn before."""
    for rank, block in enumerate(layout(body).blocks[len(blocks) :], start=len(blocks)):
        text = body[block.start : block.end].decode()
        segment = Segment(
            source=_SOURCES[(rank * 7) % len(_SOURCES)], kind="text", path="", start=None, end=None,
            byte_start=0, byte_end=block.end - block.start, rule="benchmark", text=text,
        )  # fmt: skip
        blocks.append(
            BlockAttribution(
                json_path=block.json_path, message_index=block.message_index, role=block.role, segments=[segment]
            )
        )
    identity = Identity(
        session_id=f"session-{session}", request_class="main", client="claude-cli", client_version="2.1.330",
        model=MODEL, project=f"/home/ann/project{session % 5}",
    )  # fmt: skip
    return RequestAttribution(blocks=list(blocks), overhead=[], identity=identity)


def _exchange(number: int, pairs: int, body: bytes, said: str, usage: Usage | None = None) -> RecordedExchange:
    begin = START + number * DAYS * DAY // pairs
    message: dict[str, object] = {"id": f"msg_{number}", "type": "message", "content": [_text(said)]}
    url = "https://api.anthropic.com/v1/messages?beta=true"
    return RecordedExchange(
        correlation_id=str(uuid.UUID(bytes=hashlib.sha256(b"%d" % number).digest()[:16], version=4)),
        owner="relay", state=State.COMPLETE, entry_mode=EntryMode.CONNECT, method="POST", url=url, upstream_url=url,
        http_version="1.1",
        headers=((b"host", b"api.anthropic.com"), (b"user-agent", b"claude-cli/2.1.330"), (b"x-id", b"%d" % number)),
        api_key_hash="00ff",
        instants=Instants(
            request_initiated=begin, proxy_received=begin + 10**6, forwarded=begin + 2 * 10**6,
            response_received=begin + 10**9, delivered=begin + 5 * 10**9,
        ),
        request_body=_body(body),
        response=RecordedResponse(
            status_code=200, reason="OK", http_version="1.1", headers=((b"content-type", b"application/json"),),
            trailers=(), origin="upstream", body=_body(json.dumps(message).encode()),
            answer=Answer(
                message=message, message_id=f"msg_{number}", model=MODEL, stop_reason="end_turn",
                usage=usage or Usage(),
            ),
        ),
        request_head_us=200, request_body_us=100, response_head_us=250, connect_us=7,
    )  # fmt: skip


def _body(data: bytes) -> RecordedBody:
    return RecordedBody(kept=BodyKept.WHOLE, data=data, length=len(data), sha256=hashlib.sha256(data).digest())


def _text(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}
