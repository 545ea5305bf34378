"""Sums by source are those of the pieces, whatever the bill's boundaries cut through."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from claudeproxy.store import sums as module
from claudeproxy.store.numbers import AFTER, BEFORE, ESTIMATED, Priced, expand, pack
from claudeproxy.store.storage import CaptureStorage
from tests.store.conversation import Conversation
from tests.store.exchanges import exchange
from tests.store.explaining import count, explain

if TYPE_CHECKING:
    from claudeproxy.store.skeleton import PathStep

UNIT = st.integers(0, 10**6) | st.none()


def made(directory: Path) -> tuple[CaptureStorage, list[PathStep]]:
    storage = CaptureStorage(directory / "captures.db")
    body, _ = next(iter(Conversation(tools=4, system_size=300, result_size=100).turns(1)))
    (request_id,) = storage.record([exchange(0, body)], {})
    result = explain(body)
    storage.save_attribution(request_id, result, count(result), rules_version="1")
    node = storage._connection.execute("SELECT node FROM requests").fetchone()[0]
    return storage, storage._writer.tree.path(node)


@settings(max_examples=25)
@given(st.data())
def test_they_are_the_sums_of_the_pieces(data):
    with tempfile.TemporaryDirectory() as directory:
        storage, path = made(Path(directory))
        run = storage._connection.execute
        source = run("SELECT min(id) FROM sources").fetchone()[0]
        numbers = [0 if s.explanation is None else data.draw(st.integers(0, 200)) for s in path]
        packed = [pack(number, ESTIMATED) for number in numbers]
        loose = [(BEFORE, 7, 1, source), (0, 0, 0, source), (AFTER, 3, 1, source)]
        total = sum(numbers) + 10
        cuts = sorted(data.draw(st.integers(0, total)) for _ in range(3))
        classes = (cuts[0], cuts[1] - cuts[0], cuts[2] - cuts[1], total - cuts[2])
        priced = data.draw(st.none() | st.builds(Priced, st.just(classes), st.tuples(UNIT, UNIT, UNIT, UNIT)))

        sizes = defaultdict(list)
        sources = {}
        for row in run(
            "SELECT n.id, s.ordinal, s.tokens, l.source FROM nodes n JOIN segments s ON s.explanation = n.explanation"
            " JOIN segment_labels l ON l.id = s.label ORDER BY n.id, s.ordinal"
        ):
            sizes[row[0]].append(row[2])
            sources[row[0], row[1]] = row[3]
        expected = defaultdict(lambda: [0, 0, 0])
        blocks = [(s.node, number, sizes[s.node]) for s, number in zip(path, packed, strict=True)]
        for piece in expand(blocks, [one[:3] for one in loose], priced):
            found = expected[sources.get((piece.node, piece.ordinal), source)]
            found[0] += piece.tokens
            found[1] = None if piece.cost is None or found[1] is None else found[1] + piece.cost
            found[2] += 1

        run("DELETE FROM source_runs")
        adding = module.SourceSums(storage._connection)
        for _ in range(2):  # from the database, then from memory
            run("DELETE FROM source_runs")
            adding.save(1, path, packed, loose, priced)
            got = {row[0]: [*row[1:]] for row in run("SELECT source, tokens, cost, segments FROM request_sources")}
            assert got == expected
        storage.close()


@settings(max_examples=25)
@given(st.data())
def test_they_are_the_same_whatever_beginning_they_go_on_from(data):
    with tempfile.TemporaryDirectory() as directory:
        storage, path = made(Path(directory))
        run = storage._connection.execute
        source = run("SELECT min(id) FROM sources").fetchone()[0]
        lasting = module.SourceSums(storage._connection)
        numbers = [0 if s.explanation is None else 20 + index for index, s in enumerate(path)]
        for _ in range(5):
            if data.draw(st.booleans()):
                numbers[data.draw(st.integers(0, len(path) - 1))] += 5
            upto = data.draw(st.integers(1, len(path)))
            packed = [pack(number, ESTIMATED) for number in numbers[:upto]]
            loose = [(BEFORE, data.draw(st.sampled_from((7, 9))), 1, source), (AFTER, 3, 1, source)]
            total = sum(numbers[:upto]) + loose[0][1] + 3
            read = data.draw(st.integers(0, total))
            priced = data.draw(st.none() | st.just(Priced((read, 0, 0, total - read), (1, 3, 2, 4))))
            found = []
            for adding in (lasting, module.SourceSums(storage._connection)):
                run("DELETE FROM source_runs")
                adding.save(1, path[:upto], packed, loose, priced)
                found.append([tuple(row) for row in run("SELECT * FROM request_sources ORDER BY source")])
            assert found[0] == found[1]
        assert len(lasting._beginnings) <= 4
        storage.close()


def test_memory_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    storage, path = made(tmp_path)
    adding = module.SourceSums(storage._connection)
    for number in range(3):
        storage._connection.execute("DELETE FROM source_runs")
        adding.save(1, path, [pack(number, 2)] * len(path), [], None)
    assert len(adding._divided) <= len(path)
    storage.close()
