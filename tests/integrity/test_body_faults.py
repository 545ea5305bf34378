"""Bodies that are large, many-pieced, coded, corrupt or made to burst: passed on as they are, read if they can be."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard

from tests.integrity.drive import USUAL_MODES, Fault, asks, drive, each, named
from tests.integrity.page import ENTRY_MODES
from tests.support.faulty_upstream import LAST_CHUNK, chunk, event, head, message, says, whole
from tests.support.service import prompt

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integrity.drive import Scene


def raw_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(data) + coder.flush()


def by_brotli(data: bytes) -> bytes:
    coded = brotli.compress(data)
    assert isinstance(coded, bytes)
    return coded


def by_zstandard(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


CODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", lambda data: gzip.compress(data, mtime=0)),
    "gzip, in two members": (
        "gzip",
        lambda data: gzip.compress(data[:99], mtime=0) + gzip.compress(data[99:], mtime=0),
    ),
    "x-gzip": ("x-gzip", lambda data: gzip.compress(data, mtime=0)),
    "deflate": ("deflate", zlib.compress),
    "deflate without its zlib header": ("deflate", raw_deflate),
    "br": ("br", by_brotli),
    "zstd": ("zstd", by_zstandard),
    "gzip and br": ("gzip, br", lambda data: by_brotli(gzip.compress(data, mtime=0))),
    "identity": ("identity", bytes),
}
"""In words: the value of Content-Encoding, and what makes it."""

PLAIN = b"".join(message("One word after the other"))
ASKED = prompt("hello", stream=True)
USAGE = "usage 25 in, 5 out"
COMPLETE = "`complete`; request whole; response 200 whole"


def answering(words: str, coding: str, body: bytes, record: str) -> Fault:
    """An answer in a coding, cut into two chunks at an odd place."""
    pieces = chunk(body[:37]) + (chunk(body[37:]) if body[37:] else b"") + LAST_CHUNK
    return Fault(
        words=words,
        upstream=says(head("200 OK", f"Content-Encoding: {coding}", stream=True) + pieces, body),
        client=asks,
        sees="200",
        record=record,
    )


def asking(words: str, coding: str, body: bytes, kept: bytes) -> Fault:
    return Fault(
        words=words,
        upstream=says(whole(b"{}"), b"{}"),
        client=asks,
        body=body,
        kept=kept,
        fields=f"Content-Type: application/json\r\nContent-Encoding: {coding}\r\n",
        sees="200",
        record=COMPLETE,
    )


def corrupt(data: bytes) -> bytes:
    """Sixteen bytes in the middle are others."""
    place = len(data) // 2
    return data[:place] + bytes(byte ^ 0xFF for byte in data[place : place + 16]) + data[place + 16 :]


CODED = [
    *(
        answering(f"answers in {name}", coding, code(PLAIN), f"{COMPLETE}; {USAGE}")
        for name, (coding, code) in CODERS.items()
    ),
    *(asking(f"a request in {name}", coding, code(ASKED), ASKED) for name, (coding, code) in CODERS.items()),
]
UNREADABLE = [
    answering("answers in a coding that nobody knows", "rot13", PLAIN, COMPLETE),
    asking("a request in a coding that nobody knows", "rot13", ASKED, ASKED),
    *(
        answering(f"answers in corrupt {name}", name, corrupt(CODERS[name][1](PLAIN)), COMPLETE)
        for name in ("gzip", "br", "zstd")
    ),
    *(
        asking(
            f"a request in corrupt {name}: kept as it came",
            name,
            corrupt(CODERS[name][1](ASKED)),
            corrupt(CODERS[name][1](ASKED)),
        )
        for name in ("gzip", "br", "zstd")
    ),
    answering("answers in gzip that ends too early", "gzip", CODERS["gzip"][1](PLAIN)[:-9], f"{COMPLETE}; {USAGE}"),
]

HEAVY_LIMIT = 300.0  # seconds

BURST = 200_000_000
"""More than what is decoded of a body at most (128 MiB); some hundred bytes to some hundred thousand on the wire."""


def bombs() -> list[Fault]:
    """Answers that begin as others do, and requests."""
    faults = []
    for name, filling in (("gzip", b"data\n\n"), ("br", b" "), ("zstd", b" ")):
        coding, code = CODERS[name]
        answer, request = code(PLAIN + filling * (BURST // len(filling))), code(ASKED + b" " * BURST)
        assert len(answer) < 1_000_000
        faults += [
            answering(f"answers in {name} that bursts", coding, answer, f"{COMPLETE}; {USAGE}"),
            asking(f"a request in {name} that bursts: kept as it came", coding, request, request),
        ]
    return [replace(fault, limit=HEAVY_LIMIT) for fault in faults]


@pytest.mark.parametrize(("fault", "mode"), each([*CODED, *UNREADABLE]), ids=named)
async def test_a_coded_body_is_passed_on_as_it_is_and_read_for_the_record(
    fault: Fault, mode: str, scene: Scene
) -> None:
    record = await drive(fault, mode, "Bodies", scene)
    assert record is not None
    assert (record.request.body_encoding is not None) == (fault.body != fault.kept and fault.kept is not None)


# Each takes up to half a minute: CI takes the two ways that people use, the page is made from all.
WAYS_IN = [mode if mode in USUAL_MODES else pytest.param(mode, marks=pytest.mark.exhaustive) for mode in ENTRY_MODES]


@pytest.mark.heavy
@pytest.mark.parametrize("mode", WAYS_IN)
async def test_a_body_that_bursts_costs_the_record_its_reading_and_nobody_anything_else(
    mode: str, scene: Scene
) -> None:
    for fault in bombs():
        await drive(fault, mode, "Bodies", scene)


@pytest.mark.heavy
@pytest.mark.parametrize("mode", WAYS_IN)
async def test_bodies_of_32_megabytes_are_passed_on_and_kept(mode: str, scene: Scene) -> None:
    words = "One word after the other, and no end of them. " * 700_000
    events = message("One word after the other")
    pieces = [words[start : start + 1_000_000] for start in range(0, len(words), 1_000_000)]
    deltas = ({"index": 0, "delta": {"type": "text_delta", "text": piece}} for piece in pieces)
    events[2:2] = [event("content_block_delta", delta) for delta in deltas]
    fault = Fault(
        words="32 MB each way",
        upstream=says([head(stream=True), *map(chunk, events), LAST_CHUNK], b"".join(events)),
        client=asks,
        body=prompt(words),
        limit=HEAVY_LIMIT,
        sees="200",
        record=f"{COMPLETE}; {USAGE}",
    )
    await drive(fault, mode, "Bodies", scene)


@pytest.mark.heavy
@pytest.mark.parametrize("mode", WAYS_IN)
async def test_a_hundred_thousand_tiny_events_are_passed_on_and_kept(mode: str, scene: Scene) -> None:
    events = message("One word after the other")
    tiny = event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "."}})
    events[2:2] = [tiny] * 100_000
    wire = [chunk(one) for one in events]
    pieces = [b"".join(wire[start : start + 10]) for start in range(0, len(wire), 10)]
    fault = Fault(
        words="100,000 tiny events",
        upstream=says([head(stream=True), *pieces, LAST_CHUNK], b"".join(events)),
        client=asks,
        limit=HEAVY_LIMIT,
        sees="200",
        record=f"{COMPLETE}; {USAGE}",
    )
    await drive(fault, mode, "Bodies", scene)
