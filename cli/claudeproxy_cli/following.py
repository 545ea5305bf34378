"""Where `tail` hears of captures: a running server's WebSocket, or the database itself.

Both tell the same numbers, so that one takes over where the other ended. Only the WebSocket needs trio.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from claudeproxy.errors import ClaudeProxyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import RequestFilters

POLL_SECONDS: Final = 0.2
CONNECT_SECONDS: Final = 10.0  # a server on this machine answers in milliseconds

# The store's filters as the API's parameters.
_PARAMETERS: Final = {
    "context_source": "source",
    **{
        name: name
        for name in (
            *("source_type", "request_class", "method", "path", "model"),
            *("status", "state", "session_id", "project"),
        )
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A change of an exchange."""

    number: int
    request_id: str
    ended: bool
    final: bool  # nothing more is to come of it


class ServerGoneError(ClaudeProxyError):
    """The server cannot be followed, or not any more; the text says why."""


def from_database(storage: CaptureStorage, filters: RequestFilters, after: int) -> Iterator[Told | None]:
    """Changes after a number as they are stored, without end; None now and then, when there is nothing."""
    from claudeproxy.store.changes import ChangeLog

    log = ChangeLog(storage)
    while True:
        page = log.since(after, filters)
        after = page.upto
        for change in page.changes:
            request = change.request
            yield Told(
                number=change.number,
                request_id=request.id,
                ended=request.state != "in_flight",
                final=change.final,
            )
        if not page.more:
            yield None
            time.sleep(POLL_SECONDS)


def from_server(
    url: str, token: str | None, filters: RequestFilters, after: int, tell: Callable[[Told | None], None]
) -> None:
    """Call `tell` with the server's events after a number, and with None now and then; what it raises comes through.

    :param url: of the API, ``http://HOST:PORT``.
    :raises ServerGoneError: sooner or later, unless something else ends it.
    """
    import trio

    failure: BaseException | None = None

    async def follow() -> None:
        nonlocal failure
        with trio.CancelScope() as scope:

            def guarded(told: Told | None) -> None:
                # What goes wrong here is ours (a closed pipe) and must not pass for an error of the connection.
                nonlocal failure
                try:
                    tell(told)
                except BaseException as error:  # noqa: BLE001 - raised again below, out of trio's groups
                    failure = error
                    scope.cancel()

            await _listen(_address(url, filters, after), token, guarded)

    try:
        trio.run(follow)
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[0] is not None:
            raise KeyboardInterrupt from None
        reason = _reason(group)
    except Exception as error:  # noqa: BLE001 - whatever ends a connection has the same remedy
        reason = _reason(error)
    else:
        reason = "it ended the connection"
    if failure is not None:
        raise failure
    raise ServerGoneError(reason)


async def _listen(url: str, token: str | None, tell: Callable[[Told | None], None]) -> None:
    import trio
    from trio_websocket import wrap_client_stream

    headers = [] if token is None else [(b"Authorization", f"Bearer {token}".encode())]
    place = urlsplit(url)
    with trio.fail_after(CONNECT_SECONDS):
        stream = await trio.open_tcp_stream(place.hostname or "", place.port or 80)  # noqa: TID251 - our own server
    # The stream is ours and not the library's, which leaves it open when the server refuses.
    async with stream, trio.open_nursery() as nursery:
        with trio.fail_after(CONNECT_SECONDS):
            resource = f"{place.path}?{place.query}"
            connection = await wrap_client_stream(nursery, stream, place.netloc, resource, extra_headers=headers)
        while True:
            message = None
            with trio.move_on_after(POLL_SECONDS):
                message = await connection.get_message()
            tell(None if message is None else _read(message))
            await trio.lowlevel.checkpoint()


def _read(message: str | bytes) -> Told:
    event = json.loads(message)
    request = event["request"]
    return Told(
        number=event["event_id"],
        request_id=request["id"],
        ended=request["state"] != "in_flight",
        final=event["final"],
    )


def _address(url: str, filters: RequestFilters, after: int) -> str:
    asked = {name: getattr(filters, field) for name, field in _PARAMETERS.items()}
    query = urlencode({name: str(value) for name, value in asked.items() if value is not None})
    return f"ws://{url.removeprefix('http://')}/api/claude/ws?last_event_id={after}{'&' if query else ''}{query}"


def _reason(error: BaseException) -> str:
    from trio_websocket import ConnectionClosed, ConnectionRejected

    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ConnectionRejected):
        return f"it answered {error.status_code}"
    if isinstance(error, ConnectionClosed):
        return (error.reason.reason if error.reason is not None else None) or "the connection was closed"
    return str(error) or type(error).__name__
