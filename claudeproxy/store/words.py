"""The words of documents: FTS5 tables, each of so many documents in the order of their ids.

Apart from `search`, which knows what a document is and where it stands, because this is about the size of one piece of
work. FTS5 merges the list of one word as a whole, in one statement: in a table of 283,000 texts that took 36 ms of the
processor for the commonest, with the write lock held. And since a deleted text's words leave the file only when all
that holds them is merged, a purge of one capture had to merge everything. Here both are bounded by `DOCUMENTS`,
whatever the database holds.

FTS5 measures a merge by what it writes, which is nothing where all words are of deleted documents: of a part that has
hardly any left (`worn`), `search` moves those to the last part, and the rest is dropped without being merged.

Which tables there are is in ``search_parts``; the view ``search_found`` puts them together for queries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

DOCUMENTS = 32_768  # ids in a part: its commonest word is merged in some milliseconds
_MOST_PARTS = 400  # SQLite reads 500 tables in one view; beyond, the last part grows
_MERGE_PAGES = 16  # of a part in one statement: a few milliseconds
_WORN = 16  # where of so many documents fewer than one is left
_DROP_ROWS = 16  # of a dropped part between two looks at the clock; 4 KB each
_MERGING = {"automerge": 4, "crisismerge": 16}  # when FTS5 merges unasked: pieces of a size; as it has it by itself
_MOST_PIECES = 1999  # that FTS5 can have, less one


class Words:
    """The words of one database. The caller holds the transaction. A part is named by its first document's id."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, document: int, text: str) -> None:
        """Add the words of a document that is newer than all others."""
        last, parts = self._connection.execute("SELECT max(first), count(*) FROM search_parts").fetchone()
        if document >= last + DOCUMENTS and parts < _MOST_PARTS:
            self._begin(document)
            last = document
        self._connection.execute(f"INSERT INTO {_name(last)} (rowid, text) VALUES (?, ?)", (document, text))  # noqa: S608

    def take_out(self, documents: Iterable[tuple[int, str]]) -> None:
        """Take out the words of documents; their parts are torn until they are merged.

        All at once and in order: FTS5 writes out what it has gathered whenever a document comes before the last one.
        It would also merge what it has written, as much as it likes: whoever deletes much calls `merge`, in steps.
        """
        by_part: dict[int, list[tuple[int, str]]] = {}
        for one in sorted(documents):
            found = self._connection.execute("SELECT max(first) FROM search_parts WHERE first <= ?", one[:1])
            by_part.setdefault(int(found.fetchone()[0]), []).append(one)
        for part, gone in by_part.items():
            self._set(part, "automerge", 0)
            self._set(part, "crisismerge", _MOST_PIECES)
            name = _name(part)
            self._connection.executemany(f"INSERT INTO {name} ({name}, rowid, text) VALUES ('delete', ?, ?)", gone)  # noqa: S608
            self._connection.execute("UPDATE search_parts SET torn = 1 WHERE first = ?", (part,))
        self._connection.execute("SAVEPOINT taken_out")  # FTS5 writes at a savepoint what it would write at the commit
        self._connection.execute("RELEASE taken_out")
        for part in by_part:
            for option, usual in _MERGING.items():
                self._set(part, option, usual)

    def torn(self) -> Sequence[int]:
        """Return the parts that hold words of documents that are gone."""
        rows = self._connection.execute("SELECT first FROM search_parts WHERE torn ORDER BY first").fetchall()
        return [row[0] for row in rows]

    def worn(self) -> Sequence[int]:
        """Return the torn parts that hardly have documents any more, large enough for that to matter."""
        rows = self._connection.execute(
            f"SELECT first FROM ({_FILLED}) WHERE torn AND left * ? < ids AND ids >= ?",  # noqa: S608
            (_WORN, DOCUMENTS // 32),
        ).fetchall()
        return [row[0] for row in rows]

    def leave(self, part: int) -> None:
        """Let new documents go to another part than this one."""
        last, following = self._connection.execute(_ENDS).fetchone()
        if part == last and part < following:
            self._begin(following)

    def documents(self, part: int, most: int) -> Sequence[tuple[int, bytes]]:
        """Return documents of a part, with the hashes of their texts."""
        statement = f"SELECT id, text_hash FROM search_documents {_INSIDE} LIMIT ?2"  # noqa: S608
        return [tuple(row) for row in self._connection.execute(statement, (part, most)).fetchall()]

    def retire(self, part: int) -> None:
        """Take a part that has no documents out of the index; its table is one of `retired` then."""
        self._connection.execute("DELETE FROM search_parts WHERE first = ?", (part,))
        self._view()

    def retired(self) -> Sequence[str]:
        """Return the tables that belong to no part any more."""
        parts = {_name(row[0]) for row in self._connection.execute("SELECT first FROM search_parts")}
        tables = self._connection.execute(
            "SELECT name FROM sqlite_schema WHERE name LIKE 'search_words%' AND sql LIKE 'CREATE VIRTUAL TABLE%'"
        ).fetchall()
        return [row[0] for row in tables if row[0] not in parts]

    def drop(self, table: str, enough: Callable[[], bool]) -> bool:
        """Drop a retired table bit by bit until it is `enough`; tell whether more is to be done."""
        rows = f"SELECT id FROM {table}_data WHERE id > 10 LIMIT {_DROP_ROWS}"  # noqa: S608 - up to 10: what FTS5 opens
        while self._connection.execute(f"DELETE FROM {table}_data WHERE id IN ({rows})").rowcount:  # noqa: S608
            if enough():
                return True
        self._connection.execute(f"DROP TABLE {table}")
        return False

    def pages(self, part: int) -> int:
        """How much `merge` may write in one step: the less, the more of what it reads is of deleted documents."""
        left, ids = self._connection.execute(
            f"SELECT left, ids FROM ({_FILLED}) WHERE first = ?",  # noqa: S608
            (part,),
        ).fetchone()
        return max(1, min(_MERGE_PAGES, _MERGE_PAGES * int(left) // max(1, int(ids))))

    def merge(self, part: int, pages: int = _MERGE_PAGES, *, everything: bool = False) -> bool:
        """Do one step of merging a part, so that deleted words leave it; tell whether more is to be done.

        :param everything: begin to merge all of it into one piece; then go on with false.
        """
        before = self._connection.total_changes
        self._set(part, "merge", -pages if everything else pages)
        return self._connection.total_changes - before >= 2  # as SQLite's documentation says (FTS5, "merge")

    def merged(self, part: int) -> None:
        """Note that all of a part was merged. Whoever was stopped before has left that for the next one to see."""
        self._connection.execute("UPDATE search_parts SET torn = 0 WHERE first = ?", (part,))

    def clear(self) -> None:
        """Drop all parts and begin a new one; there are no documents any more."""
        parts = [row[0] for row in self._connection.execute("SELECT first FROM search_parts ORDER BY first")]
        self.leave(parts[-1])
        last = self._connection.execute(_ENDS).fetchone()[0]
        for part in parts:
            if part != last:
                self.retire(part)
        for table in self.retired():
            self.drop(table, lambda: False)

    def _begin(self, first: int) -> None:
        self._connection.execute(_CREATE.format(name=_name(first)))
        self._connection.execute("INSERT INTO search_parts VALUES (?, 0)", (first,))
        self._view()

    def _view(self) -> None:
        """Make the view of all parts again."""
        names = [_name(row[0]) for row in self._connection.execute("SELECT first FROM search_parts ORDER BY first")]
        tables = " UNION ALL ".join(f"SELECT rowid AS document, {name} AS words FROM {name}" for name in names)  # noqa: S608
        self._connection.execute("DROP VIEW search_found")
        self._connection.execute(f"CREATE VIEW search_found AS {tables}")

    def _set(self, part: int, name: str, value: int) -> None:
        """Give FTS5 a command, or set an option, which is kept in the database: to be set back before the commit."""
        table = _name(part)
        self._connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES (?, ?)", (name, value))  # noqa: S608


_NEXT = "ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'search_documents'), 0) + 1"  # document's id
_ENDS = f"SELECT (SELECT max(first) FROM search_parts), {_NEXT}"  # noqa: S608 - ours
_INSIDE = "WHERE id >= ?1 AND id < ifnull((SELECT min(first) FROM search_parts WHERE first > ?1), 1 << 62)"
# Of each part: how many ids it has had, and how many documents are left.
_FILLED = f"""
SELECT first, torn, next - first AS ids,
  (SELECT count(*) FROM search_documents WHERE id >= first AND id < next) AS left
FROM (SELECT first, torn, ifnull(lead(first) OVER (ORDER BY first), {_NEXT}) AS next FROM search_parts)
"""  # noqa: S608 - nothing here comes from outside
# As m0010's: no content and no sizes, positions for phrases.
_CREATE = """
CREATE VIRTUAL TABLE {name} USING fts5(
  text, content='', columnsize=0, detail=full, tokenize="unicode61 remove_diacritics 2"
)
"""


def _name(part: int) -> str:
    """The table of a part; that of the first is as old as the search."""
    return f"search_words_{part}" if part else "search_words"
