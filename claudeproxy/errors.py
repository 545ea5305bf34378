"""Every error that claudeproxy raises on purpose.

::

    ClaudeProxyError
    ├── ConfigError              the configuration or the command line cannot be used as it stands
    ├── ProtocolError            bytes that break HTTP, TLS framing, event streams or JSON; `status_hint` for an answer
    ├── UpstreamError            the API (or the way to it) failed: refused, reset, timed out, bad certificate
    │   └── UpstreamLoopError    the request would come back to this proxy
    ├── TLSError
    │   ├── HandshakeError       the client and we did not agree on TLS (it distrusts the CA, speaks something else)
    │   └── AuthorityError       the CA on disk is missing, unreadable, expired or does not cover a name
    ├── JournalError             the journal cannot be written or read
    ├── StorageError             the database cannot be used
    │   ├── DatabaseVersionError   it was written by a newer claudeproxy
    │   ├── UnstorableError        not the database is to blame, but what was to be written
    │   └── CorruptBodyError     a stored body does not rebuild to its recorded hash
    ├── ValidationError          a value given by a caller is out of its range; names the field
    ├── ConflictError            what should be made is there already
    └── NotFoundError            an id that names nothing; carries near matches
        └── NoResponseError      the request is there, its response is not

Apart from everything else so that any module may raise and any caller may catch them without importing more.
An error says in its text what happened and what to do about it; whose fault it is follows from its class.
"""

from __future__ import annotations


class ClaudeProxyError(Exception):
    """Base of all errors below: catching it catches every failure that we foresaw."""


class ConfigError(ClaudeProxyError):
    """The person's configuration cannot be used; the text names the key and the way to mend it."""


class ProtocolError(ClaudeProxyError):
    """Bytes from a peer break the protocol they are written in.

    `status_hint` is the HTTP status a server would answer a client with (400, 413, 431, 501, 505). Bytes that came
    from the upstream are answered with 502 whatever the hint: only the caller knows which side it was reading.
    """

    def __init__(self, message: str, *, status_hint: int = 400) -> None:
        super().__init__(message)
        self.status_hint = status_hint


class UpstreamError(ClaudeProxyError):
    """No answer could be had from the upstream. `kind` is a short stable word for logs and records.

    Kinds: ``dns``, ``refused``, ``unreachable``, ``timeout``, ``reset``, ``certificate``, ``tls``, ``proxy``,
    ``protocol``, ``closed``.
    """

    def __init__(self, message: str, *, kind: str = "unreachable") -> None:
        super().__init__(message)
        self.kind = kind


class UpstreamLoopError(UpstreamError):
    """The upstream address is one that this proxy listens on."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind="loop")


class TLSError(ClaudeProxyError):
    """Anything about certificates and handshakes on the client's side."""


class HandshakeError(TLSError):
    """A TLS handshake with a client failed. `distrusted` when the client most likely refuses our CA."""

    def __init__(self, message: str, *, distrusted: bool = False) -> None:
        super().__init__(message)
        self.distrusted = distrusted


class AuthorityError(TLSError):
    """The certificate authority on disk cannot be used, or does not cover a host name."""


class JournalError(ClaudeProxyError):
    """The journal cannot be written or read; the proxy goes on forwarding and counts what it could not keep."""


class StorageError(ClaudeProxyError):
    """The database cannot be used as it is."""


class DatabaseVersionError(StorageError):
    """The database was written by a newer version than this one."""


class UnstorableError(StorageError):
    """What was to be written does not fit the database, or not what somebody else changed in it meanwhile."""


class CorruptBodyError(StorageError):
    """A stored body does not rebuild to the SHA-256 that was recorded with it."""


class NotFoundError(ClaudeProxyError):
    """An id (or unique prefix of one) that names nothing, or several things; `near` holds what was probably meant."""

    def __init__(self, message: str, *, near: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.near = near


class NoResponseError(NotFoundError):
    """The request is known, but no response to it was captured (yet)."""


class ValidationError(ClaudeProxyError):
    """A value that a caller gave is missing or out of its range. `field` is the name of the parameter."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class ConflictError(ClaudeProxyError):
    """What should be made exists already; `existing` is its id."""

    def __init__(self, message: str, *, existing: str) -> None:
        super().__init__(message)
        self.existing = existing
