"""A path that is read from where it parts from one that is known is the path that the database has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.store import ways as module
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.ways import Ways
from tests.store.conversation import Conversation
from tests.store.exchanges import exchange
from tests.store.explaining import count, explain

if TYPE_CHECKING:
    from pathlib import Path


def save(storage: CaptureStorage, number: int, body: bytes, *, version: str = "1") -> str:
    (request_id,) = storage.record([exchange(number, body)], {})
    result = explain(body)
    storage.save_attribution(request_id, result, count(result), rules_version=version)
    return request_id


def ends(storage: CaptureStorage) -> list[int]:
    return [row[0] for row in storage._all("SELECT node FROM requests ORDER BY n")]


@pytest.mark.parametrize("new", [0, 1, 16])
def test_a_path_is_what_the_database_has_however_little_of_it_is_read(storage, monkeypatch, new):
    monkeypatch.setattr(module, "_MAX_NEW", new)
    bodies = [body for body, _ in Conversation(tools=3, system_size=200, result_size=100).turns(5)]
    other = [body for body, _ in Conversation(tools=2, system_size=100, result_size=50).turns(2)]
    for number, body in enumerate([*bodies, *other]):
        save(storage, number, body)
    ways, tree = Ways(storage._connection, storage._writer.tree), storage._writer.tree
    for node in [*ends(storage), *reversed(ends(storage))]:
        path = ways.to(node)
        assert path == tree.path(node)
        ways.keep(path)
    assert len(ways._kept) <= 3
    assert ways.to(0) == []


def test_a_turn_reads_the_nodes_that_it_adds(storage):
    before, after = [body for body, _ in Conversation(tools=3, system_size=200, result_size=100).turns(2)]
    save(storage, 0, before)
    storage.record([exchange(1, after)], {})
    read: list[str] = []
    ways = Ways(storage._connection, storage._writer.tree)
    ways.keep(ways.to(ends(storage)[0]))
    end = ends(storage)[1]
    storage._connection.set_trace_callback(read.append)
    path = ways.to(end)
    storage._connection.set_trace_callback(None)
    assert len(read) < 6 < len(path)


def test_what_another_process_explained_anew_is_seen(storage: CaptureStorage, database: Path) -> None:
    """Its explanations took the place of those that were remembered, which are gone."""
    bodies = [body for body, _ in Conversation(tools=3, system_size=200, result_size=100).turns(3)]
    ids = [save(storage, number, body) for number, body in enumerate(bodies[:2])]
    with CaptureStorage(database) as other:
        for request_id, body in zip(ids, bodies[:2], strict=True):
            result = explain(body)
            other.save_attribution(request_id, result, count(result), rules_version="2")
    ids.append(save(storage, 2, bodies[2]))
    version = "SELECT r.version FROM explanations e JOIN rules r ON r.id = e.rules WHERE e.id = ?"
    path = storage._writer.tree.path(ends(storage)[-1])
    explained = [step.explanation for step in path if step.explanation is not None]
    assert {storage._all(version, (one,))[0][0] for one in explained} == {"1"}
    pieces = storage.attributions(ids[-1])
    assert sum(one.token_count for one in pieces) == sum(one.token_count for one in storage.sources(ids[-1]))
