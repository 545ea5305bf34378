"""What an export is made of: the ids of all that match, and one exchange with all that is known of it.

The ids are read at once (36 bytes each), so that an export is of one moment and takes no snapshot while it runs; each
exchange is read when its turn comes. One that was deleted in between is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.errors import CorruptBodyError, NotFoundError
from claudeproxy.export.bodies import ExportedBody, read_body
from claudeproxy.store.listing import list_query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import (
        CapturedRequest,
        CapturedResponse,
        ContextAttribution,
        RequestFilters,
        SourceTotal,
    )
    from claudeproxy.store.websocket_values import CapturedMessage, CapturedStream

_ALL = 1 << 62  # as_of: whatever there is


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedExchange:
    """One exchange, ready to be written."""

    request: CapturedRequest
    request_body: ExportedBody
    response: CapturedResponse | None
    response_body: ExportedBody | None
    sources: Sequence[SourceTotal]
    attributions: Sequence[ContextAttribution]
    streams: Sequence[CapturedStream] = ()  # both directions of a WebSocket
    messages: Sequence[CapturedMessage] = ()


def matching_ids(storage: CaptureStorage, filters: RequestFilters) -> list[str]:
    """Return the ids of all requests that match, the oldest first. Paging in `filters` is ignored."""
    query = list_query(filters, _ALL if filters.as_of is None else filters.as_of)
    statement = f"SELECT id FROM requests WHERE n IN ({query.numbers}) ORDER BY request_initiated, n"  # noqa: S608
    with storage.reading() as connection:
        return [str(row[0]) for row in connection.execute(statement, query.parameters)]


def read_exchange(storage: CaptureStorage, request_id: str) -> ExportedExchange | None:
    """Return one exchange; None when it is there no more."""
    try:
        request = storage.get_request(request_id)
        body = _bytes(lambda: request.body)
        attributions, sources = storage.attributions(request_id), storage.sources(request_id)
    except NotFoundError:
        return None
    try:
        response = storage.get_response(request_id)
        answer = _bytes(lambda: response.body)
    except NotFoundError:
        response, answer = None, None
    streams, messages = _websocket(storage, request_id)
    return ExportedExchange(
        request=request,
        request_body=read_body(request.body_kept, body, request.headers, taken_off=request.body_encoding),
        response=response,
        response_body=None if response is None else read_body(response.body_kept, answer, response.headers),
        sources=sources,
        attributions=attributions,
        streams=streams,
        messages=messages,
    )


def _websocket(storage: CaptureStorage, request_id: str) -> tuple[Sequence[CapturedStream], Sequence[CapturedMessage]]:
    """What passed through a WebSocket; nothing where it is damaged, or there is none."""
    try:
        if streams := storage.websocket(request_id):
            return streams, storage.websocket_messages(request_id)
    except (CorruptBodyError, NotFoundError):
        pass
    return (), ()


def _bytes(read: Callable[[], bytes]) -> bytes | None:
    """A body; None when it is damaged, which must not end the export of all others."""
    try:
        return read()
    except CorruptBodyError:
        return None
