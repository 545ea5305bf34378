"""Sizes of images and PDF files, from their own headers."""

from __future__ import annotations

import base64
import struct
import zlib

import pytest

from claudeproxy.accounting.images import PDF_PAGE, image_size, image_tokens, pdf_pages, source_tokens
from claudeproxy.accounting.models import model_traits

OLD, NEW = model_traits("claude-opus-4-6"), model_traits("claude-opus-4-7")


def png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def jpeg(width: int, height: int, *, before: bytes = b"") -> bytes:
    return b"\xff\xd8" + before + b"\xff\xc2\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x03" + bytes(9)


WEBP_LOSSY = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0" + bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", 640, 480)
WEBP_LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 639 | 479 << 14) + bytes(8)
WEBP_EXTENDED = b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0" + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")


@pytest.mark.parametrize(
    "data",
    [
        png(640, 480),
        b"GIF89a" + struct.pack("<HH", 640, 480),
        jpeg(640, 480),
        jpeg(640, 480, before=b"\xff\xe1\x00\x06ABCD\xff\xff\xc4\x00\x04AB"),
        WEBP_LOSSY,
        WEBP_LOSSLESS,
        WEBP_EXTENDED,
    ],
    ids=["png", "gif", "jpeg", "jpeg-with-segments", "webp-lossy", "webp-lossless", "webp-extended"],
)
def test_the_header_tells_the_size(data):
    assert image_size(data) == (640, 480)


@pytest.mark.parametrize(
    "data", [b"", b"BM1234", png(1, 1)[:20], b"\xff\xd8\xff\xe1\x00\x06", b"RIFF\0\0\0\0WEBPXXXX" + bytes(20)]
)
def test_an_unknown_or_cut_file_has_no_size(data):
    assert image_size(data) is None


def test_a_small_image_costs_its_patches():
    assert image_tokens(280, 56, OLD) == 10 * 2
    assert image_tokens(281, 57, OLD) == 11 * 3


def test_a_large_image_is_fitted_into_the_models_limits():
    assert image_tokens(8000, 8000, OLD) <= OLD.image_tokens
    assert image_tokens(8000, 8000, OLD) > 0.9 * OLD.image_tokens
    assert image_tokens(8000, 8000, NEW) > image_tokens(8000, 8000, OLD)
    assert image_tokens(10_000, 10, OLD) == 56  # 1568 pixels of one patch's height


def test_an_image_in_a_request_is_sized_by_its_header_not_by_its_bytes():
    data = base64.b64encode(png(280, 280) + bytes(200_000)).decode()
    assert source_tokens({"type": "base64", "media_type": "image/png", "data": data}, OLD) == 100


def test_an_image_that_cannot_be_read_costs_what_a_screenshot_does():
    screenshot = image_tokens(1092, 1092, OLD)
    assert source_tokens({"type": "url", "url": "https://example.com/a.png"}, OLD) == screenshot
    assert source_tokens({"type": "base64", "media_type": "image/png", "data": "not base64!"}, OLD) == screenshot


def test_a_pdf_costs_its_pages():
    pdf = b"%PDF-1.4 /Type /Pages /Count 3 /Type /Page /Type/Page >> /Type /Page >>"
    assert pdf_pages(pdf) == 3
    source = {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(pdf).decode()}
    assert source_tokens(source, OLD) == 3 * PDF_PAGE
    assert source_tokens({"type": "url", "media_type": "application/pdf"}, OLD) == PDF_PAGE


def test_what_is_no_image_costs_nothing():
    assert source_tokens(None, OLD) == 0
    assert source_tokens({"type": "text", "media_type": "text/plain", "data": "words"}, OLD) == 0
