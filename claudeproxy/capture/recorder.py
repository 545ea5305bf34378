"""From the journals of all relays to the store, each exchange exactly once, whoever dies in between.

Apart from everything in the path of a client: it runs in a process or a thread of its own and may lag, fail and be
restarted. The order that makes it safe: the sink stores exchanges and cursors in one transaction; only then segments
before the cursor are deleted. A cursor is the lowest start among an owner's open exchanges, so what is read again
after a restart is at most what was open, and the same `correlation_id` is the same row.

A stream that is open for long pins the segments since its start: the journal then grows, up to the writer's
`max_bytes`, until it ends. Memory does not: of open exchanges only the places of their bytes are held. It knows no
database and makes no threads.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from claudeproxy.capture import wake
from claudeproxy.capture.assemble import Assembler, OpenExchange
from claudeproxy.capture.batch import BATCH_EXCHANGES, Batch, Owner
from claudeproxy.capture.journal_format import LOCK_NAME, RECORDER_LOCK_NAME, RecordType
from claudeproxy.capture.journal_reader import JournalReader
from claudeproxy.capture.locks import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from claudeproxy.capture.journal_reader import Position, Record, Span
    from claudeproxy.model import RecordedExchange

    Sink = Callable[[Sequence[RecordedExchange], Mapping[str, tuple[int, int]]], object]

MAX_DECODED_BYTES = 128 << 20

# After a sink error: doubled from the poll interval up to this many seconds.
MAX_BACKOFF = 5.0


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


class Recorder:
    """Hands exchanges to ``sink(exchanges, cursors)``; not thread-safe.

    `cursors` names, for every owner there is, the segment and offset from which reading would go on;
    `load_cursors()` gives back what the sink stored last, and is called once, before the first batch. What either
    raises is counted and tried again. `on_error(exception)` is for the log.
    """

    def __init__(
        self,
        root: Path,
        sink: Sink,
        *,
        load_cursors: Callable[[], Mapping[str, tuple[int, int]]],
        max_decoded: int = MAX_DECODED_BYTES,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        self._root = root
        self._sink = sink
        self._load_cursors = load_cursors
        self._on_error = on_error
        self._assembler = Assembler(max_decoded=max_decoded)
        self._lock = FileLock(root / RECORDER_LOCK_NAME)
        self._stored: dict[str, Position] | None = None
        self._owners: dict[str, Owner] = {}
        self._turn = 0
        self._pending: Batch | None = None
        self._standby = False
        self._recorded = self._announced = self._batches = self._failures = self._sink_failures = self._damaged = 0
        self._last_error: str | None = None

    def step(self) -> int:
        """Hand on what is there, one batch at most; how many exchanges that were. 0 when idle or when it failed."""
        try:
            if not self._ready():
                return 0
            batch = self._pending or self._collect()
            self._pending = batch
            if batch.exchanges or self._cursors_matter(batch):
                self._sink(batch.exchanges, batch.cursors)
                self._batches += 1
                self._commit(batch)
        except Exception as exc:  # noqa: BLE001 (whatever the store raises: keep the batch, try again)
            self._failed(exc)
            return 0
        self._pending = None
        self._failures = 0
        self._clean(batch)
        return len(batch.exchanges)

    def run(
        self,
        stop: Callable[[], bool],
        *,
        wake_fd: int | None = None,
        idle: Callable[[], bool] = lambda: False,
        ending: Callable[[], object] = lambda: None,
        linger: float = 0.03,
        poll: float = 0.25,
    ) -> None:
        """Step until `stop()` or the end of `wake_fd`, then until nothing is left; a process's or thread's main loop.

        Waits at most `poll` seconds at a time, less when `wake_fd` (a WakePipe's read end) has a byte; then `linger`
        seconds, so that what ends together is stored together. `stop` is asked after every wait. `idle` is called when
        there was nothing to hand on; while it returns True, for more to do, nothing is waited for. `ending` is called
        once, before what is left is handed on.
        """
        with suppress(EOFError):
            while not stop():
                handed = self.step()
                if self._failures:
                    self._back_off(stop, poll)
                elif not handed and idle():
                    wake.wait(wake_fd, 0)
                elif handed < BATCH_EXCHANGES and wake.wait(wake_fd, poll):
                    time.sleep(linger)
        ending()
        while self.step():
            pass

    def close(self) -> None:
        """Let another recorder take over."""
        for owner in self._owners.values():
            owner.lock.release()
        self._lock.release()

    def statistics(self) -> RecorderStatistics:
        """Counts for health and doctor."""
        return RecorderStatistics(
            standby=self._standby,
            owners=len(self._owners),
            open_exchanges=sum(len(owner.open) for owner in self._owners.values()),
            recorded=self._recorded,
            announced=self._announced,
            batches=self._batches,
            failures=self._failures,
            sink_failures=self._sink_failures,
            last_error=self._last_error,
            damaged_records=self._damaged + sum(owner.reader.damaged for owner in self._owners.values()),
            undecodable_bodies=self._assembler.undecodable,
        )

    def _ready(self) -> bool:
        if not self._lock.held and not (self._root.is_dir() and self._lock.acquire()):
            self._standby = self._root.is_dir()
            return False
        self._standby = False
        if self._stored is None:
            self._stored = dict(self._load_cursors())
        return True

    def _failed(self, exc: Exception) -> None:
        self._failures += 1
        self._sink_failures += 1
        self._note(exc)

    def _note(self, exc: Exception) -> None:
        self._last_error = f"{type(exc).__name__}: {exc}"
        if self._on_error is not None:
            with suppress(Exception):  # a log that fails must not lose a batch
                self._on_error(exc)

    def _back_off(self, stop: Callable[[], bool], poll: float) -> None:
        until = time.monotonic() + min(MAX_BACKOFF, poll * 2 ** min(self._failures - 1, 10))
        while not stop() and (left := until - time.monotonic()) > 0:
            time.sleep(min(poll, left))

    def _collect(self) -> Batch:
        batch = Batch()
        for owner in self._in_turn():
            alive = owner.alive()  # before reading: what a dead one wrote is all there
            try:
                if self._scan(owner, batch, alive=alive):
                    self._finish_scan(owner, batch, alive=alive)
            except OSError as exc:
                self._note(exc)  # this owner's files cannot be read now; the others' can
            if batch.full:
                break
        batch.cursors = {name: owner.cursor() for name, owner in self._owners.items()}
        return batch

    def _in_turn(self) -> Iterator[Owner]:
        """All owners, another one first each time, so that a busy one starves nobody."""
        names = sorted(entry.name for entry in self._root.iterdir() if entry.is_dir())
        for name in names:
            if name not in self._owners:
                stored = (self._stored or {}).get(name)
                reader = JournalReader(self._root / name, position=stored or (0, 0))
                lock = FileLock(self._root / name / LOCK_NAME)
                self._owners[name] = Owner(reader=reader, lock=lock, committed=stored)
        for name in self._owners.keys() - set(names):
            self._retire(name)  # deleted by somebody else
        self._turn += 1
        for index in range(len(names)):
            yield self._owners[names[(index + self._turn) % len(names)]]

    def _scan(self, owner: Owner, batch: Batch, *, alive: bool) -> bool:
        """Read until the batch is full (False) or there is nothing more (True)."""
        for record in owner.reader.records(final=not alive):
            try:
                self._take(owner, record, batch)
            except msgspec.MsgspecError as exc:
                self._damaged += 1  # good checksums, unknown content: written by another version
                self._note(exc)
            if batch.full:
                return False
        return True

    def _take(self, owner: Owner, record: Record, batch: Batch) -> None:
        if record.type is RecordType.OPEN:
            owner.open[record.exchange] = OpenExchange.begin(record)
            return
        exchange = owner.open.get(record.exchange)
        if exchange is None:
            return  # its OPEN was damaged
        exchange.add(record)
        if record.type is RecordType.END:
            batch.add(self._build(owner, exchange, alive=True))
            del owner.open[record.exchange]

    def _finish_scan(self, owner: Owner, batch: Batch, *, alive: bool) -> None:
        """Caught up with this owner: what is still open is in flight, or was interrupted."""
        for number, exchange in list(owner.open.items()):
            if batch.full:
                return
            if not alive:
                batch.add(self._build(owner, exchange, alive=False))
                del owner.open[number]
            elif exchange.request_complete and not exchange.announced:
                exchange.announced = True
                batch.announced += 1
                batch.add(self._build(owner, exchange, alive=True))
        if not alive:
            batch.consumed.append(owner.reader.owner)

    def _build(self, owner: Owner, exchange: OpenExchange, *, alive: bool) -> RecordedExchange:
        name = owner.reader.owner
        try:
            return self._assembler.build(exchange, owner=name, alive=alive, read=owner.reader.payload)
        except Exception as exc:  # noqa: BLE001 (a bug in reading a body must cost that body, not the exchange)
            self._note(exc)
            return self._assembler.build(exchange, owner=name, alive=alive, read=_no_body)

    def _cursors_matter(self, batch: Batch) -> bool:
        """Whether segments could be deleted if only the cursors were stored."""
        committed = {name: owner.committed or (0, 0) for name, owner in self._owners.items()}
        return any(name in committed and cursor[0] > committed[name][0] for name, cursor in batch.cursors.items())

    def _commit(self, batch: Batch) -> None:
        self._announced += batch.announced
        self._recorded += len(batch.exchanges) - batch.announced
        for name, cursor in batch.cursors.items():
            if name in self._owners:
                self._owners[name].committed = cursor

    def _clean(self, batch: Batch) -> None:
        """Delete what is stored. Failing to costs space, so it is simply tried again the next time."""
        for name in batch.consumed:
            self._owners[name].reader.remove(self._owners[name].lock)
            self._retire(name)
        for owner in self._owners.values():
            if owner.committed is not None:
                owner.reader.forget(owner.committed[0])

    def _retire(self, name: str) -> None:
        owner = self._owners.pop(name)
        owner.lock.release()
        self._damaged += owner.reader.damaged


def _no_body(spans: Sequence[Span]) -> bytes:
    raise OSError("not read: the body could not be understood")
