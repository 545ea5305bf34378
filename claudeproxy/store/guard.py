"""Runs the parts that are derived from an exchange, so that a fault in one costs that part and no capture.

Apart from `writer` because what to do about an exception that nobody foresaw is one decision, not one a part: undo what
the part wrote, note it (`unfinished`), tell it, go on. Guarding costs a savepoint a part, so it begins only when an
exchange has failed without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from claudeproxy.store.unfinished import DIED, Part, is_content, note

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from claudeproxy.model import RecordedExchange

T = TypeVar("T")


class Guard:
    """Over one connection whose transaction the caller holds. `forget` is called when something was rolled back.

    `guarded`: whether parts run in savepoints of their own. `on_failure(correlation_id, part, error)` is for the log.
    """

    def __init__(self, connection: sqlite3.Connection, forget: Callable[[], None]) -> None:
        self._connection = connection
        self._forget = forget
        self.guarded = False
        self.on_failure: Callable[[str, str, Exception], None] | None = None

    def run(self, exchange: RecordedExchange, number: int, part: Part, derive: Callable[[], T]) -> T | None:
        """Return what `derive` returns; None when it failed, or is not to be tried.

        What the environment is to blame for is raised, and everything while not `guarded`.
        """
        if exchange.raw or part in exchange.unread:
            note(self._connection, number, part, DIED if exchange.raw else exchange.unread[part])
            return None
        if not self.guarded:
            return derive()
        self._connection.execute("SAVEPOINT part")
        found: T | None = None
        try:
            found = derive()
        except Exception as error:
            if not is_content(error):
                raise
            self._connection.execute("ROLLBACK TO part")
            self._forget()
            note(self._connection, number, part, type(error).__name__)
            if self.on_failure is not None:
                self.on_failure(exchange.correlation_id, part, error)
        self._connection.execute("RELEASE part")
        return found
