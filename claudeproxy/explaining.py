"""Where the context of a stored capture came from and what it cost: attributed, accounted for, and stored beside it.

Apart from `recording`, which decides when: nothing here touches a journal, and whatever goes wrong leaves the capture
as it is, to be explained by a later version of the rules. It never raises on what a capture holds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from claudeproxy.accounting.bookkeeper import Bookkeeper, Outcome, ledger_model
from claudeproxy.accounting.counts import CachedCounts, text_sizes
from claudeproxy.accounting.prices import PriceBook
from claudeproxy.attribution.threads import continued_message
from claudeproxy.errors import ClaudeProxyError, NotFoundError
from claudeproxy.logs import get_logger
from claudeproxy.model import Answer, State
from claudeproxy.sansio.answer import read_answer
from claudeproxy.store.headers import raw_headers
from claudeproxy.store.ledgers import clock_of, forget_all, is_settled, load_ledger
from claudeproxy.store.storage import MAX_DECODED
from claudeproxy.store.unfinished import Part
from claudeproxy.storedevidence import StoredEvidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from claudeproxy.accounting.chain import Prompt
    from claudeproxy.attribution.engine import AttributionEngine
    from claudeproxy.evidence.transcripts import Transcripts
    from claudeproxy.model import Account, RawHeaders, RecordedExchange, Segment
    from claudeproxy.store.storage import CaptureStorage

log = get_logger("claudeproxy.recording")

MAX_OPEN = 256  # prompts in flight that are remembered, some 100 KB each; of others the end costs a second reading

# As their ends came: that is how the ledgers learned.
_IN_ORDER = """
SELECT id FROM requests WHERE rules > 0 AND state <> 'in_flight' ORDER BY ifnull(delivered, request_initiated), n
"""


class SegmentSizes(Sequence[int]):
    """The sizes of segments, counted where they are asked for: of a turn's history nobody asks."""

    def __init__(self, segments: Sequence[Segment], count: Callable[[Sequence[str]], list[int]]) -> None:
        self._segments = segments
        self._count = count

    def __len__(self) -> int:
        return len(self._segments)

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> list[int]: ...
    def __getitem__(self, place: int | slice) -> int | list[int]:
        if isinstance(place, slice):
            return self._count([segment.text for segment in self._segments[place]])
        return self._count([self._segments[place].text])[0]


@dataclass(frozen=True, slots=True)
class _InFlight:
    """A prompt whose bill is to come."""

    prompt: Prompt | None
    model: str  # as it was asked for
    began: int
    seen: bool


class Explainer:
    """Explains captures of one storage by one engine; not thread-safe.

    `attributed` counts those it explained, `errors` those it could not. `outdated`: one of them told something about
    others that were explained before, which are `waiting` again; `blocked`: the database could not be written, and what
    was to be is still `waiting`. Whoever looks after them takes the flags down.
    """

    def __init__(
        self,
        storage: CaptureStorage,
        engine: AttributionEngine,
        *,
        transcripts: Transcripts | None = None,
        prices: PriceBook | None = None,
    ) -> None:
        self.engine = engine
        self._transcripts = transcripts
        self.attributed = 0
        self.errors = 0
        self.outdated = self.blocked = False
        self._storage = storage
        self._sizes = CachedCounts(text_sizes)
        self._prices = prices or PriceBook()
        self._books = self._new_books()
        self._open: dict[str, _InFlight] = {}
        self._given_up: set[str] = set()  # failed once: not tried again by this process

    def waiting(self, limit: int) -> Sequence[str]:
        """Ids of captures that were not explained by these rules, `limit` at most. Raises StorageError."""
        found = self._storage.underived(self.engine.version, limit + len(self._given_up))
        return [request_id for request_id in found if request_id not in self._given_up][:limit]

    def undone(self, attributed: int) -> None:
        """What was explained since it counted `attributed` was not stored after all: the database is `blocked`."""
        self.attributed, self.blocked = attributed, True
        self._books = self._new_books()  # they have learned from it
        self._open.clear()

    def explain_stored(self, request_id: str) -> None:
        """Explain a capture as the database has it; one that cannot be read is left alone."""
        try:
            request = self._storage.get_request(request_id)
            headers = tuple((n.encode("latin-1"), v.encode("latin-1")) for n, v in request.headers)
            body = request.body
            outcome = None if request.state is State.IN_FLIGHT else self._stored_outcome(request_id, request.state)
        except ClaudeProxyError as error:  # damaged, or deleted meanwhile: one row must not end the recorder
            self._given_up.add(request_id)
            log.warning("capture cannot be read", request_id=request_id, error=str(error))
            return
        self.explain(request_id, body, headers, began=request.timestamp, url=request.url, outcome=outcome)

    def explain(
        self,
        request_id: str,
        body: bytes,
        headers: RawHeaders,
        *,
        began: int,
        url: str | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        """Attribute and account for one request. Whatever goes wrong leaves the capture as it is.

        :param outcome: how it ended; None: it is in flight. A request that was settled keeps its numbers.
        """
        account: Account | None = None
        if outcome is not None:
            self._open.pop(request_id, None)
        try:
            message = continued_message(body)
            past = self._storage.thread_history(message) if message else None
            result = self.engine.analyze_request(
                body,
                headers=headers,
                history={message: past.blocks} if message and past else None,
                evidence=StoredEvidence(self._storage, before=began, transcripts=self._transcripts),
                url_path=url,
            )
            segments = result.segments()
            sizes = SegmentSizes(segments, self._sizes)
            complete = message is None or (past is not None and past.complete)
            if not self._is_settled(request_id):
                context = body if result.context is None else result.context
                account = self._account(request_id, context, result.identity.model, began, outcome, seen=complete)
            self.outdated |= self._storage.save_attribution(
                request_id,
                result,
                sizes,
                rules_version=self.engine.version,
                complete=complete,
                account=account,
            )
        except NotFoundError:
            self._unlearn(account)
            log.info("capture deleted before it was explained", request_id=request_id)
            return
        except Exception as error:
            self._unlearn(account)
            self.errors += 1
            if isinstance(error.__cause__, sqlite3.OperationalError):
                self.blocked = True  # a full disk, a lock: no fault of the capture's
            else:  # a rule's bug or a hostile body: the record is safe and can be explained by a later version
                self._given_up.add(request_id)
                self._storage.note_unfinished(request_id, Part.ATTRIBUTION, error, rules_version=self.engine.version)
            log.exception("attribution failed", request_id=request_id, error=str(error))
            return
        self.attributed += 1
        sources = self._storage.source_tokens(request_id)
        log.info("attributed", request_id=request_id, segments=len(segments), sources=sources)

    def settle(self, request_id: str, exchange: RecordedExchange) -> None:
        """What the end of an exchange adds to what was found while it was in flight: its bill, its place."""
        known, outcome = self._open.pop(request_id, None), outcome_of(exchange)
        if known is None or ledger_model(known.model, outcome.answer.model) != ledger_model(known.model, None):
            body, began = exchange.request_body.data or b"", exchange.instants.request_initiated
            self.explain(request_id, body, exchange.headers, began=began, url=exchange.url, outcome=outcome)
            return
        account: Account | None = None
        try:
            if not self._is_settled(request_id):
                model = ledger_model(known.model, None)
                account = self._books.settle(known.prompt, model, outcome, at=known.began, seen=known.seen)
            self._storage.settle(request_id, account, rules_version=self.engine.version)
        except Exception as error:
            self._unlearn(account)
            self.errors += 1
            self.outdated = True  # it waits among the others, and is explained anew
            log.exception("numbers not settled", request_id=request_id, error=str(error))

    def rebuild_accounts(self) -> int:
        """Forget what all ledgers learned and what every request cost, and settle all again in order; how many.

        Takes some 20 ms a request. Numbers of requests whose captures are gone with retention are not touched. A
        recorder may go on beside it: it notices that its ledgers are others now.

        :raises StorageError: the database cannot be read or written; doing it again makes it whole.
        """
        with self._storage.writing() as connection:
            forget_all(connection)
            requests = [row[0] for row in connection.execute(_IN_ORDER).fetchall()]
        self._books = self._new_books()
        for request_id in requests:
            self.explain_stored(request_id)
        return len(requests)

    # --- accounts -------------------------------------------------------------------------------------------

    def _account(
        self, request_id: str, context: bytes, model: str | None, began: int, outcome: Outcome | None, *, seen: bool
    ) -> Account | None:
        """Account for one request. An error of the books costs the numbers, not the attribution."""
        name = ledger_model(model, None if outcome is None else outcome.answer.model)
        try:
            prompt = self._books.read(context, name)
            if outcome is not None:
                return self._books.settle(prompt, name, outcome, at=began, seen=seen)
            if len(self._open) >= MAX_OPEN:
                del self._open[next(iter(self._open))]
            self._open[request_id] = _InFlight(prompt, model or "", began, seen)
            return self._books.predict(prompt, name)
        except ClaudeProxyError:
            raise
        except Exception as error:
            self.errors += 1
            self._books = self._new_books()  # what it learned half is not kept
            self._storage.note_unfinished(request_id, Part.ACCOUNTING, error)
            log.exception("request not accounted for", request_id=request_id, error=str(error))
            return None

    def _unlearn(self, account: Account | None) -> None:
        if account is not None and account.change is not None:
            self._books.forget(account)

    def _new_books(self) -> Bookkeeper:
        def load(provider: str, model: str) -> tuple[str, list[bytes]] | None:
            with self._storage.reading() as connection:
                return load_ledger(connection, provider, model)

        def clock(provider: str, model: str) -> int:
            with self._storage.reading() as connection:
                return clock_of(connection, provider, model)

        return Bookkeeper(load, self._prices, clock=clock)

    def _is_settled(self, request_id: str) -> bool:
        with self._storage.reading() as connection:
            return is_settled(connection, request_id)

    def _stored_outcome(self, request_id: str, state: State) -> Outcome:
        try:
            response = self._storage.get_response(request_id)
        except NotFoundError:
            return Outcome(answer=Answer(), complete=False)
        headers, status = raw_headers(response.headers), response.status_code
        answer = read_answer(response.body, headers, status_code=status, max_decoded=MAX_DECODED)
        return Outcome(answer=answer, complete=state is State.COMPLETE and status == 200)


def outcome_of(exchange: RecordedExchange) -> Outcome:
    """Return how an exchange ended, as far as its bill goes."""
    if (response := exchange.response) is None:
        return Outcome(answer=Answer(), complete=False)
    complete = exchange.state is State.COMPLETE and response.status_code == 200
    return Outcome(answer=response.answer, complete=complete)
