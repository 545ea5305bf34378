"""The values that travel between the packages: frozen, slotted, keyword-only, and nothing but data.

Apart so that `proxy`, `capture`, `store` and `attribution` can hand each other facts without importing each other.
Nothing here reads a clock, a file or a socket. Four files, one for each seam:

``wire``
    proxy -> capture: what the relay tells of an exchange while it happens
``record``
    capture -> store: an exchange as the journal tells it
``context``
    attribution -> store, api, cli: whose every piece of the context is
``account``
    accounting -> store: what every piece of it cost
"""

from __future__ import annotations

from claudeproxy.model.account import Account, LedgerChange, OutputPart, PricedBill, Rates
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
from claudeproxy.model.record import Answer, BodyKept, Instants, RecordedBody, RecordedExchange, RecordedResponse, Usage
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
    "Account",
    "Accuracy",
    "AgentCall",
    "Answer",
    "BlockAttribution",
    "BodyKept",
    "Buffer",
    "EntryMode",
    "Evidence",
    "ExchangeEnd",
    "ExchangeStart",
    "ExchangeTap",
    "Identity",
    "Instants",
    "LedgerChange",
    "Origin",
    "OutputPart",
    "PricedBill",
    "Rates",
    "RawHeaders",
    "RecordedBody",
    "RecordedExchange",
    "RecordedResponse",
    "RequestAttribution",
    "ResponseStart",
    "Segment",
    "Source",
    "SourceType",
    "State",
    "Tap",
    "Usage",
    "WholeText",
    "result_owner",
    "server_owner",
    "text_owner",
]
