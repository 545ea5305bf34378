"""What a script tells the mock to answer: plain values, no behaviour.

Apart so that scripts and conversations can be written, compared and stored without a server. Nothing here knows HTTP
framing or server-sent events: `testing.events` turns a `Reply` into a message, `testing.server` puts it on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from claudeproxy.model import RawHeaders
    from claudeproxy.testing.pacing import Gate

JSON: TypeAlias = "Mapping[str, JSON] | Sequence[JSON] | str | int | float | bool | None"
"""A JSON value as scripts write it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A `text` block."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """A `thinking` block; the signature comes as one `signature_delta`."""

    thinking: str
    signature: str = "bW9jay1zaWduYXR1cmU="


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """A `tool_use` block. `id` None: the mock makes one (``toolu_mock_...``, counted per mock)."""

    name: str
    input: Mapping[str, JSON] = field(default_factory=dict)
    id: str | None = None


ContentBlock: TypeAlias = Text | Thinking | ToolUse


class FaultKind(StrEnum):
    """What goes wrong after the answer began."""

    CUT = "cut"  # the connection is closed in the middle of the body
    ERROR = "error"  # a stream ends with an in-band `event: error`
    HANG = "hang"  # nothing more is sent until the client leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault after so many server-sent events (in a stream) or after so many body bytes (in a JSON answer)."""

    kind: FaultKind
    after: int
    error_type: str = "overloaded_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When the events of a stream leave.

    `delay` is in seconds, between writes; `batch` is how many events share a write (0: all of them, a burst); a `gate`
    lets a test decide about each write.
    """

    delay: float = 0.0
    batch: int = 1
    gate: Gate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A message (status 200), streamed when the request says `stream: true`, else one JSON document.

    None means "as the API would do": a stop reason that follows from the content, the model that was asked for, an id
    made by the mock, output tokens counted from the content. `encoding` is a content coding for the body (``gzip``,
    ``br``, ``zstd``), `piece` the characters of one delta, `usage` members to add to the computed usage.
    """

    content: tuple[ContentBlock, ...] = ()
    stop_reason: str | None = None
    model: str | None = None
    message_id: str | None = None
    output_tokens: int | None = None
    usage: Mapping[str, JSON] = field(default_factory=dict)
    headers: RawHeaders = ()
    encoding: Literal["gzip", "br", "zstd"] | None = None
    piece: int = 40
    pace: Pace = field(default_factory=Pace)
    fault: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReply:
    """An error in the API's own shape: ``{"type": "error", "error": {"type", "message"}, "request_id"}``."""

    status_code: int
    error_type: str
    message: str
    headers: RawHeaders = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RawReply:
    """Any answer at all, for what the Messages API would not say: body bytes as given, sent with Content-Length."""

    status_code: int = 200
    headers: RawHeaders = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """Not a byte comes back: the connection is closed at once (`close`), or stays silent until the client leaves."""

    close: bool = False


Answer: TypeAlias = Reply | ErrorReply | RawReply | NoAnswer


def text(words: str, *, pace: Pace | None = None) -> Reply:
    """Answer with one text block: what most scripts want."""
    return Reply(content=(Text(text=words),), pace=pace or Pace())


def tool_use(name: str, arguments: Mapping[str, JSON], *, say: str = "", id: str | None = None) -> Reply:  # noqa: A002 - the API's word
    """Answer with one tool call, after the words `say` if there are any."""
    call = ToolUse(name=name, input=arguments, id=id)
    return Reply(content=(Text(text=say), call) if say else (call,))


def rate_limited(retry_after: int = 1) -> ErrorReply:
    """429 with `retry-after` in seconds."""
    headers = ((b"retry-after", str(retry_after).encode()), (b"x-should-retry", b"true"))
    return ErrorReply(
        status_code=429, error_type="rate_limit_error", message="Rate limited by the mock", headers=headers
    )


def overloaded() -> ErrorReply:
    """529, the API's own status for "too busy"."""
    return ErrorReply(status_code=529, error_type="overloaded_error", message="Overloaded")


def server_error() -> ErrorReply:
    """500."""
    return ErrorReply(status_code=500, error_type="api_error", message="Internal server error")
