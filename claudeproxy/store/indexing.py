"""Keeps the full-text index up with the captures: each as it ends, and at leisure what was missed.

Apart from `search`, which knows words and transactions, because this is about what happens when it goes wrong: a text
that cannot be indexed leaves its capture as it is, is told once, and is not tried again by this process.
"""

from __future__ import annotations

import sqlite3
from contextlib import nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from claudeproxy.store.storage import CaptureStorage

BATCH = 8  # requests indexed between two looks at the journal; some milliseconds each


class Indexer:
    """Indexes over a writable storage. `on_error` gets the request's id and what was wrong; nothing is raised.

    Each request within ``around(request_id)``.

    `blocked`: the database could not be written (a full disk, a lock), and nothing is caught up with until the flag is
    taken down.
    """

    def __init__(
        self,
        storage: CaptureStorage,
        on_error: Callable[[str, Exception], None],
        *,
        around: Callable[[str], AbstractContextManager[object]] = lambda _: nullcontext(),
    ) -> None:
        self._storage = storage
        self._around = around
        self._on_error = on_error
        self._failed: set[str] = set()
        self.blocked = False
        self._behind = True  # a crash, or a new reading of texts, may have left some

    def index(self, request_id: str, message: object = None) -> None:
        """Index one ended request; `message` is its answer, read from the response when it is None."""
        try:
            with self._around(request_id):
                self._storage.index_texts(request_id, message)
        except Exception as error:  # noqa: BLE001 - a hostile body must not end the recorder
            if isinstance(error.__cause__, sqlite3.OperationalError):
                self.blocked = self._behind = True
            else:
                self._failed.add(request_id)
            self._on_error(request_id, error)

    def leave_for_later(self) -> None:
        """There is a request that `catch_up` will find."""
        self._behind = True

    def catch_up(self) -> bool:
        """Index a few requests that are not; tell whether there may be more."""
        if self._behind:
            waiting = self._storage.unindexed(BATCH + len(self._failed))
            batch = [request_id for request_id in waiting if request_id not in self._failed][:BATCH]
            for request_id in batch:
                if not self.blocked:
                    self.index(request_id)
            self._behind = bool(batch)
        return self._behind
