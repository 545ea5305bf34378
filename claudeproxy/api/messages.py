"""GET /api/claude/requests/{id}/messages: what passed through a WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response
from quart_schema import document_response, validate_querystring

from claudeproxy.api.answers import body_response, document, json_response
from claudeproxy.api.errors import MESSAGE_NOT_FOUND, REQUEST_NOT_FOUND
from claudeproxy.api.ids import or_404, place, whole_id
from claudeproxy.api.message_schemas import Message, MessageList, Stream
from claudeproxy.api.parameters import MessageQuery
from claudeproxy.api.times import iso

if TYPE_CHECKING:
    from claudeproxy.api.storage import StoragePool
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.websocket_values import CapturedMessage, CapturedStream

INLINE_BYTES = 64 << 10
"""Of a payload, in a page: a hundred of the largest would be a gigabyte."""


def message_routes(storage: StoragePool) -> Blueprint:
    """The routes of messages."""
    routes = Blueprint("messages", __name__)

    @routes.get("/requests/<id>/messages")
    @validate_querystring(MessageQuery)
    @document_response(MessageList)
    async def list_messages(id: str, query_args: MessageQuery) -> Response:  # noqa: A002 - the name in the path
        """List the messages of a WebSocket; none of an exchange that is none, or is still open."""
        wanted = whole_id(id, REQUEST_NOT_FOUND)
        with or_404(REQUEST_NOT_FOUND):
            return json_response(await storage.run(lambda reader: _page(reader, wanted, query_args)))

    @routes.get("/requests/<id>/messages/<index>/body")
    async def get_message_body(id: str, index: str) -> Response:  # noqa: A002
        """Download a message's payload, byte for byte: unmasked, fragments joined, decompressed."""
        wanted, number = whole_id(id, REQUEST_NOT_FOUND), place(index, MESSAGE_NOT_FOUND)
        with or_404(MESSAGE_NOT_FOUND):
            message = await storage.run(lambda reader: reader.websocket_message(wanted, number))
        return body_response(
            message.data, kept=message.kept, encoding=None, filename=f"message-{wanted}-{message.index}.bin"
        )

    return routes


def _page(reader: CaptureStorage, wanted: str, query: MessageQuery) -> str:
    found = reader.websocket_messages(wanted, limit=query.limit, offset=query.offset, direction=query.direction)
    return document(
        MessageList(
            messages=[_message(one) for one in found],
            total=reader.count_websocket_messages(wanted, direction=query.direction),
            limit=query.limit,
            offset=query.offset,
            streams=[stream_document(one) for one in reader.websocket(wanted)],
        )
    )


def stream_document(one: CapturedStream) -> Stream:
    """One direction."""
    return Stream(
        direction=one.direction,
        messages=one.messages,
        kept=one.kept,
        length=one.length,
        recorded=one.recorded,
        problem=one.problem,
        undecodable_from=one.undecodable_from,
    )


def _message(one: CapturedMessage) -> Message:
    payload = one.payload(INLINE_BYTES)
    code, reason = one.close
    return Message(
        index=one.index,
        direction=one.direction,
        opcode=one.opcode,
        timestamp=iso(one.at),
        size=one.size,
        wire_size=one.wire_size,
        frames=one.frames,
        compressed=one.compressed,
        complete=one.complete,
        kept=one.kept,
        text=payload.text,
        base64=payload.base64,
        truncated=payload.cut,
        close_code=code,
        close_reason=reason,
    )
