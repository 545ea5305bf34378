from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap

import pytest

from claudeproxy.errors import DatabaseVersionError, StorageError
from claudeproxy.store import database as database_module
from claudeproxy.store import migrations
from claudeproxy.store.migrations import MIGRATIONS, Migration
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from tests.store.exchanges import correlation, exchange

BODY = b'{"messages":[{"role":"user","content":"hello"}]}'


def pragma(storage, name):
    return storage._connection.execute(f"PRAGMA {name}").fetchone()[0]


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_file_is_set_up_against_the_known_traps(storage):
    assert pragma(storage, "foreign_keys") == 1
    assert pragma(storage, "page_size") == 2048
    assert pragma(storage, "auto_vacuum") == 2  # incremental
    assert pragma(storage, "secure_delete") == 2  # fast
    assert pragma(storage, "journal_mode") == "wal"
    assert pragma(storage, "synchronous") == 1  # normal


def test_the_files_are_for_their_owner_alone(storage, database):
    """Database, write-ahead log and shared memory are 0600, the directory 0700, whatever the umask."""
    storage.record([exchange(0, BODY)], {})
    assert mode(database.parent) == 0o700
    assert {path.name: mode(path) for path in database.parent.iterdir()} == {
        "captures.db": 0o600,
        "captures.db-wal": 0o600,
        "captures.db-shm": 0o600,
    }


def test_a_file_that_others_can_read_is_closed_to_them(database):
    CaptureStorage(database).close()
    database.chmod(0o644)
    CaptureStorage(database).close()
    assert mode(database) == 0o600


def test_what_was_written_is_there_after_closing(database):
    with CaptureStorage(database) as storage:
        (request_id,) = storage.record([exchange(0, BODY)], {"relay": (3, 4)})
    with CaptureStorage(database) as storage:
        assert storage.request_body(request_id) == BODY
        assert storage.cursors() == {"relay": (3, 4)}


def test_a_closed_storage_stays_closed(database):
    storage = CaptureStorage(database)
    storage.close()
    storage.close()
    with pytest.raises(StorageError, match="closed"):
        storage.summary()
    with pytest.raises(StorageError, match="closed"):
        storage.record([], {})


# --- reading beside a writer ----------------------------------------------------------------------------------


def test_a_reader_sees_each_commit_and_cannot_write(storage, database):
    with CaptureStorage(database, read_only=True) as reader:
        assert repr(reader).endswith("read-only>")
        (request_id,) = storage.record([exchange(0, BODY)], {})
        assert reader.request_body(request_id) == BODY
        with pytest.raises(StorageError, match=r"readonly|query_only|attempt to write"):
            reader.record([exchange(1, BODY)], {})


def test_a_reader_of_nothing_says_that_nothing_was_captured(database):
    with pytest.raises(StorageError, match="nothing was captured"):
        CaptureStorage(database, read_only=True)
    assert not database.exists()


def test_a_reader_needs_no_log_files(database):
    with CaptureStorage(database) as storage:
        storage.record([exchange(0, BODY)], {})
    assert [path.name for path in database.parent.iterdir()] == ["captures.db"]
    with CaptureStorage(database, read_only=True) as reader:
        assert reader.request_body(correlation(0)) == BODY


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a directory that we may not write to")
def test_a_copy_on_a_read_only_disk_can_be_read(database):
    with CaptureStorage(database) as storage:
        storage.record([exchange(0, BODY)], {})
    database.parent.chmod(0o500)
    try:
        with CaptureStorage(database, read_only=True) as reader:
            assert reader.request_body(correlation(0)) == BODY
    finally:
        database.parent.chmod(0o700)


def test_a_reader_that_cannot_make_log_files_takes_the_file_as_it_is(database, monkeypatch):
    """What SQLite says on a read-only disk (which root cannot make by permissions) leads to the second way to open."""
    with CaptureStorage(database) as storage:
        storage.record([exchange(0, BODY)], {})
    look, attempts = database_module._missing, []

    def refuse_once(connection, path):
        attempts.append(path)
        if len(attempts) == 1:
            raise sqlite3.OperationalError("unable to open database file")
        return look(connection, path)

    monkeypatch.setattr(database_module, "_missing", refuse_once)
    with CaptureStorage(database, read_only=True) as reader:
        assert reader.request_body(correlation(0)) == BODY
    assert len(attempts) == 2


# --- what is no database of ours --------------------------------------------------------------------------------


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_no_database_is_an_error_of_ours(tmp_path, read_only):
    path = tmp_path / "captures.db"
    path.write_bytes(b"this is no database, but it is long enough to be taken for one at first sight" * 20)
    with pytest.raises(StorageError, match="not a database"):
        CaptureStorage(path, read_only=read_only)


def test_a_path_that_cannot_be_made_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot open"):
        CaptureStorage(tmp_path / "file" / "captures.db")


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_database_is_refused_in_one_sentence(database, read_only):
    with CaptureStorage(database) as storage:
        storage._connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('claudeproxy', 'm9999_later', '')"
        )
    with pytest.raises(DatabaseVersionError, match=r"newer claudeproxy.*m9999_later") as error:
        CaptureStorage(database, read_only=read_only)
    assert "\n" not in str(error.value)


def later(*statements):
    return (*migrations.MIGRATIONS, Migration(name="m0002_later", statements=statements))


@pytest.fixture
def with_later(monkeypatch):
    def use(*statements):
        newer = later(*statements)
        monkeypatch.setattr(migrations, "MIGRATIONS", newer)
        monkeypatch.setattr(database_module, "MIGRATIONS", newer)

    return use


def test_an_older_database_is_backed_up_and_brought_up_to_date(database, with_later):
    with CaptureStorage(database) as storage:
        storage.record([exchange(0, BODY)], {})
    with_later("CREATE TABLE added (a)")
    with pytest.raises(StorageError, match="older claudeproxy"):
        CaptureStorage(database, read_only=True)
    with CaptureStorage(database) as storage:
        assert storage.request_body(correlation(0)) == BODY
        assert storage._connection.execute("SELECT count(*) FROM added").fetchone()[0] == 0
    backup = database.with_name("captures.db.before-m0002_later")
    assert mode(backup) == 0o600
    with sqlite3.connect(backup) as copy:
        assert copy.execute("SELECT count(*) FROM requests").fetchone()[0] == 1
        assert copy.execute("SELECT count(*) FROM sqlite_master WHERE name = 'added'").fetchone()[0] == 0
    copy.close()
    with CaptureStorage(database) as storage:  # a second time there is nothing to do
        assert storage.summary().requests == 1


def test_a_failed_migration_leaves_the_database_as_it_was(database, with_later):
    CaptureStorage(database).close()
    with_later("CREATE TABLE added (a)", "SELECT nonsense FROM nowhere")
    for _ in range(2):  # the second attempt replaces the first one's backup
        with pytest.raises(StorageError):
            CaptureStorage(database)
    with sqlite3.connect(database) as raw:
        assert raw.execute("SELECT count(*) FROM sqlite_master WHERE name = 'added'").fetchone()[0] == 0
    raw.close()


# --- other processes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replace", [False, True])
def test_a_deleted_or_replaced_file_is_noticed_and_made_anew(storage, database, replace):
    """SQLite would write on into the unlinked file; here the batch fails, and repeated it lands in the new file."""
    storage.record([exchange(0, BODY)], {"relay": (0, 1)})
    for path in database.parent.iterdir():
        path.unlink()
    if replace:
        CaptureStorage(database).close()
    with pytest.raises(StorageError, match="deleted or replaced"):
        storage.record([exchange(1, BODY)], {"relay": (0, 2)})
    storage.record([exchange(1, BODY)], {"relay": (0, 2)})
    with CaptureStorage(database, read_only=True) as reader:
        assert [row.correlation_id for row in reader.query_requests(RequestFilters()).rows] == [correlation(1)]
        assert reader.request_body(correlation(1)) == BODY
        assert reader.verify().ok
    assert mode(database) == 0o600


def test_a_reader_follows_a_replaced_file(storage, database):
    storage.record([exchange(0, BODY)], {})
    with CaptureStorage(database, read_only=True) as reader:
        assert reader.summary().requests == 1
        storage.close()
        for path in database.parent.iterdir():
            path.unlink()
        with pytest.raises(StorageError, match="nothing was captured"):
            reader.summary()
        CaptureStorage(database).close()
        assert reader.summary().requests == 0


def test_a_locked_database_is_an_error_and_nothing_is_lost(database):
    with CaptureStorage(database, busy_timeout=0.05) as storage:
        blocker = sqlite3.connect(database, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked"):
            storage.record([exchange(0, BODY)], {"relay": (0, 1)})
        assert storage.cursors() == {}  # reading goes on
        blocker.execute("ROLLBACK")
        blocker.close()
        storage.record([exchange(0, BODY)], {"relay": (0, 1)})
        assert storage.request_body(correlation(0)) == BODY


def test_who_waits_for_the_lock_looks_again_soon_however_long_it_waits(database, monkeypatch):
    """SQLite's own waiting has pauses of 100 ms in the end, and misses one free moment after another."""
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 50:
            blocker.execute("ROLLBACK")

    with CaptureStorage(database) as storage:
        blocker = sqlite3.connect(database, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(database_module.time, "sleep", pause)
        storage.record([exchange(0, BODY)], {"relay": (0, 1)})
        assert pragma(storage, "busy_timeout") == 5000
    blocker.close()
    assert len(pauses) == 50
    assert max(pauses) <= 0.002


def test_only_a_lock_is_waited_for(storage, monkeypatch):
    monkeypatch.setattr(database_module.time, "sleep", lambda _: pytest.fail("waited"))
    with pytest.raises(StorageError, match="within a transaction"), storage.writing(), storage.writing():
        pytest.fail("a transaction in a transaction")
    assert pragma(storage, "busy_timeout") == 5000


def test_a_full_disk_is_an_error_and_nothing_is_lost(storage):
    """SQLite rolls back by itself on a full disk; the connection is usable afterwards."""
    storage.record([exchange(0, BODY)], {})
    storage._connection.execute(f"PRAGMA max_page_count = {pragma(storage, 'page_count')}")
    large = b'{"messages":[{"role":"user","content":"%s"}]}' % os.urandom(200_000).hex().encode()
    with pytest.raises(StorageError, match="full"):
        storage.record([exchange(1, large)], {})
    storage._connection.execute("PRAGMA max_page_count = 1000000")
    storage.record([exchange(1, large)], {})
    assert storage.request_body(correlation(1)) == large
    assert storage.verify().ok


def child(database, script):
    code = f"import sys\npath = {str(database)!r}\n" + textwrap.dedent(script)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


WRITER = """
from claudeproxy.store.storage import CaptureStorage
from tests.store.conversation import Conversation
from tests.store.exchanges import exchange, response
storage = CaptureStorage(path)
first = int(sys.argv[1]) if len(sys.argv) > 1 else {first}
for turn, (body, answer) in enumerate(Conversation(seed=first, tools=5, system_size=2000).turns({turns})):
    storage.record([exchange(first + turn, body, response=response(answer))], {{"relay-%d" % first: (0, turn)}})
    print(turn, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("turns_before", [1, 4, 9])
def test_a_writer_killed_in_the_middle_leaves_whole_records_only(database, turns_before):
    """kill -9 while transactions follow each other: the file is sound, every body verifies, cursors match the rows."""
    process = child(database, WRITER.format(first=1000, turns=500))
    assert process.stdout is not None
    for _ in range(turns_before):
        process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    with CaptureStorage(database) as storage:
        report = storage.verify()
        assert report.ok, report.problems
        assert report.requests >= turns_before
        assert storage.cursors() == {"relay-1000": (0, report.requests - 1)}
        storage.record([exchange(0, BODY)], {})
        assert storage.verify().ok


def test_two_writers_take_turns(database):
    """Two processes create the file and write at the same time: nothing lost, nothing mixed."""
    processes = [child(database, WRITER.format(first=first, turns=25)) for first in (1000, 2000)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.read()
        assert process.wait() == 0
        process.stdout.close()
    with CaptureStorage(database) as storage:
        assert storage.summary().requests == 50
        assert storage.cursors() == {"relay-1000": (0, 24), "relay-2000": (0, 24)}
        assert storage.verify().ok
        assert storage._connection.execute("SELECT count(*) FROM _sqlite_migrations").fetchone()[0] == len(MIGRATIONS)


def test_reading_imports_no_server_and_no_tokenizer(database):
    """The commands that only read answer at once: no trio, no tiktoken, no sqlite_utils, no zstandard for a list."""
    with CaptureStorage(database) as storage:
        storage.record([exchange(0, BODY)], {})
    process = child(
        database,
        """
        from claudeproxy.store.storage import CaptureStorage
        from claudeproxy.store.values import RequestFilters
        with CaptureStorage(path, read_only=True) as reader:
            assert reader.query_requests(RequestFilters()).total == 1
        heavy = {"trio", "tiktoken", "sqlite_utils", "zstandard", "cryptography", "quart", "h11", "pydantic"}
        print(sorted(heavy & set(sys.modules)))
        """,
    )
    output, _ = process.communicate()
    assert output.strip() == "[]"


_READ = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM requests").fetchone()[0])
connection.close()
"""


@pytest.mark.skipif(os.name != "posix", reason="locks of a process are POSIX's")
def test_a_second_storage_in_a_process_leaves_the_first_ones_locks(database):
    """Opening and closing the file would release them: another process would take its own end for the last one's."""

    def counted():
        ended = subprocess.run([sys.executable, "-c", _READ, str(database)], capture_output=True, text=True, check=True)
        return int(ended.stdout)

    with CaptureStorage(database) as first:
        first.record([exchange(0, BODY)], {})
        with CaptureStorage(database):
            assert counted() == 1
            assert database.with_name("captures.db-wal").exists()
            first.record([exchange(1, BODY)], {})
            assert counted() == 2
