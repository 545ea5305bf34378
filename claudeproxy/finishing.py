"""Sees to it that what could not be derived from a capture is derived once it can be.

Apart from `recording` and `explaining`, which go on without it: a part that failed is noted in the database
(`store.unfinished`) and costs nothing until another version of the code, or of its rules, comes by, or a person asks
(``claudeproxy metrics rebuild``). Then the capture is read again as it is stored. What killed the recorder is noted by
the one after it (`capture.deathwatch`), and not tried again by the same code.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from claudeproxy.capture.deathwatch import EXPLAINING
from claudeproxy.errors import StorageError
from claudeproxy.logs import get_logger
from claudeproxy.model import State
from claudeproxy.store.unfinished import Part
from claudeproxy.telling import RecordingLog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claudeproxy.capture.deathwatch import Deathwatch
    from claudeproxy.explaining import Explainer
    from claudeproxy.model import RecordedExchange
    from claudeproxy.store.storage import CaptureStorage

log = get_logger("claudeproxy.recording")

BATCH = 8  # requests between two looks at the journal


class Finisher:
    """Over a writable storage and what explains its captures. Not thread-safe.

    `count` is how many parts of captures could not be derived since it began. `watch`: the recorder's.
    """

    def __init__(
        self,
        storage: CaptureStorage,
        explainer: Explainer,
        *,
        watch: Deathwatch | None = None,
        told: RecordingLog | None = None,
    ) -> None:
        self._storage = storage
        self._explainer = explainer
        self._watch = watch
        self._told = told or RecordingLog()
        self._buried: set[str] | None = None  # captures that killed a recorder; None: not asked yet
        self._behind = True
        self.count = 0
        storage.on_unfinished(self._unfinished)

    # --- what goes wrong ------------------------------------------------------------------------------------

    @contextmanager
    def at(self, request_id: str) -> Iterator[None]:
        """While a capture is explained: were this process to die here, the next one would know at what."""
        if self._watch is None:
            yield
            return
        self._watch.at(EXPLAINING, request_id)
        try:
            yield
        finally:
            self._watch.rest()
            self._watch.acquit(EXPLAINING, request_id)

    def begin(self) -> None:
        """Leave alone what has killed recorders before this one. Asked often, done once; raises StorageError."""
        if self._buried is None and self._watch is not None:
            suspects = self._watch.suspects(EXPLAINING)
            for request_id in suspects:
                self._bury(request_id)
            self._buried = set(suspects)
            for request_id in suspects:
                self._watch.acquit(EXPLAINING, request_id)

    def is_buried(self, request_id: str, exchange: RecordedExchange) -> bool:
        """Whether nothing is to be derived from a capture."""
        return exchange.raw or (self._buried is not None and request_id in self._buried)

    def note_unread(self, request_id: str, exchange: RecordedExchange) -> None:
        """Tell and note what of a stored exchange was not read. Raises StorageError."""
        if exchange.raw or exchange.unread:
            self.count += 1
            self._told.unread(exchange)
        if exchange.raw and exchange.state is not State.IN_FLIGHT:
            self._bury(request_id)

    def unindexed(self, request_id: str, error: Exception) -> None:
        """Tell and note that texts cannot be found."""
        log.warning("texts not indexed", request_id=request_id, error=str(error))
        if not isinstance(error, StorageError):
            self.count += 1
            self._storage.note_unfinished(request_id, Part.SEARCH, error)

    def _bury(self, request_id: str) -> None:
        log.error("capture left unexplained: the recorder died at it", request_id=request_id)
        for part in (Part.ATTRIBUTION, Part.SEARCH):
            self._storage.note_unfinished(request_id, part, None, rules_version=self._explainer.engine.version)

    def _unfinished(self, correlation_id: str, part: str, error: Exception) -> None:
        self.count += 1
        self._told.unfinished(correlation_id, part, error)

    # --- what can be mended ---------------------------------------------------------------------------------

    def catch_up(self) -> bool:
        """Finish a few captures that only other versions of the code have tried; tell whether there may be more.

        :raises StorageError: the database cannot be used.
        """
        if self._behind:
            batch = self._storage.waiting_to_finish(BATCH, rules_version=self._explainer.engine.version)
            for request_id in batch:
                with self.at(request_id):
                    self.finish(request_id)
            self._behind = bool(batch)
        return self._behind

    def finish_all(self) -> int:
        """Try everything that failed again, whoever tried it; return how many captures that were.

        :raises StorageError: the database cannot be used.
        """
        everything = self._storage.waiting_to_finish(-1, rules_version=None)
        for request_id in everything:
            self.finish(request_id)
        return len(everything)

    def finish(self, request_id: str) -> None:
        """Derive again what failed of one capture. What fails again is noted, by this version."""
        self._storage.redo(request_id)
        self._explainer.explain_stored(request_id)
        try:
            self._storage.index_texts(request_id)
        except Exception as error:  # noqa: BLE001 - as in `store.indexing`
            self.unindexed(request_id, error)
