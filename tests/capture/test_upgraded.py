"""What the tap keeps of an upgraded connection, and how the recorder holds the places of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.capture import upgraded
from claudeproxy.capture.journal_format import LOCK_NAME, RecordType
from claudeproxy.capture.journal_reader import JournalReader, Record
from claudeproxy.capture.journal_writer import JournalWriter
from claudeproxy.capture.locks import FileLock
from claudeproxy.capture.upgraded import Passage, Piece, Places, Upgrade
from claudeproxy.model import BodyKept, Direction

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from claudeproxy.model import Buffer


def take(passage: Passage, data: Buffer) -> bytes:
    piece = bytes(passage.take(data))
    passage.kept += len(piece)
    return piece


def test_as_much_is_kept_as_fits_and_the_rest_is_counted() -> None:
    passage = Passage(BodyKept.WHOLE, 10)
    assert [take(passage, piece) for piece in (b"0123", b"456789", b"x", b"y")] == [b"0123", b"456789", b"", b""]
    assert (passage.told().length, passage.told().kept, passage.told().fate) == (12, 10, BodyKept.TOO_LARGE)


def test_a_piece_that_fits_in_part_is_cut() -> None:
    passage = Passage(BodyKept.WHOLE, 6)
    assert [take(passage, piece) for piece in (b"0123", bytearray(b"4567"), b"8")] == [b"0123", b"45", b""]


def test_what_is_not_to_be_kept_is_counted_only() -> None:
    passage = Passage(BodyKept.POLICY, 10)
    assert take(passage, b"secret") == b""
    assert passage.told().length == 6
    assert passage.told().kept == 0


def begun(root: Path, **values: object) -> tuple[JournalWriter, Upgrade]:
    """A journal with one open exchange, which was upgraded."""
    writer = JournalWriter(root, min_free_bytes=0, **values)  # type: ignore[arg-type]
    number = writer.new_exchange()
    assert writer.append(RecordType.OPEN, number, b"{}")
    return writer, Upgrade(writer, number, opening=b"{}", fate=BodyKept.WHOLE, limit=100)


def records(root: Path, owner: str) -> list[tuple[RecordType, bytes]]:
    return [(one.type, bytes(one.payload)) for one in JournalReader(root / owner).records(final=True)]


def test_after_a_drop_nothing_more_is_kept_and_the_beginning_counts(tmp_path: Path) -> None:
    _, upgrade = begun(tmp_path)
    assert upgrade.take(Direction.SENT, b"before")
    upgrade.drop()
    assert upgrade.take(Direction.SENT, b"after")
    told = upgrade.told()
    assert (told.sent.length, told.sent.kept, told.sent.fate) == (11, 6, BodyKept.DROPPED)
    assert told.of(Direction.RECEIVED) == told.received


def test_pieces_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgraded, "MAX_PIECES", 2)
    passage = Passage(BodyKept.WHOLE, 100)
    assert [take(passage, b"a") for _ in range(4)] == [b"a", b"a", b"", b""]
    assert passage.told().fate is BodyKept.TOO_LARGE


def test_places_come_back_in_order() -> None:
    places = Places()
    for index, kind in enumerate((RecordType.WEBSOCKET_SENT, RecordType.WEBSOCKET_RECEIVED) * 2):
        places.add(
            Record(
                type=kind,
                exchange=1,
                instant=1 << 62,
                payload=memoryview(b""),
                start=(0, 0),
                span=(7, 1 << 40, index + 1),
            )
        )
    assert len(places) == 4
    assert list(places)[:2] == [
        Piece(Direction.SENT, (7, 1 << 40, 1), 1 << 62),
        Piece(Direction.RECEIVED, (7, 1 << 40, 2), 1 << 62),
    ]
    assert places.kept == {Direction.SENT: 4, Direction.RECEIVED: 6}


def test_an_upgraded_exchange_goes_on_in_a_journal_of_its_own_that_ends_with_it(tmp_path: Path) -> None:
    writer, upgrade = begun(tmp_path)
    assert upgrade.writer.owner != writer.owner
    upgrade.take(Direction.SENT, b"bytes")
    upgrade.end(b"[]")
    assert records(tmp_path, writer.owner) == [(RecordType.OPEN, b"{}"), (RecordType.MOVED, b"")]
    assert records(tmp_path, upgrade.writer.owner) == [
        (RecordType.OPEN, b"{}"),
        (RecordType.WEBSOCKET_SENT, b"bytes"),
        (RecordType.END, b"[]"),
    ]
    assert FileLock(tmp_path / upgrade.writer.owner / LOCK_NAME).acquire()
    assert not FileLock(tmp_path / writer.owner / LOCK_NAME).acquire()


def test_where_no_other_journal_can_be_had_it_stays(tmp_path: Path) -> None:
    """A journal directory that cannot be added to: whatever the reason, the bytes still go somewhere."""
    writer = JournalWriter(tmp_path / "journal", min_free_bytes=0)
    number = writer.new_exchange()
    writer.append(RecordType.OPEN, number, b"{}")
    (tmp_path / "journal").rename(tmp_path / "elsewhere")
    (tmp_path / "journal").write_bytes(b"a file in its place")
    upgrade = Upgrade(writer, number, opening=b"{}", fate=BodyKept.WHOLE, limit=100)
    assert upgrade.writer is writer
    assert upgrade.take(Direction.SENT, b"bytes")
    upgrade.end(b"[]")
    assert [kind for kind, _ in records(tmp_path / "elsewhere", writer.owner)] == [
        RecordType.OPEN,
        RecordType.WEBSOCKET_SENT,
        RecordType.END,
    ]
    assert writer.append(RecordType.OPEN, writer.new_exchange(), b"{}")  # it is still everybody's
