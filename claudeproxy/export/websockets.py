"""Upgraded connections in both formats.

Apart from them because a WebSocket is a rare kind of exchange. In a HTTP archive it is written as Chrome does: messages
under `_webSocketMessages`, of the entry's `_resourceType` ``websocket``.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from claudeproxy.export.times import iso
from claudeproxy.model import Direction, Opcode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.store.websocket_values import CapturedMessage, CapturedStream

_OPCODES = {Opcode.TEXT: 1, Opcode.BINARY: 2, Opcode.CLOSE: 8, Opcode.PING: 9, Opcode.PONG: 10}
_TYPES = {Direction.SENT: "send", Direction.RECEIVED: "receive"}


def websocket_object(
    streams: Sequence[CapturedStream], messages: Sequence[CapturedMessage]
) -> dict[str, object] | None:
    """For JSON lines; None where the connection was not upgraded."""
    if not streams:
        return None
    return {
        "streams": [stream_object(one) for one in streams],
        "messages": [message_object(one) for one in messages],
    }


def stream_object(one: CapturedStream) -> dict[str, object]:
    """One direction."""
    return {
        "direction": str(one.direction),
        "messages": one.messages,
        "kept": str(one.kept),
        "length": one.length,
        "recorded": one.recorded,
        "problem": one.problem,
        "undecodable_from": one.undecodable_from,
        "undecodable": None if one.undecodable_from is None else b64encode(one.raw).decode(),
    }


def message_object(one: CapturedMessage) -> dict[str, object]:
    """One message."""
    payload, (code, reason) = one.payload(), one.close
    return {
        "index": one.index,
        "direction": str(one.direction),
        "opcode": str(one.opcode),
        "timestamp": iso(one.at),
        "size": one.size,
        "wire_size": one.wire_size,
        "frames": one.frames,
        "compressed": one.compressed,
        "complete": one.complete,
        "kept": str(one.kept),
        "text": payload.text,
        "base64": payload.base64,
        "close_code": code,
        "close_reason": reason,
    }


def har_messages(messages: Sequence[CapturedMessage]) -> list[dict[str, object]]:
    """For a HTTP archive: `time` is in seconds, `data` text or, where it is none, base64."""
    made: list[dict[str, object]] = []
    for one in messages:
        payload = one.payload()
        made.append(
            {
                "type": _TYPES[one.direction],
                "time": round(one.at / 1e9, 6),
                "opcode": _OPCODES[one.opcode],
                "data": payload.base64 if payload.text is None else payload.text,
            }
        )
    return made
