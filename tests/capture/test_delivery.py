"""A fault that one exchange brings out stops that one; a storage that does not work stops nobody for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.capture.deathwatch import BELIEVED, STORING, Deathwatch
from claudeproxy.capture.delivery import ATTEMPTS
from claudeproxy.capture.quarantine import Quarantine
from claudeproxy.capture.recorder import Recorder
from claudeproxy.errors import StorageError, UnstorableError
from claudeproxy.model import State
from tests.capture.support import Store, drain, end, make_tap, start, tell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from claudeproxy.model import RecordedExchange


class Picky(Store):
    """Cannot take what says poison."""

    error: Exception = UnstorableError("that is none")
    asked = 0

    def __call__(self, exchanges: Sequence[RecordedExchange], cursors: Mapping[str, tuple[int, int]]) -> None:
        self.asked += 1
        if any(b"poison" in (one.request_body.data or b"") for one in exchanges):
            raise self.error
        super().__call__(exchanges, cursors)


def recorder(store: Store, root: Path, told: list[tuple[str, bool]] | None = None) -> Recorder:
    return Recorder(
        root / "journal",
        store,
        load_cursors=lambda: store.cursors,
        quarantine=Quarantine(root / "aside", "1"),
        watch=Deathwatch(root / "journal"),
        on_set_aside=lambda key, kept: (told if told is not None else []).append((key, kept)),
    )


@pytest.mark.parametrize("error", [UnstorableError("x"), ZeroDivisionError("a bug"), KeyError("a bug")])
def test_an_exchange_that_cannot_be_stored_is_set_aside_and_the_others_are_stored(
    tmp_path: Path, error: Exception
) -> None:
    told: list[tuple[str, bool]] = []
    store = Picky()
    store.error = error
    tap = make_tap(tmp_path / "journal")
    good = [tell(tap) for _ in range(3)]
    bad = tell(tap, request=[b"poison"])
    good.append(tell(tap))
    tap.writer.close()
    working = recorder(store, tmp_path, told)
    assert drain(working) == 5
    assert list(store.rows) == good
    assert told == [(bad, True)]
    assert store.asked == ATTEMPTS + 4 + ATTEMPTS + 1
    assert (working.statistics().set_aside, working.statistics().failures) == (1, 0)
    assert Quarantine(tmp_path / "aside", "1").statistics().exchanges == 1
    assert list((tmp_path / "journal").glob("*/")) == [], "the journal is read, and gone"


def test_a_storage_that_does_not_work_is_nobodys_fault(tmp_path: Path) -> None:
    store = Picky()
    store.error = StorageError("the disk is full")
    tap = make_tap(tmp_path / "journal")
    tell(tap, request=[b"poison"])
    working = recorder(store, tmp_path)
    for _ in range(2 * ATTEMPTS):
        assert working.step() == 0
    assert (working.statistics().set_aside, working.statistics().failures) == (0, 2 * ATTEMPTS)
    store.error = UnstorableError("now it is")
    drain(working)
    assert working.statistics().set_aside == 1


def test_a_storage_that_fails_in_the_midst_goes_on_where_it_was(tmp_path: Path) -> None:
    class Failing(Picky):
        left = 2

        def __call__(self, exchanges: Sequence[RecordedExchange], cursors: Mapping[str, tuple[int, int]]) -> None:
            if len(exchanges) == 1 and self.left:
                self.left -= 1
                raise StorageError("locked")
            super().__call__(exchanges, cursors)

    store = Failing()
    tap = make_tap(tmp_path / "journal")
    good = [tell(tap), tell(tap)]
    tell(tap, request=[b"poison"])
    working = recorder(store, tmp_path)
    assert [working.step() for _ in range(3)] == [0, 0, 3]
    assert list(store.rows) == good
    assert working.statistics().set_aside == 1


def test_the_announcement_of_one_is_dropped_and_its_end_decides(tmp_path: Path) -> None:
    store = Picky()
    tap = make_tap(tmp_path / "journal")
    exchange = tap.exchange(start(body_length=6))
    exchange.request_body(b"poison")
    working = recorder(store, tmp_path)
    drain(working)
    assert working.statistics().set_aside == 0
    exchange.end(end())
    drain(working)
    assert working.statistics().set_aside == 1


def test_without_a_place_for_it_it_is_counted_as_discarded(tmp_path: Path) -> None:
    store = Picky()
    told: list[tuple[str, bool]] = []
    bad = tell(make_tap(tmp_path / "journal"), request=[b"poison"])
    working = recorder(store, tmp_path, told)
    working._quarantine = None
    drain(working)
    assert (working.statistics().set_aside, working.statistics().discarded) == (0, 1)
    assert told == [(bad, False)]


def test_a_bug_that_meets_the_reading_of_a_head_sets_that_exchange_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from claudeproxy.capture import assemble

    real = assemble.raw_headers

    def headers(fields: Sequence[object]) -> object:
        if any("poison" in str(field) for field in fields):
            raise ZeroDivisionError("a bug")
        return real(fields)  # type: ignore[arg-type]

    monkeypatch.setattr(assemble, "raw_headers", headers)
    store = Store()
    tap = make_tap(tmp_path / "journal")
    first = tell(tap)
    tell(tap, request_headers=((b"poison", b"x"),))
    second = tell(tap)
    working = recorder(store, tmp_path)
    drain(working)
    assert list(store.rows) == [first, second]
    assert working.statistics().set_aside == 1


def test_a_bug_in_reading_journals_loses_nothing_that_was_taken_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from claudeproxy.capture.collecting import OpenExchange

    real, failing = OpenExchange.add, [True]

    def add(self: OpenExchange, record: object) -> None:
        if self.head.url.endswith("bad") and failing:
            failing.clear()
            raise ZeroDivisionError("a bug")
        real(self, record)  # type: ignore[arg-type]

    monkeypatch.setattr(OpenExchange, "add", add)
    store = Store()
    tap = make_tap(tmp_path / "journal")
    ids = [tell(tap), tell(tap, url="https://api.anthropic.com/bad"), tell(tap)]
    working = recorder(store, tmp_path)
    assert working.step() == 0
    assert "cannot be read" in str(working.statistics().last_error)
    drain(working)
    assert list(store.rows) == ids


def _die_at(root: Path, key: str, times: int) -> None:
    for _ in range(times):
        watch = Deathwatch(root / "journal")
        watch.begin()
        watch.at(STORING, key)


@pytest.mark.parametrize(("times", "raw"), [(BELIEVED - 1, False), (BELIEVED, True)])
def test_what_killed_the_recorder_often_enough_is_handed_on_unread(tmp_path: Path, times: int, raw: bool) -> None:
    store = Store()
    tap = make_tap(tmp_path / "journal")
    suspect, other = tell(tap, request=[b'{"a": 1}']), tell(tap)
    _die_at(tmp_path, suspect, times)
    working = recorder(store, tmp_path)
    drain(working)
    assert {key: row.raw for key, row in store.rows.items()} == {suspect: raw, other: False}
    assert store.rows[suspect].request_body.data == b'{"a": 1}'
    assert store.rows[suspect].state is State.COMPLETE
    working.close()
    again = Deathwatch(tmp_path / "journal")
    again.begin()
    assert again.deaths(STORING, suspect) == 0, "it has come through"


def test_what_kills_it_even_unread_is_set_aside(tmp_path: Path) -> None:
    store = Store()
    tap = make_tap(tmp_path / "journal")
    suspect, other = tell(tap), tell(tap)
    _die_at(tmp_path, suspect, 2 * BELIEVED)
    working = recorder(store, tmp_path)
    drain(working)
    assert list(store.rows) == [other]
    assert working.statistics().set_aside == 1
