"""What goes when: captures that are too old or too many, and captures that a person wants gone.

Apart from `deletion`, which does one step, because this is about time: many small transactions with pauses between
them, so that the recorder's own never wait for more than a step; readers never wait at all. Stopped anywhere, even by
SIGKILL, it leaves a consistent database, and the next run goes on where it was.

Order: captures, paths of nodes with their blocks, their words in the search index, texts that now belong to another
request, header fields, and then the space. A purge also overwrites freed pages, and deletes the copies that migrations
made of the file. The sums of what has gone stay in the day history.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from claudeproxy.errors import NotFoundError, ValidationError
from claudeproxy.store.codec import Codec
from claudeproxy.store.deletion import COUNTED, Deleter, named_fields, references
from claudeproxy.store.listing import list_query
from claudeproxy.store.queries import REQUEST_IDS, find
from claudeproxy.store.search import SearchIndex
from claudeproxy.store.steps import Steps
from claudeproxy.store.tree import BlockTree
from claudeproxy.store.values import RequestFilters, RetentionReport
from claudeproxy.store.words import Words

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Mapping, Sequence

    from claudeproxy.store.storage import CaptureStorage

_MOST_AT_ONCE = 64  # requests in one step
_FEWEST = 8  # requests that are deleted for want of space
_TAKEN = 0.6  # of a step, when it stops deleting or collecting: then the index takes its words out
_MERGED = 0.5  # of a step, when it stops merging: FTS5 merges a common word, some milliseconds, as a whole
_MERGE_AFTER = 4  # steps, each of which adds a piece to the search index; at 16 the next commit would merge them
_AT_ONCE_READ = 500  # requests whose headers are looked through in one query

_T = TypeVar("_T", int, str)

_NEWEST = 1 << 62  # no request has this number

_EXPIRED = "SELECT n FROM requests WHERE request_initiated < ? AND state <> 'in_flight' ORDER BY request_initiated"
_OLDEST = "SELECT n FROM requests WHERE state <> 'in_flight' ORDER BY request_initiated LIMIT ?"


class Retention:
    """One run over an open, writable `CaptureStorage`: call one method, once. It may take minutes.

    :param pause: waits for so many seconds between two steps.
    """

    def __init__(self, storage: CaptureStorage, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._storage = storage
        self._steps = Steps(storage, pause)
        self._codec = Codec()
        self._unused: Mapping[str, str] | None = None
        self._began = time.monotonic()
        self._before = self._steps.file_bytes()
        self._unmerged = 0  # steps since the search index was merged
        self._merged_last = -1  # part of it
        self._counts = dict.fromkeys(COUNTED, 0)

    def expire(
        self,
        *,
        before_ns: int | None = None,
        max_bytes: int | None = None,
        owners: Collection[str] | None = None,
        dry_run: bool = False,
    ) -> RetentionReport:
        """Delete captures that began before a time, and the oldest while the database is larger than `max_bytes`.

        Captures in flight stay, whatever their age.

        :param owners: relays that still have a journal; how far the others' were read is forgotten.
        :raises StorageError: stopped half-way, in good order; the next run goes on.
        """
        old = [row[0] for row in self._read(_EXPIRED, before_ns)] if before_ns is not None else []
        if dry_run:
            return self._report(planned=len(old) + self._beyond(max_bytes, len(old)))
        self._delete(old)
        while max_bytes is not None and (beyond := self._beyond(max_bytes, 0)):
            # Half of what would do if all were of one size: they share most of it, and too much must not go.
            oldest = [row[0] for row in self._read(_OLDEST, max(_FEWEST, beyond // 2))]
            if not oldest:
                break
            self._delete(oldest)
        if owners is not None:
            self._forget_owners(owners)
        self._clean()
        return self._report()

    def delete_requests(self, filters: RequestFilters, *, dry_run: bool = False) -> RetentionReport:
        """Delete all ended captures that match (limit and offset do not count), so that nothing of them can be found.

        With `q` it is every request that carried the text, `everywhere` or not: each later one has it too.

        :raises ValidationError: nothing is filtered by, which would mean everything.
        :raises StorageError: as `expire`.
        """
        filters = replace(filters, q=(filters.q or "").strip() or None, everywhere=True)
        if filters == RequestFilters(
            limit=filters.limit, offset=filters.offset, as_of=filters.as_of, everywhere=filters.everywhere
        ):
            raise ValidationError("a filter is required: all captures would match", field="filters")
        query = list_query(filters, filters.as_of if filters.as_of is not None else _NEWEST)
        with self._storage.reading() as connection:
            statement = f"{query.numbers} AND c.state <> 'in_flight' ORDER BY c.n"
            numbers = [row[0] for row in connection.execute(statement, query.parameters).fetchall()]
        return self._purge(numbers, dry_run=dry_run)

    def delete_request(self, id: str, *, dry_run: bool = False) -> RetentionReport:  # noqa: A002 - as get_request
        """Delete one capture, by its id or a beginning of one.

        :raises NotFoundError: no such request; or it is in flight, and would come back with its end.
        :raises StorageError: as `expire`.
        """
        with self._storage.reading() as connection:
            number = find(connection, id, REQUEST_IDS, "request")
        if not self._read("SELECT 1 FROM requests WHERE n = ? AND state <> 'in_flight'", number):
            raise NotFoundError(f"request {id!r} is still in flight; delete it when it has ended")
        return self._purge([number], dry_run=dry_run)

    def delete_unplaced(self, session_id: str) -> RetentionReport:
        """Delete what a session sent that names no project, in flight too: that of a session that is not to be kept.

        :raises StorageError: as `expire`.
        """
        rows = self._read("SELECT n FROM requests WHERE session_id = ? AND project IS NULL", session_id)
        return self._purge([row[0] for row in rows], dry_run=not rows)  # nothing to go: nothing to clean up

    # --- the parts of a run ---------------------------------------------------------------------------------

    def _purge(self, numbers: Sequence[int], *, dry_run: bool) -> RetentionReport:
        if dry_run:
            return self._report(planned=len(numbers))
        self._read("PRAGMA secure_delete = ON")
        try:
            self._delete(numbers)
            self._clean()
        finally:
            self._read("PRAGMA secure_delete = FAST")
        for copy in self._storage.path.parent.glob(f"{self._storage.path.name}.before-*"):
            copy.unlink(missing_ok=True)
        return self._report()

    def _delete(self, numbers: Sequence[int]) -> None:
        """Delete requests, and what nothing else needs of theirs, from the search index too."""
        at = 0
        while at < len(numbers):
            with self._steps.step() as connection:
                deleter = self._deleter(connection)
                at += deleter.delete(numbers[at : at + _MOST_AT_ONCE], self._enough)
                self._count(deleter)
            self._merge_some()
        if numbers:
            self._collect()
            self._merge()

    def _collect(self) -> None:
        more = True
        while more:
            with self._steps.step() as connection:
                deleter = self._deleter(connection)
                more = deleter.collect(self._enough)
                self._count(deleter)
            self._merge_some()

    def _merge_some(self) -> None:
        """Now and then merge what the steps have written to the index: else somebody's commit would, all at once."""
        self._unmerged += 1
        if self._unmerged < _MERGE_AFTER:
            return
        self._unmerged = 0
        with self._steps.step() as connection:
            words = Words(connection)
            torn = deque(words.torn())
            torn.rotate(-sum(part <= self._merged_last for part in torn))  # who had no turn the last time begins
            while torn and self._steps.share() < _MERGED:
                self._merged_last = torn.popleft()
                words.merge(self._merged_last)

    def _merge(self) -> None:
        """Let deleted words leave the search index: they stay in its parts until those are merged, or dropped."""
        for part in self._parts(Words.worn):
            more = True
            while more:
                with self._steps.step() as connection:
                    more = self._search(connection).move(part, self._answer, self._enough)
        for table in self._parts(Words.retired):
            more = True
            while more:
                with self._steps.step() as connection:
                    more = Words(connection).drop(table, self._enough)
        for part in self._parts(Words.torn):
            with self._storage.reading() as connection:
                pages = Words(connection).pages(part)
            begin, more = True, True
            while more:
                with self._steps.step() as connection:
                    words = Words(connection)
                    more, begin = words.merge(part, pages, everything=begin), False
                    while more and self._steps.share() < _MERGED:
                        more = words.merge(part, pages)
                    if not more:
                        words.merged(part)

    def _parts(self, which: Callable[[Words], Sequence[_T]]) -> Sequence[_T]:
        with self._storage.reading() as connection:
            return which(Words(connection))

    def _clean(self) -> None:
        self._collect()  # what an earlier run, that was stopped, has left
        self._merge()
        self._introduce_again()
        self._sweep_fields()
        self._steps.give_back()

    def _introduce_again(self) -> None:
        with self._storage.reading() as connection:
            found = deque(self._search(connection).introducers())
        while found:
            with self._steps.step() as connection:
                search = self._search(connection)
                search.introduce_again(found.popleft())
                while found and self._steps.share() < 1:
                    search.introduce_again(found.popleft())

    def _sweep_fields(self) -> None:
        """Delete header fields that no request or response names. Their ids stand in JSON: no foreign key tells."""
        newest = int(self._read("SELECT ifnull(max(n), 0) FROM requests")[0][0])
        open_ones = [row[0] for row in self._read("SELECT n FROM requests WHERE state = 'in_flight'")]
        used: set[int] = set()
        for low in range(0, newest, _AT_ONCE_READ):
            with self._storage.reading() as connection:
                used |= named_fields(connection, "{key} > ? AND {key} <= ?", (low, min(newest, low + _AT_ONCE_READ)))
        with self._steps.step() as connection:
            used |= named_fields(connection, "{key} > ?", (newest,))  # came or ended while we looked
            for number in open_ones:
                used |= named_fields(connection, "{key} = ?", (number,))
            self._deleter(connection).delete_fields(used)

    def _forget_owners(self, living: Collection[str]) -> None:
        with self._steps.step() as connection:
            gone = [(owner,) for (owner,) in connection.execute("SELECT owner FROM cursors") if owner not in living]
            connection.executemany("DELETE FROM cursors WHERE owner = ?", gone)

    # --- helpers ---------------------------------------------------------------------------------------------

    def _search(self, connection: sqlite3.Connection) -> SearchIndex:
        return SearchIndex(connection, BlockTree(connection, self._codec))

    def _deleter(self, connection: sqlite3.Connection) -> Deleter:
        if self._unused is None:
            self._unused = references(connection)
        return Deleter(connection, self._search(connection), self._answer, self._unused)

    def _answer(self, number: int) -> object:
        return self._storage.response_json(self._read("SELECT id FROM requests WHERE n = ?", number)[0][0])

    def _count(self, deleter: Deleter) -> None:
        for name, number in deleter.counts.items():
            self._counts[name] += number

    def _enough(self) -> bool:
        return self._steps.share() >= _TAKEN

    def _read(self, statement: str, *parameters: object) -> list[sqlite3.Row]:
        with self._storage.reading() as connection:
            return connection.execute(statement, parameters).fetchall()

    def _beyond(self, max_bytes: int | None, gone: int) -> int:
        """Estimate how many captures size will cost beyond the `gone`, as if all were of one size."""
        used = self._steps.used_bytes()
        total = int(self._read("SELECT count(*) FROM requests")[0][0])
        if max_bytes is None or not total:
            return 0
        kept = used * (total - gone) // total
        return 0 if kept <= max_bytes else -(-(kept - max_bytes) * total // used)

    def _report(self, *, planned: int | None = None) -> RetentionReport:
        counts = self._counts if planned is None else {**self._counts, "requests": planned}
        return RetentionReport(
            **counts,
            bytes_before=self._before,
            bytes_after=self._steps.file_bytes(),
            seconds=time.monotonic() - self._began,
            longest_step=self._steps.longest,
            dry_run=planned is not None,
        )
