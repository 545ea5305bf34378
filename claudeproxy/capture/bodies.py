"""A body on its way to the journal: what becomes of it, and how secrets are masked in it where that is wanted.

Apart from `tap`, which must stay readable as the one thing in the path of a client's byte, and from `finder`, which
knows neither codings nor directions. Without ``secrets: redact`` bodies go to the journal as they came; with it the
content coding is taken off and secrets are masked. A coded body that cannot be read cannot be searched either, and is
not kept.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from claudeproxy.capture.heads import BodyEnd
from claudeproxy.errors import ProtocolError
from claudeproxy.model import BodyKept
from claudeproxy.sansio.encoding import Decoder, encode, split_codings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.capture.finder import Found, SecretFinder
    from claudeproxy.model import Buffer, RawHeaders

MAX_PLAIN_BYTES = 32 << 20
"""What a coded body may decode to here: unlike the recorder, the relay has clients waiting. Real ones have 10 MB."""


def codings_of(headers: RawHeaders) -> str:
    """The content codings of a message, "" when it has none."""
    given = ", ".join(value.decode("latin-1") for name, value in headers if name.lower() == b"content-encoding")
    return ", ".join(split_codings(given))


class BodyFilter:
    """One direction of one exchange. ProtocolError from the constructor and from `feed` when it cannot be read."""

    __slots__ = ("_decoder", "_stream", "_told", "length")

    def __init__(self, finder: SecretFinder, headers: RawHeaders) -> None:
        codings = codings_of(headers)
        self.length = 0  # of what came out
        self._decoder = Decoder(codings, max_bytes=MAX_PLAIN_BYTES) if codings else None
        self._stream = finder.stream()
        self._told = 0

    def feed(self, data: Buffer) -> bytes:
        """Take a piece as it was on the wire; what may go to the journal."""
        plain = bytes(data) if self._decoder is None else self._decoder.feed(bytes(data))
        return self._out(self._stream.feed(plain))

    def finish(self) -> bytes:
        """The rest. A coding that ends too early is what the client sent, or as far as it came."""
        return self._out(self._stream.finish())

    def news(self) -> Sequence[Found]:
        """What was found since the last call."""
        found = self._stream.found[self._told :]
        self._told += len(found)
        return found

    def _out(self, data: bytes) -> bytes:
        self.length += len(data)
        return data


class TappedBody:
    """One direction as the tap sees it: how much came, and what becomes of it."""

    __slots__ = ("announced", "fate", "filter", "finished", "hash", "length", "limit")

    def __init__(
        self,
        fate: BodyKept,
        announced: int | None,
        limit: int,
        *,
        redact: SecretFinder | None = None,
        headers: RawHeaders = (),
    ) -> None:
        self.length = 0
        self.announced = announced
        self.limit = limit
        self.filter: BodyFilter | None = None
        self.finished = False
        if redact is not None and fate is BodyKept.WHOLE and announced != 0:
            try:
                self.filter = BodyFilter(redact, headers)
            except ProtocolError:
                fate = BodyKept.POLICY  # a coding that we do not know: what cannot be searched is not kept
        too_large = fate is BodyKept.WHOLE and announced is not None and announced > limit
        self.fate = BodyKept.TOO_LARGE if too_large else fate
        # A length that was announced and fits leaves the hash to the recorder; else it must begin with the first byte.
        hashed = too_large or (fate is BodyKept.WHOLE and announced is None)
        self.hash = None if not hashed else sha256() if redact is None else redact.digest()

    def take(self, data: Buffer) -> bool:
        """Count a piece; whether it goes to the journal."""
        self.length += len(data)
        if self.hash is not None:
            self.hash.update(data)
        if self.fate is BodyKept.WHOLE and self.length > self.limit:
            self.fate = BodyKept.TOO_LARGE  # the recorder forgets the part that the journal has
        return self.fate is BodyKept.WHOLE

    def drop(self) -> None:
        """Keep nothing more of it but the count."""
        if self.fate is BodyKept.WHOLE:
            self.fate = BodyKept.DROPPED
            self.hash = None

    def refuse(self) -> None:
        """Keep nothing of it, for it cannot be searched."""
        if self.fate is BodyKept.WHOLE:
            self.fate = BodyKept.POLICY
            self.hash = None

    def told(self) -> BodyEnd:
        """For the END record."""
        digest = self.hash.hexdigest() if self.hash is not None and self.fate is BodyKept.TOO_LARGE else None
        kept = None if self.filter is None else self.filter.length
        return BodyEnd(length=self.length, fate=self.fate, sha256=digest, kept_length=kept)


def recode(data: bytes, headers: RawHeaders) -> bytes:
    """Put the codings on again that a message's head names, so that the head stays true of the record."""
    return encode(data, codings_of(headers))
