"""What images and PDF files cost, by the published size rules: read from their own headers, never from base64 length.

Apart because it is the one part of a prompt that is not text. An image costs ``ceil(w/28) * ceil(h/28)`` tokens after
it was fitted into the model's limits (Anthropic, "Vision"); a PDF page costs an image and its text (Anthropic, "PDF
support": 1,500 to 3,000 tokens a page). Only as much is decoded as a header needs.
"""

from __future__ import annotations

import binascii
import re
from math import ceil, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from claudeproxy.accounting.models import ModelTraits

PATCH = 28  # pixels a side
UNKNOWN_SIZE = (1092, 1092)  # a screenshot; what an image given by URL or file id is taken for
PDF_PAGE = 2_250  # tokens: the middle of what is documented
_HEADER = 400_000  # base64 characters: JPEG files carry thumbnails and colour profiles before their size
_PDF_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_PDF_COUNT = re.compile(rb"/Count\s+(\d{1,5})")
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF markers


def image_tokens(width: int, height: int, traits: ModelTraits) -> int:
    """Return what an image of this size costs with this model."""
    if width <= 0 or height <= 0:
        width, height = UNKNOWN_SIZE
    shrink = min(1.0, traits.image_edge / max(width, height))
    patches = _patches(width * shrink, height * shrink)
    if patches > traits.image_tokens:
        shrink *= sqrt(traits.image_tokens / patches)
        patches = min(_patches(width * shrink, height * shrink), traits.image_tokens)
    return patches


def source_tokens(source: object, traits: ModelTraits) -> int:
    """Return what the `source` of an image or PDF block costs; text sources cost nothing here."""
    if not isinstance(source, dict):
        return 0
    data, media_type = source.get("data"), str(source.get("media_type", ""))
    if media_type == "application/pdf":
        return PDF_PAGE * (pdf_pages(_decode(data)) if isinstance(data, str) else 1)
    if source.get("type") == "text":
        return 0
    size = image_size(_decode(data[:_HEADER])) if isinstance(data, str) else None
    return image_tokens(*(size or UNKNOWN_SIZE), traits)


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG, GIF, JPEG or WebP file from its beginning; None when it cannot be told."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data[:6] in {b"GIF87a", b"GIF89a"} and len(data) >= 10:
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    if data.startswith(b"\xff\xd8"):
        return _jpeg_size(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        return _webp_size(data)
    return None


def pdf_pages(data: bytes) -> int:
    """Return how many pages a PDF seems to have, at least 1. Page trees inside compressed streams stay unseen."""
    counts = [int(count) for count in _PDF_COUNT.findall(data)]
    return max(1, len(_PDF_PAGE.findall(data)), *counts)


def _patches(width: float, height: float) -> int:
    return max(1, ceil(width / PATCH)) * max(1, ceil(height / PATCH))


def _decode(data: str) -> bytes:
    usable = data[: len(data) // 4 * 4]
    try:
        return binascii.a2b_base64(usable)
    except (ValueError, binascii.Error):
        return b""


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _JPEG_SIZES:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:  # fill bytes and markers without a length
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return None
