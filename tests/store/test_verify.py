from __future__ import annotations

import pytest

from claudeproxy.store import verify
from tests.store.conversation import Conversation
from tests.store.exchanges import exchange, response

BODY = b'{"model":"m","messages":[{"role":"user","content":"hello, this is a block of some length"}]}'


@pytest.fixture
def filled(storage):
    storage.record([exchange(0, BODY), exchange(1, b"stored whole, as it is no JSON at all"), exchange(2, b"")], {})
    assert storage.verify().ok
    return storage


def test_a_sound_database_is_counted(filled):
    report = filled.verify()
    assert (report.requests, report.responses, report.nodes, report.problems) == (3, 3, 1, ())
    assert report.blocks == filled.summary().blocks


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("UPDATE lots SET data = x'00', codec = 0", "not what its hash says"),
        ("UPDATE lots SET data = CAST(data || 'x' AS BLOB), codec = 0", "holds what is no block's"),
        ("UPDATE lots SET data = x'00' WHERE codec = 1", "cannot be decompressed"),
        ("UPDATE lots SET codec = 9", "codec 9"),
        ("UPDATE blocks SET start = start + 1 WHERE start > 0", "not what its hash says"),
        ("UPDATE blocks SET lot = NULL WHERE length > 20", "lot None is missing"),
        ("DELETE FROM lots", "missing row of lots"),
        ("UPDATE blocks SET length = 1 WHERE length > 20", "not what its hash says"),
        ("UPDATE requests SET skeleton = x'00ff' WHERE node IS NOT NULL", "skeleton cannot be read"),
        ("UPDATE requests SET body_sha256 = x'00' WHERE n = 1", "the body of request"),
        ("UPDATE request_bodies SET data = x'00', codec = 0", "the body of request"),
        ("DELETE FROM request_bodies", "the body of request"),
        ("UPDATE response_bodies SET data = x'00', codec = 0", "the body of response"),
        ("DELETE FROM blocks WHERE length > 20", "missing row of blocks"),
        ("UPDATE nodes SET parent = 7 WHERE id > 0", "not younger than its parent"),
    ],
)
def test_every_kind_of_damage_is_found(filled, damage, finding):
    filled._connection.execute("PRAGMA foreign_keys = OFF")
    filled._connection.execute(damage)
    report = filled.verify()
    assert not report.ok
    assert any(finding in problem for problem in report.problems), report.problems


def test_a_damaged_file_is_found(filled, database):
    """A page overwritten on the disk shows in SQLite's own check."""
    filled._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (page,) = filled._connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'nodes_block'").fetchone()
    size = filled._connection.execute("PRAGMA page_size").fetchone()[0]
    with database.open("r+b") as file:
        file.seek((page - 1) * size + 8)
        file.write(b"\xff" * 200)
    with type(filled)(database) as again:
        assert any(problem.startswith("file:") for problem in again.verify().problems)


def test_a_report_is_bounded_and_counts_on(storage, monkeypatch):
    monkeypatch.setattr(verify, "MAX_PROBLEMS", 3)
    monkeypatch.setattr(verify, "_BATCH", 4)
    for number, (body, answer) in enumerate(Conversation(tools=3, system_size=100, result_size=50).turns(8)):
        storage.record([exchange(number, body, response=response(answer))], {})
    storage._connection.execute("UPDATE requests SET body_sha256 = x'00'")
    report = storage.verify()
    assert (report.problem_count, len(report.problems), report.requests, report.responses) == (8, 3, 8, 8)
