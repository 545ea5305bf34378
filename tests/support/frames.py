"""WebSocket frames and messages as a peer writes them: by wsproto where it can, by hand where a test must go wrong."""

from __future__ import annotations

import zlib
from itertools import pairwise
from typing import TYPE_CHECKING

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FINAL, DEFLATED = 0x80, 0x40
MASK = b"\x11\x22\x33\x44"


def frame(first: int, payload: bytes = b"", *, mask: bytes | None = None) -> bytes:
    """One frame with this first byte; lengths as short as they can be."""
    bit, length = 0 if mask is None else 0x80, len(payload)
    if length < 126:
        head = bytes((first, bit | length))
    elif length < 1 << 16:
        head = bytes((first, bit | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + length.to_bytes(8, "big")
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def peer(*, client: bool, deflate: bool, takeover: bool = True) -> FrameProtocol:
    """wsproto's half of a connection that writes as one side of it."""
    extension = PerMessageDeflate()
    own = "client" if client else "server"
    extension.finalize("permessage-deflate" + ("" if takeover else f"; {own}_no_context_takeover"))
    return FrameProtocol(client=client, extensions=[extension] if deflate else [])


class Deflater:
    """Deflates messages as RFC 7692 has it, with context takeover."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(6, zlib.DEFLATED, -15)

    def message(self, data: bytes) -> bytes:
        return (self._zlib.compress(data) + self._zlib.flush(zlib.Z_SYNC_FLUSH))[:-4]


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """`data` cut at these places."""
    places = [0, *sorted({min(cut, len(data)) for cut in cuts}), len(data)]
    return [data[low:high] for low, high in pairwise(places) if low < high]
