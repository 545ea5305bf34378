"""The answers that the proxy gives itself, in the error shape of the API, so that every client can show them.

Apart so that one place decides what a client reads when the proxy, not the API, has the word: each message begins with
`claudeproxy:` and says what to do. No answer repeats a header value. All of them close the connection: what follows a
request that we refused cannot be trusted to be a request.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from claudeproxy.errors import ProtocolError, UpstreamError
    from claudeproxy.model import RawHeaders

_ERROR_TYPES = {
    400: "invalid_request_error",
    403: "permission_error",
    407: "authentication_error",
    408: "timeout_error",
    413: "request_too_large",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnAnswer:
    """A status and a sentence; `headers` beside the usual ones."""

    status_code: int
    message: str
    extra: RawHeaders = ()

    @property
    def reason(self) -> str:
        """The standard reason phrase."""
        return HTTPStatus(self.status_code).phrase

    @property
    def body(self) -> bytes:
        """`{"type": "error", "error": {"type": ..., "message": "claudeproxy: ..."}}`."""
        kind = _ERROR_TYPES.get(self.status_code, "api_error" if self.status_code >= 500 else "invalid_request_error")
        error = {"type": kind, "message": f"claudeproxy: {self.message}"}
        return json.dumps({"type": "error", "error": error}).encode()

    @property
    def headers(self) -> RawHeaders:
        """The fields of the answer, for the wire and the record alike."""
        return (
            (b"Content-Type", b"application/json"),
            (b"Content-Length", b"%d" % len(self.body)),
            *self.extra,
            (b"Connection", b"close"),
        )

    def serialize(self, *, method: str = "GET") -> bytes:
        """The bytes to send; an answer to HEAD has no body (RFC 9110, 9.3.2)."""
        lines = [
            f"HTTP/1.1 {self.status_code} {self.reason}".encode(),
            *(b"%b: %b" % h for h in self.headers),
            b"",
            b"",
        ]
        return b"\r\n".join(lines) + (b"" if method == "HEAD" else self.body)


def bad_request(error: ProtocolError) -> OwnAnswer:
    """The client broke the protocol: 400, or the status that the parser suggests."""
    status = error.status_hint if 400 <= error.status_hint < 600 else 400
    return OwnAnswer(status_code=status, message=str(error))


def forbidden(message: str) -> OwnAnswer:
    """A request that a web page may have sent, or one for nobody here."""
    return OwnAnswer(status_code=403, message=message)


def credentials_required() -> OwnAnswer:
    """RFC 9110, 11.7.1: a 407 names the scheme."""
    return OwnAnswer(
        status_code=407,
        message="this proxy asks for credentials: put user and password of `proxy_auth` into the proxy's URL",
        extra=((b"Proxy-Authenticate", b'Basic realm="claudeproxy"'),),
    )


def head_timed_out() -> OwnAnswer:
    """A head that began and did not end in time."""
    return OwnAnswer(status_code=408, message="the request's head did not arrive in time")


def bad_gateway(error: UpstreamError) -> OwnAnswer:
    """No answer could be had from the upstream."""
    return OwnAnswer(status_code=502, message=f"no answer from the upstream ({error.kind}): {error}")
