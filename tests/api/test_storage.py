"""Database connections are lent, given back, and closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.api.storage import StoragePool
from claudeproxy.errors import NotFoundError, StorageError

if TYPE_CHECKING:
    from claudeproxy.store.storage import CaptureStorage
    from tests.api.conftest import Captures


class Opened:
    """Opens readers and remembers them."""

    def __init__(self, captures: Captures) -> None:
        self._captures = captures
        self.readers: list[CaptureStorage] = []

    def __call__(self) -> CaptureStorage:
        self.readers.append(self._captures.reader())
        return self.readers[-1]


def closed(reader: CaptureStorage) -> bool:
    try:
        reader.cursors()
    except StorageError:
        return True
    return False


async def test_a_connection_is_used_again(captures: Captures) -> None:
    opened = Opened(captures)
    pool = StoragePool(opened)
    assert [await pool.run(id) for _ in range(3)] == [id(opened.readers[0])] * 3
    pool.close()
    assert [closed(reader) for reader in opened.readers] == [True]


async def test_no_more_connections_are_open_than_may_be(captures: Captures) -> None:
    opened = Opened(captures)
    pool = StoragePool(opened, size=2)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(pool.run, lambda reader: reader.summary())
    assert len(opened.readers) <= 2
    pool.close()


async def test_a_connection_survives_an_unknown_id_but_not_a_fault_of_the_database(captures: Captures) -> None:
    opened = Opened(captures)
    pool = StoragePool(opened)
    with pytest.raises(NotFoundError):
        await pool.run(lambda reader: reader.get_request("nonsense"))
    assert await pool.run(id) == id(opened.readers[0])

    def fail(_: CaptureStorage) -> None:
        raise StorageError("broken")

    with pytest.raises(StorageError):
        await pool.run(fail)
    assert closed(opened.readers[0])
    assert await pool.run(id) == id(opened.readers[1])
    pool.close()


async def test_a_connection_that_is_lent_while_the_pool_closes_is_closed_when_it_comes_back(captures: Captures) -> None:
    opened = Opened(captures)
    pool = StoragePool(opened)

    def meanwhile(reader: CaptureStorage) -> int:
        pool.close()
        return reader.summary().requests

    assert await pool.run(meanwhile) == 12
    assert closed(opened.readers[0])
