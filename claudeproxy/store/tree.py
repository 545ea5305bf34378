"""Blocks and nodes in the database: kept once, found again, walked.

Apart because this is the one place where content becomes ids. What it remembers between transactions (hash to block,
place to node) is bounded and must be forgotten when a transaction is rolled back; foreign keys and never-reused ids
make a stale memory an IntegrityError, not a wrong link. Knows nothing of requests.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from claudeproxy.errors import CorruptBodyError
from claudeproxy.store import places
from claudeproxy.store.canonical import START, canonical_digest, link
from claudeproxy.store.cutting import PLACEHOLDER
from claudeproxy.store.lots import Lots
from claudeproxy.store.skeleton import Cut, Gap, Literal, Mask, PathStep, Skeleton, assemble, decode_skeleton

if TYPE_CHECKING:
    import sqlite3

    from claudeproxy.store.codec import Codec
    from claudeproxy.store.cutting import CutBody, Piece

K = TypeVar("K")
V = TypeVar("V")

MAX_REMEMBERED = 16_384  # entries in each memory, 12 MB in all: some thirty conversations of five hundred blocks
_MAX_GAP = 64  # bytes; ordinary ones are a comma and some brackets, a hostile one could be a megabyte of blanks
_MAX_LAID = 4_096  # pieces, with their bytes, which `cutting` mostly holds as well
_MAX_LAID_BYTES = 1 << 13  # a larger one is hashed again: few are
WORTH_SHARING = 16  # bytes of a literal; naming a block costs about 8


class StoredPath(NamedTuple):
    """Where a body is: last node, skeleton in stored form, the blocks that the skeleton names."""

    node: int
    skeleton: bytes
    references: set[int]


class _Node(NamedTuple):
    id: int
    gap: int
    chain: bytes | None


_ROOT = _Node(0, 0, None)


class _Laid(NamedTuple):
    """A piece that was laid behind a node: cutting gives the same one for what a turn repeats."""

    piece: Piece
    parent: int
    node: _Node
    step: PathStep


class BlockTree:
    """The tree of one database. The caller holds the transaction and calls `forget` after a rollback."""

    def __init__(self, connection: sqlite3.Connection, codec: Codec) -> None:
        self._connection = connection
        self._codec = codec
        self.lots = Lots(connection, codec)
        self._blocks: dict[bytes, int] = {}
        self._nodes: dict[tuple[int, int, int], _Node] = {}
        self._gaps: dict[int, bytes] = {}
        self._roles: dict[str, int] = {}
        self._seen_literals: dict[bytes, None] = {}
        self._canonical: dict[int, bytes] = {}
        self._laid: dict[int, _Laid] = {}  # by the identity of the piece

    def forget(self) -> None:
        """Forget all ids: they may have been rolled back, or deleted by another process."""
        self.lots.forget()
        self._canonical.clear()
        self._laid.clear()
        for memory in (self._blocks, self._nodes, self._gaps, self._roles, self._seen_literals):
            memory.clear()

    def store(self, body: bytes, cut: CutBody) -> StoredPath:
        """Store a cut body and prove that it comes back.

        :raises CorruptBodyError: when it does not. The caller rolls back to where it was, and stores the body whole.
        """
        known: dict[int, bytes] = {0: b""}  # what the ids of this body mean, by the hash they were found under
        path = self._lay(cut, known)
        cuts, gaps, masks = [], [], []
        for index, (piece, step) in enumerate(zip(cut.pieces, path, strict=True)):
            known[step.gap] = self._gap(step.gap)
            if known[step.gap] != b"".join(piece.gap):
                gaps.append(Gap(index, tuple(self._literal(part, known) for part in piece.gap)))
            if piece.masked:
                masks.append(Mask(index, piece.data))
            if piece.cut is not None:
                offset, member = piece.cut
                cuts.append(Cut(index, offset, self._block(member, known)))  # few distinct ones, in every request
        tail = tuple(self._literal(part, known) for part in cut.tail)
        skeleton = Skeleton(cut.order, tail, tuple(cuts), tuple(gaps), tuple(masks))
        if assemble(path, skeleton, known.__getitem__) != body:
            raise CorruptBodyError("the body does not come back from its blocks")
        self.lots.finish()
        codec, packed = self._codec.compress(skeleton.encode())
        return StoredPath(path[-1].node if path else 0, bytes((codec,)) + packed, skeleton.references())

    def lay(self, cut: CutBody) -> list[PathStep]:
        """Return the path of a context that no body spells out: its nodes are made where they are new."""
        path = self._lay(cut, {})
        self.lots.finish()
        return path

    def skeleton(self, stored: bytes) -> Skeleton:
        """Read a skeleton: a byte for the codec, then its stored form.

        :raises CorruptBodyError: when it is damaged.
        """
        return decode_skeleton(self._codec.decompress(stored[0], stored[1:]))

    def path(self, node: int) -> list[PathStep]:
        """Return the path that ends at `node`, in prompt order. Node 0 is the empty path."""
        rows = self._connection.execute(
            """
            WITH RECURSIVE path (id, parent, place, block, gap, chain, explanation) AS (
              SELECT id, parent, place, block, gap, chain, explanation FROM nodes WHERE id = ? AND id > 0
              UNION ALL SELECT n.id, n.parent, n.place, n.block, n.gap, n.chain, n.explanation
              FROM path JOIN nodes n ON n.id = path.parent WHERE path.parent > 0)
            SELECT id, place, block, gap, chain, explanation FROM path
            """,
            (node,),
        ).fetchall()
        return [PathStep(*row) for row in reversed(rows)]

    def rebuild(self, node: int, skeleton: bytes) -> bytes:
        """Put a body together from what is in the database.

        :raises CorruptBodyError: when a block is missing or damaged.
        """
        loaded: dict[int, bytes] = {}

        def load(block: int) -> bytes:
            if block not in loaded:
                loaded[block] = self.read_block(block)
            return loaded[block]

        return assemble(self.path(node), self.skeleton(skeleton), load)

    def read_block(self, block: int) -> bytes:
        """Return a block's bytes.

        :raises CorruptBodyError: when it is missing or damaged.
        """
        return self.lots.read(block)

    # --- content to ids -------------------------------------------------------------------------------------

    def _lay(self, cut: CutBody, known: dict[int, bytes]) -> list[PathStep]:
        path = []
        node = _ROOT
        for depth, piece in enumerate(cut.pieces, 1):
            laid = self._laid.get(id(piece))
            if laid is not None and laid.piece is piece and laid.parent == node.id:  # and so at the same depth
                node, step = laid.node, laid.step
                known[step.block] = piece.data
            else:
                data = PLACEHOLDER if piece.masked else piece.data
                block = self._block(data, known)
                place = self._place(piece)
                parent, node = node.id, self._node(node, block, place, piece, data, depth=depth)
                step = PathStep(node.id, place, block, node.gap, node.chain)
                if not piece.masked and len(piece.data) <= _MAX_LAID_BYTES:
                    _remember(self._laid, id(piece), _Laid(piece, parent, node, step), _MAX_LAID)
            path.append(step)
        return path

    def _literal(self, data: bytes, known: dict[int, bytes]) -> Literal:
        """Share a literal from the second time it is seen: many are new in every request, and a block has a price."""
        if len(data) < WORTH_SHARING:
            return data
        digest = sha256(data).digest()
        if digest not in self._blocks and digest not in self._seen_literals and self._find_block(digest) is None:
            _remember(self._seen_literals, digest, None)
            return data
        return self._block(data, known)

    def _block(self, data: bytes, known: dict[int, bytes]) -> int:
        digest = sha256(data).digest()
        block = self._blocks.get(digest)
        if block is None:
            block = self._find_or_add_block(digest, data)
            _remember(self._blocks, digest, block)
        known[block] = data
        return block

    def _find_block(self, digest: bytes) -> int | None:
        row = self._connection.execute("SELECT id FROM blocks WHERE sha256 = ?", (digest,)).fetchone()
        return None if row is None else int(row[0])

    def _find_or_add_block(self, digest: bytes, data: bytes) -> int:
        known = self._find_block(digest)
        return self.lots.add(digest, data) if known is None else known

    def _node(self, parent: _Node, block: int, place: int, piece: Piece, data: bytes, *, depth: int) -> _Node:
        key = (parent.id, block, place)
        if (node := self._nodes.get(key)) is not None:
            return node
        row = self._connection.execute(
            "SELECT id, gap, chain FROM nodes WHERE parent = ? AND block = ? AND place = ?", key
        ).fetchone()
        if row is None:
            gap_block = self._block(b"".join(piece.gap), {})
            chain = self._chain(parent, block, piece, data, place >> places.ROLE_SHIFT)
            row = (
                _inserted(
                    self._connection.execute(
                        "INSERT INTO nodes (parent, block, place, gap, depth, message_index, item_index, chain)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                        (*key, gap_block, depth, piece.message_index, piece.item_index, chain),
                    )
                ),
                gap_block,
                chain,
            )
        node = _Node(*row)
        _remember(self._nodes, key, node)
        return node

    def _chain(self, parent: _Node, block: int, piece: Piece, data: bytes, role: int) -> bytes | None:
        if piece.section != places.MESSAGES or piece.masked:
            return parent.chain
        if (digest := self._canonical.get(block)) is None:  # a new tool in front gives the whole history new nodes
            digest = canonical_digest(data)
            _remember(self._canonical, block, digest)
        return link(parent.chain or START, digest, role=role, opens=piece.opens)

    def _gap(self, block: int) -> bytes:
        if (gap := self._gaps.get(block)) is None:
            gap = self.read_block(block)
            if len(gap) <= _MAX_GAP:
                _remember(self._gaps, block, gap)
        return gap

    def _place(self, piece: Piece) -> int:
        return places.pack(
            section=piece.section,
            opens=piece.opens,
            masked=piece.masked,
            items_skipped=piece.items_skipped,
            messages_skipped=piece.messages_skipped,
            role=self._role(piece.role),
        )

    def _role(self, name: str) -> int:
        if (role := self._roles.get(name)) is None:
            stored = name.encode("utf-8", "replace").decode()
            self._connection.execute("INSERT OR IGNORE INTO roles (name) VALUES (?)", (stored,))
            role = int(self._connection.execute("SELECT id FROM roles WHERE name = ?", (stored,)).fetchone()[0])
            _remember(self._roles, name, role)
        return role


def _inserted(cursor: sqlite3.Cursor) -> int:
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _remember(memory: dict[K, V], key: K, value: V, limit: int | None = None) -> None:
    if len(memory) >= (limit or MAX_REMEMBERED):
        memory.clear()
    memory[key] = value
