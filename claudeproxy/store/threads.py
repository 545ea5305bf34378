"""Reads back what a stateful thread stands on: a request's effective context and the answer to it, as blocks.

Apart from `tree`, which knows no requests, and from `lineage`, which knows no content. What it reads is remembered by
block, because each turn of a thread stands on all the turns before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.sansio.threads import ContextBlock, answer_blocks
from claudeproxy.store.places import MASKED, OPENS, ROLE_SHIFT, SECTIONS, section_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from claudeproxy.store.tree import BlockTree

MAX_REMEMBERED_BYTES = 8 * 1024 * 1024

_ANSWERED = """
SELECT q.id, ifnull(q.context_node, q.node) AS node, q.context_complete
FROM responses p JOIN requests q ON q.n = p.request
WHERE p.message_id = ? AND q.node IS NOT NULL ORDER BY q.n DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadHistory:
    """What a request that continues a message stands on."""

    blocks: Sequence[ContextBlock]
    complete: bool  # False: the thread began before this database saw it


class ThreadReader:
    """Reads over one connection."""

    def __init__(self, connection: sqlite3.Connection, tree: BlockTree) -> None:
        self._connection = connection
        self._tree = tree
        self._known: dict[int, bytes] = {}
        self._held = 0

    def forget(self) -> None:
        """Forget blocks: their ids may have been rolled back."""
        self._known.clear()
        self._held = 0

    def history(self, message_id: str, answer: Callable[[str], object]) -> ThreadHistory | None:
        """Return what continues the message; None when it was never seen. `answer` gives a request's message.

        :raises CorruptBodyError: when a block is missing or damaged.
        """
        row = self._connection.execute(_ANSWERED, (message_id,)).fetchone()
        message = answer(row["id"]) if row is not None else None
        if row is None or not isinstance(message, dict):
            return None
        roles = {int(role): str(name) for role, name in self._connection.execute("SELECT id, name FROM roles")}
        blocks = [
            ContextBlock(
                section=SECTIONS[section_of(step.place)],
                role=roles[step.place >> ROLE_SHIFT],
                raw=self._read(step.block),
                opens_message=bool(step.place & OPENS),
            )
            for step in self._tree.path(row["node"])
            if not step.place & MASKED
        ]
        return ThreadHistory(
            blocks=[*blocks, *answer_blocks(message.get("content"))], complete=bool(row["context_complete"])
        )

    def _read(self, block: int) -> bytes:
        if (known := self._known.get(block)) is None:
            known = self._tree.read_block(block)
            if self._held > MAX_REMEMBERED_BYTES:
                self.forget()
            self._known[block] = known
            self._held += len(known)
        return known
