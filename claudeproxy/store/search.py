"""The full-text index: which request brought a text, and which carried it.

Apart from `queries`, which only asks, because this also keeps the index: a repeatable step after a request has ended,
undone by deletion, made again from the captures at any time. The index has no content of its own. A text is found where
it came in: with the answer that said it, or with the earliest request whose path goes through a node with its block
(`nodes.introduced`). Tools are not indexed: whoever looks for a word does not want every request's list of schemas.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from claudeproxy.store.places import MASKED, section_of
from claudeproxy.store.wording import VERSION, answer_texts, block_text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from claudeproxy.store.tree import BlockTree

_TOOLS = 0  # places.SECTIONS
_MERGE_PAGES = 16  # of the index in one step: a few milliseconds; 64 were 20 to 50 where the index is large
_MERGING = {"automerge": 4, "crisismerge": 16}  # when FTS5 merges unasked: pieces of a size; as it has it by itself
_MOST_PIECES = 1999  # that FTS5 can have, less one
_WORDS = 0  # in ``abandoned_nodes``: the root, which goes with nobody, stands for words that are still in the index

_MATCHED = "SELECT rowid FROM search_words WHERE search_words MATCH :q"

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
UNSEARCHED = """
SELECT id FROM requests q WHERE state <> 'in_flight'
AND NOT EXISTS (SELECT 1 FROM searched s WHERE s.request = q.n AND s.version = ?)
AND NOT EXISTS (SELECT 1 FROM unfinished u WHERE u.request = q.n AND u.part = 'search' AND u.version = ?)
ORDER BY n LIMIT ?
"""


class SearchIndex:
    """The index of one database. The caller holds the transaction."""

    def __init__(self, connection: sqlite3.Connection, tree: BlockTree) -> None:
        self._connection = connection
        self._tree = tree
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
        run("INSERT INTO search_words (search_words) VALUES ('delete-all')")
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
        """Take the words of forgotten documents out of the index; to be called before the transaction ends.

        All at once and in order: FTS5 writes out what it has gathered whenever a document comes before the last one.
        It would also merge what it has written, as much as it likes: whoever deletes much calls `merge`, in steps.
        """
        if not self._gone:
            return
        self._set("automerge", 0)
        self._set("crisismerge", _MOST_PIECES)
        self._connection.executemany(
            "INSERT INTO search_words (search_words, rowid, text) VALUES ('delete', ?, ?)", sorted(self._gone)
        )
        self._gone.clear()
        self.going = 0
        self._connection.execute("INSERT OR IGNORE INTO abandoned_nodes VALUES (?)", (_WORDS,))
        self._connection.execute("SAVEPOINT taken_out")  # FTS5 writes at a savepoint what it would write at the commit
        self._connection.execute("RELEASE taken_out")
        for option, usual in _MERGING.items():
            self._set(option, usual)

    def introduce_again(self, node: int) -> None:
        """Find the earliest request through a node whose first one is gone. Children come before their parents."""
        self._connection.execute(
            """
            UPDATE nodes SET introduced = (SELECT min(n) FROM (
              SELECT min(n) AS n FROM requests WHERE node = ?1
              UNION ALL SELECT min(introduced) FROM nodes WHERE parent = ?1)) WHERE id = ?1
            """,
            (node,),
        )

    def merge(self, *, everything: bool = False) -> bool:
        """Do one step of merging the index, so that deleted words leave it; tell whether more is to be done.

        :param everything: begin to merge all of it into one piece; then go on with false.
        """
        before = self._connection.total_changes
        pages = -_MERGE_PAGES if everything else _MERGE_PAGES
        self._connection.execute("INSERT INTO search_words (search_words, rank) VALUES ('merge', ?)", (pages,))
        return self._connection.total_changes - before >= 2  # as SQLite's documentation says (FTS5, "merge")

    def is_merged(self) -> bool:
        """Tell whether no words are in the index that were to leave it: a merge of everything has seen its end."""
        statement = "SELECT 1 FROM abandoned_nodes WHERE node = ?"
        return self._connection.execute(statement, (_WORDS,)).fetchone() is None

    def set_merged(self) -> None:
        """Note that everything was merged. Whoever was stopped before has left that for the next one to see."""
        self._connection.execute("DELETE FROM abandoned_nodes WHERE node = ?", (_WORDS,))

    def _set(self, name: str, value: int) -> None:
        """Set an option of FTS5, which is kept in the database: to be set back in the same transaction."""
        self._connection.execute("INSERT INTO search_words (search_words, rank) VALUES (?, ?)", (name, value))

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
            self._connection.execute("INSERT INTO search_words (rowid, text) VALUES (?, ?)", (row[0], text))
        return int(row[0])

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
