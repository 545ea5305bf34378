"""An upgraded connection as the recorder would hand it over."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from claudeproxy.model import (
    BodyKept,
    Direction,
    Opcode,
    RecordedWebSocket,
    State,
    WebSocketMessage,
    WebSocketStream,
)
from tests.store.exchanges import START, exchange, response

if TYPE_CHECKING:
    from claudeproxy.model import RecordedExchange


def message(number: int, data: bytes, **changes: object) -> WebSocketMessage:
    """Number `number` of its connection: sent and received by turns."""
    made = WebSocketMessage(
        direction=Direction.SENT if number % 2 == 0 else Direction.RECEIVED,
        opcode=Opcode.TEXT,
        at=START + number,
        data=data,
        size=len(data),
        start=10 * number,
        wire_size=len(data) + 6,
        frames=1,
        compressed=False,
        complete=True,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


STREAM = WebSocketStream(kept=BodyKept.WHOLE, length=100, recorded=100)


def websocket(
    *messages: WebSocketMessage, sent: WebSocketStream = STREAM, received: WebSocketStream = STREAM
) -> RecordedWebSocket:
    return RecordedWebSocket(sent=sent, received=received, messages=messages)


def upgraded(number: int, what: RecordedWebSocket, **changes: object) -> RecordedExchange:
    """An exchange that became a WebSocket."""
    made = exchange(number, b"", state=State.COMPLETE, response=response(b"", number=number, status_code=101))
    return replace(made, method="GET", url="https://api.anthropic.com/v1/socket", websocket=what, **changes)  # type: ignore[arg-type]
