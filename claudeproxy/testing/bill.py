"""The mock's bill: a simple, stable token count and a simulated prompt cache.

Apart from the server so that tests and benchmarks can compute by themselves what a request must cost. The counts are
not Claude's and do not try to be: a block is one token per four bytes of its canonical JSON, rounded up. What is true
to the API is the structure (design: prompt caching documentation of Anthropic):

- a prefix is cached in the order tools, system, messages, and ends at a block that carries `cache_control`;
- each breakpoint finds an entry at most 20 blocks back; a read renews the entry; entries live 5 minutes or 1 hour;
- `input_tokens` is the tail after the last breakpoint, and the three parts add up to the prompt.

The client's billing header block changes with every request and is neither counted nor part of a prefix. A tool with
`defer_loading` counts where a `tool_reference` names it, not among the tools.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LOOKBACK = 20  # blocks before a breakpoint that are tried (prompt caching documentation)
LIFETIME = {"5m": 300.0, "1h": 3600.0}  # seconds
MINIMUM = 1024  # tokens: the usual smallest prefix that is cached; the API's differs by model (512 to 4096)
_BILLING_HEADER = "x-anthropic-billing-header:"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptBlock:
    """One block in prompt order. `ttl` is that of its breakpoint, None where there is none."""

    canonical: bytes
    tokens: int
    ttl: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptBill:
    """The input side of `usage`, in tokens."""

    input_tokens: int
    cache_read: int = 0
    created_5m: int = 0
    created_1h: int = 0

    @property
    def total(self) -> int:
        """The whole prompt."""
        return self.input_tokens + self.cache_read + self.created_5m + self.created_1h

    def usage(self) -> dict[str, object]:
        """As the API writes it."""
        return {
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": self.created_5m + self.created_1h,
            "cache_read_input_tokens": self.cache_read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.created_5m,
                "ephemeral_1h_input_tokens": self.created_1h,
            },
        }


def count_tokens(text: str) -> int:
    """Tokens of a piece of text: UTF-8 bytes divided by four, rounded up."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // 4)


def prompt_blocks(request: Mapping[str, object]) -> list[PromptBlock]:
    """Cut a Messages API request into its blocks, in prompt order; unknown shapes are left out."""
    tools = [tool for tool in _items(request.get("tools")) if isinstance(tool, dict)]
    deferred = {str(tool.get("name")): tool for tool in tools if tool.get("defer_loading")}
    blocks = [_block("tools", tool) for tool in tools if not tool.get("defer_loading")]
    blocks += [_block("system", block) for block in _content(request.get("system")) if not _is_billing_header(block)]
    for message in _items(request.get("messages")):
        if not isinstance(message, dict):
            continue
        for index, block in enumerate(_content(message.get("content"))):
            place = f"{message.get('role')}{'' if index else '+'}"  # "+": a message starts here
            blocks.append(_block(place, block, *_loaded(block, deferred)))
    if request.get("cache_control") and blocks:  # automatic caching: the last block is the breakpoint
        last = blocks[-1]
        blocks[-1] = PromptBlock(canonical=last.canonical, tokens=last.tokens, ttl=_ttl(request))
    return blocks


class PromptCache:
    """Remembers prefixes per model, as the API does per organisation. `minimum` is in tokens."""

    def __init__(self, *, minimum: int = MINIMUM) -> None:
        self._minimum = minimum
        self._entries: dict[bytes, tuple[str, float]] = {}  # prefix hash -> (ttl, when it expires)

    def bill(self, model: str, blocks: Sequence[PromptBlock], *, now: float) -> PromptBill:
        """Charge for a prompt, and remember what its breakpoints say. `now` is in seconds of any clock."""
        ends, hashes = _prefixes(model, blocks)
        marks = [(i, b.ttl) for i, b in enumerate(blocks) if b.ttl is not None and ends[i] >= self._minimum]
        hit = self._longest_hit(marks, hashes, now)
        read = ends[hit] if hit >= 0 else 0
        ends_1h = max((ends[i] for i, ttl in marks if ttl == "1h"), default=0)
        ends_any = max((ends[i] for i, _ in marks), default=0)
        for i, ttl in marks:
            self._entries[hashes[i]] = (ttl, now + LIFETIME[ttl])
        if hit >= 0:
            ttl = self._entries[hashes[hit]][0]
            self._entries[hashes[hit]] = (ttl, now + LIFETIME[ttl])
        created_1h = max(0, ends_1h - read)
        created_5m = max(0, ends_any - read - created_1h)
        total = ends[-1] if ends else 0
        return PromptBill(
            input_tokens=total - read - created_1h - created_5m,
            cache_read=read,
            created_5m=created_5m,
            created_1h=created_1h,
        )

    def _longest_hit(self, marks: Sequence[tuple[int, str]], hashes: Sequence[bytes], now: float) -> int:
        """Return the index of the last block of the longest remembered prefix, or -1."""
        for mark, _ in reversed(marks):
            for index in range(mark, max(-1, mark - LOOKBACK), -1):
                entry = self._entries.get(hashes[index])
                if entry is not None and entry[1] > now:
                    return index
        return -1


def _prefixes(model: str, blocks: Sequence[PromptBlock]) -> tuple[list[int], list[bytes]]:
    """Tokens and chained hash up to and including each block."""
    ends: list[int] = []
    hashes: list[bytes] = []
    total, chain = 0, hashlib.blake2b(model.encode(), digest_size=32).digest()
    for block in blocks:
        total += block.tokens
        chain = hashlib.blake2b(block.canonical, key=chain, digest_size=32).digest()
        ends.append(total)
        hashes.append(chain)
    return ends, hashes


def _block(place: str, block: Mapping[str, object], *loaded: Mapping[str, object]) -> PromptBlock:
    bare = {key: value for key, value in block.items() if key != "cache_control"}
    parts = [json.dumps(part, separators=(",", ":")) for part in (bare, *loaded)]
    canonical = "\n".join((place, *parts)).encode()
    return PromptBlock(canonical=canonical, tokens=sum(map(count_tokens, parts)), ttl=_ttl(block))


def _ttl(block: Mapping[str, object]) -> str | None:
    control = block.get("cache_control")
    if not isinstance(control, dict):
        return None
    return "1h" if control.get("ttl") == "1h" else "5m"


def _loaded(
    block: Mapping[str, object], deferred: Mapping[str, Mapping[str, object]]
) -> Iterator[Mapping[str, object]]:
    """Find the deferred tools that a tool result brings in by `tool_reference`."""
    for item in _items(block.get("content")):
        if isinstance(item, dict) and item.get("type") == "tool_reference":
            tool = deferred.get(str(item.get("tool_name")))
            if tool is not None:
                yield tool


def _is_billing_header(block: Mapping[str, object]) -> bool:
    return str(block.get("text", "")).startswith(_BILLING_HEADER)


def _content(value: object) -> list[dict[str, object]]:
    """Content in its one canonical form: a list of blocks. A string is one text block."""
    if isinstance(value, str):
        return [{"type": "text", "text": value}]
    return [item for item in _items(value) if isinstance(item, dict)]


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []
