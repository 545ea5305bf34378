"""GET /api/claude/live (server-sent events) and /api/claude/ws (WebSocket): captures as they are made.

Both tell the same events and take the same filters; a reader that gives the last event's id goes on from there, and is
told `reset` where there is no such event (any more). What
wakes them and who is let go, `claudeproxy.live` decides; here are the two wires. A feed ends with its client, with the
server, or when its client takes nothing any more.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import trio
from pydantic import ValidationError
from quart import Blueprint, Response, has_request_context, request, websocket
from quart.wrappers.response import ResponseBody
from quart_schema import validate_querystring
from werkzeug.routing.exceptions import WebsocketMismatch

from claudeproxy.api.errors import (
    INVALID_PARAMETERS,
    ApiError,
    describe,
    error_response,
    error_text,
    invalid_parameters,
)
from claudeproxy.api.events import (
    end_of_feed,
    newest_event,
    read_events,
    reset_document,
    reset_event,
    server_sent,
)
from claudeproxy.api.parameters import LiveQuery
from claudeproxy.api.serving import ENDING, STREAM
from claudeproxy.live import FeedFullError
from claudeproxy.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from types import TracebackType
    from typing import Self

    from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

    from claudeproxy.api.serving import ApiStream
    from claudeproxy.api.storage import StoragePool
    from claudeproxy.live import LiveFeed, Subscription
    from claudeproxy.store.values import RequestFilters

log = get_logger(__name__)

HEARTBEAT_SECONDS = 15.0
"""Silence after which a feed shows that it lives: what stands in between closes idle connections after a minute."""

GOING_AWAY = 1001
STOPPING = "the server stops"
LAST_EVENT_ID = "Last-Event-ID"

Event = tuple[int, str]


def change_number(storage: StoragePool) -> Callable[[], Awaitable[int]]:
    """What a `LiveFeed` asks. A database that cannot be read has no news; it is said once until it can again."""
    silent = False

    async def newest() -> int:
        nonlocal silent
        try:
            number = await storage.run(newest_event)
        except Exception as error:  # noqa: BLE001 - the feed must outlive whatever is wrong with the file
            if not silent:
                log.warning("live feed cannot read the database", **describe(error))
            silent = True
            return -1
        silent = False
        return number

    return newest


def with_feed(app: ASGIFramework, feed: LiveFeed) -> ASGIFramework:
    """The application with its feed, which runs as long as the lifespan and ends when the server's shutdown begins."""

    async def following(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.run, scope["state"].get(ENDING, trio.Event()))
            await app(scope, receive, send)
            nursery.cancel_scope.cancel()

    return following


def live_routes(storage: StoragePool, feed: LiveFeed, *, heartbeat: float = HEARTBEAT_SECONDS) -> Blueprint:
    """The two feeds."""
    routes = Blueprint("live", __name__)

    @routes.get("/live")
    @validate_querystring(LiveQuery)
    async def follow_live(query_args: LiveQuery) -> Response:
        """Follow captures as server-sent events, one for each change of an exchange, until the client leaves."""
        start = await _start(storage, _last_event_id(request.headers.get(LAST_EVENT_ID), query_args))
        if request.method == "HEAD":
            return Response(b"", content_type="text/event-stream")
        stream = _stream_of(request.scope)
        subscription = _subscribe(feed, stream)
        changes = _Changes(storage, subscription, query_args.filters(), start.after, heartbeat)
        response = Response(EventStream(changes, subscription, start), content_type="text/event-stream")
        response.headers["X-Accel-Buffering"] = "no"  # a reverse proxy in between must not collect events
        response.timeout = None
        return response

    @routes.websocket("/ws")
    async def follow_by_websocket() -> None:
        try:
            query = LiveQuery.model_validate(websocket.args.to_dict())
        except ValidationError as error:
            raise invalid_parameters(error) from None
        start = await _start(storage, _last_event_id(websocket.headers.get(LAST_EVENT_ID), query))
        stream = _stream_of(websocket.scope)
        with _subscribe(feed, stream) as subscription:
            changes = _Changes(storage, subscription, query.filters(), start.after, heartbeat)
            await websocket.accept()
            if start.reset:
                await websocket.send(reset_document(start.after))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_ignore_messages)
                await _tell(changes, subscription, stream)
                nursery.cancel_scope.cancel()

    @routes.app_errorhandler(WebsocketMismatch)
    async def mismatch(_: WebsocketMismatch) -> Response:
        details = "This is a WebSocket: connect with one, or use /api/claude/live." if has_request_context() else None
        return error_response(HTTPStatus.BAD_REQUEST, error_text(HTTPStatus.BAD_REQUEST), details)

    return routes


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a reader begins. `reset`: the event that it named is not to be, so it goes on from the newest."""

    after: int
    reset: bool


async def _start(storage: StoragePool, last_event_id: int | None) -> _Start:
    newest = await storage.run(newest_event)
    if last_event_id is None:
        return _Start(newest, reset=False)
    # Above the newest: the database is another one than it was. Waiting for that number could take for ever.
    return _Start(min(last_event_id, newest), reset=last_event_id > newest)


def _last_event_id(header: str | None, query: LiveQuery) -> int | None:
    """The header wins: a browser sends it when it reconnects, to the address that it had before."""
    if header is None or not header.strip():
        return query.last_event_id
    if not (header.isascii() and header.strip().isdecimal() and len(header) < 20):
        raise ApiError(HTTPStatus.BAD_REQUEST, INVALID_PARAMETERS, f"{LAST_EVENT_ID}: give the id of an event")
    return int(header)


def _stream_of(scope: object) -> ApiStream:
    return cast("dict[str, dict[str, ApiStream]]", scope)["state"][STREAM]


def _subscribe(feed: LiveFeed, stream: ApiStream) -> Subscription:
    def cut_off() -> None:
        if not feed.ended:
            log.info("live reader cut off: it took nothing")
        stream.abort()

    try:
        subscription = feed.subscribe(cut_off)
    except FeedFullError as error:
        details = f"{error}; close one, or try again later"
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, error_text(HTTPStatus.SERVICE_UNAVAILABLE), details) from None
    stream.expect_life()
    return subscription


class _Changes:
    """The events for one reader, from a number on."""

    def __init__(
        self, storage: StoragePool, subscription: Subscription, filters: RequestFilters, after: int, heartbeat: float
    ) -> None:
        self._storage = storage
        self._subscription = subscription
        self._filters = filters
        self._after = after
        self._heartbeat = heartbeat

    async def batches(self) -> AsyncGenerator[tuple[Event, ...], None]:
        """The next events, as they come; none of them after a silence; ends with the feed."""
        while True:
            mark = self._subscription.mark()  # before reading: what is stored meanwhile sets it
            reading = await self._storage.run(lambda reader: read_events(reader, self._after, self._filters))
            self._after = reading.upto
            if reading.events:
                yield reading.events
            if reading.more:
                continue
            if self._subscription.ended:
                return
            with trio.move_on_after(self._heartbeat) as silence:
                await mark.wait()
            if silence.cancelled_caught:
                yield ()


class EventStream(ResponseBody):
    """A body without end. `Subscription.take` and `give` mark what the reader's connection takes and is given."""

    def __init__(self, changes: _Changes, subscription: Subscription, start: _Start) -> None:
        self._chunks = _framed(changes, start)
        self._subscription = subscription

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._subscription.close()
        await self._chunks.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self._subscription.take()  # Quart asks for the next chunk when the last one was sent
        chunk = await anext(self._chunks)
        self._subscription.give()
        return chunk


async def _framed(changes: _Changes, start: _Start) -> AsyncGenerator[bytes, None]:
    yield b": claudeproxy\n\n"  # the head goes out with the first bytes: the reader knows that it is connected
    if start.reset:
        yield reset_event(start.after)
    async with aclosing(changes.batches()) as batches:
        async for events in batches:
            for event_id, document in events:
                yield server_sent(event_id, document)
            if not events:
                yield b":\n\n"
    yield end_of_feed(STOPPING)


async def _tell(changes: _Changes, subscription: Subscription, stream: ApiStream) -> None:
    subscription.take()
    async with aclosing(changes.batches()) as batches:
        async for events in batches:
            with subscription.giving():
                for _, document in events:
                    await websocket.send(document)
                    subscription.give()
                if not events:
                    await stream.ping()
    with subscription.giving():
        await websocket.close(GOING_AWAY, STOPPING)


async def _ignore_messages() -> None:
    """Whoever does not read what comes does not see the end either."""
    while True:
        await websocket.receive()
