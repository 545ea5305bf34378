from __future__ import annotations

import pytest

from claudeproxy.errors import StorageError
from claudeproxy.store.session import StorageSession
from claudeproxy.store.storage import CaptureStorage
from tests.store.exchanges import exchange
from tests.store.filling import prompt


class Remembering(StorageSession):
    """Counts how often it was told to forget."""

    forgotten = 0

    def _forget(self) -> None:
        self.forgotten += 1


@pytest.fixture
def session(database):
    with Remembering(database) as opened:
        with opened.writing():  # learns the count of deletions
            pass
        opened.forgotten = 0
        yield opened


def test_a_transaction_is_committed_at_its_end(session, storage):
    with session.writing() as connection:
        connection.execute("INSERT INTO cursors VALUES ('a', 1, 2)")
    assert storage.cursors() == {"a": (1, 2)}
    assert session.forgotten == 0


def test_an_exception_undoes_it_and_comes_through(session, storage):
    with pytest.raises(KeyError), session.writing() as connection:
        connection.execute("INSERT INTO cursors VALUES ('a', 1, 2)")
        raise KeyError
    assert storage.cursors() == {}
    assert session.forgotten == 1


def test_a_broken_reference_is_a_storage_error(session):
    with pytest.raises(StorageError, match="changed meanwhile"), session.writing() as connection:
        connection.execute("INSERT INTO abandoned_nodes VALUES (77)")


def add(session, owner: str) -> None:
    with session.writing() as connection:
        connection.execute("INSERT INTO cursors VALUES (?, 1, 2)", (owner,))


def test_joined_writes_are_committed_once_and_seen_by_their_own_connection_before(session, storage):
    with session.joined():
        add(session, "a")
        add(session, "b")
        with session.reading() as connection:
            assert connection.execute("SELECT count(*) FROM cursors").fetchone()[0] == 2
        assert storage.cursors() == {}
    assert set(storage.cursors()) == {"a", "b"}
    assert session.forgotten == 0


def test_a_joined_write_that_fails_costs_itself_only(session, storage):
    with session.joined():
        add(session, "a")
        with pytest.raises(StorageError, match="changed meanwhile"), session.writing() as connection:
            connection.execute("INSERT INTO cursors VALUES ('b', 1, 2)")
            connection.execute("INSERT INTO cursors VALUES ('a', 1, 2)")
        assert session.forgotten == 1
        add(session, "c")
    assert set(storage.cursors()) == {"a", "c"}


def test_an_exception_between_joined_writes_undoes_them_all(session, storage):
    with pytest.raises(KeyError), session.joined():
        add(session, "a")
        raise KeyError
    assert storage.cursors() == {}
    add(session, "b")  # and the next one stands alone again
    assert set(storage.cursors()) == {"b"}


def test_when_sqlite_gives_up_a_transaction_nothing_of_it_is_written_behind_its_back(session, storage):
    """On a full disk it rolls back by itself; a statement after that would be committed alone."""
    with pytest.raises(StorageError, match="cannot be written"), session.joined():
        add(session, "a")
        with session.reading() as connection:
            connection.execute("ROLLBACK")
        for owner in ("b", "c"):
            with pytest.raises(StorageError, match="rolled back"):
                add(session, owner)
    assert storage.cursors() == {}


def test_what_another_deletes_is_forgotten_before_the_next_write(session, storage):
    with storage.writing() as connection:
        connection.execute("UPDATE deletions SET count = count + 1")
    with session.writing():
        assert session.forgotten == 1
    with session.writing():
        assert session.forgotten == 1


def test_what_another_adds_is_no_reason_to_forget(session, storage):
    storage.record([exchange(0, prompt("x"))], {})
    with session.writing():
        assert session.forgotten == 0


def test_an_error_of_a_reader_is_a_storage_error(session):
    with pytest.raises(StorageError, match="cannot be read"), session.reading() as connection:
        connection.execute("SELECT nonsense")


def test_a_closed_session_stays_closed(database):
    storage = CaptureStorage(database)
    storage.close()
    with pytest.raises(StorageError, match="closed"), storage.reading():
        pass
