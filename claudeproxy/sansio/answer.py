"""What a response of the Messages API says: plain JSON, a stream put together again, an error, a token count.

Apart from `capture` because store and API read stored responses again with it. It judges bytes that may be cut,
corrupt, encoded or of no known shape, so it never raises: what cannot be read is None in the `Answer`. It does not
touch the raw bytes, which stay the record; the message made here is a reading of them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeGuard, cast

import msgspec

from claudeproxy.errors import ProtocolError
from claudeproxy.model import Answer, Usage
from claudeproxy.sansio.encoding import decode_prefix
from claudeproxy.sansio.sse import SSEParser
from claudeproxy.sansio.stream import StreamedMessage

if TYPE_CHECKING:
    from claudeproxy.model import RawHeaders

# The parser is fed in pieces, so that everything before an unreadable event is known.
_PIECE = 1 << 20

# A message has a few hundred KB at most. As Python's objects JSON takes up to thirty times its size.
_MAX_JSON = 16 << 20

# Reading costs time by the byte and by the event (some 0.1 us and 5 us), and a coding makes many of few: 900 KB of gzip
# would take 15 s, and whoever else is recorded waits. Long answers have some MB and some ten thousand events.
_MAX_CODED = 32 << 20
_MAX_EVENTS = 1_000_000

# A hundred million is no request's token count (a context holds one), and at any price in pico-dollars the sums of many
# such counts still fit into SQLite's integers, which end at 9.2e18.
_MAX_COUNT = 10**8


def parse_json(data: bytes | str) -> object | None:
    """The JSON value, or None when it is not JSON. Lone surrogates, which JavaScript emits, are let through."""
    try:
        return cast("object", msgspec.json.decode(data))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    try:
        return cast("object", json.loads(data))
    except (ValueError, RecursionError):
        return None


def read_answer(body: bytes, headers: RawHeaders, *, status_code: int, max_decoded: int) -> Answer:
    """Read a response body as received, maybe cut; `max_decoded` bounds what its content coding may expand to.

    Of a body that is larger, or has more events than any message, the beginning is read.
    """
    try:
        return _read(body, headers, status_code, max_decoded)
    except RecursionError:
        return Answer()  # nested deeper than any message, and than Python follows


def _read(body: bytes, headers: RawHeaders, status_code: int, max_decoded: int) -> Answer:
    codings = _header(headers, b"content-encoding")
    decoded = decode_prefix(body, codings, max_bytes=min(max_decoded, _MAX_CODED) if codings else max_decoded)
    media_type = _header(headers, b"content-type").partition(";")[0].strip().lower()
    if media_type == "text/event-stream" or (not media_type and decoded.startswith((b"event:", b"data:"))):
        return _read_stream(decoded)
    value = parse_json(decoded) if len(decoded) <= _MAX_JSON else None
    return _read_json(value, status_code) if is_object(value) else Answer()


def _header(headers: RawHeaders, name: bytes) -> str:
    """All values of a list-valued field, joined as RFC 9110 5.3 allows; "" when there is none."""
    return ", ".join(value.decode("latin-1") for key, value in headers if key.lower() == name)


def is_object(value: object) -> TypeGuard[dict[str, object]]:
    """Whether a parsed JSON value is an object."""
    return isinstance(value, dict)


def _read_stream(body: bytes) -> Answer:
    parser = SSEParser()
    stream = StreamedMessage(parse_json)
    count = 0
    try:
        for start in range(0, len(body), _PIECE):
            for event in parser.feed(body[start : start + _PIECE]):
                stream.add(event)
                count += 1
            if count > _MAX_EVENTS:
                break
    except ProtocolError:
        pass  # a monstrous event: what came before it is known
    message = stream.message()
    if message is None:
        return Answer(error_type=stream.error_type, streamed=True)
    return _answer(message, error_type=stream.error_type, streamed=True)


def _read_json(value: dict[str, object], status_code: int) -> Answer:
    error = value.get("error")
    if is_object(error) and (value.get("type") == "error" or status_code >= 400):
        return Answer(error_type=_text(error.get("type")))
    if value.get("type") == "message":
        return _answer(value, error_type=None, streamed=False)
    if "type" not in value and _count(value.get("input_tokens")) is not None:
        # The answer of /v1/messages/count_tokens.
        return Answer(usage=read_usage(value))
    return Answer()


def _answer(message: dict[str, object], *, error_type: str | None, streamed: bool) -> Answer:
    return Answer(
        message=message,
        message_id=_text(message.get("id")),
        model=_text(message.get("model")),
        stop_reason=_text(message.get("stop_reason")),
        usage=read_usage(message.get("usage")),
        error_type=error_type,
        streamed=streamed,
    )


def read_usage(value: object) -> Usage:
    """The bill in a `usage` object of the API; empty when it is something else."""
    if not is_object(value):
        return Usage()
    creation, tools = _object(value.get("cache_creation")), _object(value.get("server_tool_use"))
    return Usage(
        input_tokens=_count(value.get("input_tokens")),
        cache_creation_input_tokens=_count(value.get("cache_creation_input_tokens")),
        cache_read_input_tokens=_count(value.get("cache_read_input_tokens")),
        cache_creation_5m=_count(creation.get("ephemeral_5m_input_tokens")),
        cache_creation_1h=_count(creation.get("ephemeral_1h_input_tokens")),
        output_tokens=_count(value.get("output_tokens")),
        thinking_tokens=_count(_object(value.get("output_tokens_details")).get("thinking_tokens")),
        web_search_requests=_count(tools.get("web_search_requests")),
        web_fetch_requests=_count(tools.get("web_fetch_requests")),
        service_tier=_text(value.get("service_tier")),
        speed=_text(value.get("speed")),
        inference_geo=_text(value.get("inference_geo")),
        raw=json.dumps(value, separators=(",", ":")),
    )


def _object(value: object) -> dict[str, object]:
    return value if is_object(value) else {}


def _count(value: object) -> int | None:
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_COUNT
    return cast("int", value) if good else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
