"""The events of the live feeds as documents, and how a reader goes on from one: the same for both feeds.

Apart from `live`, which knows sockets. Read in a worker thread, as everything that asks the database.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from claudeproxy.api.presenting import request_summary, source_total
from claudeproxy.api.schemas import Document, RequestSummary, SourceTotal
from claudeproxy.store.changes import Change, ChangeLog

if TYPE_CHECKING:
    from claudeproxy.store.changes import CaptureChange
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import RequestFilters


class LiveEvent(Document):
    """A change of an exchange. The request and its sources are as they were when the event was made."""

    event_id: int = Field(description="Rises with every event; give the last one back to go on from there.")
    change: Change = Field(description="`started` (seen in flight), `ended`, `attributed` (its context was explained).")
    final: bool = Field(description="The exchange has ended and is explained, if it brought any context.")
    request: RequestSummary
    sources: list[SourceTotal] = Field(description="What filled the context, the largest first, as far as it is known.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Some events, ready to send: (number, JSON). `upto` is where to go on; `more` may be waiting."""

    events: tuple[tuple[int, str], ...]
    upto: int
    more: bool


def newest_event(reader: CaptureStorage) -> int:
    """The number of the latest change."""
    return ChangeLog(reader).newest()


def read_events(reader: CaptureStorage, after: int, filters: RequestFilters) -> Reading:
    """The next events after a number whose exchange matches."""
    page = ChangeLog(reader).since(after, filters)
    events = tuple((change.number, _document(change)) for change in page.changes)
    return Reading(events=events, upto=page.upto, more=page.more)


def server_sent(event_id: int, document: str) -> bytes:
    """An event as a stream of events carries it: unnamed, so that `EventSource.onmessage` gets it."""
    return f"id: {event_id}\ndata: {document}\n\n".encode()


def end_of_feed(reason: str) -> bytes:
    """The last event of a stream that the server ends."""
    return f"event: end\ndata: {json.dumps({'reason': reason})}\n\n".encode()


def reset_document(newest: int) -> str:
    """What a reader is told first that named an event which is not there: what is told now follows on `newest`."""
    reason = "there is no event of that id: the database is another one; ask for the list again"
    return json.dumps({"reset": True, "event_id": newest, "reason": reason})


def reset_event(newest: int) -> bytes:
    """The same as a server-sent event, which takes the reader's last id back."""
    return f"id: {newest}\nevent: reset\ndata: {reset_document(newest)}\n\n".encode()


def _document(change: CaptureChange) -> str:
    event = LiveEvent(
        event_id=change.number,
        change=change.change,
        final=change.final,
        request=request_summary(change.request),
        sources=[source_total(one) for one in change.sources],
    )
    return json.dumps(event.model_dump())  # ASCII: one line, whatever was captured
