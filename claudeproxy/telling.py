"""What the recorder's log says of exchanges: each that is stored, what failed, what was set aside.

Apart from `recording`, which decides what happens, because a fault repeats itself: a storage that fails does so several
times a second, and a bug in the reading of answers meets every one. Each is told once, with all there is to know; how
often it was stands in `health`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.errors import StorageError, UnstorableError
from claudeproxy.logs import get_logger
from claudeproxy.model import State
from claudeproxy.store.columns import url_path

if TYPE_CHECKING:
    from claudeproxy.model import RecordedExchange

log = get_logger("claudeproxy.recording")

MAX_KNOWN = 1000  # faults that were told


class RecordingLog:
    """The log of one recorder."""

    def __init__(self) -> None:
        self._failure: str | None = None  # what was logged last: the same is tried and fails again and again
        self._known: set[str] = set()

    def stored(self, request_id: str, exchange: RecordedExchange) -> None:
        """An exchange was stored as far as it came."""
        facts: dict[str, object] = {
            "method": exchange.method,
            # Without the query, which may hold what is nobody's business.
            "path": url_path(exchange.url).partition("?")[0],
            "status": exchange.response.status_code if exchange.response else None,
            "state": str(exchange.state),
            "request_id": request_id,
            "correlation_id": exchange.correlation_id,
        }
        if exchange.error:
            log.warning("capture stored", **facts, error=exchange.error, error_kind=exchange.error_kind)
        elif exchange.state is State.IN_FLIGHT:
            log.debug("capture begun", **facts)
        else:
            log.info("capture stored", **facts)

    def works(self) -> None:
        """A batch was stored: the next failure is a new one."""
        self._failure = None

    def failed(self, error: Exception) -> None:
        """A batch was not stored, or a journal not read."""
        reason = f"{type(error).__name__}: {error}"
        if reason == self._failure:
            return
        self._failure = reason
        ours = isinstance(error, UnstorableError) or not isinstance(error, StorageError | OSError)
        log.error(
            "capture failed; it is kept in the journal and tried again", error=reason, exc_info=error if ours else None
        )

    def unfinished(self, correlation_id: str, part: str, error: Exception) -> None:
        """An exchange is stored, and a part of what follows from it is not: a bug."""
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        fault = f"{part} {type(error).__name__} {place.tb_frame.f_code.co_qualname if place else ''}"
        facts = {"correlation_id": correlation_id, "part": part, "error": str(error)}
        if fault in self._known:
            log.warning("capture stored, a part of it could not be derived", **facts)
            return
        if len(self._known) < MAX_KNOWN:
            self._known.add(fault)
        log.error("capture stored, a part of it could not be derived", **facts, exc_info=error)

    def unread(self, exchange: RecordedExchange) -> None:
        """An exchange is stored as it came: reading it failed, or killed the recorder."""
        if exchange.raw:
            log.error(
                "capture stored without being looked into: the recorder died at it",
                correlation_id=exchange.correlation_id,
            )
        for part, reason in exchange.unread.items():
            log.error("capture stored unread", correlation_id=exchange.correlation_id, part=part, error=reason)

    def set_aside(self, correlation_id: str, kept: bool) -> None:
        """An exchange could not be recorded at all."""
        what = "its journal is set aside" if kept else "its journal could not be set aside either, and is lost"
        log.error(f"capture cannot be recorded; {what}", correlation_id=correlation_id)
