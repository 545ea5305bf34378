"""Where a message's body ends and which of its bytes are payload, beside forwarding it verbatim.

Apart because both directions need the same four framings (RFC 9112, 6.3), and the relay's loops stay short for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.sansio.chunked import ChunkedScanner, ChunkError
from claudeproxy.sansio.headers import Framing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.errors import ProtocolError
    from claudeproxy.model import Buffer, RawHeaders


class Body:
    """One body in passage. `ended` is true from the start where there is none; with a `fault` it will never be."""

    __slots__ = ("_remaining", "_scanner", "ended", "fault", "framing")

    def __init__(self, framing: Framing, length: int) -> None:
        self.framing = framing
        self._remaining = length
        self._scanner = ChunkedScanner() if framing is Framing.CHUNKED else None
        self.fault: ProtocolError | None = None
        self.ended = framing is Framing.NONE or (framing is Framing.LENGTH and length == 0)

    def __repr__(self) -> str:
        return f"<Body {self.framing.name} {'ended' if self.ended else 'open'}>"

    def feed(self, data: bytes) -> tuple[bytes, Buffer, bytes]:
        """(bytes of this body as they go on the wire, the payload in them, what belongs to the next message).

        Malformed chunks set `fault`: what stood before them is returned, they and what follows belong to nothing.
        """
        if self._scanner is not None:
            return self._chunked(self._scanner, data)
        if self.framing is Framing.CLOSE:
            return data, data, b""
        count = min(self._remaining, len(data))
        self._remaining -= count
        self.ended = self._remaining == 0
        if count == len(data):
            return data, data, b""
        piece = data[:count]
        return piece, piece, data[count:]

    def _chunked(self, scanner: ChunkedScanner, data: bytes) -> tuple[bytes, Buffer, bytes]:
        if self.fault is not None:
            return b"", b"", b""
        if self.ended:
            return b"", b"", data
        try:
            payload, count = scanner.feed(data)
        except ChunkError as exc:
            self.fault = exc
            return data[: exc.count], _joined(exc.payload), b""
        self.ended = scanner.ended
        whole = count == len(data)
        return data if whole else data[:count], _joined(payload), b"" if whole else data[count:]

    @property
    def trailers(self) -> RawHeaders:
        """The trailer fields of a chunked body that ended."""
        return () if self._scanner is None else self._scanner.trailers


def _joined(pieces: Sequence[Buffer]) -> Buffer:
    """One piece for the record, however many chunks came at once: each would cost it a write."""
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
