"""What a failed handshake means: OpenSSL's errors in words, and which of them say that the client distrusts us.

Apart because this is knowledge about clients, and grows with every client that refuses in its own way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from claudeproxy.errors import HandshakeError

if TYPE_CHECKING:
    from OpenSSL import SSL

UNRECOGNIZED_NAME: Final = b"\x15\x03\x03\x00\x02\x02\x70"
"""The fatal alert unrecognized_name(112) of RFC 6066, 3, as a record. In plain, because it comes before there are keys,
and by hand, because pyOpenSSL's SNI callback cannot choose an alert."""

# Alerts with which clients refuse a certificate (RFC 8446, 6.2), as OpenSSL spells them.
_DISTRUST: Final = (
    "alert unknown ca",
    "alert bad certificate",
    "alert certificate unknown",
    "alert certificate expired",
    "alert unsupported certificate",
)


def reason(error: SSL.Error) -> str:
    """OpenSSL's own words, such as `tlsv1 alert unknown ca`."""
    errors = error.args[0] if error.args else ()
    if isinstance(errors, list) and errors:
        return str(errors[-1][-1])
    return ", ".join(str(part) for part in error.args) or type(error).__name__


def explain(error: SSL.Error) -> HandshakeError:
    """The error to raise for one that OpenSSL had within a handshake."""
    words = reason(error)
    return HandshakeError(f"the TLS handshake failed: {words}", distrusted=any(alert in words for alert in _DISTRUST))
