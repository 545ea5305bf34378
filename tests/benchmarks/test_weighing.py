"""What a database weighs: each table with its indexes, a search index with the tables that it keeps itself in."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from weighing import weigh

if TYPE_CHECKING:
    from pathlib import Path


def test_everything_in_the_file_is_weighed_once(tmp_path: Path):
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE things (name TEXT UNIQUE)")
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
        connection.executemany("INSERT INTO things VALUES (?)", [(f"{n:0100}",) for n in range(1000)])
        connection.executemany("INSERT INTO words VALUES (?)", [(f"word{n}",) for n in range(1000)])
        connection.commit()
    tables = weigh(path)
    file = tables.pop("file")
    assert file == path.stat().st_size / 1e6
    assert set(tables) == {"things", "words", "sqlite_schema"}
    assert sum(tables.values()) == pytest.approx(file)
    assert tables["things"] > 0.2  # its index, too
