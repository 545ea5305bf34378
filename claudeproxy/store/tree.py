"""Blocks and nodes in the database: kept once, found again, walked.

Apart because this is the one place where content becomes ids. What it remembers between transactions (hash to block,
place to node) is bounded and must be forgotten when a transaction is rolled back; foreign keys and never-reused ids
make a stale memory an IntegrityError, not a wrong link. Knows nothing of requests.
"""

from __future__ import annotations

from hashlib import sha256
from operator import is_
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from claudeproxy.errors import CorruptBodyError
from claudeproxy.store import places
from claudeproxy.store.canonical import START, canonical_digest, link
from claudeproxy.store.cutting import PLACEHOLDER, same_beginning
from claudeproxy.store.lots import Lots
from claudeproxy.store.skeleton import Cut, Gap, Literal, Mask, PathStep, Skeleton, assemble, decode_skeleton

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from claudeproxy.store.codec import Codec
    from claudeproxy.store.cutting import CutBody, Piece

K = TypeVar("K")
V = TypeVar("V")

MAX_REMEMBERED = 8_192  # entries in each memory, 6 MB in all: some fifteen conversations of five hundred blocks
_SHORT = 256  # bytes of a gap or a cache_control member that is remembered; a hostile one could be a megabyte of blanks
_RECENT = 3  # bodies whose paths are kept, with their pieces, which `cutting` mostly holds as well
_MAX_LAID = 2 << 20  # bytes of one
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
    """A body that was laid: cutting gives the same pieces for what a turn repeats."""

    pieces: Sequence[Piece]
    path: Sequence[PathStep]
    own: Sequence[int]  # pieces that are not what their nodes say


class BlockTree:
    """The tree of one database. The caller holds the transaction and calls `forget` after a rollback."""

    def __init__(self, connection: sqlite3.Connection, codec: Codec) -> None:
        self._connection = connection
        self._codec = codec
        self.lots = Lots(connection, codec)
        self._blocks: dict[bytes, int] = {}
        self._nodes: dict[tuple[int, int, int], _Node] = {}
        self._short: dict[int, bytes] = {}
        self._roles: dict[str, int] = {}
        self._seen_literals: dict[bytes, None] = {}
        self._canonical: dict[int, bytes] = {}
        self._laid: tuple[_Laid, ...] = ()  # the latest first

    def forget(self) -> None:
        """Forget all ids: they may have been rolled back, or deleted by another process."""
        self.lots.forget()
        self._canonical.clear()
        self._laid = ()
        for memory in (self._blocks, self._nodes, self._short, self._roles, self._seen_literals):
            memory.clear()

    def store(self, body: bytes, cut: CutBody) -> StoredPath:
        """Store a cut body and prove that it comes back.

        :raises CorruptBodyError: when it does not. The caller rolls back to where it was, and stores the body whole.
        """
        path, own = self._lay(cut)
        # What the ids of this body mean, by the hash they were found under.
        known = {step.block: piece.data for step, piece in zip(path, cut.pieces, strict=True)}
        known |= {path[index].block: PLACEHOLDER for index in own if cut.pieces[index].masked}
        known |= {gap: self.read_short(gap) for gap in {step.gap for step in path}}
        known[0] = b""
        cuts, gaps, masks = [], [], []
        for index in own:
            piece = cut.pieces[index]
            if known[path[index].gap] != b"".join(piece.gap):
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
        if len(body) <= _MAX_LAID:
            self._remember_path(cut.pieces, path, own)
        self.lots.finish()
        codec, packed = self._codec.compress(skeleton.encode())
        return StoredPath(path[-1].node if path else 0, bytes((codec,)) + packed, skeleton.references())

    def lay(self, cut: CutBody) -> list[PathStep]:
        """Return the path of a context that no body spells out: its nodes are made where they are new."""
        path, _ = self._lay(cut)
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

    def read_short(self, block: int) -> bytes:
        """Return the bytes of a block that many requests have and that is mostly short: a gap, a cut-out member.

        :raises CorruptBodyError: when it is missing or damaged.
        """
        if (data := self._short.get(block)) is None:
            data = self.read_block(block)
            if len(data) <= _SHORT:
                _remember(self._short, block, data)
        return data

    # --- content to ids -------------------------------------------------------------------------------------

    def _lay(self, cut: CutBody) -> tuple[list[PathStep], list[int]]:
        """Return the path of a body, and which of its pieces are not what their nodes say: it has more of them.

        Pieces that are the very same as in a body before, behind the same node, are not looked at.
        """
        pieces = cut.pieces
        like = max(self._laid, key=lambda one: sum(map(is_, one.pieces, pieces)), default=_Laid((), (), ()))
        path: list[PathStep] = []
        own: list[int] = []
        node = _ROOT
        while (at := len(path)) < len(pieces):
            piece = pieces[at]
            repeats = at < len(like.pieces) and piece is like.pieces[at]
            if repeats and (not at or path[-1].node == like.path[at - 1].node):
                upto = at + same_beginning(pieces[at:], like.pieces[at:])
                path += like.path[at:upto]
                own += [index for index in like.own if at <= index < upto]
                node = _Node(path[-1].node, path[-1].gap, path[-1].chain)
                continue
            data = PLACEHOLDER if piece.masked else piece.data
            block, place = self._block(data, {}), self._place(piece)
            node = self._node(node, block, place, piece, data, depth=at + 1)
            path.append(PathStep(node.id, place, block, node.gap, node.chain))
            if piece.masked or piece.cut is not None or self.read_short(node.gap) != b"".join(piece.gap):
                own.append(at)
        return path, own

    def _remember_path(self, pieces: Sequence[Piece], path: Sequence[PathStep], own: Sequence[int]) -> None:
        """Remember where the latest bodies are, without those that this one goes on from."""
        earlier = [one for one in self._laid if 8 * same_beginning(path, one.path) < 7 * len(one.path)]
        self._laid = (_Laid(pieces, path, own), *earlier)[:_RECENT]

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


def _remember(memory: dict[K, V], key: K, value: V) -> None:
    if len(memory) >= MAX_REMEMBERED:
        memory.clear()
    memory[key] = value
