from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeproxy.capture.journal_format import (
    HEADER_BYTES,
    RecordType,
    encode_header,
    header_seed,
    segment_path,
    segments,
)
from claudeproxy.capture.journal_reader import JournalReader
from claudeproxy.capture.locks import FileLock

if TYPE_CHECKING:
    from pathlib import Path

OWNER = "owner"
BODY = RecordType.RESPONSE_BODY


def record(payload: bytes, *, segment: int = 0, exchange: int = 1) -> bytes:
    return encode_header(BODY, exchange, 7, payload, seed=header_seed(OWNER, segment)) + payload


def journal(tmp_path: Path, *contents: bytes) -> Path:
    directory = tmp_path / OWNER
    directory.mkdir(exist_ok=True)
    for number, data in enumerate(contents):
        segment_path(directory, number).write_bytes(data)
    return directory


def payloads(reader: JournalReader, *, final: bool) -> list[bytes]:
    return [bytes(record.payload) for record in reader.records(final=final)]


def test_a_living_writers_torn_end_is_waited_for(tmp_path: Path) -> None:
    whole = record(b"one") + record(b"two" * 100)
    for cut in (len(whole) - 1, len(record(b"one")) + HEADER_BYTES, len(record(b"one")) + 5):
        reader = JournalReader(journal(tmp_path, whole[:cut]))
        assert payloads(reader, final=False) == [b"one"]
        assert payloads(reader, final=False) == []
        journal(tmp_path, whole)
        assert payloads(reader, final=False) == [b"two" * 100]
        assert reader.damaged == 0


def test_a_dead_writers_torn_end_is_left_behind(tmp_path: Path) -> None:
    reader = JournalReader(journal(tmp_path, record(b"one") + record(b"two")[:-1]))
    assert payloads(reader, final=True) == [b"one"]


def test_a_torn_end_before_another_segment_is_left_behind(tmp_path: Path) -> None:
    directory = journal(tmp_path, record(b"one") + record(b"torn")[:-1], record(b"two", segment=1))
    assert payloads(JournalReader(directory), final=False) == [b"one", b"two"]


def test_reading_goes_on_from_any_position_that_was_given_out(tmp_path: Path) -> None:
    directory = journal(tmp_path, record(b"a") + record(b"b"), record(b"c", segment=1) + record(b"d", segment=1))
    reader = JournalReader(directory)
    positions = [reader.position]
    for _ in reader.records(final=True):
        positions.append(reader.position)
    for number, position in enumerate(positions):
        assert b"".join(payloads(JournalReader(directory, position=position), final=True)) == b"abcd"[number:]
    assert "owner" in repr(reader)


def test_a_reader_stopped_in_the_middle_has_the_position_behind_its_last_record(tmp_path: Path) -> None:
    reader = JournalReader(journal(tmp_path, record(b"a") + record(b"b")))
    assert bytes(next(reader.records(final=True)).payload) == b"a"
    assert payloads(reader, final=True) == [b"b"]


def test_a_position_in_a_deleted_segment_goes_on_at_the_next(tmp_path: Path) -> None:
    directory = journal(tmp_path, record(b"a"), record(b"b", segment=1))
    segment_path(directory, 0).unlink()
    assert payloads(JournalReader(directory, position=(0, 99)), final=False) == [b"b"]


@pytest.mark.parametrize("place", [0, 10, 27, 31, HEADER_BYTES, HEADER_BYTES + 2])
def test_damage_in_the_middle_costs_its_record_only(tmp_path: Path, place: int) -> None:
    data = bytearray(record(b"one") + record(b"two") + record(b"three"))
    data[len(record(b"one")) + place] ^= 0x40
    reader = JournalReader(journal(tmp_path, bytes(data)))
    assert payloads(reader, final=True) == [b"one", b"three"]
    assert reader.damaged == 1


def test_damage_at_the_living_end_is_believed_the_second_time(tmp_path: Path) -> None:
    """It may be a short write that is being taken back just now."""
    damaged = bytearray(record(b"bad") + record(b"good"))
    damaged[3] ^= 1
    reader = JournalReader(journal(tmp_path, bytes(damaged)))
    assert payloads(reader, final=False) == []
    assert reader.damaged == 0
    assert payloads(reader, final=False) == [b"good"]
    assert reader.damaged == 1


def test_a_write_that_was_taken_back_is_not_damage(tmp_path: Path) -> None:
    reader = JournalReader(journal(tmp_path, record(b"a") + b"\0" * 50))
    assert payloads(reader, final=False) == [b"a"]
    journal(tmp_path, record(b"a") + record(b"b"))
    assert payloads(reader, final=False) == [b"b"]
    assert reader.damaged == 0


def test_a_journal_inside_a_damaged_record_is_not_read_as_ours(tmp_path: Path) -> None:
    foreign = encode_header(BODY, 66, 0, b"forged", seed=header_seed("another", 0)) + b"forged"
    data = bytearray(record(foreign) + record(b"ours"))
    data[20] ^= 1
    assert payloads(JournalReader(journal(tmp_path, bytes(data))), final=True) == [b"ours"]


@settings(max_examples=80)
@given(
    noise=st.binary(max_size=100),
    lengths=st.lists(st.integers(0, 200), max_size=5),
    flips=st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 255)), max_size=5),
    cut=st.integers(0, 2000),
)
def test_whatever_is_in_the_file_it_never_raises_and_never_invents(
    tmp_path_factory: pytest.TempPathFactory,
    noise: bytes,
    lengths: list[int],
    flips: list[tuple[int, int]],
    cut: int,
) -> None:
    true = [bytes([number]) * length for number, length in enumerate(lengths)]
    data = bytearray(noise + b"".join(map(record, true)))
    for place, mask in flips:
        if data:
            data[place % len(data)] ^= mask
    del data[len(data) - cut % (len(data) + 1) :]
    reader = JournalReader(journal(tmp_path_factory.mktemp("noise"), bytes(data)))
    assert set(payloads(reader, final=True)) <= set(true)


def test_chunks_may_end_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claudeproxy.capture.journal_reader._CHUNK", 200)
    true = [bytes([number]) * (number * 7 % 150) for number in range(60)]
    data = bytearray(b"".join(map(record, true)))
    assert payloads(JournalReader(journal(tmp_path, bytes(data))), final=True) == true
    data[:500] = b"\xc5" * 500
    starts = itertools.accumulate((HEADER_BYTES + len(payload) for payload in true), initial=0)
    rest = [payload for start, payload in zip(starts, true, strict=False) if start >= 500]
    assert payloads(JournalReader(journal(tmp_path, bytes(data))), final=True) == rest


def test_payloads_are_read_again_by_their_places(tmp_path: Path) -> None:
    directory = journal(tmp_path, record(b"ab") + record(b""), record(b"cd", segment=1))
    reader = JournalReader(directory)
    spans = [record.span for record in reader.records(final=True)]
    assert reader.payload(spans) == b"abcd"
    assert reader.payload([]) == b""
    reader.forget(1)
    assert segments(directory) == [1]
    with pytest.raises(FileNotFoundError):
        reader.payload(spans)


def test_a_consumed_journal_is_removed_with_its_lock(tmp_path: Path) -> None:
    directory = journal(tmp_path, record(b"ab"))
    lock = FileLock(directory / "lock")
    assert lock.acquire()
    JournalReader(directory).remove(lock)
    assert not directory.exists()
    assert payloads(JournalReader(directory), final=True) == []
