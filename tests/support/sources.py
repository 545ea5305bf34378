"""Whom captured text was given to: planted words and the sources of the bytes that hold them.

Reads the stored body and the stored spans, and nothing that the engine says of itself.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from claudeproxy.sansio.messages import layout
from claudeproxy.store.storage import CaptureStorage

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy.sansio.messages import BlockSpan
    from claudeproxy.store.values import ContextAttribution


class Attributed:
    """One captured request's bytes, cut into (path, label, bytes) as stored."""

    def __init__(self, storage: CaptureStorage, request_id: str) -> None:
        body = storage.request_body(request_id)
        blocks = layout(body).blocks
        self.pieces = [
            (one.json_path, one.source.label, _bytes(body, blocks, one))
            for one in storage.attributions(request_id)
            if one.byte_start is not None
        ]

    def where(self, words: str) -> set[str]:
        """The labels of the pieces that hold some words, as they stand in JSON."""
        wanted = json.dumps(words)[1:-1].encode()
        return {label for _, label, data in self.pieces if wanted in data}

    def under(self, path: str) -> set[str]:
        """The labels of the pieces at a path and below it; structure, which is nobody's, is left out."""
        found = {label for at, label, _ in self.pieces if at == path or at.startswith((f"{path}.", f"{path}["))}
        return found - {"Overhead"}


def _bytes(body: bytes, blocks: tuple[BlockSpan, ...], one: ContextAttribution) -> bytes:
    # "$.messages[1].content[0].text" belongs to the block "$.messages[1].content[0]".
    owners = [b for b in blocks if one.json_path == b.json_path or one.json_path.startswith((f"{b.json_path}.",))]
    (block,) = owners
    assert one.byte_start is not None
    assert one.byte_end is not None
    return body[block.start + one.byte_start : block.start + one.byte_end]


def attributed(home: Path, request_id: str) -> Attributed:
    """Read one request's attribution."""
    with CaptureStorage(home / "captures.db", read_only=True) as storage:
        return Attributed(storage, request_id)
