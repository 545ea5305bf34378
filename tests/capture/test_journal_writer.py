from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from claudeproxy.capture.journal_format import MAX_PAYLOAD, RecordType, segment_path, segments
from claudeproxy.capture.journal_reader import JournalReader
from claudeproxy.capture.journal_writer import JournalWriter
from claudeproxy.capture.locks import owner_alive
from claudeproxy.errors import JournalError

if TYPE_CHECKING:
    from pathlib import Path

BODY = RecordType.REQUEST_BODY


def contents(root: Path, owner: str) -> list[tuple[RecordType, int, bytes]]:
    reader = JournalReader(root / owner)
    return [(record.type, record.exchange, bytes(record.payload)) for record in reader.records(final=True)]


def unlimited(root: Path, **options: int) -> JournalWriter:
    return JournalWriter(root, min_free_bytes=0, **options)


def test_records_come_back_in_order(tmp_path: Path) -> None:
    writer = unlimited(tmp_path)
    assert writer.append(RecordType.OPEN, 1, b"{}")
    assert writer.append(BODY, 1, memoryview(b"abc"))
    assert writer.append(BODY, 1, bytearray())
    writer.append_end(1, b"[]")
    assert contents(tmp_path, writer.owner) == [
        (RecordType.OPEN, 1, b"{}"),
        (BODY, 1, b"abc"),
        (BODY, 1, b""),
        (RecordType.END, 1, b"[]"),
    ]
    assert writer.statistics().records == 4
    assert writer.owner in repr(writer)
    writer.close()


def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    root = tmp_path / "journal"
    writer = unlimited(root)
    writer.append(BODY, 1, b"x")
    for path in [root, *root.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    writer.close()


def test_its_lock_says_that_it_lives(tmp_path: Path) -> None:
    writer = unlimited(tmp_path)
    writer.append(BODY, 1, b"x")
    assert owner_alive(tmp_path, writer.owner)
    writer.close()
    writer.close()
    assert not owner_alive(tmp_path, writer.owner)
    assert not writer.append(BODY, 1, b"late"), "after close nothing is written and nothing raises"
    assert "closed" in str(writer.statistics().last_error)


def test_an_unused_journal_leaves_nothing_behind(tmp_path: Path) -> None:
    unlimited(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_segment_is_followed_by_the_next(tmp_path: Path) -> None:
    writer = unlimited(tmp_path, segment_bytes=100)
    for number in range(10):
        assert writer.append(BODY, number, b"x" * 50)
    assert segments(tmp_path / writer.owner) == [0, 1, 2, 3, 4]
    assert [exchange for _, exchange, _ in contents(tmp_path, writer.owner)] == list(range(10))
    writer.close()


def test_a_large_body_is_split_and_a_large_head_is_refused(tmp_path: Path) -> None:
    writer = unlimited(tmp_path)
    data = os.urandom(2 * MAX_PAYLOAD + 5)
    assert writer.append(BODY, 1, data)
    assert not writer.append(RecordType.OPEN, 2, data)
    records = contents(tmp_path, writer.owner)
    assert [len(payload) for _, _, payload in records] == [MAX_PAYLOAD, MAX_PAYLOAD, 5]
    assert b"".join(payload for _, _, payload in records) == data
    writer.close()


def test_the_end_of_an_exchange_wakes_the_recorder(tmp_path: Path) -> None:
    woken: list[int] = []
    writer = JournalWriter(tmp_path, min_free_bytes=0, wake=lambda: woken.append(1))
    writer.append(BODY, 1, b"x")
    assert woken == []
    writer.append_end(1, b"{}")
    assert woken == [1]
    writer.close()


def test_at_the_cap_bodies_are_refused_and_heads_still_fit(tmp_path: Path) -> None:
    writer = unlimited(tmp_path, max_bytes=3200)
    assert writer.append(BODY, 1, bytes(3000))
    assert not writer.append(BODY, 1, bytes(300))
    assert not writer.has_room(300)
    assert writer.has_room(10)
    assert writer.append(RecordType.OPEN, 2, bytes(300)), "the reserve for heads"
    assert not writer.append(RecordType.OPEN, 3, bytes(300)), "which is bounded too"
    assert writer.statistics().failed_writes == 0
    writer.close()


def test_room_comes_back_when_the_recorder_deletes_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = unlimited(tmp_path, segment_bytes=1000, max_bytes=3200)
    for _ in range(3):
        assert writer.append(BODY, 1, bytes(1000))
    segment_path(tmp_path / writer.owner, 0).unlink()
    writer._surveyed = float("-inf")  # the last look at the disk is long ago
    assert writer.append(BODY, 1, bytes(1000))
    writer._surveyed = float("-inf")
    assert not writer.has_room(1000)
    writer.close()


def test_with_little_free_disk_nothing_new_is_taken(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, min_free_bytes=shutil.disk_usage(tmp_path).total)
    assert not writer.has_room(0)
    writer.close()


def test_a_root_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="cannot keep a journal"):
        JournalWriter(tmp_path / "file" / "journal")


def test_a_journal_deleted_under_us_begins_a_new_life(tmp_path: Path) -> None:
    writer = unlimited(tmp_path)
    assert writer.append(BODY, 1, b"lost")
    first = writer.owner
    shutil.rmtree(tmp_path)
    writer._surveyed = float("-inf")
    writer.has_room(0)
    assert writer.append(BODY, 2, b"kept")
    assert writer.owner != first
    assert contents(tmp_path, writer.owner) == [(BODY, 2, b"kept")]
    writer.close()


def test_it_is_born_in_another_place_when_a_cleaner_takes_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder that finds a directory without a living owner may remove it just then."""
    from claudeproxy.capture.locks import FileLock

    real, calls = FileLock.acquire, []

    def raced(self: FileLock, **options: bool) -> bool:
        calls.append(self)
        if len(calls) == 1:
            return False
        if len(calls) == 2:
            raise FileNotFoundError
        return real(self, **options)

    monkeypatch.setattr(FileLock, "acquire", raced)
    writer = unlimited(tmp_path)
    assert len(calls) == 3
    assert owner_alive(tmp_path, writer.owner)
    writer.close()


# A file size limit stands for a full disk: the write comes back short first, then fails.
FULL = """
import resource, sys
from pathlib import Path
from claudeproxy.capture.journal_format import RecordType
from claudeproxy.capture.journal_writer import JournalWriter
writer = JournalWriter(Path(sys.argv[1]), min_free_bytes=0)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
assert writer.append(RecordType.OPEN, 1, b"o" * 100)
assert writer.append(RecordType.REQUEST_BODY, 1, b"a" * 500)
assert not writer.append(RecordType.REQUEST_BODY, 1, b"b" * 500)
assert writer.append(RecordType.REQUEST_BODY, 1, b"c" * 100), "what was written in part was taken back"
writer.append_end(1, b"e" * 200)
assert writer.statistics().owed_ends == 1
assert writer.statistics().failed_writes == 2, writer.statistics()
assert not writer.append(RecordType.OPEN, 2, b"o" * 200)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert writer.append(RecordType.OPEN, 3, b"o")
assert writer.statistics().owed_ends == 0
print(writer.owner)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_full_disk_leaves_whole_records_and_ends_are_made_up_for(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kinds = [(kind, exchange, payload[:1]) for kind, exchange, payload in contents(tmp_path, done.stdout.strip())]
    assert kinds == [
        (RecordType.OPEN, 1, b"o"),
        (BODY, 1, b"a"),
        (BODY, 1, b"c"),
        (RecordType.END, 1, b"e"),
        (RecordType.OPEN, 3, b"o"),
    ]


def test_what_cannot_be_taken_back_stays_behind_in_its_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next record goes to a new segment, and readers skip the torn end of the old one."""
    writer = unlimited(tmp_path)
    assert writer.append(BODY, 1, b"whole")
    assert writer._descriptor is not None
    os.write(writer._descriptor, b"torn")

    def refuse(descriptor: int, size: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", refuse)
        writer._failed("short write")
    assert writer.append(BODY, 2, b"next")
    assert contents(tmp_path, writer.owner) == [(BODY, 1, b"whole"), (BODY, 2, b"next")]
    writer.close()


def test_owed_ends_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claudeproxy.capture.journal_writer._MAX_OWED", 2)
    writer = unlimited(tmp_path)
    writer.close()
    for number in range(3):
        writer.append_end(number, b"{}")
    assert (writer.statistics().owed_ends, writer.statistics().lost_ends) == (2, 1)


def test_the_end_of_an_exchange_whose_beginning_was_deleted_is_refused(tmp_path: Path) -> None:
    """Noticed at that end, whenever the file went: nothing of it could be recorded."""
    writer = unlimited(tmp_path)
    old = writer.new_exchange()
    assert writer.append(RecordType.OPEN, old, b"{}")
    segment_path(tmp_path / writer.owner, 0).unlink()
    assert not writer.append_end(old, b"{}")
    assert writer.statistics().last_error == "the journal was deleted"
    new = writer.new_exchange()
    assert writer.append(RecordType.OPEN, new, b"{}")
    assert writer.append_end(new, b"{}")
    assert [number for _, number, _ in contents(tmp_path, writer.owner)] == [new, new]
    writer.close()
