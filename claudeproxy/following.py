"""What follows once exchanges are stored: each is explained, settled and made findable, as far as there is time.

Apart from `recording`, which stores and reads the journal, because storing comes first: what there is no time for waits
here, or in the database for whoever asks what is not explained. Several captures are followed up in one transaction;
each is a part of it, and what fails costs that part.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from claudeproxy.errors import StorageError
from claudeproxy.explaining import outcome_of
from claudeproxy.logs import get_logger
from claudeproxy.model import BodyKept, State
from claudeproxy.store.indexing import Indexer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from claudeproxy.explaining import Explainer
    from claudeproxy.finishing import Finisher
    from claudeproxy.model import RecordedExchange
    from claudeproxy.store.storage import CaptureStorage

log = get_logger("claudeproxy.recording")

# Spent between two batches of the journal: storing comes first, and counting 10 MB of text takes 2 s. What there was no
# time for has to be read back from the database, which costs a fifth more.
EXPLAIN_SECONDS = 1.0
EXPLAIN_BYTES = 4 << 20  # and a body larger than this waits until the journal is read

# A request that is answered sooner is explained once, with its bill; of the others one wants to see what they are at.
IN_FLIGHT_SECONDS = 0.25

# Of one transaction, before the next capture: as long others wait who want to write (feedback, retention).
JOINED_SECONDS = 0.05
JOINED_BYTES = 1 << 18  # and a body larger than this is explained outside any: it may take as long by itself


# Of bodies that wait in memory. Those beyond it are read back from the database, which costs a sixth more.
HELD_BYTES = 8 << 20


class _Waiting(NamedTuple):
    """A capture that is stored and not explained yet, from when on it is to be, and itself as long as that is cheap."""

    due: float
    length: int  # bytes of its body
    held: RecordedExchange | None


class _Work(NamedTuple):
    run: Callable[[], None]
    large: bool


class FollowUp:
    """Over a writable storage and what derives from its captures. Not thread-safe.

    `settled` is called with the id of a capture whose numbers are new. `missed`: something was not followed up and is
    among what the database knows as not explained; whoever looks after it takes the flag down.
    """

    def __init__(
        self,
        storage: CaptureStorage,
        explainer: Explainer,
        finisher: Finisher,
        settled: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._storage = storage
        self._explainer = explainer
        self._finisher = finisher
        self._settled = settled
        self.indexer = Indexer(storage, finisher.unindexed, around=finisher.at)
        self.missed = False
        self._later: dict[str, _Waiting] = {}  # in order
        self._held = 0  # bytes of those
        self._hurried = False

    def hurry(self) -> None:
        """From now on leave everything for later."""
        self._hurried = True

    def follow(self, stored: Sequence[tuple[str, RecordedExchange]]) -> None:
        """Explain, settle and index what was stored just now, by request id; what does not fit into the time waits."""
        until = time.monotonic() + (0.0 if self._hurried else EXPLAIN_SECONDS)

        def follow(request_id: str, exchange: RecordedExchange) -> None:
            try:
                self._follow(request_id, exchange, until)
            except Exception as error:
                # What is stored is stored: were this raised, the same batch would be tried again for ever.
                self.missed = True
                log.exception("capture stored, not followed up", request_id=request_id, error=str(error))

        self._work([_Work(partial(follow, *one), _is_large(one[1].request_body.length)) for one in stored], inf)

    def waits(self) -> bool:
        """Whether anything is stored and not explained yet that this process knows of."""
        return bool(self._later)

    def due(self) -> bool:
        """Whether anything that waits is to wait no longer."""
        now = time.monotonic()
        return any(waiting.due <= now for waiting in self._later.values())

    def catch_up(self, seconds: float, *, everything: bool = False) -> None:
        """Explain what waits, in order, until `seconds` have passed; with `everything`, what is not due yet, too."""
        now = time.monotonic()

        def explain(request_id: str) -> None:
            held = self._take(request_id)
            with self._finisher.at(request_id):
                if held is None:
                    self._explainer.explain_stored(request_id)
                else:
                    self._explain_now(request_id, held, held.request_body.data or b"")
            self._settled(request_id)

        due = [(key, waiting) for key, waiting in self._later.items() if everything or waiting.due <= now]
        self._work([_Work(partial(explain, key), _is_large(waiting.length)) for key, waiting in due], now + seconds)

    def _work(self, work: Sequence[_Work], until: float) -> None:
        """Do what there is time for, several pieces in a transaction. A database that cannot be written ends it."""
        left, explainer, blocked = deque(work), self._explainer, self._explainer.blocked
        explainer.blocked = False

        def goes_on(limit: float) -> bool:
            return bool(left) and not explainer.blocked and time.monotonic() < limit

        while goes_on(until):
            if left[0].large:
                left.popleft().run()
                continue
            explained, limit = explainer.attributed, min(until, time.monotonic() + JOINED_SECONDS)
            try:
                with self._storage.joined():
                    while goes_on(limit) and not left[0].large:
                        left.popleft().run()
            except StorageError as error:
                explainer.undone(explained)
                log.error("captures stored, not followed up", error=str(error))
        if explainer.blocked:  # what waits is found in the database when that can be written again
            self._later.clear()
            self._held = 0
            self.missed = True
            self.indexer.leave_for_later()
        explainer.blocked |= blocked

    def _follow(self, request_id: str, exchange: RecordedExchange, until: float) -> None:
        if self._finisher.is_buried(request_id, exchange):
            return
        body = exchange.request_body
        if body.kept is BodyKept.WHOLE and body.data:
            with self._finisher.at(request_id):
                self._explain(request_id, exchange, body.data, until)
            self._settled(request_id)
        if exchange.state is State.IN_FLIGHT:
            return
        if time.monotonic() > until:
            self.indexer.leave_for_later()
            return
        self.indexer.index(request_id, (exchange.response.answer.message if exchange.response else None) or {})

    def _explain(self, request_id: str, exchange: RecordedExchange, body: bytes, until: float) -> None:
        known = self._storage.is_attributed(request_id)
        if exchange.state is State.IN_FLIGHT:
            if not known and request_id not in self._later:
                self._leave(request_id, exchange, len(body), time.monotonic() + IN_FLIGHT_SECONDS)
            return
        self._take(request_id)
        if known:
            self._explainer.settle(request_id, exchange)
        elif len(body) > EXPLAIN_BYTES or time.monotonic() > until:
            self._leave(request_id, exchange, len(body), 0.0)
        else:
            self._explain_now(request_id, exchange, body)

    def _explain_now(self, request_id: str, exchange: RecordedExchange, body: bytes) -> None:
        began = exchange.instants.request_initiated
        outcome = None if exchange.state is State.IN_FLIGHT else outcome_of(exchange)
        self._explainer.explain(request_id, body, exchange.headers, began=began, url=exchange.url, outcome=outcome)

    def _leave(self, request_id: str, exchange: RecordedExchange, length: int, due: float) -> None:
        held = self._held + length <= HELD_BYTES
        self._held += length if held else 0
        self._later[request_id] = _Waiting(due, length, exchange if held else None)

    def _take(self, request_id: str) -> RecordedExchange | None:
        waiting = self._later.pop(request_id, None)
        if waiting is None or waiting.held is None:
            return None
        self._held -= waiting.length
        return waiting.held


def _is_large(length: int) -> bool:
    return length > JOINED_BYTES
