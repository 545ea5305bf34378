"""What the journal says about heads and ends: JSON, with every header and URL redacted on its way in.

Apart from `tap`, which decides when to write, and from `assemble`, which makes exchanges of it: the same structures are
written and read, so the two cannot disagree. Header names and values travel as Latin-1 text, so that any byte
survives. There is no other way for a head into the journal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from claudeproxy.capture.redact import redact_headers, redact_text, redact_url, redacted_text
from claudeproxy.capture.upgraded import UpgradeEnd  # noqa: TC001 (msgspec reads the annotations at run time)
from claudeproxy.model import BodyKept, Direction, EntryMode, State  # noqa: TC001 (msgspec reads the annotations at run time)

if TYPE_CHECKING:
    from claudeproxy.capture.finder import SecretFinder
    from claudeproxy.model import ExchangeEnd, ExchangeStart, RawHeaders, ResponseStart

Pairs: TypeAlias = list[tuple[str, str]]


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of an OPEN record. `fate` is what becomes of the request body, as far as that is known."""

    correlation_id: str
    entry_mode: EntryMode
    method: str
    url: str
    upstream_url: str
    http_version: str
    headers: Pairs
    api_key_hash: str | None
    body_length: int | None
    fate: BodyKept
    request_initiated: int
    monotonic: int
    filtered: bool = False  # secrets in the body are masked, its content coding is taken off


class Informational(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of an INFORMATIONAL record: of a 1xx answer only the status is kept."""

    status_code: int


class ResponseHead(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of a RESPONSE_START record."""

    status_code: int
    reason: str
    http_version: str
    headers: Pairs
    origin: str
    fate: BodyKept
    body_length: int | None
    monotonic: int
    filtered: bool = False


class Filtered(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of a FILTERED record: secrets that were masked in a body, and whether all of it was looked through."""

    direction: Direction
    found: list[tuple[str, str, int, int]]  # rule, hash, start, length
    done: bool


class BodyEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How long a body was and what became of it; `sha256` (hex, keyed where secrets are masked) where the tap had to
    reckon it; `kept_length` where the journal has it in another form."""

    length: int
    fate: BodyKept
    sha256: str | None = None
    kept_length: int | None = None


class Closing(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of an END record; `late_head` is a response head that could not be written when it came."""

    state: State
    error: str | None
    error_kind: str | None
    proxy_received: int | None
    forwarded: int | None
    response_received: int | None
    delivered: int | None
    request_head_us: int
    request_body_us: int
    response_head_us: int
    connect_us: int
    early_response: bool
    trailers: Pairs
    request: BodyEnd
    response: BodyEnd
    late_head: ResponseHead | None
    upgrade: UpgradeEnd | None = None  # of a connection that was upgraded


def opening(
    start: ExchangeStart,
    *,
    api_key_hash: str | None,
    fate: BodyKept,
    filtered: bool = False,
    finder: SecretFinder | None = None,
) -> Opening:
    """The request head as the journal may have it; `finder` masks what looks like a secret anywhere in it."""
    return Opening(
        correlation_id=start.correlation_id,
        entry_mode=start.entry_mode,
        method=redact_text(start.method),
        url=_url(start.url, finder),
        upstream_url=_url(start.upstream_url, finder),
        http_version=start.http_version,
        headers=_pairs(start.headers, finder),
        api_key_hash=api_key_hash,
        body_length=start.body_length,
        fate=fate,
        request_initiated=start.request_initiated,
        monotonic=start.monotonic,
        filtered=filtered,
    )


def response_head(
    head: ResponseStart, *, fate: BodyKept, filtered: bool = False, finder: SecretFinder | None = None
) -> ResponseHead:
    """The response head as the journal may have it."""
    return ResponseHead(
        status_code=head.status_code,
        reason=_url(head.reason, finder),
        http_version=head.http_version,
        headers=_pairs(head.headers, finder),
        origin=head.origin,
        fate=fate,
        body_length=content_length(head.headers),
        monotonic=head.monotonic,
        filtered=filtered,
    )


def closing(
    end: ExchangeEnd,
    *,
    request: BodyEnd,
    response: BodyEnd,
    late_head: ResponseHead | None,
    upgrade: UpgradeEnd | None = None,
    finder: SecretFinder | None = None,
) -> Closing:
    """The end as the journal may have it."""
    return Closing(
        state=end.state,
        error=None if end.error is None else _url(end.error, finder),
        error_kind=end.error_kind,
        proxy_received=end.proxy_received,
        forwarded=end.forwarded,
        response_received=end.response_received,
        delivered=end.delivered,
        request_head_us=end.request_head_us,
        request_body_us=end.request_body_us,
        response_head_us=end.response_head_us,
        connect_us=end.connect_us,
        early_response=end.early_response,
        trailers=_pairs(end.response_trailers, finder),
        request=request,
        response=response,
        late_head=late_head,
        upgrade=upgrade,
    )


def content_length(headers: RawHeaders) -> int | None:
    """The announced length of a body, None when there is none or no number."""
    for name, value in headers:
        if name.lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return None


def raw_headers(pairs: Pairs) -> RawHeaders:
    """Back from the journal's form."""
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs)


def _url(text: str, finder: SecretFinder | None) -> str:
    """A URL, or a sentence that may hold one."""
    text = redact_url(text)
    return text if finder is None else finder.masked(text.encode()).decode("utf-8", "replace")


def _pairs(headers: RawHeaders, finder: SecretFinder | None) -> Pairs:
    if finder is None:
        return redacted_text(headers)
    return [(name.decode("latin-1"), finder.masked(value).decode("latin-1")) for name, value in redact_headers(headers)]
