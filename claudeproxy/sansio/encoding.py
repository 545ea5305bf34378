"""Content codings taken off, incrementally and bounded: gzip, deflate, br, zstd and stacks of them.

Apart from the parsers because decoding is done for the record only: the relay forwards the coded bytes untouched, so
whatever fails here costs a readable record and never a client's answer. Every coder is asked for output in pieces,
because 80 bytes of brotli become 50 MB (measured): no decoder is trusted to stop by itself. `encode` is for bodies that
the record has changed (secrets masked): their heads name the coding still.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, cast

import brotli  # type: ignore[import-untyped]  # ships neither stubs nor a marker
import zstandard

from claudeproxy.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Real messages have one coding, two at most; curl refuses more than five as abuse.
MAX_CODINGS = 4

# Output is taken in pieces of this size, so that an excess is noticed at most one piece late.
_PIECE = 65_536

# Input of a body that may be corrupt is given in slices of this size, so that little is decoded a second time in small.
_SLICE = 4096

# zstandard's streaming object has no output limit. A block makes at most 128 KiB and takes at least four bytes, so
# this much input makes at most 8 MiB at once (measured with runs of one letter).
_ZSTD_INPUT = 256

# RFC 9659: a zstd content coding must not need a window beyond 8 MiB.
_ZSTD_WINDOW = 8 << 20


class _Coder(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the decoded output of `data` piece by piece."""

    @property
    def complete(self) -> bool:
        """Whether the input ends where a coded stream may end."""


class _Zlib:
    """gzip (RFC 1952, several members) and deflate (RFC 9110 8.4.1.2: zlib; in the wild also raw)."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._decoder: zlib._Decompress | None = None
        self._head = b""
        self._over = False  # a deflate stream has ended: it has no second member

    @property
    def complete(self) -> bool:
        return self._decoder is None and not self._head

    def feed(self, data: bytes) -> Iterator[bytes]:
        more_inside = False
        while data or more_inside:
            if self._over:
                raise ProtocolError("bytes after the end of a deflate stream")
            if self._decoder is None:
                data = self._begin(data)
                if self._decoder is None:
                    return
            piece = self._decoder.decompress(data, _PIECE)
            data = self._decoder.unconsumed_tail
            # With all input taken, a full piece is the only sign that output waits inside.
            more_inside = len(piece) == _PIECE
            if piece:
                yield piece
            if self._decoder.eof:
                data = self._decoder.unused_data
                self._decoder, more_inside = None, False
                self._over = not self._gzip

    def _begin(self, data: bytes) -> bytes:
        if self._gzip:
            # gzip(1) and browsers ignore zero padding behind the last member.
            data = data.lstrip(b"\0")
            if data:
                self._decoder = zlib.decompressobj(wbits=31)
            return data
        data = self._head + data
        if len(data) < 2:
            self._head = data
            return b""
        self._head = b""
        # RFC 1950 2.2: method 8 in the low nibble and a header that 31 divides. As raw deflate the same byte would be
        # a stored block with padding bits set, which no encoder writes.
        zlib_header = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
        self._decoder = zlib.decompressobj(wbits=15 if zlib_header else -15)
        return data


class _Brotli:
    """br (RFC 7932), with the output limit that brotli has since 1.2."""

    def __init__(self) -> None:
        self._decoder = brotli.Decompressor()
        self._begun = False

    @property
    def complete(self) -> bool:
        return not self._begun or self._decoder.is_finished()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._begun = self._begun or bool(data)
        piece: bytes = self._decoder.process(data, output_buffer_limit=_PIECE)
        # can_accept_more_data() is True with output still inside (seen in 1.2.1): ask until nothing comes.
        while piece:
            yield piece
            piece = b"" if self._decoder.is_finished() else self._decoder.process(b"", output_buffer_limit=_PIECE)


class _Zstd:
    """zstd (RFC 8878), several frames."""

    def __init__(self) -> None:
        self._context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._frame: zstandard.ZstdDecompressionObj | None = None

    @property
    def complete(self) -> bool:
        return self._frame is None

    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _ZSTD_INPUT):
            part = data[start : start + _ZSTD_INPUT]
            while part:
                self._frame = self._frame or self._context.decompressobj()
                yield self._frame.decompress(part)
                if not self._frame.eof:
                    break
                part = self._frame.unused_data
                self._frame = None


_CODERS: dict[str, Callable[[], _Coder]] = {
    "gzip": lambda: _Zlib(gzip=True),
    "x-gzip": lambda: _Zlib(gzip=True),  # RFC 9110 8.4.1.3: equivalent
    "deflate": lambda: _Zlib(gzip=False),
    "br": _Brotli,
    "zstd": _Zstd,
}


def split_codings(codings: str | None) -> list[str]:
    """Names in a Content-Encoding value, lower case, in the order they were applied, `identity` left out."""
    names = [name.strip().lower() for name in (codings or "").split(",")]
    return [name for name in names if name and name != "identity"]


class Decoder:
    """Takes off all codings of a Content-Encoding value, last applied first.

    `max_bytes` bounds the output of every stage. ProtocolError on an unknown coding, on corrupt input, on more output
    than that (`status_hint` 413) and, in `finish`, on input that ends too early; the decoder is of no use afterwards.
    """

    def __init__(self, codings: str | None, *, max_bytes: int) -> None:
        names = split_codings(codings)
        if len(names) > MAX_CODINGS:
            raise ProtocolError(f"{len(names)} content codings, more than {MAX_CODINGS}", status_hint=415)
        unknown = [name for name in names if name not in _CODERS]
        if unknown:
            raise ProtocolError(f"unknown content coding {unknown[0][:40]!r}", status_hint=415)
        self._coders: list[_Coder] = [_CODERS[name]() for name in reversed(names)]
        self._made = [0] * max(1, len(self._coders))
        self._max_bytes = max_bytes

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Decode `data` piece by piece: what came before an error has been yielded when it is raised."""
        if self._coders:
            yield from self._through(0, data)
        else:
            yield from self._bounded(0, data)

    def feed(self, data: bytes) -> bytes:
        """Decoded output of `data`, b"" when the coder wants more first."""
        return b"".join(self.pieces(data))

    def finish(self) -> None:
        """State that the input is over: ProtocolError unless every coding came to its end."""
        if not all(coder.complete for coder in self._coders):
            raise ProtocolError("content-encoded data ends too early")

    def _through(self, stage: int, data: bytes) -> Iterator[bytes]:
        pieces = self._coders[stage].feed(data)
        while True:
            try:
                piece = next(pieces, None)
            except (zlib.error, brotli.error, zstandard.ZstdError) as exc:
                raise ProtocolError(f"content-encoded data is corrupt: {exc}") from exc
            if piece is None:
                return
            for bounded in self._bounded(stage, piece):
                if stage + 1 < len(self._coders):
                    yield from self._through(stage + 1, bounded)
                else:
                    yield bounded

    def _bounded(self, stage: int, piece: bytes) -> Iterator[bytes]:
        room = self._max_bytes - self._made[stage]
        self._made[stage] += len(piece)
        yield piece[:room]
        if len(piece) > room:
            raise ProtocolError(f"content decodes to more than {self._max_bytes} bytes", status_hint=413)


def decode(data: bytes, codings: str | None, *, max_bytes: int) -> bytes:
    """All of `data`, decoded; raises ProtocolError as `Decoder` does."""
    decoder = Decoder(codings, max_bytes=max_bytes)
    decoded = decoder.feed(data)
    decoder.finish()
    return decoded


def decode_prefix(data: bytes, codings: str | None, *, max_bytes: int) -> bytes:
    """As much as can be decoded of a body that may be cut, corrupt or too large; never raises."""
    slices = [data[start : start + _SLICE] for start in range(0, len(data), _SLICE)]
    decoded, taken = _decode_slices(slices, codings, max_bytes)
    if taken < len(slices):
        # A coder that meets an error forgets what it made in that very call: once more, there byte by byte.
        single = slices[taken]
        slices[taken:] = [single[at : at + 1] for at in range(len(single))]
        decoded, _ = _decode_slices(slices, codings, max_bytes)
    return decoded


def _decode_slices(slices: Sequence[bytes], codings: str | None, max_bytes: int) -> tuple[bytes, int]:
    """(what came out before the first error, how many slices came before it)."""
    pieces: list[bytes] = []
    taken = 0
    with suppress(ProtocolError):
        decoder = Decoder(codings, max_bytes=max_bytes)
        for data in slices:
            for piece in decoder.pieces(data):
                pieces.append(piece)  # noqa: PERF402 (what came before an error must stay)
            taken += 1
    return b"".join(pieces), taken


_ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: zlib.compress(data, 1, wbits=31),
    "x-gzip": lambda data: zlib.compress(data, 1, wbits=31),
    "deflate": lambda data: zlib.compress(data, 1),
    "br": lambda data: cast("bytes", brotli.compress(data, quality=1)),
    "zstd": lambda data: zstandard.ZstdCompressor(level=1).compress(data),
}


def encode(data: bytes, codings: str | None) -> bytes:
    """Put the codings on in the order in which they are named. ProtocolError on an unknown one."""
    for name in split_codings(codings):
        if name not in _ENCODERS:
            raise ProtocolError(f"unknown content coding {name[:40]!r}", status_hint=415)
        data = _ENCODERS[name](data)
    return data
