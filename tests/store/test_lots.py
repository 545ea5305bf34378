from __future__ import annotations

from hashlib import sha256

import pytest

from claudeproxy.errors import CorruptBodyError
from claudeproxy.store import lots as module
from claudeproxy.store.codec import Codec
from claudeproxy.store.lots import Lots
from claudeproxy.store.retention import Retention
from claudeproxy.store.storage import CaptureStorage
from tests.store.conversation import Conversation
from tests.store.exchanges import correlation, exchange
from tests.store.older import before_lots

TEXTS = [f"the text of block {n}, of which there are some".encode() for n in range(5)]


@pytest.fixture
def lots(storage):
    return Lots(storage._connection, Codec())


def count(lots):
    return lots._connection.execute("SELECT count(*) FROM lots").fetchone()[0]


def stored(lots, texts=TEXTS):
    blocks = [lots.add(sha256(one).digest(), one) for one in texts]
    lots.finish()
    return blocks


def test_blocks_that_come_together_are_one_lot_and_each_is_read_by_itself(lots):
    blocks = stored(lots)
    assert count(lots) == 1
    assert [lots.read(block) for block in blocks] == TEXTS
    assert [Lots(lots._connection, Codec()).read(block) for block in blocks] == TEXTS


def test_a_block_can_be_read_before_it_is_in_the_database(lots):
    block = lots.add(sha256(TEXTS[0]).digest(), TEXTS[0])
    assert lots.read(block) == TEXTS[0]


def test_what_comes_later_is_added_to_the_lot_and_found_by_who_has_read_it_before(lots):
    reader = Lots(lots._connection, Codec())
    first = stored(lots, TEXTS[:2])
    assert [reader.read(block) for block in first] == TEXTS[:2]
    later = stored(lots, TEXTS[2:])
    assert count(lots) == 1
    assert [reader.read(block) for block in first + later] == TEXTS


def test_a_lot_that_lost_a_block_is_not_added_to(lots, storage):
    blocks = stored(lots, TEXTS[:3])
    lots.delete(blocks[1])
    lots.finish()
    blocks += stored(lots, TEXTS[3:])
    assert [lots.read(blocks[n]) for n in (0, 2, 3, 4)] == [TEXTS[n] for n in (0, 2, 3, 4)]
    assert storage.verify().ok


def test_a_lot_that_another_process_has_written_again_is_noticed(storage, database):
    """A recorder goes on filling a lot of which retention has taken a part away, and moved the rest."""
    bodies = [body for body, _ in Conversation(tools=3, system_size=200, result_size=100).turns(4)]
    ids = storage.record([exchange(n, body) for n, body in enumerate(bodies[:3])], {})
    with CaptureStorage(database) as other:
        Retention(other, pause=lambda _: None).delete_request(ids[2])
    storage.record([exchange(3, bodies[3])], {})
    assert [storage.request_body(correlation(n)) for n in (0, 1, 3)] == [bodies[n] for n in (0, 1, 3)]
    assert storage.unfinished() == {}
    assert storage.verify().ok


def test_a_lot_is_full_some_time_and_a_large_block_is_one_alone(lots, monkeypatch):
    monkeypatch.setattr(module, "FULL", 3 * len(TEXTS[0]))
    large = b"x" * 1000
    blocks = stored(lots, [*TEXTS, large, b"small"])
    assert count(lots) == 4
    assert [lots.read(block) for block in blocks] == [*TEXTS, large, b"small"]


def test_what_a_deleted_block_said_leaves_the_lot_and_the_others_stay(lots, storage):
    """The lot gets a new number: whoever remembers the bytes of the old one never takes them for those of the new."""
    blocks = stored(lots)
    other = Lots(lots._connection, Codec())
    assert other.read(blocks[4]) == TEXTS[4]
    for gone in (0, 2):
        lots.delete(blocks[gone])
    lots.finish()
    assert count(lots) == 1
    (lot,) = lots._connection.execute("SELECT id FROM lots").fetchone()
    assert lots.unpack(lot) == TEXTS[1] + TEXTS[3] + TEXTS[4]
    for reader in (lots, other):
        assert [reader.read(blocks[n]) for n in (1, 3, 4)] == [TEXTS[n] for n in (1, 3, 4)]
    with pytest.raises(CorruptBodyError, match="missing"):
        other.read(blocks[0])
    assert storage.verify().ok


def test_a_lot_goes_with_its_last_block(lots):
    for block in stored(lots):
        lots.delete(block)
    lots.finish()
    assert count(lots) == 0


def test_what_was_rolled_back_is_forgotten(lots):
    lots._connection.execute("SAVEPOINT before")
    stored(lots)
    lots.add(sha256(b"more").digest(), b"more")
    lots._connection.execute("ROLLBACK TO before")
    lots.forget()
    blocks = stored(lots, [b"other", *TEXTS])
    assert [lots.read(block) for block in blocks] == [b"other", *TEXTS]


def test_few_lots_are_remembered(lots, monkeypatch):
    monkeypatch.setattr(module, "FULL", 1)
    monkeypatch.setattr(module, "_MAX_UNPACKED", 2 * len(TEXTS[0]))
    blocks = stored(lots)
    assert [lots.read(block) for block in blocks * 2] == TEXTS * 2
    assert len(lots._unpacked) <= 2


def test_a_block_that_is_not_whole_in_its_lot_is_damaged(lots):
    (block,) = stored(lots, TEXTS[:1])
    lots._connection.execute("UPDATE blocks SET start = 40")
    with pytest.raises(CorruptBodyError, match="beyond the end"):
        lots.read(block)


def test_a_request_that_goes_takes_its_part_of_a_shared_lot_along(storage):
    """Blocks that another request has too stay readable, those that it alone had are nowhere any more."""
    one = b'{"messages":[{"role":"user","content":"in both"},{"role":"user","content":"secretive words"}]}'
    two = b'{"messages":[{"role":"user","content":"in both"}]}'
    first, _ = storage.record([exchange(0, one), exchange(1, two)], {})
    Retention(storage, pause=lambda _: None).delete_request(first)
    run = storage._connection.execute
    assert not any(b"secretive" in storage._codec.decompress(*row) for row in run("SELECT codec, data FROM lots"))
    assert storage.request_body(correlation(1)) == two
    assert storage.verify().ok


def test_an_older_database_keeps_its_blocks_and_takes_new_ones(storage, database):
    bodies = [body for body, _ in Conversation(tools=3, system_size=200, result_size=100).turns(4)]
    storage.record([exchange(n, body) for n, body in enumerate(bodies[:3])], {})
    before = storage.summary().blocks
    before_lots(storage)
    storage.close()
    with CaptureStorage(database) as again:
        assert again.summary().blocks == before == again._connection.execute("SELECT count(*) FROM lots").fetchone()[0]
        again.record([exchange(3, bodies[3])], {})
        assert [again.request_body(correlation(n)) for n in range(4)] == bodies
        assert again.verify().ok
        Retention(again, pause=lambda _: None).expire(before_ns=1 << 62)
        assert again._connection.execute("SELECT count(*) FROM lots").fetchone()[0] == 0
        assert again.verify().ok
