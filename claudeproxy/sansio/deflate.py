"""permessage-deflate (RFC 7692), read by one who only looks on.

Apart from `websocket`, which knows frames: this is one stream of deflate over all messages of a direction, and what the
101 says of it. Parameters only narrow what a sender does, so an observer with the largest window needs none of them.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from claudeproxy.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "permessage-deflate"

# RFC 7692, 7.2.2: the sender leaves these out at the end of a message.
TAIL = b"\x00\x00\xff\xff"
_WINDOW = 32_768

# Inflated at once: what goes over some bound is noticed so many bytes late.
_PIECE = 65_536


def accepted_extensions(header: str) -> tuple[bool, str | None]:
    """Read the 101's ``Sec-WebSocket-Extensions``: whether messages are deflated, and an extension that is unknown."""
    names = [one.split(";")[0].strip().lower() for one in header.split(",") if one.strip()]
    return NAME in names, next((name for name in names if name != NAME), None)


class Inflater:
    """The sender's deflate stream, over all its messages.

    Most senders go on using what they sent before (context takeover); one that does not is read as well this way.
    """

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(-15)
        self._window = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` expands to, piece by piece. Raises ProtocolError."""
        more_inside = False
        while data or more_inside:
            try:
                piece = self._zlib.decompress(data, _PIECE)
            except zlib.error as error:
                raise ProtocolError("a compressed message is damaged") from error
            data = self._zlib.unconsumed_tail
            more_inside = len(piece) == _PIECE
            self._window = (self._window + piece)[-_WINDOW:]
            if piece:
                yield piece
            if self._zlib.eof:
                # RFC 7692, 7.2.3.4: a sender may end the stream in a message; the next block goes on with the window.
                data, more_inside = self._zlib.unused_data, False
                self._zlib = zlib.decompressobj(-15, zdict=self._window) if self._window else zlib.decompressobj(-15)
