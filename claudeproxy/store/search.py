"""The full-text index: which request brought a text, and which carried it.

Apart from `queries`, which only asks, because this also keeps the index: a repeatable step after a request has ended,
undone by deletion, made again from the captures at any time. The index has no content of its own; the words are in
`words`. A text is found where it came in: with the answer that said it, or with the earliest request whose path goes
through a node with its block (`nodes.introduced`). Tools are not indexed: whoever looks for a word does not want every
request's list of schemas.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from claudeproxy.store.places import MASKED, section_of
from claudeproxy.store.wording import VERSION, answer_texts, block_text
from claudeproxy.store.words import Words

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from claudeproxy.store.tree import BlockTree

_TOOLS = 0  # places.SECTIONS
_MOVED = 64  # documents in one step

_MATCHED = "SELECT document FROM search_found WHERE words MATCH :q"

# Conditions on captured_requests c; :q is a `wording.match_expression`.
INTRODUCED = f"""
c.n IN (SELECT min(n) FROM (
  SELECT b.document AS document, x.introduced AS n FROM search_blocks b JOIN nodes x ON x.block = b.block
  WHERE b.document IN ({_MATCHED}) AND x.introduced IS NOT NULL
  UNION ALL SELECT document, request FROM search_answers WHERE document IN ({_MATCHED}))
GROUP BY document)
"""  # noqa: S608 - nothing here comes from outside
EVERYWHERE = f"""
c.n IN (
  WITH RECURSIVE carrying (node) AS (
    SELECT x.id FROM search_blocks b JOIN nodes x ON x.block = b.block WHERE b.document IN ({_MATCHED})
    UNION SELECT x.id FROM carrying y JOIN nodes x ON x.parent = y.node)
  SELECT q.n FROM carrying y JOIN requests q ON q.node = y.node
  UNION SELECT q.n FROM carrying y JOIN requests q ON q.context_node = y.node AND q.context_node IS NOT NULL
  UNION SELECT request FROM search_answers WHERE document IN ({_MATCHED}))
"""  # noqa: S608
# Nodes whose earliest request is gone, children before their parents.
_HOMELESS = """
SELECT id, parent, introduced FROM nodes WHERE introduced IN (
  SELECT DISTINCT introduced FROM nodes WHERE introduced IS NOT NULL AND introduced NOT IN (SELECT n FROM requests))
ORDER BY id DESC
"""
# Of a node: itself, and its children that know theirs.
_EARLIEST = """
SELECT min(n) FROM (
  SELECT min(n) AS n FROM requests WHERE node = ?1
  UNION ALL SELECT min(introduced) FROM nodes WHERE parent = ?1 AND introduced IN (SELECT n FROM requests))
"""
_INTRODUCE = """
UPDATE nodes SET introduced = (SELECT min(n) FROM (
  SELECT min(n) AS n FROM requests WHERE node = ?1
  UNION ALL SELECT min(introduced) FROM nodes WHERE parent = ?1)) WHERE id = ?1
"""
UNSEARCHED = """
SELECT id FROM requests q WHERE state <> 'in_flight'
AND NOT EXISTS (SELECT 1 FROM searched s WHERE s.request = q.n AND s.version = ?)
AND NOT EXISTS (SELECT 1 FROM unfinished u WHERE u.request = q.n AND u.part = 'search' AND u.version = ?)
ORDER BY n LIMIT ?
"""


class Introducer(NamedTuple):
    """The earliest request through a node: the one that was, and the one that is; None when there is none any more."""

    node: int
    gone: int
    now: int | None


class SearchIndex:
    """The index of one database. The caller holds the transaction."""

    def __init__(self, connection: sqlite3.Connection, tree: BlockTree) -> None:
        self._connection = connection
        self._tree = tree
        self.words = Words(connection)
        self.lots = tree.lots  # where it reads what it is to forget
        self._current = False
        self._gone: list[tuple[int, str]] = []  # documents whose words are still in the index
        self.going = 0  # characters of them

    def add(self, number: int, message: object) -> None:
        """Index what request `number` brought, and its answer. Doing it again changes nothing."""
        run = self._connection.execute
        if not self._current:
            if run("SELECT 1 FROM searched WHERE version <> ? LIMIT 1", (VERSION,)).fetchone():
                self.clear()
            self._current = True
        node = run("SELECT node FROM requests WHERE n = ?", (number,)).fetchone()[0]
        for block in reversed(self._introduce(node, number)):
            if run("SELECT 1 FROM search_blocks WHERE block = ?", (block,)).fetchone() is None:
                text = block_text(self._tree.read_block(block))
                if text:
                    run("INSERT INTO search_blocks VALUES (?, ?)", (block, self._document(text)))
        documents = {self._document(text) for text in answer_texts(message)}
        self._connection.executemany(
            "INSERT OR IGNORE INTO search_answers VALUES (?, ?)", [(number, one) for one in documents]
        )
        run("INSERT OR REPLACE INTO searched VALUES (?, ?)", (number, VERSION))

    def clear(self) -> None:
        """Empty the index: every request is unsearched then."""
        run = self._connection.execute
        for table in ("searched", "search_answers", "search_blocks", "search_documents"):
            run(f"DELETE FROM {table}")  # noqa: S608 - ours
        self.words.clear()
        run("UPDATE nodes SET introduced = NULL WHERE introduced IS NOT NULL")

    def forget_block(self, block: int) -> None:
        """Take out a block that is about to be deleted; its words go with `take_out`."""
        row = self._connection.execute(
            "DELETE FROM search_blocks WHERE block = ? RETURNING document", (block,)
        ).fetchone()
        if row is not None:
            self._forget(row[0], lambda: [block_text(self._tree.read_block(block))])

    def forget_answer(self, number: int, read: Callable[[], object]) -> None:
        """Take out the answer of a request that is about to be deleted. `read` gives the message, if it is needed.

        Its words go with `take_out`.
        """
        rows = self._connection.execute(
            "DELETE FROM search_answers WHERE request = ? RETURNING document", (number,)
        ).fetchall()
        for row in rows:
            self._forget(row[0], lambda: answer_texts(read()))

    def take_out(self) -> None:
        """Take the words of forgotten documents out of the index; to be called before the transaction ends."""
        if self._gone:
            self.words.take_out(self._gone)
            self._gone.clear()
            self.going = 0

    def move(self, part: int, read: Callable[[int], object], enough: Callable[[], bool]) -> bool:
        """Move what is left in a worn part to the last one until it is `enough`; tell whether more is left there.

        One of which nothing is left is retired.

        :param read: gives the message that answered a request, by the request's number.
        """
        run = self._connection.execute
        self.words.leave(part)
        run("PRAGMA defer_foreign_keys = ON")  # until the commit: a document gets another id
        for document, text_hash in self.words.documents(part, _MOVED):
            text = self._text(document, text_hash, read)
            run("DELETE FROM search_documents WHERE id = ?", (document,))
            moved = None if text is None else self._document(text)
            for table in ("search_blocks", "search_answers"):
                if moved is None:  # it cannot be read any more, and so not be taken out later
                    run(f"DELETE FROM {table} WHERE document = ?", (document,))  # noqa: S608 - ours
                else:
                    run(f"UPDATE {table} SET document = ? WHERE document = ?", (moved, document))  # noqa: S608
            if enough():
                break
        if self.words.documents(part, 1):
            return True
        self.words.retire(part)
        return False

    def introducers(self) -> list[Introducer]:
        """Find for each node whose earliest request is gone the one that is the earliest now; needs no transaction.

        A node may have thousands of children, all of which are looked at: nobody is to wait for that.
        """
        homeless = [tuple(row) for row in self._connection.execute(_HOMELESS).fetchall()]
        earliest: dict[int, int] = {}
        found = []
        for node, parent, gone in homeless:  # children before their parents
            known = [self._connection.execute(_EARLIEST, (node,)).fetchone()[0], earliest.get(node)]
            now = min((number for number in known if number is not None), default=None)
            if now is not None:
                earliest[parent] = min(now, earliest.get(parent, now))
            found.append(Introducer(node, gone, now))
        return found

    def introduce_again(self, found: Introducer) -> None:
        """Note a node's earliest request; where the database has changed since, look again."""
        node, gone, now = found
        changed = self._connection.execute(
            "UPDATE nodes SET introduced = ?3 WHERE id = ?1 AND introduced = ?2"
            " AND EXISTS (SELECT 1 FROM requests WHERE n = ?3)",
            (node, gone, now),
        ).rowcount
        if not changed:
            self._connection.execute(_INTRODUCE, (node,))

    # --- documents ------------------------------------------------------------------------------------------

    def _introduce(self, node: int | None, number: int) -> list[int]:
        """Walk up from a request's last node as long as no earlier request is known; return the blocks to index."""
        blocks = []
        while node:
            parent, block, place, introduced = self._connection.execute(
                "SELECT parent, block, place, introduced FROM nodes WHERE id = ?", (node,)
            ).fetchone()
            if introduced is not None and introduced <= number:
                break
            self._connection.execute("UPDATE nodes SET introduced = ? WHERE id = ?", (number, node))
            if section_of(place) != _TOOLS and not place & MASKED:
                blocks.append(block)
            node = parent
        return blocks

    def _document(self, text: str) -> int:
        digest = _text_hash(text)
        row = self._connection.execute("SELECT id FROM search_documents WHERE text_hash = ?", (digest,)).fetchone()
        if row is None:
            row = self._connection.execute(
                "INSERT INTO search_documents (text_hash) VALUES (?) RETURNING id", (digest,)
            ).fetchone()
            self.words.add(row[0], text)
        return int(row[0])

    def _text(self, document: int, text_hash: bytes, read: Callable[[int], object]) -> str | None:
        """Read a document's text from where it stands."""
        run = self._connection.execute
        texts: list[str] = []
        if row := run("SELECT block FROM search_blocks WHERE document = ? LIMIT 1", (document,)).fetchone():
            texts = [block_text(self._tree.read_block(row[0]))]
        elif row := run("SELECT request FROM search_answers WHERE document = ? LIMIT 1", (document,)).fetchone():
            texts = answer_texts(read(row[0]))
        return next((text for text in texts if _text_hash(text) == text_hash), None)

    def _forget(self, document: int, texts: Callable[[], Iterable[str]]) -> None:
        row = self._connection.execute(
            """
            SELECT text_hash FROM search_documents WHERE id = ?1
            AND NOT EXISTS (SELECT 1 FROM search_blocks WHERE document = ?1)
            AND NOT EXISTS (SELECT 1 FROM search_answers WHERE document = ?1)
            """,
            (document,),
        ).fetchone()
        if row is None:
            return
        for text in texts():
            if _text_hash(text) == row["text_hash"]:
                self._gone.append((document, text))
                self.going += len(text)
                break
        self._connection.execute("DELETE FROM search_documents WHERE id = ?", (document,))


def _text_hash(text: str) -> bytes:
    return sha256(text.encode()).digest()[:16]
