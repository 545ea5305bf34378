"""What the recorder keeps in memory: the journals it reads, the batch that is on its way to the store, its counts.

Apart from `recorder`, which moves between the two. Memory is bounded by the batch (64 exchanges or 64 MiB of bodies,
plus the last body) and by the places, not the bytes, of what is open.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from claudeproxy.capture.assemble import OpenExchange
    from claudeproxy.capture.journal_reader import JournalReader, Position
    from claudeproxy.capture.locks import FileLock
    from claudeproxy.capture.quarantine import Place
    from claudeproxy.model import RecordedExchange

# One sink call: small enough that a transaction stays far below a second, large enough to be worth one.
BATCH_EXCHANGES = 64
BATCH_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderStatistics:
    """Counts since the start. `standby`: another recorder works on this root. `failures` in a row; 0 is healthy."""

    standby: bool
    owners: int
    open_exchanges: int
    recorded: int
    announced: int
    batches: int
    failures: int
    sink_failures: int
    last_error: str | None
    damaged_records: int
    undecodable_bodies: int
    set_aside: int = 0  # exchanges that could not be recorded, and lie in the quarantine
    discarded: int = 0  # likewise, and do not


@dataclass(slots=True, kw_only=True)
class Owner:
    """One relay's journal, and what of it is still open."""

    reader: JournalReader
    lock: FileLock  # once we get it, the owner is dead for good: names are never used twice
    open: dict[int, OpenExchange] = field(default_factory=dict)
    committed: Position | None = None

    def alive(self) -> bool:
        """Whether its process lives, as far as we may know."""
        try:
            return not self.lock.acquire()
        except OSError:
            return True  # not ours to judge

    def cursor(self) -> Position:
        """From where a restarted recorder must read: the lowest start among open exchanges."""
        return min((exchange.start for exchange in self.open.values()), default=self.reader.position)


@dataclass(slots=True, kw_only=True)
class Batch:
    """What goes to the sink in one call; kept as it is until the sink has taken it."""

    exchanges: list[RecordedExchange] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)  # where they are, by correlation_id
    taken: int = 0  # of them, also when they are handed on already
    alone: bool = False  # they are handed on one by one: one of them is more than the sink can take
    cursors: dict[str, Position] = field(default_factory=dict)
    consumed: list[str] = field(default_factory=list)  # dead owners with nothing left
    announced: int = 0
    size: int = 0

    @property
    def full(self) -> bool:
        """Whether it is time to hand it on."""
        return len(self.exchanges) >= BATCH_EXCHANGES or self.size >= BATCH_BYTES

    def add(self, exchange: RecordedExchange, place: Place) -> None:
        """Take an exchange."""
        self.exchanges.append(exchange)
        self.places[exchange.correlation_id] = place
        self.taken += 1
        self.size += len(exchange.request_body.data or b"")
        if exchange.response is not None:
            self.size += len(exchange.response.body.data or b"")
        if exchange.websocket is not None:
            self.size += sum(len(message.data) for message in exchange.websocket.messages)
