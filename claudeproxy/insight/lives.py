"""Lives of blocks through the requests of a session, one request after the other.

Apart from `carrying`, which reads and adds up, because this is the part that runs over every block of every request:
a block that lies in one price class costs one look-up and one count, and its division among sources is multiplied at
the end. Pure arithmetic over what was read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, TypeAlias

from claudeproxy.insight.carrying_values import Gone, Life
from claudeproxy.model import SourceType
from claudeproxy.store.numbers import CLASSES, decode_corrections

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from claudeproxy.model import Source
    from claudeproxy.store.numbers import Priced
    from claudeproxy.store.paths import Paths

READ, UNCACHED = CLASSES.index("read"), CLASSES.index("uncached")

Thread: TypeAlias = "Hashable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledgered:
    """A billed request: whose conversation it belongs to, where its path ends, what its prompt cost."""

    id: str
    at: int
    agent_id: str | None
    thread: Thread
    compaction: bool
    last: int | None
    ledger: int
    clock: int
    corrections: bytes | None
    priced: Priced


@dataclass(slots=True)
class _Part:
    """Tokens and cost of one source in one block."""

    tokens: int = 0
    cost: int = 0
    known: bool = True

    def add(self, tokens: int, cost: int | None, times: int = 1) -> None:
        self.tokens += tokens * times
        if cost is None:
            self.known = False
        else:
            self.cost += cost * times


@dataclass(slots=True)
class _Item:
    """A block, wherever it stands: when it was sent, in which classes, for how much."""

    first: int
    last: int
    kinds: Mapping[int, tuple[str, bytes]]  # of each source's largest piece: kind, hash of its text
    mask: int  # its sources, a bit for each
    now: Sequence[tuple[int, int]] = ()  # sources and tokens of its pieces when it was last sent
    requests: int = 0
    reads: int = 0
    writes: int = 0
    rewrites: int = 0
    uncached: int = 0
    cached: bool = False
    fetched: dict[int, _Part] = field(default_factory=dict)
    carried: dict[int, _Part] = field(default_factory=dict)  # what lay across two classes
    whole: Counter[tuple[int, int, int | None]] = field(default_factory=Counter)  # the rest: explanation, tokens, unit

    def sent(self, index: int, kind: int) -> bool:
        """Count one request that sends it, mostly in one class; tell whether an earlier one did."""
        again = self.requests > 0
        if again:
            if kind == READ:
                self.reads += 1
            elif kind == UNCACHED:
                self.uncached += 1
            else:
                self.writes += 1
                self.rewrites += self.cached
        self.cached = self.cached or kind != UNCACHED
        self.requests += 1
        self.last = index
        return again


class Lives:
    """Takes the requests of a session in order of time; `finished` gives the lives."""

    def __init__(self, paths: Paths, sources: Mapping[int, Source]) -> None:
        self._paths = paths
        self._sources = sources
        self._keys = paths.identities()
        self._items: dict[Thread, dict[Hashable, _Item]] = defaultdict(dict)
        self._requests: list[Ledgered] = []
        self._divided: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._bits: dict[int, int] = {}
        self._turns: Counter[int] = Counter()  # masks of what each request carried

    def add(self, given: Ledgered, loose: Sequence[sqlite3.Row]) -> None:
        """Take the next request. `loose` are the pieces that belong to no block, in order of their ordinals."""
        index = len(self._requests)
        self._requests.append(given)
        items, position = self._items[given.thread], _Position(given.priced)
        corrections = decode_corrections(given.corrections)
        carried = 0
        for row in loose:
            if row["ordinal"] < 0:
                carried |= self._loose(items, index, row, position)
        ends, units = position.ends, given.priced.units
        packed, keys, explanations = self._paths.packed, self._keys, self._paths.explanations
        for place, node in enumerate(self._paths.to(given.last)):
            number = corrections.get(place)
            tokens = (packed(node, given.ledger, given.clock) if number is None else number) >> 2
            key = keys.get(node)
            if not tokens or key is None:
                continue
            explanation = explanations[node]
            assert explanation is not None  # it has a key
            if (item := items.get(key)) is None:
                item = items[key] = self._begun(index, explanation)
            kind = position.kind()
            if position.at + tokens > ends[kind]:
                carried |= self._split(item, index, self._parts(explanation, tokens), position)
                continue
            position.at += tokens
            item.now = self._parts(explanation, tokens)
            if item.sent(index, kind):
                carried |= item.mask
                item.whole[explanation, tokens, units[kind]] += 1
            else:
                for source, part in item.now:
                    item.fetched.setdefault(source, _Part()).add(part, _cost(part, units[kind]))
        for row in loose:
            if row["ordinal"] >= 0:
                carried |= self._loose(items, index, row, position)
        self._turns[carried] += 1

    def turns(self, source: Source) -> int:
        """Return how many requests carried anything of a source along."""
        mask = sum(1 << bit for number, bit in self._bits.items() if self._sources[number] == source)
        return sum(count for carried, count in self._turns.items() if carried & mask)

    def finished(self) -> list[Life]:
        """Return the lives, in no order."""
        threads: dict[Thread, list[int]] = defaultdict(list)
        for index, request in enumerate(self._requests):
            threads[request.thread].append(index)
        return [life for thread, items in self._items.items() for life in self._told(items, threads[thread])]

    # --- one request ----------------------------------------------------------------------------------------

    def _begun(self, index: int, explanation: int) -> _Item:
        pieces = sorted(self._paths.pieces[explanation], key=lambda piece: piece.size)  # the largest of each counts
        kinds = {piece.source: (piece.kind, piece.text) for piece in pieces}
        return _Item(index, index, kinds, self._mask(kinds))

    def _mask(self, sources: Iterable[int]) -> int:
        return sum(1 << self._bits.setdefault(source, len(self._bits)) for source in sources)

    def _parts(self, explanation: int, tokens: int) -> Sequence[tuple[int, int]]:
        """Return source and tokens of each piece of a block."""
        key = (explanation, tokens)
        if (known := self._divided.get(key)) is None:
            sources = (piece.source for piece in self._paths.pieces[explanation])
            known = self._divided[key] = list(zip(sources, self._paths.divided(explanation, tokens), strict=True))
        return known

    def _loose(self, items: dict[Hashable, _Item], index: int, row: sqlite3.Row, position: _Position) -> int:
        """Lay a piece of no block: known by its source, kind and place."""
        source = row["source"]
        key = (source, row["kind"], row["json_path"], row["nth"])
        if (item := items.get(key)) is None:
            kinds = {source: (row["kind"], b"")}
            item = items[key] = _Item(index, index, kinds, self._mask(kinds))
        return self._split(item, index, [(source, row["tokens"])], position)

    def _split(self, item: _Item, index: int, parts: Sequence[tuple[int, int]], position: _Position) -> int:
        """Lay what lies in several classes piece by piece; return which sources an earlier request had sent."""
        kind, costs = position.lay([part for _, part in parts])
        item.now = parts
        again = item.sent(index, kind)
        totals = item.carried if again else item.fetched
        for (source, part), cost in zip(parts, costs, strict=True):
            totals.setdefault(source, _Part()).add(part, cost)
        return item.mask if again else 0

    # --- the end --------------------------------------------------------------------------------------------

    def _told(self, items: Mapping[Hashable, _Item], indexes: Sequence[int]) -> Iterator[Life]:
        following = dict(pairwise(indexes))
        summed_up = {
            item.first
            for item in items.values()
            if any(self._sources[source].type is SourceType.COMPACTION for source in item.kinds)
        }
        for item in items.values():
            for (explanation, tokens, unit), times in item.whole.items():
                for source, part in self._parts(explanation, tokens):
                    item.carried.setdefault(source, _Part()).add(part, _cost(part, unit), times)
            gone = None
            if (after := following.get(item.last)) is not None:
                compacted = after in summed_up or self._requests[item.last].compaction
                gone = Gone.COMPACTION if compacted else Gone.DROPPED
            for source in dict.fromkeys((*item.fetched, *item.carried)):
                yield self._life(item, source, gone)

    def _life(self, item: _Item, source: int, gone: Gone | None) -> Life:
        first, last = self._requests[item.first], self._requests[item.last]
        fetched, carried = item.fetched.get(source, _Part()), item.carried.get(source, _Part())
        kind, text = item.kinds.get(source, ("", b""))
        return Life(
            agent_id=first.agent_id,
            source=self._sources[source],
            kind=kind,
            text_hash=text.hex(),
            tokens=sum(part for one, part in item.now if one == source),
            first_request=first.id,
            first_at=first.at,
            last_request=last.id,
            last_at=last.at,
            requests=item.requests,
            reads=item.reads,
            writes=item.writes,
            rewrites=item.rewrites,
            uncached=item.uncached,
            fetched_tokens=fetched.tokens,
            carried_tokens=carried.tokens,
            fetched_cost=fetched.cost if fetched.known else None,
            carried_cost=carried.cost if carried.known else None,
            gone=gone,
        )


class _Position:
    """How far the pieces of a prompt have been laid over the classes of its bill."""

    __slots__ = ("_class", "_priced", "at", "ends")

    def __init__(self, priced: Priced) -> None:
        self._priced = priced
        self._class = 0
        self.at = 0
        self.ends = list(accumulate(priced.tokens))

    def kind(self) -> int:
        """The class of the next token."""
        while self.at >= self.ends[self._class] and self._class + 1 < len(self.ends):
            self._class += 1
        return self._class

    def lay(self, pieces: Sequence[int]) -> tuple[int, list[int | None]]:
        """Lay pieces, and go on behind them; return the class of most of them, and the cost of each."""
        whole, costs = [0] * len(self.ends), []
        for tokens in pieces:
            low, high = self.at, self.at + tokens
            taken = [
                max(0, min(high, end) - max(low, end - length))
                for end, length in zip(self.ends, self._priced.tokens, strict=True)
            ]
            whole = [a + b for a, b in zip(whole, taken, strict=True)]
            costs.append(self._priced.cost(taken))
            self.at = high
        return max(range(len(whole)), key=whole.__getitem__), costs


def _cost(tokens: int, unit: int | None) -> int | None:
    return tokens * unit if unit is not None else None if tokens else 0
