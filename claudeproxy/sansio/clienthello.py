"""What a TLS client says first: the name it wants (SNI), the protocols it offers (ALPN), its TLS versions.

Apart because this is read from bytes that are only peeked at: the connection is then terminated or tunnelled with the
very same bytes, and pyOpenSSL has no callback early enough to choose. Reads RFC 8446, 4.1.2 with its extensions; a
hello with post-quantum key shares exceeds one TCP segment and may span several records. It decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from claudeproxy.errors import ProtocolError
from claudeproxy.sansio.target import normalize_host

_RECORD_HANDSHAKE = 22
_CLIENT_HELLO = 1
_MAX_RECORD = 2**14  # RFC 8446, 5.1
_EXT_SERVER_NAME = 0
_EXT_ALPN = 16
_EXT_SUPPORTED_VERSIONS = 43


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientHello:
    """The offer of a TLS client. `sni` is a normal host name or None; `versions` are as offered, GREASE included."""

    sni: str | None
    alpn: tuple[bytes, ...]
    versions: tuple[int, ...]


def parse_client_hello(data: bytes, *, max_bytes: int = 65536) -> ClientHello | None:
    """Read the ClientHello at the start of `data`; None means "more bytes, please".

    Raises ProtocolError when the bytes can be no ClientHello any more, or it is longer than `max_bytes`.
    """
    message = bytearray()
    pos = 0
    while True:
        header = data[pos : pos + 5]
        _check_record_header(header)
        if len(header) < 5:
            return None
        length = int.from_bytes(header[3:5])
        if pos + length > 2 * max_bytes:  # records of a few bytes each would make a short hello long on the wire
            raise ProtocolError("the TLS ClientHello is too long")
        message += data[pos + 5 : pos + 5 + length]
        if message:
            if message[0] != _CLIENT_HELLO:
                raise ProtocolError("the first TLS message is not a ClientHello")
            if len(message) >= 4:
                need = 4 + int.from_bytes(message[1:4])
                if need > max_bytes:
                    raise ProtocolError("the TLS ClientHello is too long")
                if len(message) >= need:
                    return _parse_body(_Reader(bytes(message[4:need])))
        pos += 5 + length
        if pos > len(data):
            return None


def _check_record_header(header: bytes) -> None:
    if header and header[0] != _RECORD_HANDSHAKE:
        raise ProtocolError("not a TLS handshake record")
    if len(header) > 1 and header[1] != 3:
        raise ProtocolError("not a TLS record version")
    if len(header) == 5 and not 0 < int.from_bytes(header[3:5]) <= _MAX_RECORD:
        raise ProtocolError("not a TLS record length")


class _Reader:
    """A cursor over a TLS structure; running off its end is a ProtocolError."""

    __slots__ = ("_data", "_pos")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    def __bool__(self) -> bool:
        return self._pos < len(self._data)

    def take(self, count: int) -> bytes:
        piece = self._data[self._pos : self._pos + count]
        if len(piece) < count:
            raise ProtocolError("the TLS ClientHello is malformed")
        self._pos += count
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))


def _parse_body(reader: _Reader) -> ClientHello:
    legacy_version = reader.number(2)
    reader.take(32)  # random
    reader.vector(1)  # session id
    reader.vector(2)  # cipher suites
    reader.vector(1)  # compression methods
    extensions: dict[int, bytes] = {}
    if reader:  # RFC 5246, 7.4.1.2: a TLS 1.2 hello may end here
        block = _Reader(reader.vector(2))
        while block:
            kind = block.number(2)
            if kind in extensions:  # RFC 8446, 4.2: at most one of each type
                raise ProtocolError("the TLS ClientHello repeats an extension")
            extensions[kind] = block.vector(2)
    if reader:
        raise ProtocolError("the TLS ClientHello has bytes after its end")
    return ClientHello(
        sni=_server_name(extensions.get(_EXT_SERVER_NAME)),
        alpn=_alpn(extensions.get(_EXT_ALPN)),
        versions=_versions(extensions.get(_EXT_SUPPORTED_VERSIONS), legacy_version),
    )


def _server_name(extension: bytes | None) -> str | None:
    if extension is None:
        return None
    names = _Reader(_Reader(extension).vector(2))
    while names:
        kind, name = names.number(1), names.vector(2)
        if kind == 0:  # host_name, the only kind there is (RFC 6066, 3)
            try:
                return normalize_host(name.decode("ascii"))
            except UnicodeDecodeError:
                raise ProtocolError("the TLS server name is not ASCII") from None
    return None


def _alpn(extension: bytes | None) -> tuple[bytes, ...]:
    if extension is None:
        return ()
    offers = _Reader(_Reader(extension).vector(2))
    protocols: list[bytes] = []
    while offers:
        protocols.append(offers.vector(1))
    return tuple(protocols)


def _versions(extension: bytes | None, legacy_version: int) -> tuple[int, ...]:
    if extension is None:
        return (legacy_version,)
    offers = _Reader(_Reader(extension).vector(1))
    versions: list[int] = []
    while offers:
        versions.append(offers.number(2))
    return tuple(versions)
