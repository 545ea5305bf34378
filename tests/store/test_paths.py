"""Paths read for many requests at once say what each request's own says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.store.paths import read_paths
from tests.store.exchanges import exchange
from tests.store.filling import prompt, record

if TYPE_CHECKING:
    from claudeproxy.store.storage import CaptureStorage


@pytest.fixture
def ends(storage: CaptureStorage) -> list[int]:
    """The last nodes of two requests that share a beginning."""
    for number, body in enumerate((prompt("one", "two"), prompt("one", "two", "three"))):
        record(storage, exchange(number, body))
    return [int(row["node"]) for row in storage._all("SELECT node FROM requests ORDER BY n")]


def test_each_path_is_that_of_the_tree(storage: CaptureStorage, ends: list[int]) -> None:
    with storage.reading() as connection:
        paths = read_paths(connection, ends)
    for end in ends:
        steps = storage._writer.tree.path(end)
        assert paths.to(end) == [step.node for step in steps]
        assert [paths.explanations[step.node] for step in steps] == [step.explanation for step in steps]
    assert paths.to(None) == paths.to(0) == []


@pytest.fixture
def clocks(storage: CaptureStorage, ends: list[int]) -> dict[tuple[int, int, int], int]:
    """Numbers of the first node at some clocks of two ledgers: by node, ledger and clock."""
    node = ends[0]
    given = {(node, 1, clock): clock * 10 for clock in (2, 5, 9, 12)} | {(node, 2, 3): 7}
    with storage.writing() as connection:
        connection.execute("INSERT INTO ledgers (id, provider, model) VALUES (1, 'p', 'one'), (2, 'p', 'two')")
        rows = [(*key, packed) for key, packed in given.items()]
        connection.executemany("INSERT INTO node_tokens VALUES (?, ?, ?, ?)", rows)
    return given


@pytest.mark.parametrize("asked", [[5], [1], [6, 8], [1, 20], [3, 10, 11]])
def test_bounded_by_clocks_it_says_the_same_as_of_each_of_them(
    storage: CaptureStorage, ends: list[int], clocks: dict[tuple[int, int, int], int], asked: list[int]
) -> None:
    with storage.reading() as connection:
        bounded = read_paths(connection, ends, [(1, clock) for clock in asked])
        paths = read_paths(connection, ends)
    for clock in asked:
        held = [packed for (_, ledger, at), packed in clocks.items() if ledger == 1 and at <= clock]
        assert bounded.packed(ends[0], 1, clock) == paths.packed(ends[0], 1, clock) == (held[-1] if held else 0)


def test_bounded_by_clocks_it_reads_no_more_than_it_needs(
    storage: CaptureStorage, ends: list[int], clocks: dict[tuple[int, int, int], int]
) -> None:
    assert clocks
    with storage.reading() as connection:
        assert dict(read_paths(connection, ends, [(1, 6), (1, 10)]).tokens) == {(ends[0], 1): [(5, 50), (9, 90)]}
        assert dict(read_paths(connection, ends, []).tokens) == {}
