"""Proof that what is stored is what was captured: every hash is derived again.

Apart because it reads everything and trusts nothing, not even the code that wrote it: blocks against their hashes,
bodies against theirs after being put together, the links between rows, and SQLite's own check of the file.
"""

from __future__ import annotations

import sqlite3
from hashlib import sha256
from typing import TYPE_CHECKING

from claudeproxy.errors import StorageError
from claudeproxy.store.values import VerifyReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from claudeproxy.store.codec import Codec
    from claudeproxy.store.tree import BlockTree

MAX_PROBLEMS = 100  # lines in a report
_BATCH = 64  # rows read at a time: no snapshot is held for long, or the write-ahead log would grow


class Verifier:
    """Checks one database over one connection."""

    def __init__(self, connection: sqlite3.Connection, codec: Codec, tree: BlockTree) -> None:
        self._connection = connection
        self._codec = codec
        self._tree = tree
        self._problems: list[str] = []
        self._count = 0

    def run(self) -> VerifyReport:
        """Check everything. Takes some seconds for each gigabyte of bodies."""
        self._guarded(self._file)
        nodes, blocks = self._guarded(self._links), self._guarded(self._lots)
        requests, responses = self._guarded(self._requests), self._guarded(self._responses)
        return VerifyReport(
            nodes=nodes,
            blocks=blocks,
            requests=requests,
            responses=responses,
            messages=self._guarded(self._messages),
            problem_count=self._count,
            problems=tuple(self._problems),
        )

    def _guarded(self, check: Callable[[], int]) -> int:
        """Run one check; a file too damaged for it is a finding, and the other checks go on."""
        try:
            return check()
        except sqlite3.DatabaseError as error:
            self._problem(f"file: {error}")
            return 0

    def _file(self) -> int:
        findings = [row[0] for row in self._connection.execute("PRAGMA integrity_check(10)").fetchall()]
        for finding in findings:
            if finding != "ok":
                self._problem(f"file: {finding}")
        return len(findings)

    def _links(self) -> int:
        for row in self._connection.execute("PRAGMA foreign_key_check").fetchall():
            self._problem(f"{row['table']} row {row['rowid']} refers to a missing row of {row['parent']}")
        for row in self._connection.execute("SELECT id, parent FROM nodes WHERE id > 0 AND parent >= id").fetchall():
            self._problem(f"node {row['id']} is not younger than its parent {row['parent']}")
        return int(self._connection.execute("SELECT count(*) - 1 FROM nodes").fetchone()[0])

    def _lots(self) -> int:
        """Blocks against their hashes; and lots against their blocks, which must divide them."""
        for row in self._batches("SELECT id AS key, codec, data FROM lots"):
            try:
                data = self._codec.decompress(row["codec"], row["data"])
            except StorageError as error:
                self._problem(f"lot {row['key']}: {error}")
                continue
            at = 0
            for block, digest, length, start in self._connection.execute(
                "SELECT id, sha256, length, start FROM blocks WHERE lot = ? ORDER BY start", (row["key"],)
            ).fetchall():
                if start != at or sha256(data[start : start + length]).digest() != digest:
                    self._problem(f"block {block} is not what its hash says")
                at = start + length
            if at != len(data):
                self._problem(f"lot {row['key']} holds what is no block's")
        return int(self._connection.execute("SELECT count(lot) FROM blocks").fetchone()[0])

    def _requests(self) -> int:
        checked = 0
        for row in self._batches(
            "SELECT q.n AS key, q.id, q.node, q.skeleton, q.body_sha256, b.codec, b.data"
            " FROM requests q LEFT JOIN request_bodies b ON b.request = q.n"
        ):
            checked += 1
            self._body("request", row)
        return checked

    def _responses(self) -> int:
        checked = 0
        for row in self._batches(
            "SELECT p.request AS key, p.id, NULL AS node, iif(p.body_kept IN ('whole', 'partial'), p.body_sha256, NULL)"
            " AS body_sha256, b.codec, b.data FROM responses p LEFT JOIN response_bodies b ON b.request = p.request"
        ):
            checked += 1
            self._body("response", row)
        return checked

    def _messages(self) -> int:
        """Lots against their hashes; and messages against their lots, whose bytes they must divide."""
        for row in self._batches("SELECT rowid AS key, request, lot, sha256, codec, data FROM websocket_lots"):
            try:
                data = self._codec.decompress(row["codec"], row["data"])
            except StorageError as error:
                self._problem(f"messages of request {row['request']}: {error}")
                continue
            told = self._connection.execute(
                "SELECT sum(kept) FROM websocket_messages WHERE request = ? AND lot = ?", (row["request"], row["lot"])
            ).fetchone()[0]
            if sha256(data).digest() != row["sha256"] or told != len(data):
                self._problem(f"the messages of request {row['request']} are not what was captured")
        orphans = self._connection.execute(
            "SELECT DISTINCT m.request FROM websocket_messages m LEFT JOIN websocket_lots l"
            " ON l.request = m.request AND l.lot = m.lot WHERE l.lot IS NULL"
        ).fetchall()
        for row in orphans:
            self._problem(f"messages of request {row['request']} are missing")
        return int(self._connection.execute("SELECT count(*) FROM websocket_messages").fetchone()[0])

    def _body(self, what: str, row: sqlite3.Row) -> None:
        if row["body_sha256"] is None:
            return
        try:
            if row["node"] is not None:
                data = self._tree.rebuild(row["node"], row["skeleton"])
            else:
                data = self._codec.decompress(row["codec"], row["data"]) if row["data"] is not None else b""
        except StorageError as error:
            self._problem(f"{what} {row['id']}: {error}")
            return
        if sha256(data).digest() != row["body_sha256"]:
            self._problem(f"the body of {what} {row['id']} is not what was captured")

    def _batches(self, select: str) -> Iterator[sqlite3.Row]:
        key = -1
        while True:
            rows = self._connection.execute(
                f"SELECT * FROM ({select}) WHERE key > ? ORDER BY key LIMIT {_BATCH}",  # noqa: S608 - ours
                (key,),
            ).fetchall()
            yield from rows
            if len(rows) < _BATCH:
                return
            key = rows[-1]["key"]

    def _problem(self, text: str) -> None:
        self._count += 1
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(text)
