"""Databases as earlier versions wrote them, made from today's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.store.codec import Codec

if TYPE_CHECKING:
    from claudeproxy.store.storage import CaptureStorage


def before_lots(storage: CaptureStorage) -> None:
    """Each block with its own bytes, as it was until m0029. Nothing can be read after that: close it."""
    run, tree, codec = storage._connection.execute, storage._writer.tree, Codec()
    ids = [row[0] for row in run("SELECT id FROM blocks")]
    stored = [(block, *codec.compress(tree.read_block(block))) for block in ids]
    run("PRAGMA foreign_keys = OFF")
    run(
        "CREATE TABLE older (id INTEGER PRIMARY KEY AUTOINCREMENT, sha256 BLOB NOT NULL UNIQUE, codec INTEGER NOT NULL,"
        " length INTEGER NOT NULL, data BLOB NOT NULL) STRICT"
    )
    for block, number, data in stored:
        run("INSERT INTO older SELECT id, sha256, ?, length, ? FROM blocks WHERE id = ?", (number, data, block))
    run("DROP TABLE blocks")
    run("DROP TABLE lots")
    run("ALTER TABLE older RENAME TO blocks")
    run("DELETE FROM _sqlite_migrations WHERE name = 'm0029_lots'")


def before_runs(storage: CaptureStorage) -> None:
    """A row for each source of each request, as it was until m0030."""
    run = storage._connection.execute
    run(
        "CREATE TABLE older (request INTEGER NOT NULL REFERENCES requests(n) ON DELETE CASCADE,"
        " source INTEGER NOT NULL REFERENCES sources(id), tokens INTEGER NOT NULL, accuracy INTEGER NOT NULL,"
        " cost INTEGER, segments INTEGER NOT NULL DEFAULT 0, output INTEGER NOT NULL DEFAULT 0,"
        " PRIMARY KEY (request, source)) STRICT, WITHOUT ROWID"
    )
    run("INSERT INTO older SELECT request, source, tokens, accuracy, cost, segments, output FROM request_sources")
    for thing in ("TRIGGER requests_deleted", "VIEW request_sources", "TABLE source_runs", "INDEX requests_lane"):
        run(f"DROP {thing}")
    run("PRAGMA legacy_alter_table = ON")  # views name what is to be there
    run("ALTER TABLE older RENAME TO request_sources")
    run("CREATE INDEX request_sources_source ON request_sources (source, request)")
    run("ALTER TABLE requests DROP COLUMN lane")
    run("ALTER TABLE requests DROP COLUMN pieces")
    run("DELETE FROM _sqlite_migrations WHERE name = 'm0030_runs'")
