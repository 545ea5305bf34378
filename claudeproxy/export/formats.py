"""A whole file in one of the formats, piece by piece: never more than one exchange in memory.

Apart from the formats, which know one exchange, because the command writes a file from it and the API an answer, each
in its own way of waiting.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from claudeproxy.export import har, jsonl
from claudeproxy.export.exchanges import matching_ids, read_exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from claudeproxy.export.exchanges import ExportedExchange
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import RequestFilters


class ExportFormat(StrEnum):
    """How an export is written."""

    JSONL = "jsonl"  # one object a line, everything that is known
    HAR = "har"  # HTTP archive 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """One format: what stands around the exchanges, between them, and how one looks."""

    media_type: str
    head: bytes
    between: bytes
    tail: bytes
    write: Callable[[ExportedExchange], bytes]

    def piece(self, storage: CaptureStorage, request_id: str) -> bytes:
        """One exchange; nothing when it was deleted meanwhile."""
        exchange = read_exchange(storage, request_id)
        return b"" if exchange is None else self.write(exchange)


EXPORTERS = {
    ExportFormat.JSONL: Exporter(media_type="application/x-ndjson", head=b"", between=b"", tail=b"", write=jsonl.line),
    ExportFormat.HAR: Exporter(
        media_type="application/json", head=har.HEAD, between=b",", tail=har.TAIL, write=har.entry
    ),
}


def export(
    storage: CaptureStorage, filters: RequestFilters, export_format: ExportFormat
) -> Generator[bytes, None, int]:
    """The pieces of a whole export, the oldest exchange first; returns how many exchanges they hold."""
    exporter = EXPORTERS[export_format]
    yield exporter.head
    written = 0
    for request_id in matching_ids(storage, filters):
        if piece := exporter.piece(storage, request_id):
            if written:
                yield exporter.between
            yield piece
            written += 1
    yield exporter.tail
    return written
