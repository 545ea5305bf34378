"""What is set aside is a journal that another version can read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from claudeproxy.capture.quarantine import Place, Quarantine
from claudeproxy.model import State
from tests.capture.support import Store, drain, end, make_tap, response, start, tell

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy.capture.tap import JournalTap


def place(tap: JournalTap, root: Path, number: int, offset: int = 0) -> Place:
    return Place(directory=root / tap.writer.owner, number=number, start=(0, offset), key="key")


def test_another_version_gets_back_exactly_the_one_exchange(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    tap = make_tap(journal)
    tell(tap)
    offset = tap.writer.statistics().bytes_written
    open_one = tap.exchange(start(body_length=4))
    wanted = tell(tap, request=[b"a" * 70_000], answer=[b"b"], response_headers=((b"x", b"y"),))
    open_one.end(end())
    quarantine = Quarantine(tmp_path / "aside", "1")
    assert quarantine.take(place(tap, journal, 3, offset))
    assert quarantine.take(place(tap, journal, 3, offset)), "again: it is there"
    assert quarantine.statistics().exchanges == 1
    assert 70_000 < quarantine.statistics().bytes < 80_000
    assert quarantine.give_back(journal) == 0, "the same version would fail again"

    other = tmp_path / "other"
    other.mkdir()
    assert Quarantine(tmp_path / "aside", "2").give_back(other) == 1
    assert quarantine.statistics().exchanges == 0
    store = Store()
    drain(store.recorder(other))
    (row,) = store.rows.values()
    assert (row.correlation_id, row.state, row.request_body.data) == (wanted, State.COMPLETE, b"a" * 70_000)
    assert row.response is not None
    assert row.response.headers == ((b"x", b"y"),)


def test_files_are_closed_to_others(tmp_path: Path) -> None:
    tap = make_tap(tmp_path / "journal")
    tell(tap)
    Quarantine(tmp_path / "aside", "1").take(place(tap, tmp_path / "journal", 1))
    for path in (tmp_path / "aside").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_it_is_bounded_in_number_and_bytes(tmp_path: Path) -> None:
    tap = make_tap(tmp_path / "journal")
    for _ in range(3):
        tell(tap, request=[b"x" * 1000])
    few = Quarantine(tmp_path / "few", "1", max_exchanges=2)
    assert [few.take(place(tap, tmp_path / "journal", number)) for number in (1, 2, 3)] == [True, True, False]
    size = few.statistics().bytes // 2
    small = Quarantine(tmp_path / "small", "1", max_bytes=2 * size + 10)
    assert [small.take(place(tap, tmp_path / "journal", number)) for number in (1, 2, 3)] == [True, True, False]
    assert small.statistics().bytes == 2 * size
    assert not list((tmp_path / "small").glob(".*")), "nothing half is left"


def test_what_is_gone_cannot_be_set_aside(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "aside", "1")
    gone = Place(directory=tmp_path / "journal" / "nobody", number=1, start=(0, 0), key="key")
    assert not quarantine.take(gone)
    (tmp_path / "file").touch()
    assert not Quarantine(tmp_path / "file", "1").take(gone)
    assert quarantine.statistics().exchanges == 0


def test_what_is_old_enough_goes(tmp_path: Path) -> None:
    tap = make_tap(tmp_path / "journal")
    for _ in range(2):
        tell(tap)
    quarantine = Quarantine(tmp_path / "aside", "1")
    quarantine.take(place(tap, tmp_path / "journal", 1))
    quarantine.take(place(tap, tmp_path / "journal", 2))
    os.utime(next((tmp_path / "aside" / "1").iterdir()), (1000, 1000))
    assert quarantine.expire(2000) == 1
    assert quarantine.statistics().exchanges == 1


def test_an_exchange_that_never_ended_is_set_aside_as_far_as_it_came(tmp_path: Path) -> None:
    tap = make_tap(tmp_path / "journal")
    tap.exchange(start(body_length=0)).response_start(response())
    assert Quarantine(tmp_path / "aside", "1").take(place(tap, tmp_path / "journal", 1))
