from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from claudeproxy.capture.journal_format import RecordType, segment_path
from claudeproxy.capture.journal_reader import JournalReader
from claudeproxy.model import BodyKept, State
from tests.capture.support import KEY, Store, drain, end, make_tap, response, start, tell

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy.capture.tap import JournalTap
    from claudeproxy.model import Buffer, RawHeaders, RecordedExchange


def record(tap: JournalTap, tmp_path: Path) -> dict[str, RecordedExchange]:
    store = Store()
    drain(store.recorder(tmp_path))
    return store.rows


def journalled(tap: JournalTap, tmp_path: Path, *kinds: RecordType) -> bytes:
    records = JournalReader(tmp_path / tap.writer.owner).records(final=True)
    return b"".join(bytes(record.payload) for record in records if not kinds or record.type in kinds)


def test_an_exchange_is_recorded_whole(tmp_path: Path) -> None:
    tap = make_tap(tmp_path)
    exchange = tap.exchange(begun := start(body_length=6))
    exchange.request_body(b"abc")
    exchange.request_body(memoryview(b"def"))
    exchange.informational(103, ((b"Link", b"</x>"),))
    exchange.response_start(response(headers=((b"Content-Length", b"5"),)))
    exchange.response_body(bytearray(b"hello"))
    exchange.end(end())
    row = record(tap, tmp_path)[begun.correlation_id]
    assert row.state is State.COMPLETE
    assert row.request_body.data == b"abcdef"
    assert row.request_body.sha256 == hashlib.sha256(b"abcdef").digest()
    assert row.request_body.kept is BodyKept.WHOLE
    assert row.response is not None
    assert (row.response.body.data, row.response.body.kept) == (b"hello", BodyKept.WHOLE)
    assert row.informational == (103,)
    statistics = tap.statistics()
    assert (statistics.exchanges, statistics.open, statistics.dropped, statistics.lost) == (1, 0, 0, 0)


SECRETS: RawHeaders = (
    (b"Authorization", b"Bearer PLANTED-1"),
    (b"Proxy-Authorization", b"Basic PLANTED-2"),
    (b"COOKIE", b"session=PLANTED-3"),
    (b"X-Auth-Token", b"PLANTED-4"),
    (b"X-Innocent", b"Bearer PLANTED-5"),
    (b"Referer", b"https://u:PLANTED-6@h/p?access_token=PLANTED-7"),
)
ANSWERED: RawHeaders = (
    (b"Set-Cookie", b"a=PLANTED-8"),
    (b"set-cookie", b"b=PLANTED-9"),
    (b"Location", b"https://h/cb?code=PLANTED-10"),
    (b"x-next-token", b"PLANTED-11"),
)


@pytest.mark.parametrize("others", [False, True])
def test_no_secret_reaches_the_disk(tmp_path: Path, others: bool) -> None:
    """In any header or URL, in either direction, in trailers and errors; and no byte of an authentication body."""
    tap = make_tap(tmp_path, others=others)
    url = "https://PLANTED-12:x@api.anthropic.com/v1/messages?api_key=PLANTED-13&beta=true"
    for address in (url, "https://api.anthropic.com/v1/oauth/token?code=PLANTED-14"):
        exchange = tap.exchange(start(body_length=None, url=address, headers=SECRETS))
        exchange.request_body(b"grant=PLANTED-15" if "oauth" in address else b"{}")
        exchange.informational(103, ((b"Set-Cookie", b"PLANTED-16"),))
        exchange.response_start(response(headers=ANSWERED))
        exchange.response_body(b"PLANTED-17" if "oauth" in address else b"{}")
        exchange.end(end(error=f"bad key {KEY.decode()}", response_trailers=((b"X-Secret", b"PLANTED-18"),)))
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    written = b"".join(path.read_bytes() + str(path).encode() for path in paths)
    assert b"beta=true" in written
    assert written.count(b"[REDACTED]") > 20
    assert b"PLANTED" not in written
    assert KEY not in written


def test_the_same_key_is_recognised_by_its_hash(tmp_path: Path) -> None:
    tap = make_tap(tmp_path)
    tell(tap)
    tell(tap, request_headers=((b"authorization", b"Bearer other"),))
    rows = list(record(tap, tmp_path).values())
    assert rows[0].api_key_hash == rows[1].api_key_hash is not None


def test_bodies_that_must_not_be_kept_are_counted_only(tmp_path: Path) -> None:
    tap = make_tap(tmp_path)
    one = tell(tap, request=[b"secret body"], answer=[b"secret answer"], url="https://claude.ai/api/flags")
    assert b"secret" not in journalled(tap, tmp_path)
    row = record(tap, tmp_path)[one]
    assert (row.request_body.kept, row.request_body.length, row.request_body.data) == (BodyKept.POLICY, 11, None)
    assert row.response is not None
    assert (row.response.body.kept, row.response.body.length) == (BodyKept.POLICY, 13)
    assert row.response.body.sha256 is None


def test_an_announced_body_over_the_limit_never_enters_the_journal(tmp_path: Path) -> None:
    tap = make_tap(tmp_path, max_body_bytes=100)
    data = os.urandom(101)
    length = ((b"content-length", b"101"),)
    one = tell(tap, request=[data[:60], data[60:]], answer=[data[:1], data[1:]], response_headers=length)
    assert journalled(tap, tmp_path, RecordType.REQUEST_BODY, RecordType.RESPONSE_BODY) == b""
    row = record(tap, tmp_path)[one]
    assert row.response is not None
    for body in (row.request_body, row.response.body):
        assert (body.kept, body.length, body.data) == (BodyKept.TOO_LARGE, 101, None)
        assert body.sha256 == hashlib.sha256(data).digest()


def test_of_an_unannounced_body_over_the_limit_length_and_hash_are_kept(tmp_path: Path) -> None:
    tap = make_tap(tmp_path, max_body_bytes=100)
    pieces = [os.urandom(30) for _ in range(10)]
    one = tell(tap, request=pieces, answer=pieces, chunked=True)
    assert len(journalled(tap, tmp_path, RecordType.RESPONSE_BODY)) <= 100, "the journal holds no more than the limit"
    row = record(tap, tmp_path)[one]
    assert row.response is not None
    for body in (row.request_body, row.response.body):
        assert (body.kept, body.length, body.data) == (BodyKept.TOO_LARGE, 300, None)
        assert body.sha256 == hashlib.sha256(b"".join(pieces)).digest()


def test_a_body_of_exactly_the_limit_is_kept(tmp_path: Path) -> None:
    tap = make_tap(tmp_path, max_body_bytes=100)
    one = tell(tap, request=[bytes(100)], answer=[bytes(100)])
    row = record(tap, tmp_path)[one]
    assert row.response is not None
    assert row.request_body.data == row.response.body.data == bytes(100)


def test_near_the_cap_bodies_are_left_out_whole_and_rows_stay(tmp_path: Path) -> None:
    tap = make_tap(tmp_path, max_bytes=64_000)
    ids = [tell(tap, request=[bytes(5000)] * 2, answer=[b"x" * 5000]) for _ in range(8)]
    rows = record(tap, tmp_path)
    assert set(rows) == set(ids)
    kept = [rows[one].request_body.kept for one in ids]
    dropped = kept.count(BodyKept.DROPPED)
    assert kept == [BodyKept.WHOLE] * (8 - dropped) + [BodyKept.DROPPED] * dropped
    assert 0 < dropped < 8
    assert all(rows[one].request_body.length == 10_000 for one in ids)
    assert tap.statistics().dropped >= dropped


def test_an_exchange_that_was_dropped_once_stays_dropped(tmp_path: Path) -> None:
    """Room that comes back must not make a body with a hole."""
    tap = make_tap(tmp_path, max_bytes=20_000)
    exchange = tap.exchange(begun := start(body_length=None))
    exchange.request_body(bytes(10_000))
    exchange.request_body(bytes(15_000))
    tap.writer._max_bytes = 1 << 20
    exchange.request_body(b"more")
    exchange.response_start(response())
    exchange.response_body(b"answer")
    exchange.end(end())
    row = record(tap, tmp_path)[begun.correlation_id]
    assert (row.request_body.kept, row.request_body.length) == (BodyKept.DROPPED, 25_004)
    assert row.response is not None
    assert (row.response.body.kept, row.response.body.length) == (BodyKept.DROPPED, 6)
    assert tap.statistics().dropped == 1


def test_a_request_that_was_safe_stays_when_the_answer_is_dropped(tmp_path: Path) -> None:
    tap = make_tap(tmp_path, max_bytes=20_000)
    one = tell(tap, request=[b"q" * 5000], answer=[bytes(18_000)])
    row = record(tap, tmp_path)[one]
    assert row.request_body.data == b"q" * 5000
    assert row.response is not None
    assert row.response.body.kept is BodyKept.DROPPED


class Broken:
    """A buffer that no function accepts."""

    def __len__(self) -> int:
        raise RuntimeError("no length")


def test_nothing_raises_whatever_breaks(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    def on_drop(correlation_id: str, reason: str) -> None:
        told.append((correlation_id, reason))
        raise RuntimeError("the log fails too")

    tap = make_tap(tmp_path)
    tap._on_drop = on_drop
    broken: Buffer = Broken()  # type: ignore[assignment]
    exchange = tap.exchange(begun := start(body_length=1))
    exchange.request_body(broken)
    exchange.response_body(broken)
    exchange.informational("x" * (2 << 20), ())  # type: ignore[arg-type]
    exchange.informational(object(), ())  # type: ignore[arg-type]
    exchange.response_start(None)  # type: ignore[arg-type]
    exchange.end(None)  # type: ignore[arg-type]
    exchange.end(end())
    tap.exchange(None)  # type: ignore[arg-type]
    assert told == [(begun.correlation_id, "RuntimeError in the tap"), ("", "AttributeError in the tap")]
    assert tap.statistics().errors > 3


def test_an_exchange_for_which_there_is_no_room_at_all_is_counted_and_told_once(tmp_path: Path) -> None:
    """A full disk: its bodies would have been left out, and not even its head can be written."""
    told: list[str] = []
    tap = make_tap(tmp_path, min_free_bytes=1 << 62)
    tap._on_drop = lambda correlation_id, reason: told.append(reason)
    tap.exchange(start(body_length=1)).end(end())
    assert (tap.statistics().dropped, tap.statistics().lost, len(told)) == (1, 0, 1)
    tap.writer.close()
    tap.exchange(start(body_length=1)).end(end())
    assert (tap.statistics().dropped, tap.statistics().lost, len(told)) == (1, 1, 2)


def test_an_exchange_that_cannot_be_begun_is_lost_and_counted(tmp_path: Path) -> None:
    tap = make_tap(tmp_path)
    tap.key_hash = None  # type: ignore[assignment]
    exchange = tap.exchange(start())
    exchange.request_body(b"x")
    exchange.response_start(response())
    exchange.end(end())
    tap.writer.close()
    tap.exchange(start()).end(end())
    statistics = tap.statistics()
    assert (statistics.lost, statistics.dropped, statistics.open) == (2, 0, 0)


# A file size limit stands for a full disk, which ends later.
FULL = """
import resource, sys
from pathlib import Path
from tests.capture.support import *
tap = make_tap(Path(sys.argv[1]))
limit = lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
first = tap.exchange(start(body_length=4, correlation_id="first"))
first.request_body(b"full")
limit(tap.writer._size + 10)
first.response_start(response())
first.response_body(b"lost")
first.end(end())
tell(tap, correlation_id="second")
limit(resource.RLIM_INFINITY)
tell(tap, correlation_id="third")
print(tap.statistics().dropped, tap.statistics().lost, tap.statistics().errors, tap.statistics().journal.owed_ends)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_full_disk_costs_records_and_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1 1 0 0\n"), done.stderr
    store = Store()
    drain(store.recorder(tmp_path))
    assert {name: row.state for name, row in store.rows.items()} == dict.fromkeys(("first", "third"), State.COMPLETE)
    first = store.rows["first"]
    assert first.request_body.data == b"full"
    assert first.response is not None, "the head came late, with the end"
    assert (first.response.status_code, first.response.body.kept) == (200, BodyKept.DROPPED)


def test_an_exchange_whose_journal_is_deleted_is_counted_as_lost(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    tap = make_tap(tmp_path)
    tap._on_drop = lambda key, reason: told.append((key, reason))
    exchange = tap.exchange(begun := start())
    segment_path(tmp_path / tap.writer.owner, 0).unlink()
    exchange.end(end())
    tell(tap)
    assert (tap.statistics().lost, tap.statistics().dropped, tap.statistics().open) == (1, 0, 0)
    assert told == [(begun.correlation_id, "the journal was deleted")]
