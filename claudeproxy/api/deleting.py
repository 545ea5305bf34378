"""DELETE /api/claude/requests and /requests/{id}: what a person wants gone, gone from everywhere.

Apart from `requests`, which reads, because this may take minutes: on a connection of its own, in many small
transactions, while reads and captures go on. When the client or the service goes away it stops between two of them, in
good order, and the next deletion or the daily retention finishes what was begun.

What journals still hold of recorded exchanges is overwritten first. Nobody reads it any more, and which of it is the
deleted ones' need not be known; the function for it is handed in, because the API knows no journals.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias

import trio
from quart import Blueprint, Response
from quart_schema import document_response, validate_querystring

from claudeproxy.api.answers import document, json_response
from claudeproxy.api.errors import IN_FLIGHT, INVALID_PARAMETERS, REQUEST_NOT_FOUND, ApiError
from claudeproxy.api.ids import or_404, whole_id
from claudeproxy.api.insight_schemas import Deletion
from claudeproxy.api.parameters import DeletionQuery
from claudeproxy.errors import ValidationError
from claudeproxy.model import State
from claudeproxy.store.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from claudeproxy.api.storage import StoragePool
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import RetentionReport

_NO_FILTER = "A filter is required: without one all captures would be deleted."
_NOT_ENDED = "The exchange is still in flight; delete it when it has ended."

Cursors: TypeAlias = "Mapping[str, tuple[int, int]]"
"""For each journal, by its owner, the segment and offset up to which it is recorded: `CaptureStorage.cursors`."""


def deleting_routes(deleter: StoragePool, erase_journals: Callable[[Cursors], object] | None) -> Blueprint:
    """The routes that delete captures, through `deleter`. `erase_journals` is None where there are no journals."""

    def retention(storage: CaptureStorage, *, erasing: bool = True) -> Retention:
        if erasing and erase_journals is not None:
            erase_journals(storage.cursors())
        return Retention(storage, pause=_pause)

    def delete_one(storage: CaptureStorage, wanted: str) -> RetentionReport:
        if storage.get_request(wanted).state is State.IN_FLIGHT:
            raise ApiError(HTTPStatus.CONFLICT, IN_FLIGHT, _NOT_ENDED)
        return retention(storage).delete_request(wanted)

    def delete_matching(storage: CaptureStorage, query: DeletionQuery) -> RetentionReport:
        return retention(storage, erasing=not query.dry_run).delete_requests(query.filters(), dry_run=query.dry_run)

    routes = Blueprint("deleting", __name__)

    @routes.delete("/requests")
    @validate_querystring(DeletionQuery)
    @document_response(Deletion)
    async def delete_requests(query_args: DeletionQuery) -> Response:
        """Delete all ended captures that match the filters of the list; at least one filter is required."""
        try:
            report = await deleter.run(lambda storage: delete_matching(storage, query_args))
        except ValidationError:
            raise ApiError(HTTPStatus.BAD_REQUEST, INVALID_PARAMETERS, _NO_FILTER) from None
        return _counted(report)

    @routes.delete("/requests/<id>")
    @document_response(Deletion)
    async def delete_request(id: str) -> Response:  # noqa: A002 - the name that the path shows
        """Delete one capture with its response, attributions and feedback."""
        wanted = whole_id(id, REQUEST_NOT_FOUND)
        with or_404(REQUEST_NOT_FOUND):
            return _counted(await deleter.run(lambda storage: delete_one(storage, wanted)))

    return routes


def _pause(seconds: float) -> None:
    trio.from_thread.check_cancelled()
    time.sleep(seconds)


def _counted(report: RetentionReport) -> Response:
    return json_response(document(Deletion.model_validate(asdict(report))))
