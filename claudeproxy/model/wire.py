"""What the relay tells of an exchange while it happens: heads, instants, and the tap that takes them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from claudeproxy.model.websocket import Direction

RawHeaders: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Header fields in the order, casing and number they had on the wire; values without the white space round them."""

Buffer: TypeAlias = "bytes | bytearray | memoryview"


class EntryMode(StrEnum):
    """How the client reached us; told apart by the first bytes of a connection (proxy/entry.py)."""

    CONNECT = "connect"  # HTTPS_PROXY: a CONNECT tunnel that we opened up
    TLS = "tls"  # TLS straight to us, the host named by SNI (hosts file, redirect)
    REVERSE = "reverse"  # origin-form request: ANTHROPIC_BASE_URL points at us
    ABSOLUTE = "absolute"  # absolute-form request: plain http:// through HTTP_PROXY
    CALIBRATION = "calibration"  # no client: we asked for a size (`calibrate`, off by default)


class State(StrEnum):
    """What became of an exchange. Only `IN_FLIGHT` changes later."""

    IN_FLIGHT = "in_flight"
    COMPLETE = "complete"  # a whole answer of any status arrived and was delivered
    ABORTED_BY_CLIENT = "aborted_by_client"  # Esc, a closed terminal, a reset
    CUT_BY_UPSTREAM = "cut_by_upstream"  # the head came, the end did not
    UPSTREAM_ERROR = "upstream_error"  # no response head came; the client got our 502 or a closed connection
    INTERRUPTED = "interrupted"  # the proxy died


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Scheme, host and port. `host` is lower case, without brackets for IPv6."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = {"http": 80, "https": 443}.get(self.scheme)
        return f"{self.scheme}://{host}" if self.port == default else f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeStart:
    """A request's head, as it is known when the first body byte may be forwarded."""

    correlation_id: str  # UUID4, canonical text form
    entry_mode: EntryMode
    method: str
    url: str  # absolute, as addressed to the API host, also in reverse mode
    upstream_url: str  # where it really goes
    http_version: str  # "1.1"
    headers: RawHeaders  # as the client sent them
    body_length: int | None  # Content-Length; 0 without a body, None for chunked
    request_initiated: int  # wall clock, ns: first byte of the request head
    monotonic: int  # time.monotonic_ns() at the same moment: later instants are this clock's differences


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseStart:
    """A final response's head. `origin` is ``upstream``, or ``proxy`` for an answer that we made (502)."""

    status_code: int
    reason: str
    http_version: str
    headers: RawHeaders
    origin: str
    monotonic: int  # first byte of the head


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeEnd:
    """How it ended. Instants are ``time.monotonic_ns()`` values or None for what never came.

    The `*_us` fields are the proxy's own added time in microseconds: from having a byte (or a parsed head) to having
    given it on; `connect_us` (name look-up, TCP, TLS to the upstream) is counted apart and 0 on a reused connection.
    """

    state: State
    error: str | None  # for people; never contains a header value or a body
    error_kind: str | None  # a stable word: UpstreamError.kind, "client_closed", ...
    proxy_received: int | None
    forwarded: int | None
    response_received: int | None
    delivered: int | None
    request_head_us: int
    request_body_us: int
    response_head_us: int
    connect_us: int
    early_response: bool = False  # the answer came before the request was out
    response_trailers: RawHeaders = ()
    monotonic: int = 0


class ExchangeTap(Protocol):
    """Takes one exchange's facts. Calls are synchronous, never block on I/O of unbounded length and never raise.

    Order: any number of `informational`, at most one `response_start`, any number of `response_body`, exactly one
    `end`. `request_body` may come at any time before `end`, after `response_start` too (an early answer). After a 101
    there are no bodies, but any number of `websocket`.
    Bodies are payload: Content-Length and chunked framing are already taken off, content codings are not.
    """

    def request_body(self, data: Buffer) -> None:
        """Take a piece of the request body's payload."""
        ...

    def informational(self, status_code: int, headers: RawHeaders) -> None:
        """Take a 1xx answer."""
        ...

    def response_start(self, head: ResponseStart) -> None:
        """Take the head of the final answer."""
        ...

    def response_body(self, data: Buffer) -> None:
        """Take a piece of the response body's payload."""
        ...

    def websocket(self, direction: Direction, data: Buffer) -> None:
        """Take bytes that pass after the 101, as they are on the wire: frames, masked and compressed."""
        ...

    def end(self, end: ExchangeEnd) -> None:
        """Take how the exchange ended; nothing follows."""
        ...


class Tap(Protocol):
    """Where the relay reports to. One `exchange` call per request on an intercepted host."""

    def exchange(self, start: ExchangeStart) -> ExchangeTap:
        """Begin an exchange; its own tap takes the rest."""
        ...
