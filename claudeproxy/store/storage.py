"""`CaptureStorage`: the verbs of the database of captures.

Everything is synchronous. One instance holds one connection, which may move from thread to thread but be used by one
at a time: open one for each thread. One process writes captures, the recorder; others may write beside it (feedback,
retention), each transaction takes its turn. Readers see the last commit, and no call holds a snapshot after it returns.

The layout of the file is in `migrations`; how a body becomes rows, in `cutting`, `tree` and `skeleton`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.errors import NotFoundError, ProtocolError, StorageError
from claudeproxy.store import census, listing, queries
from claudeproxy.store.aggregates import SourceAggregates
from claudeproxy.store.codec import Codec
from claudeproxy.store.database import file_size
from claudeproxy.store.derived import DerivedStorage
from claudeproxy.store.explained import Explanations
from claudeproxy.store.functions import derived_id
from claudeproxy.store.headers import raw_headers
from claudeproxy.store.search import SearchIndex
from claudeproxy.store.threads import ThreadReader
from claudeproxy.store.unfinished import Part, clear
from claudeproxy.store.values import RequestPage, StorageSummary, parse_json
from claudeproxy.store.verify import Verifier
from claudeproxy.store.websockets import MessageStorage
from claudeproxy.store.writer import ExchangeWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from claudeproxy.model import RecordedExchange
    from claudeproxy.store.aggregates import SourceMoves
    from claudeproxy.store.threads import ThreadHistory
    from claudeproxy.store.values import (
        CapturedRequest,
        CapturedResponse,
        ContextAttribution,
        RequestFilters,
        SourceTotal,
        VerifyReport,
    )

MAX_DECODED = 256 * 1024 * 1024  # bytes that a stored response may expand to when it is read as JSON

_RESPONSE_IDS = (("responses", "id"), *queries.REQUEST_IDS)


class CaptureStorage(DerivedStorage, MessageStorage):
    """Captured requests and responses in one SQLite file.

    Parameters and errors of opening it: `StorageSession`.
    """

    def __repr__(self) -> str:
        return f"<CaptureStorage {self.path}{', read-only' if self.read_only else ''}>"

    # --- recording ------------------------------------------------------------------------------------------

    def record(
        self,
        exchanges: Sequence[RecordedExchange],
        cursors: Mapping[str, tuple[int, int]],
        *,
        before: Callable[[RecordedExchange], object] = lambda _: None,
    ) -> list[str]:
        """Store exchanges and how far the journals are read, in one transaction; return the request ids.

        An exchange that is known by its `correlation_id` is updated while it is in flight and left alone once it has
        ended, so recording the same journal twice changes nothing. `before` is called before each is written.

        :raises StorageError: nothing of it was stored; the same call may be made again.
        :raises UnstorableError: likewise, and one of the exchanges is at fault; as with any other exception.
        """
        ids = []
        with self.writing():
            for exchange in exchanges:
                before(exchange)
                ids.append(self._writer.write(exchange))
            self._connection.executemany(
                "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)",
                [(owner, segment, position) for owner, (segment, position) in cursors.items()],
            )
            return ids

    def cursors(self) -> dict[str, tuple[int, int]]:
        """Return for each journal (by its owner) the segment and offset up to which it is recorded."""
        rows = self._all("SELECT owner, segment, position FROM cursors")
        return {row["owner"]: (row["segment"], row["position"]) for row in rows}

    def forget_cursor(self, owner: str) -> None:
        """Forget how far a journal is recorded that does not exist any more. Names of owners are never used twice.

        :raises StorageError: the database cannot be written.
        """
        with self.writing() as connection:
            connection.execute("DELETE FROM cursors WHERE owner = ?", (owner,))

    def capture_request(self, exchange: RecordedExchange) -> str:
        """Store one exchange as far as it is known; return the id of its request."""
        return self.record([exchange], {})[0]

    def capture_response(self, exchange: RecordedExchange) -> str:
        """Store one exchange that has a response; return the id of the response.

        :raises StorageError: it has none.
        """
        if exchange.response is None:
            raise StorageError(f"exchange {exchange.correlation_id} has no response to capture")
        self.record([exchange], {})
        return derived_id("response", exchange.correlation_id)

    # --- captures -------------------------------------------------------------------------------------------

    def get_request(self, id: str) -> CapturedRequest:  # noqa: A002 - the name in the contract
        """Return a request by its id, its correlation id, or an unambiguous beginning of one.

        :raises NotFoundError: with near ids.
        """
        number = self._find(id, queries.REQUEST_IDS, "request")
        return queries.request_from(self._all(f"{queries.REQUESTS} WHERE c.n = ?", (number,))[0], self)

    def get_response(self, id: str) -> CapturedResponse:  # noqa: A002
        """Return a response by its own id, its correlation id or its request's id, or a beginning of one.

        :raises NotFoundError: with near ids; also when the request has no response (yet).
        """
        number = self._find(id, _RESPONSE_IDS, "response")
        rows = self._all(f"{queries.RESPONSES} WHERE n = ?", (number,))
        if not rows:
            raise NotFoundError(f"request {id!r} has no response")
        return queries.response_from(rows[0], self)

    def request_body(self, id: str) -> bytes:  # noqa: A002
        """Return the captured bytes, content coding taken off; empty when they were not kept.

        :raises NotFoundError: no such request.
        :raises CorruptBodyError: the stored body cannot be put together.
        """
        number = self._find(id, queries.REQUEST_IDS, "request")
        row = self._all("SELECT node, skeleton FROM requests WHERE n = ?", (number,))[0]
        if row["node"] is None:
            return self._whole_body("request_bodies", number)
        with self.reading():
            return self._writer.tree.rebuild(row["node"], row["skeleton"])

    def response_body(self, id: str) -> bytes:  # noqa: A002
        """Return the response's bytes as received, still content-encoded; empty when they were not kept.

        :raises NotFoundError: no such response.
        :raises CorruptBodyError: the stored body cannot be read.
        """
        return self._whole_body("response_bodies", self._find(id, _RESPONSE_IDS, "response"))

    def response_json(self, id: str) -> object:  # noqa: A002
        """Return a response's JSON; for a stream the message put together from it; None when it is neither."""
        from claudeproxy.sansio.answer import read_answer
        from claudeproxy.sansio.encoding import decode

        response = self.get_response(id)
        body, headers = response.body, raw_headers(response.headers)
        if response.streamed:
            return read_answer(body, headers, status_code=response.status_code, max_decoded=MAX_DECODED).message
        codings = ", ".join(value for name, value in response.headers if name.lower() == "content-encoding")
        try:
            return parse_json(decode(body, codings, max_bytes=MAX_DECODED))
        except ProtocolError:
            return None

    def query_requests(self, filters: RequestFilters) -> RequestPage:
        """Return a page of requests, newest first, with the number of all that match."""
        with self.reading():
            self._connection.execute("BEGIN")  # rows and total from one snapshot
            try:
                as_of = filters.as_of
                if as_of is None:
                    as_of = int(self._connection.execute("SELECT ifnull(max(n), 0) FROM requests").fetchone()[0])
                query = listing.list_query(filters, as_of)
                rows, total = listing.listed(self._connection, query)
            finally:
                self._connection.execute("ROLLBACK")
        return RequestPage(rows=tuple(queries.request_from(row, self) for row in rows), total=total, as_of=as_of)

    # --- where the context came from ------------------------------------------------------------------------

    def thread_history(self, message_id: str) -> ThreadHistory | None:
        """Return what a request stands on that continues this message; None when the message was never seen.

        :raises CorruptBodyError: it cannot be put together.
        """
        with self.reading():
            return self._threads.history(message_id, self.response_json)

    def attributions(self, request_id: str) -> list[ContextAttribution]:
        """Return every piece of a request's context with its source, in prompt order.

        What belongs to no node comes last: overhead (equal pieces in one row) and the client's billing header.
        """
        return [queries.attribution_from(row) for row in self._all(queries.ATTRIBUTIONS, (request_id,))]

    def sources(self, request_id: str, *, output: bool = False) -> list[SourceTotal]:
        """Return what each source contributed to a request, the largest first; with `output` to what it generated."""
        statement = queries.OUTPUTS if output else queries.SOURCES
        return [queries.source_from(row) for row in self._all(statement, (request_id,))]

    def source_tokens(self, request_id: str) -> dict[str, int]:
        """Return the tokens of each source's context by its label, the largest first: `sources` for a log's line."""
        return dict(map(tuple, self._all(queries.SOURCE_TOKENS, (request_id,))))

    # --- full text ------------------------------------------------------------------------------------------

    def index_texts(self, request_id: str, message: object = None) -> None:
        """Make what an ended request brought, and its answer, findable by `RequestFilters.q`.

        :param message: the answer, when the caller has it parsed; it is read from the response otherwise.
        :raises NotFoundError: no such request.
        """
        row = self._all(
            "SELECT n, EXISTS (SELECT 1 FROM responses WHERE request = n) FROM requests WHERE id = ?", (request_id,)
        )
        if not row:
            raise NotFoundError(f"no request {request_id}")
        if message is None and row[0][1]:
            message = self.response_json(request_id)
        with self.writing():
            self._search.add(row[0][0], message)
            clear(self._connection, row[0][0], (Part.SEARCH,))

    # --- health ---------------------------------------------------------------------------------------------

    def verify(self) -> VerifyReport:
        """Derive every hash again and compare."""
        with self.reading():
            return Verifier(self._connection, self._codec, self._writer.tree).run()

    def summary(self) -> StorageSummary:
        """Return how much is stored."""
        row = self._all(census.SUMMARY)[0]
        return StorageSummary(
            **{name: row[name] for name in row.keys()},  # noqa: SIM118 - a Row iterates over values
            database_bytes=file_size(self.path),
            wal_bytes=file_size(self.path.with_name(self.path.name + "-wal")),
        )

    # --- the connection -------------------------------------------------------------------------------------

    def _opened(self) -> None:
        self._codec = Codec()
        self._writer = ExchangeWriter(self._connection, self._codec)
        self._writer.guard.on_failure = self._on_unfinished
        self._search = SearchIndex(self._connection, self._writer.tree)
        self._aggregates = SourceAggregates(self._connection, late=lambda: self._late)
        self._explanations = Explanations(self._connection, self._writer.tree, self._aggregates)
        self._threads = ThreadReader(self._connection, self._writer.tree)

    def _finish(self, late: Sequence[SourceMoves]) -> None:
        self._aggregates.move(late)

    def _forget(self) -> None:
        self._writer.forget()
        self._explanations.forget()
        self._threads.forget()

    def _find(self, wanted: str, columns: Sequence[tuple[str, str]], what: str) -> int:
        with self.reading():
            return queries.find(self._connection, wanted, columns, what)

    def _whole_body(self, table: str, number: int) -> bytes:
        rows = self._all(f"SELECT codec, data FROM {table} WHERE request = ?", (number,))  # noqa: S608 - ours
        return self._codec.decompress(rows[0]["codec"], rows[0]["data"]) if rows else b""
