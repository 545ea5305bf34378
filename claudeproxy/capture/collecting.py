"""Reads the journals of all relays into batches: who lives, what is open, from where to read again.

Apart from `recorder`, which hands batches on and minds the time, because this is about files and records. It holds an
owner for each journal there is, and takes nothing from them for good: what was read into a batch that never came about
is read again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from claudeproxy.capture.assemble import Assembler, OpenExchange
from claudeproxy.capture.batch import Batch, Owner
from claudeproxy.capture.deathwatch import BELIEVED, STORING
from claudeproxy.capture.journal_format import LOCK_NAME, RecordType
from claudeproxy.capture.journal_reader import JournalReader
from claudeproxy.capture.locks import FileLock
from claudeproxy.capture.quarantine import Place
from claudeproxy.model import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from claudeproxy.capture.deathwatch import Deathwatch
    from claudeproxy.capture.journal_reader import Position, Record, Span
    from claudeproxy.model import RecordedExchange


class Collector:
    """Of the journals under `root`; only for the holder of the recorder's lock. Not thread-safe.

    `stored` is how far the sink has them. ``note(error)`` gets what goes wrong on the way, ``set_aside(place, error)``
    an exchange that cannot be put together at all, ``removed(owner)`` whose journal is read and deleted.
    """

    def __init__(
        self,
        root: Path,
        assembler: Assembler,
        stored: Mapping[str, Position],
        watch: Deathwatch,
        *,
        note: Callable[[Exception], object],
        set_aside: Callable[[Place, Exception], object],
        removed: Callable[[str], object],
    ) -> None:
        self._root = root
        self._assembler = assembler
        self._stored = dict(stored)
        self._watch = watch
        self._note = note
        self._set_aside = set_aside
        self._removed = removed
        self._owners: dict[str, Owner] = {}
        self._turn = 0
        self._damaged = 0

    @property
    def owners(self) -> int:
        """Journals there are."""
        return len(self._owners)

    @property
    def open_exchanges(self) -> int:
        """Exchanges that have begun and not ended."""
        return sum(len(owner.open) for owner in self._owners.values())

    @property
    def damaged(self) -> int:
        """Records, or stretches of a journal, that could not be read."""
        return self._damaged + sum(owner.reader.damaged for owner in self._owners.values())

    def close(self) -> None:
        """Let go of the locks of dead owners."""
        for owner in self._owners.values():
            owner.lock.release()

    def collect(self) -> Batch:
        """Read what there is now, one batch at most. Raises OSError, RuntimeError: the same is read again."""
        batch = Batch()
        for owner in self._in_turn():
            alive = owner.alive()  # before reading: what a dead one wrote is all there
            try:
                if self._scan(owner, batch, alive=alive):
                    self._finish_scan(owner, batch, alive=alive)
            except OSError as exc:
                self._note(exc)  # this owner's files cannot be read now; the others' can
            except Exception as exc:
                # A bug in reading journals: what was taken from them for this batch is read again.
                self._owners_anew()
                raise RuntimeError(f"{owner.reader.owner} cannot be read") from exc
            if batch.full:
                break
        batch.cursors = {name: owner.cursor() for name, owner in self._owners.items()}
        return batch

    def _owners_anew(self) -> None:
        for name, owner in list(self._owners.items()):
            if owner.committed is not None:
                self._stored[name] = owner.committed
            self._retire(name)

    def _in_turn(self) -> Iterator[Owner]:
        """All owners, another one first each time, so that a busy one starves nobody."""
        names = sorted(entry.name for entry in self._root.iterdir() if entry.is_dir())
        for name in names:
            if name not in self._owners:
                stored = self._stored.get(name)
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
        if record.type is RecordType.MOVED:
            del owner.open[record.exchange]
            return
        exchange.add(record)
        if record.type is RecordType.END:
            self._put(owner, record.exchange, batch, alive=True)
            del owner.open[record.exchange]

    def _finish_scan(self, owner: Owner, batch: Batch, *, alive: bool) -> None:
        """Caught up with this owner: what is still open is in flight, or was interrupted."""
        for number, exchange in list(owner.open.items()):
            if batch.full:
                return
            if not alive:
                self._put(owner, number, batch, alive=False)
                del owner.open[number]
            elif exchange.request_complete and not exchange.announced:
                exchange.announced = True
                batch.announced += self._put(owner, number, batch, alive=True)
        if not alive:
            batch.consumed.append(owner.reader.owner)

    def _put(self, owner: Owner, number: int, batch: Batch, *, alive: bool) -> bool:
        """Put an exchange into the batch as far as it came; False when it cannot be."""
        exchange = owner.open[number]
        key = exchange.head.correlation_id
        place = Place(directory=owner.reader.directory, number=number, start=exchange.start, key=key)
        deaths = self._watch.deaths(STORING, key)
        try:
            if deaths >= 2 * BELIEVED:
                raise RuntimeError(f"the recorder died {deaths} times at it")  # noqa: TRY301
            batch.add(self._build(owner, exchange, alive=alive, raw=deaths >= BELIEVED), place)
        except OSError:
            raise
        except Exception as exc:  # noqa: BLE001 (a bug that this exchange brings out, even without its bodies)
            if exchange.closing is not None or not alive:
                self._set_aside(place, exc)
            return False
        return True

    def _build(self, owner: Owner, exchange: OpenExchange, *, alive: bool, raw: bool) -> RecordedExchange:
        name, read = owner.reader.owner, owner.reader.payload
        self._watch.at(STORING, exchange.head.correlation_id)
        try:
            return self._assembler.build(exchange, owner=name, alive=alive, read=read, raw=raw)
        except Exception as exc:  # noqa: BLE001 (a bug in reading a body must cost that body, not the exchange)
            self._note(exc)
            return self._assembler.build(exchange, owner=name, alive=alive, read=_no_body, raw=raw)
        finally:
            self._watch.rest()

    def cursors_matter(self, batch: Batch) -> bool:
        """Whether segments could be deleted if only the cursors were stored."""
        committed = {name: owner.committed or (0, 0) for name, owner in self._owners.items()}
        return any(name in committed and cursor[0] > committed[name][0] for name, cursor in batch.cursors.items())

    def commit(self, batch: Batch) -> None:
        """The sink has it."""
        for name, cursor in batch.cursors.items():
            if name in self._owners:
                self._owners[name].committed = cursor

    def clean(self, batch: Batch) -> None:
        """Delete what is stored. Failing to costs space, so it is simply tried again the next time."""
        for exchange in batch.exchanges:
            if exchange.state is not State.IN_FLIGHT:
                self._watch.acquit(STORING, exchange.correlation_id)
        for name in batch.consumed:
            self._owners[name].reader.remove(self._owners[name].lock)
            self._retire(name)
            if not (self._root / name).exists():
                self._removed(name)
        for owner in self._owners.values():
            if owner.committed is not None:
                owner.reader.forget(owner.committed[0])

    def _retire(self, name: str) -> None:
        owner = self._owners.pop(name)
        owner.lock.release()
        self._damaged += owner.reader.damaged


def _no_body(spans: Sequence[Span]) -> bytes:
    raise OSError("not read: the body could not be understood")
