"""The values that travel between the packages: frozen, slotted, keyword-only, and nothing but data.

Apart so that `proxy`, `capture`, `store` and `attribution` can hand each other facts without importing each other.
Nothing here reads a clock, a file or a socket. Five files, one for each seam:

``wire``
    proxy -> capture: what the relay tells of an exchange while it happens
``record``
    capture -> store: an exchange as the journal tells it
``websocket``
    capture -> store: the messages of an upgraded connection
``context``
    attribution -> store, api, cli: whose every piece of the context is
``account``
    accounting -> store: what every piece of it cost
"""

from __future__ import annotations

from claudeproxy.model.account import NO_BILL, Account, LedgerChange, OutputPart, PricedBill, Rates
from claudeproxy.model.context import (
    Accuracy,
    AgentCall,
    BlockAttribution,
    Evidence,
    Identity,
    RequestAttribution,
    Segment,
    Source,
    SourceType,
    WholeText,
    result_owner,
    server_owner,
    text_owner,
)
from claudeproxy.model.record import (
    Answer,
    BodyKept,
    Instants,
    RecordedBody,
    RecordedExchange,
    RecordedResponse,
    SecretFinding,
    Usage,
)
from claudeproxy.model.websocket import (
    Direction,
    Opcode,
    RecordedWebSocket,
    WebSocketMessage,
    WebSocketStream,
    close_told,
)
from claudeproxy.model.wire import (
    Buffer,
    EntryMode,
    ExchangeEnd,
    ExchangeStart,
    ExchangeTap,
    Origin,
    RawHeaders,
    ResponseStart,
    State,
    Tap,
)

__all__ = [
    "NO_BILL",
    "Account",
    "Accuracy",
    "AgentCall",
    "Answer",
    "BlockAttribution",
    "BodyKept",
    "Buffer",
    "Direction",
    "EntryMode",
    "Evidence",
    "ExchangeEnd",
    "ExchangeStart",
    "ExchangeTap",
    "Identity",
    "Instants",
    "LedgerChange",
    "Opcode",
    "Origin",
    "OutputPart",
    "PricedBill",
    "Rates",
    "RawHeaders",
    "RecordedBody",
    "RecordedExchange",
    "RecordedResponse",
    "RecordedWebSocket",
    "RequestAttribution",
    "ResponseStart",
    "SecretFinding",
    "Segment",
    "Source",
    "SourceType",
    "State",
    "Tap",
    "Usage",
    "WebSocketMessage",
    "WebSocketStream",
    "WholeText",
    "close_told",
    "result_owner",
    "server_owner",
    "text_owner",
]
