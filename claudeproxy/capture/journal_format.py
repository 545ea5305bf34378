"""A journal on disk: which files there are, and a record byte by byte.

::

    <root>/                      0700
      recorder.lock              held by the one recorder that works on this root
      <owner>/                   0700, one for every life of a relay process; names are never used twice
        lock                     held while that process lives
        0000000000.journal       0600, records one behind the other, 64 MiB or a little more; then the next number

    record = header (32 bytes, little endian) + payload
       0  magic   c5 01          the second byte is the version of this format
       2  type    u8             RecordType
       3  flags   u8             reserved, 0
       4  length  u32            of the payload, MAX_PAYLOAD at most
       8  exchange u64           number within this owner, from 1
      16  instant u64            time.monotonic_ns() of the writer
      24  payload crc32
      28  header  crc32          of bytes 0 to 27, begun with the name of owner and segment, so that a journal that
                                 somebody uploads through the proxy is never mistaken for one

Apart so that writer and reader cannot disagree. Nothing here opens a file but the lock. Appends are not synced to the
disk: the journal survives the death of its process (the pages are the kernel's), not of the machine.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy.model import Buffer

LOCK_NAME = "lock"
RECORDER_LOCK_NAME = "recorder.lock"
SEGMENT_SUFFIX = ".journal"

# A record must fit the reader's buffer; heads are at most 64 KiB, six times that as escaped JSON.
MAX_PAYLOAD = 1 << 20

_MAGIC = b"\xc5\x01"
_HEADER = struct.Struct("<2sBBIQQII")
HEADER_BYTES = _HEADER.size
_CHECKED = HEADER_BYTES - 4


class RecordType(IntEnum):
    """What a record's payload is."""

    OPEN = 1  # JSON: the redacted request head, ids
    REQUEST_BODY = 2  # payload bytes
    INFORMATIONAL = 3  # JSON: status code
    RESPONSE_START = 4  # JSON: the redacted response head
    RESPONSE_BODY = 5  # payload bytes
    END = 6  # JSON: how it ended, lengths and fate of both bodies
    WEBSOCKET_SENT = 7  # bytes from the client after a 101
    WEBSOCKET_RECEIVED = 8  # bytes from the upstream after a 101
    FILTERED = 9  # JSON: what was masked in a body
    MOVED = 10  # nothing: this exchange goes on in a journal of its own


_TYPES = {int(kind): kind for kind in RecordType}


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A record's header whose checksum was right."""

    type: RecordType
    length: int
    exchange: int
    instant: int
    payload_crc: int


def header_seed(owner: str, segment: int) -> int:
    """Where the checksum of headers in this segment begins."""
    return crc32(f"{owner}/{segment}".encode())


def encode_header(kind: RecordType, exchange: int, instant: int, payload: Buffer, *, seed: int) -> bytes:
    """The 32 bytes that go before `payload`."""
    head = _HEADER.pack(_MAGIC, kind, 0, len(payload), exchange, instant, crc32(payload), 0)
    return head[:_CHECKED] + crc32(head[:_CHECKED], seed).to_bytes(4, "little")


def decode_header(data: Buffer, offset: int, *, seed: int) -> Header | None:
    """The header at `offset`, None when what stands there is none. At least 32 bytes must be there."""
    magic, kind, _, length, exchange, instant, payload_crc, check = _HEADER.unpack_from(data, offset)
    if magic != _MAGIC or length > MAX_PAYLOAD or kind not in _TYPES:
        return None
    if crc32(memoryview(data)[offset : offset + _CHECKED], seed) != check:
        return None
    return Header(type=_TYPES[kind], length=length, exchange=exchange, instant=instant, payload_crc=payload_crc)


def find_header(data: bytes, offset: int, *, seed: int) -> int | None:
    """Offset of the next good header at or behind `offset`, None when there is none whole."""
    while (offset := data.find(_MAGIC, offset)) >= 0:
        if offset + HEADER_BYTES > len(data):
            return None
        if decode_header(data, offset, seed=seed) is not None:
            return offset
        offset += 1
    return None


def segment_path(directory: Path, segment: int) -> Path:
    """The file of a segment number."""
    return directory / f"{segment:010d}{SEGMENT_SUFFIX}"


def segments(directory: Path) -> list[int]:
    """Numbers of the segments there are, ascending; empty when the directory is gone."""
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    stems = [name.removesuffix(SEGMENT_SUFFIX) for name in names if name.endswith(SEGMENT_SUFFIX)]
    return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())
