from __future__ import annotations

from pathlib import Path

import pytest

from claudeproxy.capture.assemble import OpenExchange
from claudeproxy.capture.batch import BATCH_BYTES, BATCH_EXCHANGES, Batch, Owner
from claudeproxy.capture.heads import opening
from claudeproxy.capture.journal_reader import JournalReader
from claudeproxy.capture.locks import FileLock
from claudeproxy.capture.quarantine import Place
from claudeproxy.model import BodyKept, Instants, RecordedBody, RecordedExchange, State
from tests.capture import support

PLACE = Place(directory=Path("owner"), number=1, start=(0, 0), key="one")


def exchange(data: bytes = b"") -> RecordedExchange:
    start = support.start()
    return RecordedExchange(
        correlation_id=start.correlation_id,
        owner="o",
        state=State.COMPLETE,
        entry_mode=start.entry_mode,
        method="POST",
        url=start.url,
        upstream_url=start.url,
        http_version="1.1",
        headers=(),
        api_key_hash=None,
        instants=Instants(request_initiated=0),
        request_body=RecordedBody(kept=BodyKept.WHOLE, data=data, length=len(data)),
        response=None,
    )


@pytest.mark.parametrize(("count", "size"), [(BATCH_EXCHANGES, 0), (1, BATCH_BYTES)])
def test_it_is_full_by_number_or_by_bytes(count: int, size: int) -> None:
    batch = Batch()
    for number in range(count):
        assert not batch.full, number
        batch.add(exchange(bytes(size)), PLACE)
    assert batch.full


def test_the_cursor_is_the_lowest_start_among_what_is_open(tmp_path: Path) -> None:
    owner = Owner(reader=JournalReader(tmp_path, position=(5, 7)), lock=FileLock(tmp_path / "lock"))
    assert owner.cursor() == (5, 7)
    head = opening(support.start(), api_key_hash=None, fate=BodyKept.WHOLE)
    owner.open = {1: OpenExchange(start=(3, 9), head=head), 2: OpenExchange(start=(2, 99), head=head)}
    assert owner.cursor() == (2, 99)


def test_an_owner_whose_lock_cannot_be_tried_counts_as_living(tmp_path: Path) -> None:
    owner = Owner(reader=JournalReader(tmp_path / "gone"), lock=FileLock(tmp_path / "gone" / "lock"))
    assert owner.alive()
